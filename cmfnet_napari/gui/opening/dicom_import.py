"""A DICOM folder: looked through, chosen from, read, all off the GUI thread. It holds no widget."""

from __future__ import annotations

from functools import partial

from qtpy.QtCore import QObject, Signal

from cmfnet_napari.core.dicom.importing.patient import Choice
from cmfnet_napari.core.images.series.scan import scan
from cmfnet_napari.core.images.series.scan_result import Scan
from cmfnet_napari.gui.patient.opened import open_dicom
from cmfnet_napari.gui.patient.session import Session
from cmfnet_napari.gui.shared.tasks import Steps, run_in_background, show_failure


class DicomImport(QObject):
    """From a folder to an open patient."""

    found = Signal(object)  # Scan: now something has to be chosen
    moved = Signal(str, float)  # what goes on, share done; empty: nothing

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._session = session
        self._steps: Steps | None = None
        session.busy.connect(self._on_busy)

    def look_through(self, folder: str) -> None:
        """Find what lies in a folder and those within it."""
        steps = self._begin()
        self.moved.emit("Looking through the files", 0.0)
        run_in_background(
            scan,
            [folder],
            partial(steps, "Looking through the files"),
            done=partial(self._show, steps),
            failed=partial(self._fail, steps),
        )

    def read(self, choice: Choice, found: Scan) -> None:
        """Read what was chosen and show it."""
        self._session.open(partial(open_dicom, choice, found, self._begin()))

    def cancel(self) -> None:
        """End what goes on."""
        if self._steps is not None:
            self._steps.end()

    def _begin(self) -> Steps:
        self.cancel()
        self._end()
        self._steps = Steps(self)
        self._steps.moved.connect(self.moved)
        return self._steps

    def _show(self, steps: Steps, found: Scan) -> None:
        if steps is self._steps:
            self._end()
            self.found.emit(found)

    def _fail(self, steps: Steps, error: Exception) -> None:
        if steps is self._steps:
            self._end()
        show_failure(error)

    def _on_busy(self, what: str) -> None:
        if not what:
            self._end()

    def _end(self) -> None:
        steps, self._steps = self._steps, None
        if steps is not None:
            steps.moved.disconnect(self.moved)
            self.moved.emit("", 0.0)
