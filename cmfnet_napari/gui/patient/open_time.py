"""How long the patient was open, noted beside the case as it goes on. It holds no widget."""

from __future__ import annotations

import logging

from qtpy.QtCore import QObject, QTimer

from cmfnet_napari.core.case.effort import BEAT_S, note_open
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.gui.patient.session import Session

_log = logging.getLogger(__name__)


class OpenTime(QObject):
    """Writes a moment when a patient is opened, every `BEAT_S`, and when it is left."""

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._session = session
        self._timer = QTimer(self, interval=round(1000 * BEAT_S))
        self._timer.timeout.connect(self._note)
        session.opened.connect(self._begin)
        session.leaving.connect(self._end)

    def _begin(self) -> None:
        if self._session.writable:
            self._note()
            self._timer.start()

    def _end(self) -> None:
        if self._session.writable:
            self._timer.stop()
            self._note()

    def _note(self) -> None:
        try:
            note_open(self._session.case.folder)
        except UserError:  # a full disk: nobody is stopped for a few seconds that are not counted
            self._timer.stop()
            _log.warning("The time that the patient is open could not be noted.")
