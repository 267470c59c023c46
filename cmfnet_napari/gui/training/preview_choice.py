"""The previews that a training has kept: looked at again, and one chosen. It holds no widget."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from qtpy.QtCore import QObject, Signal

from cmfnet_napari.core.case.case_classes import translated
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.fit.events import Finished, Preview, Started
from cmfnet_napari.core.fit.kept_previews import Kept, kept_previews, read_kept
from cmfnet_napari.core.fit.runs import RunRecord, read_run
from cmfnet_napari.core.privacy import inside
from cmfnet_napari.gui.contours.result import Result
from cmfnet_napari.gui.patient.session import Session
from cmfnet_napari.gui.shared.tasks import run_in_background, show_failure
from cmfnet_napari.gui.training.refinement import Refinement
from cmfnet_napari.gui.training.training import Training


class PreviewChoice(QObject):
    """Earlier contours of the training that goes on, or of the one whose contour is shown.

    Attributes
    ----------
    previews : list of Kept
        Oldest first; the newest contour is not among them.
    place : int
        Which one is looked at; the length of the list: the newest contour.
    """

    changed = Signal()

    def __init__(
        self, session: Session, result: Result, training: Training, refinement: Refinement
    ) -> None:
        super().__init__(session)
        self._session = session
        self._result, self._training, self._refinement = result, training, refinement
        self._run: Path | None = None
        self._told: dict[int, Preview] = {}  # of the run, by step
        self._last: int | None = None  # step of its contour
        self.previews: list[Kept] = []
        self.place = 0
        training.started.connect(self._on_started)
        training.previewed.connect(self._on_previewed)
        training.finished.connect(self._on_finished)
        training.failed.connect(self._on_failed)
        refinement.state_changed.connect(lambda _state: self.changed.emit())
        refinement.finished.connect(self._on_refined)
        session.opened.connect(self._on_opened)
        session.closed.connect(self._forget)
        session.recoded.connect(self._on_recoded)

    @property
    def at_newest(self) -> bool:
        """Whether nothing earlier is looked at."""
        return self.place >= len(self.previews)

    @property
    def can_choose(self) -> bool:
        """Whether the one that is looked at can become the contour now."""
        free = self._refinement.state == "ready" and not self._training.running
        return free and self._session.writable and not self.at_newest

    def show(self, place: int) -> None:
        """Look at an earlier contour, or at the newest again."""
        self.place = place
        result, patient = self._result, self._session.patient
        self._training.follow = self.at_newest
        if self.at_newest:
            if not self._training.running:
                result.remove_preview()
            self.changed.emit()
            return
        kept, case = self.previews[place], self._session.case
        shape, run = case.study.grid.shape, self._run

        def done(read: tuple[np.ndarray, tuple[int, ...]]) -> None:
            labels, numbers = read
            if self._session.patient is patient and self.place == place:
                result.show_preview(translated(labels, case.order.labels(numbers)))

        def read() -> tuple[np.ndarray, tuple[int, ...]]:
            return read_kept(kept.labels, shape), case.run_numbers(run)

        run_in_background(read, done=done, failed=show_failure)
        self.changed.emit()

    def choose(self) -> None:
        """Make the one that is looked at the contour, and its model the run's.

        Raises
        ------
        UserError
            The newest is looked at, or as `Refinement.choose`.
        """
        if self.at_newest:
            raise UserError("The newest contour is shown already. Move the slider to go back.")
        self._refinement.choose(self.previews[self.place].event.step)

    def _on_started(self, event: Started) -> None:
        self._use(inside(self._session.case.folder, event.run))

    def _on_failed(self, _reason: str, _details: str) -> None:
        self._use(self._refinement.run)

    def _on_previewed(self, event: Preview) -> None:
        self._told.setdefault(event.step, event)
        self._look()

    def _on_finished(self, event: Finished) -> None:
        self._last = event.steps
        self._look()

    def _on_refined(self, event: Finished) -> None:
        """The newest contour has taken the place of what was looked at."""
        self.place = len(self.previews)
        self._on_finished(event)

    def _on_opened(self) -> None:
        self._use(self._refinement.run)

    def _on_recoded(self, _labels: np.ndarray) -> None:
        """Classes went or came back, and with them maybe a run whose model knows them."""
        if self._run is None:
            self._use(self._refinement.run)
        else:
            self.show(len(self.previews))

    def _use(self, run: Path | None) -> None:
        """Go on with a run's previews; its log is read once, what comes later is heard."""
        record = RunRecord(Path()) if run is None else read_run(run)
        self._told = {event.step: event for event in record.previews}
        self._last = None if record.finished is None else record.finished.steps
        self._run, self.previews, self.place = run, [], 0
        self._look()

    def _look(self) -> None:
        """See what is there; who looks at the newest goes on to do so."""
        if self._run is None:
            self._forget()
            return
        newest = self.at_newest
        looked_at = None if newest else self.previews[self.place].event.step
        earlier = (event for step, event in self._told.items() if step != self._last)
        self.previews = kept_previews(self._run, earlier)
        if self._training.running:
            self.previews = self.previews[:-1]  # the last is the one that is shown
        steps = [kept.event.step for kept in self.previews]
        self.place = steps.index(looked_at) if looked_at in steps else len(steps)
        self._training.follow = self.at_newest
        self.changed.emit()

    def _forget(self) -> None:
        self._run, self.previews, self.place = None, [], 0
        self._training.follow = True
        self.changed.emit()
