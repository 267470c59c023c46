"""Step 4: look at the result, save it, compare it."""

from __future__ import annotations

from html import escape

from qtpy.QtWidgets import QCheckBox, QHeaderView, QTableWidget, QTableWidgetItem, QWidget

from cmfnet_napari.core.metrics import Evaluation, Scores
from cmfnet_napari.gui.session import Session
from cmfnet_napari.gui.widgets import (
    ask_file,
    ask_target,
    button,
    column,
    group,
    large_button,
    text_label,
)

_ROW_HEIGHT = 26


class ResultPanel(QWidget):
    """Volumes, parts, probability, saving and evaluation of the prediction."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self.volumes = text_label(rich=True)
        self.marked_only = QCheckBox("Keep only parts with a stroke")
        self.marked_only.toggled.connect(session.result.keep_marked_only)
        self.filled = QCheckBox("Fill the contour")
        self.filled.toggled.connect(self._fill)
        self.probability = QCheckBox("Show the probability")
        self.probability.toggled.connect(self._show_probability)
        self.save_button = large_button("Save…", self._ask_save, "On the CT's original grid")
        self.saved = text_label()
        self.evaluate_button = button(
            "Evaluate against a reference…", self._ask_reference, "A contour on the CT's grid"
        )
        self.table = QTableWidget()
        self.table.hide()
        self._shown = group("Prediction", self.volumes, self.marked_only, self.filled)
        self._shown.layout().addWidget(self.probability)
        self._files = group("Files", self.save_button, self.saved)
        self._scores = group("Agreement", self.evaluate_button, self.table)
        layout = column(self._shown, self._files, self._scores)
        layout.addStretch()
        self.setLayout(layout)
        session.result.changed.connect(self._on_changed)
        session.result.created.connect(self._on_created)
        session.result.saved.connect(self._on_saved)
        session.result.evaluated.connect(self._on_evaluated)
        self._on_changed(None)

    def _on_changed(self, volumes: dict[str, float] | None) -> None:
        for widget in (self._shown, self._files, self._scores):
            widget.setEnabled(volumes is not None)
        self.table.hide()
        self.saved.clear()
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

    def _fill(self, on: bool) -> None:
        self._session.result.fill_contour(on)

    def _show_probability(self, on: bool) -> None:
        self._session.result.show_probability(on)

    def _ask_save(self) -> None:
        path = ask_target(self, "Save the prediction", "prediction.nii.gz")
        if path:
            self._session.result.save(path)

    def _ask_reference(self) -> None:
        path = ask_file(self, "Choose a reference on the CT's grid")
        if path:
            self._session.result.evaluate(path)

    def _on_saved(self, path: str) -> None:
        self.saved.setText(f"Saved as {path}".replace("/", "/\u200b"))

    def _on_evaluated(self, evaluation: Evaluation) -> None:
        rows = score_rows(evaluation)
        names = list(evaluation.classes)
        if len(names) > 1:
            names.append("Mean")
        self.table.setColumnCount(len(names))
        self.table.setRowCount(len(rows))
        self.table.setHorizontalHeaderLabels(names)
        self.table.setVerticalHeaderLabels(list(rows))
        for r, values in enumerate(rows.values()):
            for c, value in enumerate(values):
                self.table.setItem(r, c, QTableWidgetItem(value))
        self.table.verticalHeader().setDefaultSectionSize(_ROW_HEIGHT)
        self.table.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        self.table.setFixedHeight((len(rows) + 1) * _ROW_HEIGHT + 8)
        self.table.show()


def score_rows(evaluation: Evaluation) -> dict[str, list[str]]:
    """Rows of the table: for every measure its values by class and, with several, their mean."""
    columns: list[Scores] = list(evaluation.classes.values())
    if len(columns) > 1:
        columns.append(evaluation.mean)
    fields = {
        "DSC": ("dsc", 3),
        "ASD, mm": ("asd_mm", 2),
        "HD95, mm": ("hd95_mm", 1),
        f"Surface DSC at {evaluation.tolerance_mm:g} mm": ("surface_dsc", 3),
        "Volume, ml": ("volume_ml", 1),
        "Reference, ml": ("reference_ml", 1),
    }
    return {
        title: [_figure(getattr(scores, field), digits) for scores in columns]
        for title, (field, digits) in fields.items()
    }


def _figure(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"
