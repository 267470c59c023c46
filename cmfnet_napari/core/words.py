"""Names from outside, such as a structure's, shown, in tables, drawn; what every page says."""

from __future__ import annotations

import re

DISCLAIMER = (
    "Research software, not a medical device. Nobody has approved it for treatment or diagnosis; "
    "a qualified person must check every contour."
)
_JOINERS = "\u200c\u200d"  # letters of some scripts need them
_FORMULA = "=+-@"


def clean(name: str) -> str:
    """A name on one line, without what is no letter: line breaks, NUL, turned directions."""
    kept = "".join(c if c.isprintable() or c in _JOINERS else " " for c in name)
    return " ".join(kept.split())


def cell(text: str) -> str:
    """A text for a table that is opened in a spreadsheet, which takes ``=…`` for a formula."""
    text = clean(text)
    return f"'{text}" if text.startswith(tuple(_FORMULA)) else text


def from_cell(text: str) -> str:
    """What `cell` was given."""
    quoted = text[:1] == "'" and text[1:2] in tuple(_FORMULA)
    return text[1:] if quoted else text


def file_name(name: str) -> str:
    """A name that can be a folder's or a file's anywhere: small letters, digits, dots, hyphens."""
    return re.sub(r"[^a-z0-9.]+", "-", name.lower()).strip("-.") or "unnamed"


def drawn(name: str) -> str:
    """A name for a figure, where ``$…$`` would be taken for a formula."""
    return clean(name).replace("$", r"\$")
