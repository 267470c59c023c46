"""The contour of record of a case folder, without a window: a run's labels, corrected by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cmfnet_napari.core.arrays import Codes
from cmfnet_napari.core.case.case_classes import case_classes, run_table, translated
from cmfnet_napari.core.case.folder import CARD_FILE, JOURNAL_FILE, Case, open_case, read_card
from cmfnet_napari.core.case.view_state import marked_only
from cmfnet_napari.core.contours.components import kept_of_model
from cmfnet_napari.core.contours.hand_work import HandWork, hand_work
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.fit.events import Finished
from cmfnet_napari.core.fit.runs import maker_name, newest_prediction, saw_strokes
from cmfnet_napari.core.images.grid import Grid
from cmfnet_napari.core.images.study import Study, load_labels
from cmfnet_napari.core.privacy import inside
from cmfnet_napari.core.review.check_log import LogCheck, check_log
from cmfnet_napari.core.review.log_entry import no_log
from cmfnet_napari.core.review.record import digest
from cmfnet_napari.core.review.signer import End
from cmfnet_napari.core.review.standing import Standing, named_classes, standing
from cmfnet_napari.core.strokes.corrections import contour_of_record, read_words
from cmfnet_napari.core.strokes.journal import Journal
from cmfnet_napari.core.strokes.scribbles import FIRST_CLASS, ScribbleClass, label_colors


@dataclass(frozen=True, eq=False)
class CaseContour:
    """What counts as the contour of a case.

    Attributes
    ----------
    labels : uint8 array (z, y, x) on the Study's Grid
        The contour of record.
    study : Study
        Where it lies.
    names : list of str
        Of the classes 1, 2, ….
    colors : dict of int to str
        By class, #rrggbb.
    run : str
        Name of the run's folder.
    model : str
        What made it, as `runs.maker_name`.
    corrected : bool
        Whether the user says something of any voxel.
    by_itself : bool
        The model saw neither strokes nor corrections of this patient.
    """

    labels: Codes
    study: Study
    names: list[str]
    colors: dict[int, str]
    run: str
    model: str
    corrected: bool
    by_itself: bool


def case_contour(folder: str | Path) -> CaseContour:
    """The contour of record of a case: what the window shows when it opens it.

    Parameters
    ----------
    folder : path
        Of the case. Another window may have it open.

    Raises
    ------
    UserError
        No case, no contour yet, or a file is damaged.
    """
    case = open_case(folder, read_only=True)
    try:
        event = newest_prediction(case.runs())
        if event is None:
            raise UserError(f"{Path(folder).name} has no contour yet. Train first.")
        return _contour(case, event)
    finally:
        case.close()


def case_log(folder: Path, against: Sequence[End] = ()) -> LogCheck:
    """The review log of a case folder, checked as `check_log` does.

    Raises
    ------
    UserError
        No case, no log and none known to have been, or a file cannot be read.
    """
    check = check_log(folder, read_card(folder).key, against)
    if check.nothing:
        raise no_log(folder)
    return check


def case_stage(folder: str | Path) -> tuple[Standing, LogCheck]:
    """How far the contour of a case is signed off, by its review log, and that log.

    Raises
    ------
    UserError
        No case, no log, or a file is damaged.
    """
    case = open_case(folder, read_only=True)
    try:
        return stage_of(case)
    finally:
        case.close()


def stage_of(case: Case) -> tuple[Standing, LogCheck]:
    """The same of a case that is open; any thread may ask."""
    check = case_log(case.folder)
    contour = contour_digest(case)
    return standing(check.entries, contour, named_classes(case.classes)), check


def contour_digest(case: Case) -> str:
    """`record.digest` of the contour of record of a case that is open; empty without one."""
    event = newest_prediction(case.runs())
    return "" if event is None else digest(_contour(case, event).labels)


def is_case(folder: str | Path) -> bool:
    """Whether a path is a case folder."""
    return (Path(folder) / CARD_FILE).is_file()


@dataclass(frozen=True, eq=False)
class Corrected:
    """A model's labels as the user left them.

    Attributes
    ----------
    labels : uint8 array (z, y, x)
        The contour of record.
    hand : HandWork
        What corrections changed.
    names : list of str or None
        Of the classes 1, 2, …
    classes : tuple of ScribbleClass
        Those of the case, the background too; none where there is no case.
    """

    labels: Codes
    hand: HandWork
    names: list[str] | None
    classes: tuple[ScribbleClass, ...] = ()


def corrected_model(
    folder: Path, run: Path, model: Codes, grid: Grid, names: list[str] | None
) -> Corrected:
    """A model's labels with the corrections of a folder, if it is a case, and what they changed.

    Parameters
    ----------
    folder : Path
        Of a case, or anything else.
    run : Path
        The run's folder, whose classes may be others than the case's are now.
    model : integer array (z, y, x)
        Segmentation codes.
    grid : Grid
        Where they lie.
    names : list of str or None
        Of the run's classes 1, 2, ….

    Raises
    ------
    UserError
        The journal is damaged.
    """
    if not is_case(folder) or not (folder / JOURNAL_FILE).is_file():
        return Corrected(model, HandWork(), names)
    journal = Journal(folder / JOURNAL_FILE, read_only=True)
    try:
        card, steps = read_card(folder), journal.class_steps
        model = translated(model, run_table(run, card, steps))
        classes = case_classes(card, steps)
        names = [entry.name for entry in classes if entry.code >= FIRST_CLASS]
        strokes, words = read_words(journal, grid.shape)
        shown = kept_of_model(model, strokes, words, marked_only(folder))
        record = contour_of_record(shown, words)
        work = hand_work(shown, record, grid, names, journal.correction_times())
        return Corrected(record, work, names, classes)
    finally:
        journal.close()


def superseded(path: str | Path) -> bool:
    """Whether a file is a model's own contour in a case that was corrected, or lost a class."""
    parents = Path(path).resolve().parents
    if len(parents) < 3 or parents[1].name != "runs" or not is_case(parents[2]):
        return False
    if not (parents[2] / JOURNAL_FILE).is_file():
        return False
    journal = Journal(parents[2] / JOURNAL_FILE, read_only=True)
    try:
        if next(journal.standing_corrections(), None) is not None:
            return True
        steps = journal.class_steps
        return run_table(parents[0], read_card(parents[2]), steps) is not None
    finally:
        journal.close()


def _contour(case: Case, event: Finished) -> CaseContour:
    grid = case.study.grid
    strokes, words = read_words(case.journal, grid.shape)
    path = inside(case.folder, event.labels)
    labels = translated(load_labels(path, grid), case.run_table(path.parent))
    model = kept_of_model(labels, strokes, words, marked_only(case.folder))
    return CaseContour(
        labels=contour_of_record(model, words),
        study=case.study,
        names=case.class_names,
        colors=label_colors(case.classes),
        run=path.parent.name,
        model=maker_name(path.parent),
        corrected=bool(words.voxels.size),
        by_itself=not words.voxels.size and not saw_strokes(case.folder, event),
    )
