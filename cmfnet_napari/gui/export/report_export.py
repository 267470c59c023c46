"""Report and table of the contour as files. It holds no widget."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import QObject

from cmfnet_napari.core.contours.components import volumes_ml
from cmfnet_napari.core.contours.hand_work import hand_work
from cmfnet_napari.core.contours.metrics import evaluate
from cmfnet_napari.core.contours.score_table import write_scores
from cmfnet_napari.core.report.facts import gather_facts
from cmfnet_napari.core.review.check_log import check_log
from cmfnet_napari.gui.contours.comparison import Comparison
from cmfnet_napari.gui.contours.result import Result
from cmfnet_napari.gui.patient.classes import class_names
from cmfnet_napari.gui.patient.session import Session
from cmfnet_napari.gui.review.review import Review
from cmfnet_napari.gui.shared.tasks import run_in_background, show_failure


class ReportExport(QObject):
    """Writes what the review found; `Result.saved` tells of it."""

    def __init__(
        self,
        session: Session,
        result: Result,
        review: Review,
        comparison: Comparison,
    ) -> None:
        super().__init__(session)
        self._session = session
        self._result, self._review, self._comparison = result, review, comparison

    @property
    def _times(self) -> list[float]:
        return self._session.corrections.times

    def save_report(self, path: str) -> None:
        """Write one page of PDF about the contour of record.

        Raises
        ------
        UserError
            There is no prediction.
        """
        case, result = self._session.case, self._result
        labels, model, other = result.shown(), result.model_labels, self._comparison.other
        grid, names, times = case.study.grid, class_names(case.classes), self._times
        known = {
            "case": case.key,
            "names": names,
            "classes": case.classes,
            "finished": result.event,
            "run": case.folder / result.run if result.run else None,
            "places": tuple(self._review.places),
            "record": self._review.record,
        }

        def write() -> Path:
            from cmfnet_napari.core.report.page import save_report  # the window starts without it

            # Of these very labels: what the window has computed may be of an older contour.
            scores = None if other is None else evaluate(labels, other, grid, names)
            work = hand_work(model, labels, grid, names, times)
            log = check_log(case.folder, case.key)
            facts = gather_facts(case.study, labels, evaluation=scores, hand=work, log=log, **known)
            return save_report(case.study, labels, facts, path, other)

        run_in_background(write, done=result.tell_saved, failed=show_failure)

    def save_table(self, path: str) -> None:
        """Write volumes and, if it is compared, scores of the contour of record, as CSV.

        Raises
        ------
        UserError
            There is no prediction.
        """
        case, result, other = self._session.case, self._result, self._comparison.other
        labels, grid, names = result.shown(), case.study.grid, class_names(case.classes)
        model, times = result.model_labels, self._times

        def write() -> Path:
            scores = None if other is None else evaluate(labels, other, grid, names)
            work = hand_work(model, labels, grid, names, times)
            return write_scores(path, volumes_ml(labels, grid, names), scores, work)

        run_in_background(write, done=result.tell_saved, failed=show_failure)
