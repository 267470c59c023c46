"""The report of a run from its files, without a window."""

from __future__ import annotations

from pathlib import Path

from cmfnet_napari.core.case.folder import read_card
from cmfnet_napari.core.contours.metrics import evaluate
from cmfnet_napari.core.errors import UserError, say
from cmfnet_napari.core.files import read_json
from cmfnet_napari.core.fit.runs import CONFIG_FILE, read_run
from cmfnet_napari.core.images.study import Study, load_labels
from cmfnet_napari.core.privacy import inside
from cmfnet_napari.core.report.facts import gather_facts, read_places
from cmfnet_napari.core.report.page import save_report
from cmfnet_napari.core.review.case_contour import corrected_model, is_case
from cmfnet_napari.core.review.check_log import check_log
from cmfnet_napari.core.review.record import read_record


def _check_images(run: Path, study: Study) -> None:
    """Refuse images that a run was not made from: two patients may have one grid.

    The first image alone is compared, since a report does without the second. Where a run of an
    earlier version, or of a model that only predicted, keeps no hash of it, that is said.

    Raises
    ------
    UserError
        The first image is another.
    """
    known = read_json(run / CONFIG_FILE) if (run / CONFIG_FILE).is_file() else {}
    if known.get("first") == study.first_hash or known.get("study") == study.content_hash:
        return
    if "first" in known:
        raise UserError(
            f"The {study.names[0]} is not the image that {run.name} was made from: its voxels are "
            "others. Give the image of the fit, with --subtract as it was then."
        )
    root = run.absolute().parents[1]
    if not is_case(root) or read_card(root).voxels != study.voxel_hash:
        say(
            f"{run.name} keeps no hash of this image: only the grid was compared, which another "
            "patient's may share. Look whether it is the image that was contoured."
        )


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
        The run is not complete or of another first image, its files are missing, damaged, or of
        other images, or the PDF cannot be written.
    """
    run = Path(run)
    finished = read_run(run).finished
    if finished is None:
        raise UserError(f"{run} holds no training that is complete. Choose the folder of a run.")
    _check_images(run, study)
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
