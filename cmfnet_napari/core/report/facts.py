"""What a report says of a contour, gathered from a run and its review; no patient, no path."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cmfnet_napari.core.arrays import Wholes
from cmfnet_napari.core.case.effort import Effort, read_effort
from cmfnet_napari.core.contours.components import volumes_ml
from cmfnet_napari.core.contours.doubt import from_percent
from cmfnet_napari.core.contours.hand_work import HandWork
from cmfnet_napari.core.contours.metrics import Evaluation
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.fit.events import Finished
from cmfnet_napari.core.fit.model_card import MODEL_FILE, Card, read_card, software_versions
from cmfnet_napari.core.fit.runs import UNKNOWN, run_maker
from cmfnet_napari.core.geometry.plane import View
from cmfnet_napari.core.images.study import Study, load_values
from cmfnet_napari.core.privacy import inside
from cmfnet_napari.core.review.case_contour import is_case
from cmfnet_napari.core.review.check_log import LogCheck
from cmfnet_napari.core.review.places import Place, find_places
from cmfnet_napari.core.review.record import Record, State, digest, slice_digests
from cmfnet_napari.core.review.standing import named_classes, standing
from cmfnet_napari.core.strokes.scribbles import ScribbleClass, label_colors


@dataclass(frozen=True)
class ReportFacts:
    """What a report says.

    Attributes
    ----------
    case : str
        `Case.key`: digits of a hash, which name the case folder too where nobody named it.
    volumes_ml : dict
        By class, in order of their codes.
    colors : dict of int to str
        Of the case's classes, #rrggbb by code; none where there is no case.
    strokes, held_out : float or None
        Agreement with the strokes; with strokes while they were held out. 0 … 1.
    evaluation : Evaluation or None
        Against a reference or a second observer, when it was compared.
    slices : dict
        By plane: slices with contour that were looked at, and all with contour.
    places : dict
        Number of places by state.
    hand : HandWork
        What the user has changed of the model's contour.
    effort : Effort
        Time, strokes and corrections of the case; nothing where there is none.
    model : str
        The run's name and day, and what it was trained on.
    sign_off : str
        Whether it is a draft, reviewed or peer-reviewed, and by whom, in a sentence, with what is
        wrong with the log; empty without one.
    software : dict
        Versions that made this report.
    """

    case: str
    volumes_ml: dict[str, float]
    colors: dict[int, str] = field(default_factory=dict)
    strokes: float | None = None
    held_out: float | None = None
    evaluation: Evaluation | None = None
    slices: dict[View, tuple[int, int]] = field(default_factory=dict)
    places: dict[State, int] = field(default_factory=dict)
    hand: HandWork = field(default_factory=HandWork)
    effort: Effort = field(default_factory=Effort)
    model: str = UNKNOWN
    sign_off: str = ""
    software: dict[str, str] = field(default_factory=software_versions)


def gather_facts(
    study: Study,
    labels: Wholes,
    *,
    names: Sequence[str] | None = None,
    classes: Sequence[ScribbleClass] = (),
    finished: Finished | None = None,
    run: Path | None = None,
    places: Sequence[Place] = (),
    record: Record | None = None,
    evaluation: Evaluation | None = None,
    hand: HandWork | None = None,
    case: str = "",
    log: LogCheck | None = None,
) -> ReportFacts:
    """Gather what a report says.

    Parameters
    ----------
    study : Study
        One image or two.
    labels : integer array (z, y, x) on the Study's Grid
        The contour of record.
    names : sequence of str, optional
        Of the classes 1, 2, ….
    classes : sequence of ScribbleClass
        Those of the case, where there is one.
    finished : Finished, optional
        How the run ended.
    run : Path, optional
        The run's folder, for the card of its model, and for what its case has cost.
    places : sequence of Place
        To look at.
    record : Record, optional
        What was looked at.
    evaluation : Evaluation, optional
        This very contour against another one.
    hand : HandWork, optional
        What the user has changed of the model's contour.
    case : str, optional
        `Case.key`, where there is a case: a study whose second image was moved has another hash.
    log : LogCheck, optional
        The case's review log.
    """
    record = record or Record()
    digests = slice_digests(labels)
    slices = {p: (len(record.seen_slices(p, digests)), len(all_)) for p, all_ in digests.items()}
    states = Counter(record.state_of(place, labels, study.grid) for place in places)
    states["corrected"] = sum(d.state == "corrected" for d in record.decisions)
    return ReportFacts(
        case=case or study.content_hash[:16],
        volumes_ml=volumes_ml(labels, study.grid, names),
        colors=label_colors(classes),
        strokes=None if finished is None else finished.agreement,
        held_out=None if finished is None else finished.held_out,
        evaluation=evaluation,
        hand=hand or HandWork(),
        effort=_effort(run),
        slices=slices,
        places=dict(states),
        model=_model(run),
        sign_off=_sign_off(log, digest(labels), classes),
    )


def read_places(finished: Finished, root: Path, study: Study, labels: Wholes) -> list[Place]:
    """Places to look at, from the files that a run left.

    Raises
    ------
    UserError
        A file is missing, damaged, or on another grid.
    """
    probability = load_values(inside(root, finished.probabilities), study.grid)
    apart = None
    if finished.disagreement:
        apart = from_percent(load_values(inside(root, finished.disagreement), study.grid))
    return find_places(labels, probability, study.grid, apart)


def _sign_off(log: LogCheck | None, contour: str, classes: Sequence[ScribbleClass]) -> str:
    """How far it is signed off, with what is wrong with the log that says so."""
    if log is None or log.nothing:
        return ""
    found = standing(log.entries, contour, named_classes(classes))
    return f"{found.sentence} {log.fault}".strip()


def _effort(run: Path | None) -> Effort:
    """What the case that a run lies in has cost; a damaged journal is told of elsewhere."""
    folder = None if run is None else run.resolve().parents[1]
    if folder is None or not is_case(folder):
        return Effort()
    try:
        return read_effort(folder)
    except UserError:
        return Effort()


def _model(run: Path | None) -> str:
    if run is None:
        return UNKNOWN
    if not (run / MODEL_FILE).is_file():
        maker = run_maker(run)
        return maker if maker == UNKNOWN else f"{run.name}, {maker}"
    try:
        return f"{run.name}, {_describe(read_card(run))}"
    except UserError:
        return f"{run.name} (its model is damaged)"


def _describe(card: Card) -> str:
    version = card.software.get("cmfnet-napari", "unknown")
    day = card.created or "on an unknown day"
    preset, steps = card.config.preset, card.steps
    return f"preset {preset}, {steps} steps, made {day} with cmfnet-napari {version}"
