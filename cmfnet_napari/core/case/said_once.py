"""What was said of a patient already, so that it is said once: a small file in the case folder."""

from __future__ import annotations

from pathlib import Path

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.files import read_json, write_json

_FILE = "said.json"


def said_before(folder: Path, what: str) -> bool:
    """Whether something was said of a case; what cannot be read was not."""
    return what in _said(folder)


def note_said(folder: Path, what: str) -> None:
    """Note that something was said of a case; UserError when it cannot be written."""
    if what not in (said := _said(folder)):
        write_json(folder / _FILE, {"said": [*said, what]})


def _said(folder: Path) -> list[str]:
    try:
        said = read_json(folder / _FILE).get("said")
    except UserError:
        return []
    return [text for text in said if isinstance(text, str)] if isinstance(said, list) else []
