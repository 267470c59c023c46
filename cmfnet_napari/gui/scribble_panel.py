"""Step 2: scribble."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from qtpy.QtWidgets import QCheckBox, QDoubleSpinBox, QWidget

from cmfnet_napari.core.scribbles import check_codes
from cmfnet_napari.core.study import load_labels, save_labels
from cmfnet_napari.gui.background_panel import BackgroundPanel
from cmfnet_napari.gui.classes_panel import ClassesPanel
from cmfnet_napari.gui.markup import plain
from cmfnet_napari.gui.session import Session
from cmfnet_napari.gui.tasks import run_in_background, show_failure
from cmfnet_napari.gui.widgets import (
    NOTICE_STYLE,
    ask_file,
    ask_target,
    button,
    column,
    group,
    row,
    text_label,
)


class ScribblePanel(QWidget):
    """Classes, brush, files, and automatic strokes."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self.classes = ClassesPanel(session)
        self.auto = BackgroundPanel(session)
        self.brush = QDoubleSpinBox()
        self.brush.setRange(0.1, 100.0)
        self.brush.setDecimals(1)
        self.brush.setSuffix(" mm")
        self.brush.valueChanged.connect(self._set_brush)
        self.protect = QCheckBox("Keep strokes of other classes")
        self.protect.setToolTip(
            "Painting and filling change only what has no stroke; erasing, only the chosen class"
        )
        self.protect.toggled.connect(self._protect)
        self.message = text_label()
        self.unsaved = text_label()
        self.unsaved.setStyleSheet(NOTICE_STYLE)
        self.unsaved.hide()
        tools = group(
            "Brush",
            row(
                button("Paint", lambda: self._mode("paint"), "P"),
                button("Erase", lambda: self._mode("erase"), "E"),
                button("Move", lambda: self._mode("pan_zoom"), "Z, or hold the space bar"),
                self.brush,
            ),
            row(
                button("Undo", session.undo, "Ctrl+Z"),
                button("Redo", session.redo, "Ctrl+Shift+Z"),
                button("Load…", self._ask_load, "Replace the strokes by those of a file"),
                button("Save…", self._ask_save, "Write the strokes on the CT's grid"),
            ),
            self.protect,
            self.message,
            self.unsaved,
        )
        self._needs_patient = (self.classes, tools, self.auto)
        layout = column(self.classes, tools, self.auto)
        layout.addStretch()
        self.setLayout(layout)
        session.opened.connect(self._on_opened)
        session.closed.connect(self._enable)
        self._enable()
        if session.scribbles is not None:
            self._on_opened()

    def load(self, path: str) -> None:
        """Replace the strokes by those of a file on the CT's grid."""
        grid, patient = self._session.case.study.grid, self._session.patient

        def read() -> np.ndarray:
            return check_codes(load_labels(path, grid), Path(path).name)

        def use(scribbles: np.ndarray) -> None:
            if self._session.patient is patient:
                self._session.load_scribbles(scribbles)
                self.message.setText("The strokes were loaded.")

        run_in_background(read, done=use, failed=show_failure)

    def save(self, path: str) -> None:
        """Write the strokes on the CT's original grid."""
        study, scribbles = self._session.case.study, self._session.recorder.snapshot()
        run_in_background(
            save_labels,
            scribbles,
            study,
            path,
            done=lambda _path: self.message.setText("The strokes were saved."),
            failed=show_failure,
        )

    def _ask_load(self) -> None:
        path = ask_file(self, "Choose a scribbles file")
        if path:
            self.load(path)

    def _ask_save(self) -> None:
        path = ask_target(self, "Save the strokes", "scribbles.nii.gz")
        if path:
            self.save(path)

    def _enable(self) -> None:
        reason = "" if self._session.patient is None else self._session.case.notice
        for widget in self._needs_patient:
            widget.setEnabled(self._session.writable)
            widget.setToolTip(plain(reason))

    def _on_opened(self) -> None:
        self._enable()
        self.message.clear()
        self._session.scribbles.events.brush_size.connect(self._show_brush)
        self._session.scribbles.events.preserve_labels.connect(self._show_protection)
        self._session.recorder.failed.connect(self._on_unsaved)
        self._session.recorder.recorded.connect(self.unsaved.hide)
        self._show_brush()
        self._show_protection()

    def _protect(self, on: bool) -> None:
        if self._session.scribbles is not None:
            self._session.scribbles.preserve_labels = on

    def _show_protection(self) -> None:
        self.protect.setChecked(self._session.scribbles.preserve_labels)

    def _on_unsaved(self, error: Exception) -> None:
        self.unsaved.setText(f"Not saved yet: {error}")
        self.unsaved.show()

    def _mode(self, mode: str) -> None:
        layer = self._session.scribbles
        self._session.viewer.layers.selection.active = layer
        layer.visible = True
        layer.mode = mode

    def _voxel_mm(self) -> float:
        """Napari counts the brush in the finest voxel side that is displayed."""
        spacing = self._session.case.study.grid.spacing
        return min(spacing[axis] for axis in self._session.viewer.dims.displayed)

    def _set_brush(self, mm: float) -> None:
        layer = self._session.scribbles
        size = max(1, round(mm / self._voxel_mm()))
        if layer is not None and size != layer.brush_size:
            layer.brush_size = size

    def _show_brush(self) -> None:
        self.brush.blockSignals(True)
        self.brush.setSingleStep(self._voxel_mm())
        self.brush.setValue(self._session.scribbles.brush_size * self._voxel_mm())
        self.brush.blockSignals(False)
