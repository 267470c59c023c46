"""Pages of text as figures, titles, paragraphs that are wrapped, and tables; PDFs of them."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from cmfnet_napari.core.files import write_safely
from cmfnet_napari.core.words import clean

A4 = (8.27, 11.69)  # inches
Style = Literal["title", "text", "table", "wide table"]
Line = tuple[str, Style]
_LINES = 58  # of a page
_LETTERS = {"title": 64, "text": 106, "table": 109, "wide table": 118}  # of a line
_SIZES = {"title": 11.0, "text": 9.0, "table": 8.0, "wide table": 7.0}


def wrapped(text: str, style: Style = "text") -> Iterator[Line]:
    """A paragraph as lines; what goes on behind a dash is set in."""
    indent = "  " if text.startswith("- ") else ""
    for line in textwrap.wrap(clean(text), _LETTERS[style], subsequent_indent=indent) or [""]:
        yield line, style


def together(lines: Iterable[Line], block: Sequence[Line]) -> list[Line]:
    """Lines, then a block that no page's end parts: it begins a new page where it must."""
    before = list(lines)
    left = -len(before) % _LINES
    room: list[Line] = [("", "text")] * left if left < len(block) else []
    return [*before, *room, *block]


def text_pages(lines: Iterable[Line]) -> list[Figure]:
    """A4 pages that hold the lines."""
    every = list(lines)
    return [_page(every[start : start + _LINES]) for start in range(0, len(every), _LINES)]


def save_pages(
    figures: Iterable[Figure], info: Mapping[str, str], path: Path, dpi: float | None = None
) -> Path:
    """Write figures as the pages of a PDF; whoever calls chooses the style.

    Parameters
    ----------
    figures : iterable of Figure
        A page each.
    info : mapping of str to str
        What the PDF says of itself, such as ``Title``.
    path : Path
        The PDF.
    dpi : float, optional
        Of images in it.

    Raises
    ------
    UserError
        The file cannot be written.
    """
    from matplotlib.backends.backend_pdf import PdfPages  # the window starts without it

    def write(part: Path) -> None:
        with PdfPages(part, metadata=dict(info)) as pages:
            for figure in figures:
                pages.savefig(figure, dpi=dpi)

    return write_safely(path, ".pdf", write)


def _page(lines: list[Line]) -> Figure:
    figure = Figure(figsize=A4)
    FigureCanvasAgg(figure)
    for number, (line, style) in enumerate(lines):
        figure.text(
            0.08, 0.95 - number * 0.9 / _LINES, line, fontsize=_SIZES[style], va="top",
            weight="bold" if style == "title" else "normal", parse_math=False,
            family="monospace" if style.endswith("table") else "sans-serif",
        )  # fmt: skip
    return figure
