"""The page of a commissioning, to be read and signed: a PDF of A4 pages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.style import context as style_context

from cmfnet_napari.core.contours.metrics import TITLES
from cmfnet_napari.core.fit.model_card import software_versions
from cmfnet_napari.core.report.commission_advice import advice
from cmfnet_napari.core.report.commission_facts import (
    SHOWN,
    Commissioning,
    Score,
    against_card,
    card_gaps,
    count_patients,
    known_patients,
)
from cmfnet_napari.core.report.method_pictures import Example, fill_with_examples
from cmfnet_napari.core.report.text_pages import (
    A4,
    Line,
    save_pages,
    text_pages,
    together,
    wrapped,
)
from cmfnet_napari.core.words import DISCLAIMER

_DIGITS = {"dsc": 2, "surface_dsc": 2, "hd95_mm": 1, "path_mm": 0, "path_share": 2}
_SHORT = {
    "dsc": "DSC", "surface_dsc": "SDSC 2 mm", "hd95_mm": "HD95 mm", "path_mm": "APL mm",
    "path_share": "APL share",
}  # fmt: skip
_SIGNED = (
    "Used for: ____________________________________   Not used for: ___________________________",
    "",
    "Medical physicist: ___________________________   Date: ________   Signature: ______________",
    "",
    "Radiation oncologist: ________________________   Date: ________   Signature: ______________",
)
_DECISION: tuple[Line, ...] = (
    ("", "text"),
    ("Decision", "title"),
    ("", "text"),
    *((line, "table") for line in _SIGNED),
)


@style_context("default")  # whatever a matplotlibrc in the current folder says
def save_commissioning(found: Commissioning, pictures: Sequence[Example], path: Path) -> Path:
    """Write the page: what was found, what to tell the users, a place to sign; then every case.

    Parameters
    ----------
    found : Commissioning
        What was found; no patient is named.
    pictures : sequence of Example
        Worst slices, the worst first; may be empty.
    path : Path
        The PDF.

    Raises
    ------
    UserError
        The file cannot be written.
    """
    first = together(_first_page(found), _DECISION)
    figures = [*text_pages(first), *text_pages(_cases(found))]
    if pictures:
        figures.append(_pictures(pictures))
    info = {"Title": f"Commissioning of {found.card.name}", "Creator": "cmfnet-napari"}
    return save_pages(figures, info, path, dpi=150)


def _first_page(found: Commissioning) -> Iterator[Line]:
    versions = software_versions()
    yield from wrapped(f"Commissioning of {found.card.name}", "title")
    yield from wrapped(
        f"{date.today().isoformat()} · {found.structure} · {count_patients(len(found.patients))} · "
        f"strokes of simulated users: {', '.join(found.users)} · cmfnet-napari "
        f"{versions.get('cmfnet-napari', 'unknown')} · model: {found.card.sections.version}, "
        f"file's SHA-256 {found.model_hash[:16] or 'unknown'}…"
    )
    yield from wrapped(DISCLAIMER)
    if known := list(known_patients(found)):
        yield from _section("Patients that the model knows", known)
    unknown = " that the model does not know" if 0 < len(found.known) < len(found.patients) else ""
    title = (
        f"What was found: mean over {count_patients(len(found.tested))}{unknown} (95 % interval)"
    )
    yield from _section(title, ())
    yield from _table(found)
    title = "Against the model's card (alike: as far as so many patients can tell)"
    yield from _section(title, against_card(found))
    yield from _section("What to tell the users", advice(found))
    if gaps := card_gaps(found):
        yield from _section("What the card does not cover", gaps)
    if found.left_out:
        yield from _section("Left out", found.left_out)


def _section(title: str, sentences: Iterator[str] | Sequence[str]) -> Iterator[Line]:
    yield "", "text"
    yield title, "title"
    for sentence in sentences:
        yield from wrapped(f"- {sentence}")


def _table(found: Commissioning) -> Iterator[Line]:
    yield f"{'method, strokes':24}" + "".join(f"{_SHORT[m]:>17}" for m in SHOWN), "table"
    for method in found.methods:
        for users in found.users:
            cells = (_cell(found, method, users, measure) for measure in SHOWN)
            yield f"{f'{method}, {users}':24.24}" + "".join(f"{c:>17}" for c in cells), "table"
    names = "; ".join(f"{_SHORT[name]}: {TITLES[name]}" for name in SHOWN[1:])
    yield from wrapped(f"{names}. APL is added path length. Definitions: docs/metrics.md.")


def _cell(found: Commissioning, method: str, users: str, measure: str) -> str:
    mean = found.mean(method, users, measure)
    if mean is None:
        return "–"
    digits = _DIGITS[measure]
    if mean.patients == 1:  # of one there is no interval
        return f"{mean.mean:.{digits}f}"
    return f"{mean.mean:.{digits}f} ({mean.low:.{digits}f}–{mean.high:.{digits}f})"


def _cases(found: Commissioning) -> Iterator[Line]:
    yield "Every contour", "title"
    head = f"{'patient':8}{'method, strokes':24}{'ml':>8}{'by hand':>9}"
    yield head + "".join(f"{_SHORT[m]:>10}" for m in SHOWN) + f"{'worst':>7}{'s':>6}", "wide table"
    for one in found.scores:
        yield _case(one, one.patient in found.known), "wide table"
    yield "", "text"
    yield from wrapped(
        "worst: the axial slice with most voxels wrong, from 1 on. Patients are named by number; "
        "which folder each came from stands in patients.csv beside this page."
    )
    if found.known:
        yield from wrapped(f"*: {found.card.name} was made with this patient.")
    for patient in found.patients:
        yield from wrapped(f"- patient {patient.number}: {patient.kinds}, {patient.key}")


def _case(one: Score, known: bool) -> str:
    scores = one.scores
    values = (getattr(scores, measure) for measure in SHOWN)
    figures = "".join(
        f"{'–' if value is None else f'{value:.{_DIGITS[measure]}f}':>10}"
        for measure, value in zip(SHOWN, values, strict=True)
    )
    ml = f"{scores.volume_ml:>8.1f}{scores.reference_ml:>9.1f}"
    what = f"{f'{one.method}, {one.users}':24.24}"
    number = f"{one.patient}{'*' if known else ''}"
    return f"{number:<8}{what}{ml}{figures}{one.slice_ + 1:>7}{one.seconds:>6.0f}"


def _pictures(examples: Sequence[Example]) -> Figure:
    """Worst slices on one page; the contour by hand is dashed."""
    high = min(A4[1], 0.6 + 3.0 * len(examples))
    figure = Figure(figsize=(A4[0], high), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle("Worst slices: by hand dashed, found solid", fontsize=11, weight="bold")
    fill_with_examples(figure, examples)
    for axes in figure.axes:
        axes.yaxis.label.set_fontsize(7)
    return figure
