"""Where the mouse went while its left button is held: all of it, however busy the window was.

vispy drops every move that comes within a hundredth of a second of the one before, and napari
holds the last one back for a moment, until it may be too late. After half a second of other work
Qt hands on all that happened meanwhile at once, and of a long line only its first point was left.
"""

from __future__ import annotations

import numpy as np


class Trail:
    """Places of one press of the button, for whoever draws along them."""

    def __init__(self) -> None:
        self._places: list[np.ndarray] | None = None  # None: this press is not followed

    @property
    def followed(self) -> bool:
        """Whether the last press was over a plane of the study."""
        return self._places is not None

    def begin(self) -> None:
        """The button was pressed over a plane of the study."""
        self._places = []

    def forget(self) -> None:
        """It was pressed over something else."""
        self._places = None

    def add(self, place: np.ndarray) -> None:
        """The mouse is at a place, mm along the study's own axes (z, y, x), or was let go there."""
        if self._places is not None:
            self._places.append(place)

    def take(self) -> list[np.ndarray]:
        """All places since this was asked last, each once, in order."""
        taken, self._places = self._places or [], None if self._places is None else []
        return taken
