"""The switch of the provisional contour."""

from __future__ import annotations

from qtpy.QtWidgets import QCheckBox, QGroupBox

from cmfnet_napari.gui.contours.provisional import ProvisionalContour
from cmfnet_napari.gui.patient.session import Session
from cmfnet_napari.gui.shared.widgets import button, column, row, text_label


class ProvisionalPanel(QGroupBox):
    """Show a provisional contour while one draws, or not."""

    def __init__(self, session: Session, provisional: ProvisionalContour) -> None:
        super().__init__("Provisional contour")
        self._provisional = provisional
        self.switch = QCheckBox("Show it while I draw")
        self.switch.setToolTip(
            "About a second after a stroke: which parts are nearer to the strokes of which class, "
            "along the images. It goes when the network has a contour. It can be the contour for "
            "automatic strokes."
        )
        self.switch.toggled.connect(provisional.enable)
        self.now = button(
            "Show now", provisional.show_now, "Show it although the network has a contour already"
        )
        self.message = text_label()
        self.setLayout(column(row(self.switch, self.now, stretch=0), self.message))
        provisional.said.connect(self.message.setText)
        for signal in (provisional.changed, session.opened):
            signal.connect(self._show)
        self._show()

    def _show(self) -> None:
        self.switch.blockSignals(True)
        self.switch.setChecked(self._provisional.enabled)
        self.switch.blockSignals(False)
        self.now.setEnabled(self._provisional.enabled)
