"""What the hand has changed of the contour: figures, the model's own to look at, taking back."""

from __future__ import annotations

from datetime import datetime
from functools import partial

from qtpy.QtWidgets import QCheckBox, QGroupBox, QMenu, QPushButton

from cmfnet_napari.gui.contours.result import Result
from cmfnet_napari.gui.patient.session import Session
from cmfnet_napari.gui.shared.messages import show_info
from cmfnet_napari.gui.shared.widgets import column, row, said, text_label
from cmfnet_napari.gui.views.navigation import Navigation

_NONE = "Nothing was corrected. Paint or erase on the Prediction layer: it stays, whatever comes."
_LATEST = 12  # corrections that can be chosen one by one


class CorrectionsPanel(QGroupBox):
    """Corrections of the contour that is shown."""

    def __init__(self, session: Session, result: Result, navigation: Navigation) -> None:
        super().__init__("Corrections by hand")
        self._session, self._result, self._navigation = session, result, navigation
        self.message = text_label()
        self.own = QCheckBox("The model's own contour")
        self.own.setToolTip("Look at what the model says without your corrections; they stay")
        self.own.toggled.connect(said(self._show_own))
        self.teach = QCheckBox("Corrections teach")
        self.teach.setToolTip("Corrected places count as strokes in the next training or update")
        self.teach.toggled.connect(self._teach)
        self.menu = QMenu(self)
        self.menu.aboutToShow.connect(said(self._fill))
        self.back = QPushButton("Take back")
        self.back.setToolTip("Give corrections up: the model's contour counts there again")
        self.back.setMenu(self.menu)
        self.setLayout(column(self.message, self.own, row(self.teach, self.back, stretch=1)))
        result.changed.connect(lambda _volumes: self._show())
        session.corrected.connect(lambda _voxels: self._enable())
        session.opened.connect(self._show)
        session.closed.connect(self._show)
        self._show()

    def _show(self) -> None:
        self.message.setText(f"{self._result.hand.sentence}." if self._result.hand else _NONE)
        self._enable()

    def _enable(self) -> None:
        opened = self._session.patient is not None
        self.own.setEnabled(opened)
        for box, on in ((self.own, self._result.own), (self.teach, self._teaches)):
            box.blockSignals(True)
            box.setChecked(on)
            box.blockSignals(False)
        for widget in (self.teach, self.back):
            widget.setEnabled(self._session.writable)
        self.back.setEnabled(self._session.writable and self._result.corrected)

    @property
    def _teaches(self) -> bool:
        return self._session.patient is None or self._session.corrections.teach

    def _show_own(self, on: bool) -> None:
        try:
            self._result.show_own(on)
        finally:
            self._enable()  # where an edit could not be saved, the tick goes again

    def _teach(self, on: bool) -> None:
        self._session.corrections.set_teach(on)

    def _fill(self) -> None:
        """What can be taken back now; the newest first."""
        corrections = self._session.corrections
        self.menu.clear()
        self.menu.addAction("Here, at the crosshair", said(self._take_back_here))
        self.menu.addAction("All of them", said(corrections.take_back_all))
        self.menu.addSeparator()
        for number, correction in reversed(corrections.one_by_one()[-_LATEST:]):
            ml = correction.voxels.size * self._session.case.study.grid.voxel_ml
            moment = f"{datetime.fromtimestamp(correction.time):%d.%m. %H:%M:%S}"
            back = said(partial(self._take_back, number))
            self.menu.addAction(f"{moment}, {ml:.2f} ml", back)

    def _take_back(self, number: int) -> None:
        if self._session.corrections.take_back(number) is None:
            show_info("Something newer was said wherever you corrected then. Take that back first.")

    def _take_back_here(self) -> None:
        voxel = self._navigation.voxel()
        if self._session.corrections.take_back_around(voxel) is None:
            show_info("Nothing was corrected.")
