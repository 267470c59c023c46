"""A slider back through a training's previews, and a button that keeps the one that is shown."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QSlider, QWidget

from cmfnet_napari.gui.shared.widgets import agreement_words, button, column, text_label
from cmfnet_napari.gui.training.preview_choice import PreviewChoice

_TIP = "Look back at earlier contours of this training. Nothing changes until you keep one."
_KEEP_TIP = "Make the contour that is shown the result; the training goes on from it"


class PreviewChoicePanel(QWidget):
    """Hidden while there is nothing to go back to."""

    def __init__(self, preview_choice: PreviewChoice) -> None:
        super().__init__()
        self._preview_choice = preview_choice
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setToolTip(_TIP)
        self.slider.setTickPosition(QSlider.TickPosition.TicksBelow)
        self.slider.setPageStep(1)
        self.label = text_label()
        self.keep_button = button("Keep this contour", self._preview_choice.choose, _KEEP_TIP)
        layout = column(self.slider, self.label, self.keep_button)
        layout.setContentsMargins(0, 0, 0, 0)
        self.setLayout(layout)
        self.slider.valueChanged.connect(self._preview_choice.show)
        self._preview_choice.changed.connect(self._follow)
        self._follow()

    def _follow(self) -> None:
        preview_choice = self._preview_choice
        self.setVisible(bool(preview_choice.previews))
        self.slider.blockSignals(True)
        self.slider.setRange(0, len(preview_choice.previews))
        self.slider.setValue(preview_choice.place)
        self.slider.blockSignals(False)
        self.keep_button.setEnabled(preview_choice.can_choose)
        if preview_choice.at_newest:
            self.label.setText("The newest contour. Move the slider to see earlier ones.")
        else:
            event = preview_choice.previews[preview_choice.place].event
            self.label.setText(f"Shown: after {event.step} steps, {agreement_words(event)}.")
