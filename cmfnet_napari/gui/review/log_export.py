"""The review log as a file to archive, apart from all images. It holds no widget."""

from __future__ import annotations

from qtpy.QtCore import QObject

from cmfnet_napari.gui.contours.result import Result
from cmfnet_napari.gui.patient.session import Session
from cmfnet_napari.gui.review.review import Review
from cmfnet_napari.gui.shared.tasks import run_in_background, show_failure


class LogExport(QObject):
    """Writes the log; `Result.saved` tells of it."""

    def __init__(self, session: Session, result: Result, review: Review) -> None:
        super().__init__(session)
        self._session, self._result, self._review = session, result, review

    def save(self, path: str) -> None:
        """Write the log as PDF or JSON, by the file's ending."""
        from cmfnet_napari.core.report.log_file import save_log  # the window starts without it

        case, contour = self._session.case, self._review.contour
        classes, order = case.classes, case.order
        run_in_background(
            save_log, case, classes, order, contour, path,
            done=self._result.tell_saved, failed=show_failure,
        )  # fmt: skip
