"""Effort over all cases of a computer: a row a case and class, and medians by model.

That is how a department watches a tool: whether contours need more editing than they did, and
which cases stand out. Cases are named by digits of a hash; class names are those that users typed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

import numpy as np

from cmfnet_napari.core.case.effort import Effort, read_effort
from cmfnet_napari.core.case.folder import CARD_FILE, read_card, run_folders
from cmfnet_napari.core.contours.components import volumes_ml
from cmfnet_napari.core.contours.hand_work import HandWork
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.files import new_folder
from cmfnet_napari.core.fit.runs import newest_prediction, run_maker
from cmfnet_napari.core.images.study import load_labels
from cmfnet_napari.core.privacy import inside
from cmfnet_napari.core.report.audit_plots import save_audit
from cmfnet_napari.core.review.case_contour import corrected_model
from cmfnet_napari.core.tables import write_table
from cmfnet_napari.core.words import cell

ALL = "all"  # classes of a case, or models
LEAST = 5  # cases of a model before one of them can stand out
_NO_MODEL = "no contour yet"
_DRAWN = ("open_min", "drawing_min", "editing_min", "path_mm", "changed_ml")


@dataclass(frozen=True)
class CaseEffort:
    """What a case has cost, without whose it is.

    Attributes
    ----------
    case : str
        16 digits of a hash.
    model : str
        What made the contour.
    month : str
        When something was done last, YYYY-MM; empty: not known.
    effort : Effort
        Time, strokes, corrections.
    hand : HandWork
        What corrections have changed of the model's contour.
    volumes_ml : dict of str to float
        Of the contour of record, by class; empty: there is none.
    """

    case: str
    model: str
    month: str
    effort: Effort
    hand: HandWork = field(default_factory=HandWork)
    volumes_ml: dict[str, float] = field(default_factory=dict)

    @property
    def has_contour(self) -> bool:
        """Whether there is one, so that it can be said what of it was changed."""
        return bool(self.volumes_ml)

    @property
    def changed_ml(self) -> float:
        """Volume added and removed by hand, ml."""
        return sum(self.hand.added_ml.values()) + sum(self.hand.removed_ml.values())


@dataclass(frozen=True)
class Figure:
    """How a measure of a case is called, and found; its digits; whether it is of the contour."""

    name: str
    title: str
    of: Callable[[CaseEffort], float]
    digits: int = 1
    of_contour: bool = False

    def among(self, cases: Sequence[CaseEffort]) -> list[CaseEffort]:
        """Cases that have the measure."""
        return [one for one in cases if one.has_contour or not self.of_contour]


FIGURES = (
    Figure("open_min", "patient open, min", lambda one: one.effort.open_s / 60),
    Figure("drawing_min", "drawing, min", lambda one: one.effort.drawing_s / 60),
    Figure("editing_min", "correcting, min", lambda one: one.effort.editing_s / 60),
    Figure("strokes", "strokes", lambda one: sum(one.effort.strokes.values()), 0),
    Figure("corrections", "corrections", lambda one: sum(one.effort.corrections.values()), 0),
    Figure("path_mm", "added path, mm", lambda one: one.hand.path_mm, 0, True),
    Figure("changed_ml", "volume changed, ml", lambda one: one.changed_ml, 1, True),
)


@dataclass(frozen=True)
class Median:
    """A measure over the cases of a model: median, quartiles, and the cases that stand out."""

    model: str
    figure: Figure
    cases: int
    median: float
    low: float
    high: float
    outliers: tuple[str, ...]


def audit_cases(
    folder: Path, show: Callable[[float], object] = lambda _share: None
) -> tuple[list[CaseEffort], list[str]]:
    """Effort of every case in a folder, and sentences about cases that could not be read.

    Parameters
    ----------
    folder : Path
        Such as `find_case.cases_folder`. Windows may have cases open.
    show : callable
        Told the share done, 0 … 1.

    Raises
    ------
    UserError
        There is no case.
    """
    cases = sorted(path.parent for path in folder.glob(f"*/{CARD_FILE}"))
    if not cases:
        raise UserError(f"{folder} holds no case. Open a patient first, or give --cases.")
    found, left_out = [], []
    for done, case in enumerate(cases):
        show(done / len(cases))
        try:
            found.append(case_effort(case))
        except UserError as error:
            left_out.append(f"{case.name} is not counted. {error}")
    return found, left_out


def case_effort(folder: Path) -> CaseEffort:
    """Effort of one case; UserError when it is of another version, or damaged."""
    card, effort = read_card(folder), read_effort(folder)
    month = datetime.fromtimestamp(effort.last, UTC).strftime("%Y-%m") if effort.last else ""
    event = newest_prediction(run_folders(folder))
    if event is None or card.grid is None:  # cases of before 2026-11 say no grid
        return CaseEffort(card.key, _NO_MODEL if event is None else "unknown", month, effort)
    run = inside(folder, PurePosixPath(event.labels).parent.as_posix())
    model = load_labels(inside(folder, event.labels), card.grid)
    corrected = corrected_model(folder, run, model, card.grid, list(event.volumes_ml) or None)
    volumes = volumes_ml(corrected.labels, card.grid, corrected.names)
    return CaseEffort(card.key, run_maker(run), month, effort, corrected.hand, volumes)


def medians(cases: Sequence[CaseEffort]) -> list[Median]:
    """Of every measure, over the cases of each model, and over all where there are several.

    A case without a contour has no added path and no volume, and does not count among all.

    A case stands out when it lies more than one and a half times the distance between the quartiles
    above the upper one (Tukey), of `LEAST` cases at least.
    """
    models = list(dict.fromkeys(one.model for one in cases))
    groups = {model: [one for one in cases if one.model == model] for model in models}
    contoured = [one for one in cases if one.has_contour]
    if len({one.model for one in contoured}) > 1:
        groups[ALL] = contoured
    return [
        _median(model, figure, having)
        for model, of in groups.items()
        for figure in FIGURES
        if (having := figure.among(of))
    ]


def _median(model: str, figure: Figure, cases: Sequence[CaseEffort]) -> Median:
    values = np.array([figure.of(one) for one in cases], dtype=float)
    low, median, high = np.percentile(values, [25, 50, 75])
    limit = high + 1.5 * (high - low) if len(values) >= LEAST else np.inf
    outliers = tuple(one.case for one, value in zip(cases, values, strict=True) if value > limit)
    return Median(model, figure, len(cases), float(median), float(low), float(high), outliers)


def write_audit(cases: Sequence[CaseEffort], out: Path) -> list[Path]:
    """Write cases.csv, medians.csv and audit.png into a folder, which may be there.

    Raises
    ------
    UserError
        It cannot be written.
    """
    if not out.is_dir():
        new_folder(out, private=True)
    tables = {"cases.csv": list(_case_rows(cases)), "medians.csv": _median_rows(cases)}
    written = [write_table(out / name, rows) for name, rows in tables.items()]
    panels = {
        figure.title: {
            model: [(one.month, figure.of(one)) for one in having if one.model == model]
            for model in dict.fromkeys(one.model for one in having)
        }
        for figure in FIGURES
        if figure.name in _DRAWN and (having := figure.among(cases))
    }
    return [*written, save_audit(panels, out / "audit.png")]


def _case_rows(cases: Sequence[CaseEffort]) -> Iterator[list[object]]:
    """A row a case, then one for each of its classes."""
    names = [figure.name for figure in FIGURES]
    yield ["case", "month", "model", "class", *names, "added_ml", "removed_ml", "slices", "ml"]
    for one in cases:
        first = [one.case, one.month, cell(one.model)]
        hand, effort = one.hand, one.effort
        having = [figure for figure in FIGURES if figure.among([one])]
        figures = [round(figure.of(one), 2) if figure in having else "" for figure in FIGURES]
        added, removed = sum(hand.added_ml.values()), sum(hand.removed_ml.values())
        volume = sum(one.volumes_ml.values())
        whole = [_rounded(added), _rounded(removed), hand.slices, _rounded(volume)]
        yield [*first, ALL, *figures, *(whole if one.has_contour else [""] * len(whole))]
        for name in dict.fromkeys([*effort.strokes, *effort.corrections, *one.volumes_ml]):
            more, less = (ml.get(name, 0.0) for ml in (hand.added_ml, hand.removed_ml))
            counts = [effort.strokes.get(name, 0), effort.corrections.get(name, 0)]
            path, volume = round(hand.paths_mm.get(name, 0.0), 2), one.volumes_ml.get(name, 0.0)
            ml = [path, *map(_rounded, (more + less, more, less)), "", _rounded(volume)]
            shown = ml if one.has_contour else [""] * len(ml)
            yield [*first, cell(name), "", "", "", *counts, *shown]


def _median_rows(cases: Sequence[CaseEffort]) -> list[list[object]]:
    rows: list[list[object]] = [
        ["model", "measure", "cases", "median", "quartile_1", "quartile_3", "cases_that_stand_out"]
    ]
    for one in medians(cases):
        numbers = [_rounded(value) for value in (one.median, one.low, one.high)]
        rows.append([cell(one.model), one.figure.name, one.cases, *numbers, " ".join(one.outliers)])
    return rows


def _rounded(value: float) -> float:
    return round(value, 3)
