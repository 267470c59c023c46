"""A model's card as a PDF."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from matplotlib.style import context as style_context

from cmfnet_napari.core.fit.card_sections import FullCard
from cmfnet_napari.core.report.card_words import card_markdown
from cmfnet_napari.core.report.text_pages import Line, save_pages, text_pages, wrapped


@style_context("default")  # whatever a matplotlibrc in the current folder says
def save_card(full: FullCard, path: Path) -> Path:
    """Write a card as a PDF of A4 pages.

    Raises
    ------
    UserError
        The file cannot be written.
    """
    figures = text_pages(_lines(card_markdown(full)))
    info = {"Title": f"Card of {full.name}", "Creator": "cmfnet-napari", "Author": ""}
    return save_pages(figures, info, path)


def _lines(text: str) -> Iterator[Line]:
    """Lines of the pages; a table's row becomes a sentence."""
    for line in text.splitlines():
        if line.startswith("|--") or line.startswith("| group"):
            continue
        if line.startswith("|"):
            group, measure, figures, patients = (c.strip() for c in line.strip("|").split("|"))
            line = f"- {group}: {measure} {figures}, {patients} patients"
        plain = line.lstrip("# ").replace("**", "").strip("*")
        yield from wrapped(plain, "title" if line.startswith("#") else "text")
