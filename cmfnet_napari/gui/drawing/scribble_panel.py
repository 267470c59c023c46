"""Step 2: scribble."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from qtpy.QtWidgets import QWidget

from cmfnet_napari.core.images.study import load_values, save_labels
from cmfnet_napari.core.strokes.scribbles import check_codes
from cmfnet_napari.gui.contours.provisional import ProvisionalContour
from cmfnet_napari.gui.contours.provisional_panel import ProvisionalPanel
from cmfnet_napari.gui.drawing.automatic_strokes import AutomaticStrokes
from cmfnet_napari.gui.drawing.automatic_strokes_panel import AutomaticStrokesPanel
from cmfnet_napari.gui.drawing.classes_panel import ClassesPanel
from cmfnet_napari.gui.drawing.drawing import Drawing
from cmfnet_napari.gui.drawing.reshape_panel import ReshapePanel
from cmfnet_napari.gui.drawing.reshaping import Reshaping
from cmfnet_napari.gui.drawing.tools_panel import ToolsPanel
from cmfnet_napari.gui.patient.session import Session
from cmfnet_napari.gui.shared.dialogs import ask_file, ask_target
from cmfnet_napari.gui.shared.markup import plain
from cmfnet_napari.gui.shared.tasks import run_in_background, show_failure
from cmfnet_napari.gui.shared.widgets import (
    NOTICE_STYLE,
    button,
    column,
    group,
    row,
    text_label,
)
from cmfnet_napari.gui.views.navigation import Navigation


class ScribblePanel(QWidget):
    """Classes, tools, automatic strokes, and files."""

    def __init__(
        self,
        session: Session,
        drawing: Drawing,
        reshaping: Reshaping,
        navigation: Navigation,
        automatic_strokes: AutomaticStrokes,
        provisional: ProvisionalContour,
    ) -> None:
        super().__init__()
        self._session = session
        self.classes = ClassesPanel(session)
        self.auto = AutomaticStrokesPanel(session, automatic_strokes)
        self.tools = ToolsPanel(session, drawing)
        self.reshape = ReshapePanel(session, drawing, reshaping, navigation)
        self.provisional = ProvisionalPanel(session, provisional)
        self.message = text_label()
        self.unsaved = text_label()
        self.unsaved.setStyleSheet(NOTICE_STYLE)
        self.unsaved.hide()
        files = group(
            "Strokes in files",
            row(
                button("Load…", self._ask_load, "Replace the strokes by those of a file"),
                button("Save…", self._ask_save, "Write the strokes on the image's grid"),
            ),
            self.message,
        )
        parts = (self.classes, self.tools, self.reshape, self.provisional, self.auto, files)
        self._needs_patient = parts
        layout = column(*parts[:3], self.unsaved, *parts[3:])
        layout.addStretch()
        self.setLayout(layout)
        session.opened.connect(self._on_opened)
        session.closed.connect(self._enable)
        self._enable()
        if session.patient is not None:
            self._on_opened()

    def load(self, path: str) -> None:
        """Replace the strokes by those of a file on the first image's grid."""
        grid, patient = self._session.case.study.grid, self._session.patient

        def read() -> np.ndarray:
            return check_codes(load_values(path, grid), Path(path).name)

        def use(scribbles: np.ndarray) -> None:
            if self._session.patient is patient:
                self._session.load_scribbles(scribbles)
                self.message.setText("The strokes were loaded.")

        run_in_background(read, done=use, failed=show_failure)

    def save(self, path: str) -> None:
        """Write the strokes, as one sees them, on the first image's original grid.

        So also what cannot be saved in the case, as where its disk is full.
        """
        study, scribbles = self._session.case.study, np.array(self._session.scribbles.data)
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
        self._session.recorder.failed.connect(self._on_unsaved)
        self._session.recorder.recorded.connect(self.unsaved.hide)

    def _on_unsaved(self, error: Exception) -> None:
        self.unsaved.setText(f"Not saved yet: {error}")
        self.unsaved.show()
