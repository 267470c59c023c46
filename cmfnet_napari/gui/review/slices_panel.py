"""Slices looked at, area slice by slice, and what the contour is compared with."""

from __future__ import annotations

from collections.abc import Callable

from napari.layers import Labels
from qtpy.QtWidgets import QComboBox, QInputDialog, QLabel, QTableWidget, QWidget

from cmfnet_napari.core.contours.metrics import Evaluation
from cmfnet_napari.core.contours.score_table import score_rows
from cmfnet_napari.core.contours.slice_areas import Areas, slice_areas
from cmfnet_napari.core.geometry.plane import VIEWS
from cmfnet_napari.gui.contours.comparison import Comparison
from cmfnet_napari.gui.contours.result import Result
from cmfnet_napari.gui.patient.session import Session
from cmfnet_napari.gui.review.area_plot import AreaPlot
from cmfnet_napari.gui.review.review import Review
from cmfnet_napari.gui.shared.dialogs import ask_file
from cmfnet_napari.gui.shared.tasks import run_in_background, show_failure
from cmfnet_napari.gui.shared.widgets import ProgressBar, column, fill_table, group, row, said

_SHOWN = 12  # letters of a name at least, however long others are
_CHOICES = {
    "nothing": "Nothing",
    "previous": "The training before",
    "sample": "The sample's own contour",
    "reading": "What a reader signed off",
    "file": "A contour from a file…",
}


class FreshComboBox(QComboBox):
    """A list that is made anew whenever it is opened."""

    def __init__(self, fill: Callable[[], None]) -> None:
        super().__init__()
        self._fill = fill
        self.setSizeAdjustPolicy(self.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(_SHOWN)

    def showPopup(self) -> None:  # noqa: N802 (Qt's name)
        """Fill it, then open it."""
        self._fill()
        super().showPopup()


class SlicesPanel(QWidget):
    """Coverage, curve and table."""

    def __init__(
        self, session: Session, result: Result, review: Review, comparison: Comparison
    ) -> None:
        super().__init__()
        self._session, self._result = session, result
        self._review, self._comparison = review, comparison
        self._plane = VIEWS[0]
        self._areas: Areas | None = None
        self.bar = ProgressBar()
        self.bar.setToolTip("A slice counts once its contour stayed on the screen for a moment")
        self.plot = AreaPlot(session.viewer)
        self.plot.clicked.connect(self._go)
        self.choice = FreshComboBox(self._show_choice)
        self.choice.setToolTip(
            "An earlier training, any structure or contour that is loaded, or one from a file: "
            "structure set, DICOM segmentation, or labels on the image's grid"
        )
        self.choice.activated.connect(said(self._compare))
        self.table = QTableWidget()
        self.table.hide()
        self._slices = group("Slices", self.bar, self.plot)
        compared = row(QLabel("Compare with"), self.choice, stretch=1)
        self._scores = group("Comparison", compared, self.table)
        layout = column(self._slices, self._scores)
        layout.setContentsMargins(0, 0, 0, 0)
        self.setLayout(layout)
        self._review.changed.connect(self._show_coverage)
        self._review.seen_slices.moved.connect(self._on_moved)
        result.changed.connect(self._on_result)
        self._comparison.changed.connect(self._on_other)
        session.opened.connect(self._show_choice)
        self._comparison.asked.connect(self._ask_structure)
        self._comparison.evaluated.connect(self._on_evaluated)
        self._show_choice()
        self._on_result(None)

    def _go(self, index: int) -> None:
        self._review.go_to_slice(self._plane, index)

    def _compare(self, index: int) -> None:
        try:
            self._use(self.choice.itemData(index))
        finally:
            self._show_choice()  # what is asked for may not be there, or takes a moment to read

    def _use(self, kind: str | Labels) -> None:
        if isinstance(kind, Labels):
            self._comparison.use_layer(kind)
            return
        if kind == "file":
            path = ask_file(self, "Choose a contour: RTSTRUCT, SEG, or labels on the image's grid")
            if path:
                self._comparison.use_file(path)
            return
        use = {
            "nothing": self._comparison.use_nothing,
            "previous": self._comparison.use_previous,
            "sample": self._comparison.use_sample,
            "reading": self._comparison.use_reading,
        }
        use[kind]()

    def _ask_structure(self, path: str, names: list[str]) -> None:
        """A file with several structures, none called like a class."""
        title, question = "Compare with", "Which structure of the file?"
        name, chosen = QInputDialog.getItem(self, title, question, names, 0, False)
        if chosen:
            self._comparison.use_file(path, name)

    def _show_choice(self) -> None:
        """What can be compared with now, and what is."""
        comparison = self._comparison
        self.choice.clear()
        for kind, words in _CHOICES.items():
            if kind == "file":
                for layer in comparison.loaded:
                    self.choice.addItem(layer.name, layer)
            there = {"sample": comparison.has_sample, "reading": comparison.kind == "reading"}
            if there.get(kind, True):
                self.choice.addItem(words, kind)
        now = comparison.layer or comparison.kind
        data = [self.choice.itemData(index) for index in range(self.choice.count())]
        self.choice.setCurrentIndex(data.index(now) if now in data else 0)

    def _on_moved(self, plane: str, index: int) -> None:
        if plane != self._plane:
            self._plane = plane
            self._measure()
            self._show_coverage()
        self.plot.show_slice(index)

    def _on_result(self, volumes: dict[str, float] | None) -> None:
        for widget in (self._slices, self._scores):
            widget.setEnabled(volumes is not None)
        self._measure()

    def _on_other(self) -> None:
        self._show_choice()
        self._measure()

    def _measure(self) -> None:
        """Areas of the slices, off the GUI thread."""
        labels, other, plane = self._result.labels, self._comparison.other, self._plane
        if labels is None:
            self._areas = None
            self._show_coverage()
            return
        grid, axis = self._session.case.study.grid, VIEWS.index(plane)

        def done(areas: Areas) -> None:
            if self._result.labels is labels and self._plane == plane:
                self._areas = areas
                self._show_coverage()

        run_in_background(slice_areas, labels, grid, axis, other, done=done, failed=show_failure)

    def _show_coverage(self) -> None:
        seen, all_ = self._review.coverage(self._plane)
        self.bar.setRange(0, max(all_, 1))
        self.bar.setValue(seen)
        self.bar.setFormat(f"{seen} of {all_} {self._plane} slices with contour looked at")
        self.plot.show_areas(self._areas, self._review.unseen(self._plane))

    def _on_evaluated(self, evaluation: Evaluation | None) -> None:
        if evaluation is None:
            self.table.hide()
            return
        names, rows = score_rows(self._result.volumes, evaluation)
        fill_table(self.table, names, rows)
