"""Step 4: review the contour."""

from __future__ import annotations

from qtpy.QtWidgets import QWidget

from cmfnet_napari.gui.comparison import Comparison
from cmfnet_napari.gui.places_panel import PlacesPanel
from cmfnet_napari.gui.result import Result
from cmfnet_napari.gui.result_panel import ResultPanel
from cmfnet_napari.gui.review import Review
from cmfnet_napari.gui.session import Session
from cmfnet_napari.gui.slices_panel import SlicesPanel
from cmfnet_napari.gui.widgets import column


class ReviewPanel(QWidget):
    """The prediction, places to look at, slices looked at, and a comparison."""

    def __init__(
        self, session: Session, result: Result, review: Review, comparison: Comparison
    ) -> None:
        super().__init__()
        self.result = ResultPanel(result)
        self.places = PlacesPanel(session, review)
        self.slices = SlicesPanel(session, result, review, comparison)
        layout = column(self.result, self.places, self.slices)
        layout.addStretch()
        self.setLayout(layout)
