"""Step 4: review the contour."""

from __future__ import annotations

from qtpy.QtWidgets import QWidget

from cmfnet_napari.gui.contours.comparison import Comparison
from cmfnet_napari.gui.contours.result import Result
from cmfnet_napari.gui.contours.result_panel import ResultPanel
from cmfnet_napari.gui.patient.session import Session
from cmfnet_napari.gui.review.corrections_panel import CorrectionsPanel
from cmfnet_napari.gui.review.places_panel import PlacesPanel
from cmfnet_napari.gui.review.review import Review
from cmfnet_napari.gui.review.slices_panel import SlicesPanel
from cmfnet_napari.gui.shared.widgets import column
from cmfnet_napari.gui.views.navigation import Navigation


class ReviewPanel(QWidget):
    """The prediction, corrections, places to look at, slices looked at, and a comparison."""

    def __init__(
        self,
        session: Session,
        result: Result,
        review: Review,
        comparison: Comparison,
        navigation: Navigation,
    ) -> None:
        super().__init__()
        self.result = ResultPanel(result)
        self.corrections = CorrectionsPanel(session, result, navigation)
        self.places = PlacesPanel(session, review)
        self.slices = SlicesPanel(session, result, review, comparison)
        layout = column(self.result, self.corrections, self.places, self.slices)
        layout.addStretch()
        self.setLayout(layout)
