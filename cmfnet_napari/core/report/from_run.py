"""The report of a run from its files, without a window."""

from __future__ import annotations

from pathlib import Path

from cmfnet_napari.core.case.folder import read_card
from cmfnet_napari.core.contours.metrics import evaluate
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.fit.runs import read_run
from cmfnet_napari.core.images.study import Study, load_labels
from cmfnet_napari.core.privacy import inside
from cmfnet_napari.core.report.facts import gather_facts, read_places
from cmfnet_napari.core.report.page import save_report
from cmfnet_napari.core.review.case_contour import corrected_model, is_case
from cmfnet_napari.core.review.check_log import check_log
from cmfnet_napari.core.review.record import read_record


def report_run(
    run: str | Path, study: Study, path: str | Path, reference: str | Path | None = None
) -> Path:
    """Write the PDF of a run's contour; if it lies in a case, as corrected, with what was reviewed.

    Parameters
    ----------
    run : path
        Folder of a run that is complete.
    study : Study
        What it was made from.
    path : path
        The PDF.
    reference : path, optional
        A contour on the first image's grid to compare with.

    Raises
    ------
    UserError
        The run is not complete, its files are missing, damaged, or of other images, or the PDF
        cannot be written.
    """
    run = Path(run)
    finished = read_run(run).finished
    if finished is None:
        raise UserError(f"{run} holds no training that is complete. Choose the folder of a run.")
    root = run if (run / finished.labels).is_file() else run.resolve().parents[1]
    names = list(finished.volumes_ml) or None
    model = load_labels(inside(root, finished.labels), study.grid)
    found = corrected_model(root, run, model, study.grid, names)
    labels, names = found.labels, found.names
    other = None if reference is None else load_labels(reference, study.grid)
    key = read_card(root).key if is_case(root) else ""
    facts = gather_facts(
        study,
        labels,
        names=names,
        classes=found.classes,
        finished=finished,
        run=run,
        places=read_places(finished, root, study, labels),
        record=read_record(root),
        evaluation=None if other is None else evaluate(labels, other, study.grid, names),
        hand=found.hand,
        case=key,
        log=check_log(root, key) if key else None,
    )
    return save_report(study, labels, facts, path, other)
