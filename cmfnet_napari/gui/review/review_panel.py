"""Step 4: review the contour."""

from __future__ import annotations

from qtpy.QtWidgets import QWidget

from cmfnet_napari.gui.contours.comparison import Comparison
from cmfnet_napari.gui.contours.result import Result
from cmfnet_napari.gui.contours.result_panel import ResultPanel
from cmfnet_napari.gui.patient.session import Session
from cmfnet_napari.gui.review.corrections_panel import CorrectionsPanel
from cmfnet_napari.gui.review.log_export import LogExport
from cmfnet_napari.gui.review.places_panel import PlacesPanel
from cmfnet_napari.gui.review.review import Review
from cmfnet_napari.gui.review.sign_off import SignOff
from cmfnet_napari.gui.review.sign_off_panel import SignOffPanel
from cmfnet_napari.gui.review.slices_panel import SlicesPanel
from cmfnet_napari.gui.shared.widgets import column
from cmfnet_napari.gui.views.navigation import Navigation


class ReviewPanel(QWidget):
    """The prediction, corrections, places to look at, slices looked at, a comparison, sign-off."""

    def __init__(
        self,
        session: Session,
        result: Result,
        review: Review,
        comparison: Comparison,
        navigation: Navigation,
        sign_off: SignOff,
        log_export: LogExport,
    ) -> None:
        super().__init__()
        self.result = ResultPanel(result)
        self.corrections = CorrectionsPanel(session, result, navigation)
        self.places = PlacesPanel(session, review)
        self.slices = SlicesPanel(session, result, review, comparison)
        self.sign_off = SignOffPanel(sign_off, log_export)
        parts = self.result, self.corrections, self.places, self.slices, self.sign_off
        layout = column(*parts)
        layout.addStretch()
        self.setLayout(layout)
