"""A model's card in words: as Markdown and as JSON."""

from __future__ import annotations

import re
from collections.abc import Iterator

from cmfnet_napari.core.contours.metrics import TITLES
from cmfnet_napari.core.files import JsonObject
from cmfnet_napari.core.fit.card_sections import FullCard, Performance, Scope
from cmfnet_napari.core.words import DISCLAIMER, clean

_NOTHING = "*The card says nothing of this.*"
_BLANK = re.compile(r"\n{3,}")


def card_json(full: FullCard) -> JsonObject:
    """All of a card as one JSON object."""
    return {
        "model": full.name,
        **full.sections.model_dump(mode="json"),
        "missing": list(full.missing),
        "header": full.card.model_dump(mode="json"),
    }


def card_markdown(full: FullCard) -> str:
    """The six sections of a card."""
    said, training = full.sections, full.sections.training
    facts = {
        "images": training.images,
        "scanner": training.scanner,
        "anatomy": training.anatomy,
        "patients": str(training.patients or ""),
        "drawn by": training.drawn_by,
        "source": training.source,
    }
    parts = {
        "Intended use and population": [said.intended_use, said.population],
        "Training data": [*_facts(facts), *_scope(said.scope)],
        "Performance": [said.performance_notes, *_performance(said.performance)],
        "Limits and risks": _items(said.limits),
        "How to watch it": _items(said.monitoring),
        "Version and licence": [said.version, said.licence],
    }
    lines = [f"# {clean(full.name)}", "", DISCLAIMER, ""]
    if full.gap:
        lines += [f"**{clean(full.gap)}**", ""]
    for title, paragraphs in parts.items():
        lines += [f"## {title}", ""]
        for text in [text for text in paragraphs if text] or [_NOTHING]:
            lines += [text] if text.startswith(("- ", "|")) else ["", text, ""]
        lines.append("")
    return _BLANK.sub("\n\n", "\n".join(lines))


def _items(sentences: tuple[str, ...]) -> list[str]:
    return [f"- {clean(sentence)}" for sentence in sentences]


def _facts(facts: dict[str, str]) -> list[str]:
    return [f"- {name}: {clean(text) or 'not said'}" for name, text in facts.items()]


def _scope(scope: Scope) -> Iterator[str]:
    ranges = {
        "voxels within slices": scope.in_plane_mm,
        "distance of slices": scope.slice_mm,
        "field of view": scope.field_mm,
        "length along the slices": scope.length_mm,
    }
    for name, known in ranges.items():
        if known is not None:
            yield f"- {name}: {known[0]:g} to {known[1]:g} mm"


def _performance(rows: tuple[Performance, ...]) -> list[str]:
    if not rows:
        return []
    table = ["| group | measure | mean (95 % interval) | patients |", "|---|---|---|---|"]
    for row in rows:
        figures = f"{row.mean:.3g} ({row.low:.3g} to {row.high:.3g})"
        measure = TITLES.get(row.measure, row.measure)
        table.append(f"| {clean(row.group)} | {clean(measure)} | {figures} | {row.patients} |")
    return table
