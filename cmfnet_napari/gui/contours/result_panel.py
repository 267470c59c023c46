"""The prediction as it is shown: volumes, parts, probability and disagreement."""

from __future__ import annotations

from html import escape

from qtpy.QtWidgets import QCheckBox, QWidget

from cmfnet_napari.gui.contours.result import Result
from cmfnet_napari.gui.shared.widgets import column, group, row, text_label


class ResultPanel(QWidget):
    """Volumes, and how the prediction is shown."""

    def __init__(self, result: Result) -> None:
        super().__init__()
        self._result = result
        self.volumes = text_label(rich=True)
        self.marked_only = QCheckBox("Only parts with a stroke")
        self.marked_only.setToolTip("Parts of the contour in which you drew nothing are left out")
        self.marked_only.toggled.connect(result.keep_marked_only)
        self.filled = QCheckBox("Filled")
        self.filled.setToolTip("An area you can see through, instead of a line")
        self.filled.toggled.connect(self._fill)
        self.probability = QCheckBox("Probability")
        self.probability.setToolTip("How likely each place is part of the contour")
        self.probability.toggled.connect(self._show_probability)
        self.disagreement = QCheckBox("Disagreement")
        self.disagreement.setToolTip("Bright: each image alone gives another contour")
        self.disagreement.toggled.connect(self._show_disagreement)
        self._shown = group(
            "Prediction",
            self.volumes,
            row(self.marked_only, self.filled),
            row(self.probability, self.disagreement),
        )
        layout = column(self._shown)
        layout.setContentsMargins(0, 0, 0, 0)
        self.setLayout(layout)
        result.changed.connect(self._on_changed)
        result.created.connect(self._on_created)
        self._on_changed(None)

    def _on_changed(self, volumes: dict[str, float] | None) -> None:
        self._shown.setEnabled(volumes is not None)
        self.disagreement.setEnabled(self._result.disagreement is not None)
        self.marked_only.blockSignals(True)  # what was kept with the case may have set it
        self.marked_only.setChecked(self._result.marked_only)
        self.marked_only.blockSignals(False)
        if volumes is None:
            self.volumes.setText("There is no prediction yet.")
            return
        self.volumes.setText(
            "<br>".join(f"{escape(name)}: <b>{ml:.1f} ml</b>" for name, ml in volumes.items())
        )

    def _on_created(self) -> None:
        """New layers look as the boxes say; later the user may change them in napari's list."""
        self._fill(self.filled.isChecked())
        self._show_probability(self.probability.isChecked())
        self._show_disagreement(self.disagreement.isChecked())

    def _fill(self, on: bool) -> None:
        self._result.fill_contour(on)

    def _show_probability(self, on: bool) -> None:
        self._result.show_probability(on)

    def _show_disagreement(self, on: bool) -> None:
        self._result.show_disagreement(on)
