"""When a fit is done, and when it is time for a preview or for saving its state.

Its minutes are those of all of it: of preparing the images too, and of the last prediction.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

from cmfnet_napari.core.fit.config import Config
from cmfnet_napari.learning.engine.state import save_seconds

PREVIEW_SHARE = 0.1  # of the time that previews may take
SPARED_SHARE = 0.2  # of the time that it may take to judge a network before it learns
FRESH_SECONDS = 1.5  # from new strokes to a preview that shows what they changed
FRESH_SHARE = 0.5  # of the time that such previews may take, if strokes never end
END_PREVIEWS = 3.0  # so many times a preview the last prediction takes: all branches, twice maybe
WRITTEN_A_SECOND = 5e6  # voxels of the study, whose files are packed
MOST_FOR_END = 0.5  # of the minutes, however long previews take
SAVE_SHARE = 0.05  # of the time that saving the state may take
SAVE_SECONDS = 20.0  # between states at least


class Pace:
    """The clock of one fit.

    Parameters
    ----------
    config : Config
        Its steps, minutes and seconds between previews.
    began : float, optional
        When it began (`time.monotonic`); now when not given.
    voxels : int
        Of the study: what is written in the end.
    """

    def __init__(self, config: Config, began: float | None = None, voxels: int = 0) -> None:
        self._config, self._writing = config, voxels / WRITTEN_A_SECOND
        self._previewed = self._saved = time.monotonic()
        self._began = self._previewed if began is None else began
        self._preview_cost = self._save_cost = 0.0
        self._fresh: float | None = None  # when strokes came that no preview shows

    @property
    def elapsed(self) -> float:
        """Seconds trained, those before a break included."""
        return time.monotonic() - self._began

    def go_on(self, seconds: float) -> None:
        """Count so many seconds from before a break."""
        self._began -= seconds

    def progress(self, steps: int) -> float:
        """Share of the steps or of the time for them, whichever is further."""
        share = steps / self._config.steps if self._config.steps else 1.0
        return max(share, self.elapsed / self._for_steps)

    @property
    def _for_steps(self) -> float:
        """Seconds until the end has to begin, which previews and the study's size foretell."""
        if self._config.minutes is None:
            return math.inf
        whole = 60 * self._config.minutes
        end = END_PREVIEWS * self._preview_cost + self._writing
        return whole - min(end, MOST_FOR_END * whole)

    def strokes_came(self) -> None:
        """Let a preview be due soon: the user waits to see what new strokes change."""
        self._fresh = self._fresh or time.monotonic()

    def preview_due(self) -> bool:
        """Whether it is time for one: soon after new strokes, rarer when they take long.

        None begins that would not be done before the end.
        """
        if self.elapsed + self._preview_cost > self._for_steps:
            return False
        now, since = time.monotonic(), time.monotonic() - self._previewed
        if self._fresh is not None and now - self._fresh >= FRESH_SECONDS:
            return since >= self._preview_cost / FRESH_SHARE
        return since >= max(self._config.preview_seconds, self._preview_cost / PREVIEW_SHARE)

    def save_due(self) -> bool:
        """Whether it is time to save the state."""
        pause = max(save_seconds(SAVE_SECONDS), self._save_cost / SAVE_SHARE)
        return time.monotonic() - self._saved >= pause

    def spares(self, previews: int) -> bool:
        """Whether so many previews leave most of the time to training."""
        if self._config.minutes is None:
            return True
        return previews * self._preview_cost <= SPARED_SHARE * 60 * self._config.minutes

    @contextmanager
    def previewing(self) -> Iterator[None]:
        """Take the time of a preview."""
        began = time.monotonic()
        yield
        self._fresh = None
        self._previewed = time.monotonic()
        self._preview_cost = self._previewed - began

    @contextmanager
    def saving(self) -> Iterator[None]:
        """Take the time of saving."""
        began = time.monotonic()
        yield
        self._saved = time.monotonic()
        self._save_cost = self._saved - began
