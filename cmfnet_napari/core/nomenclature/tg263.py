"""The structures that TG-263 names (Mayo et al., Int J Radiat Oncol Biol Phys 100, 2018).

``tg263.csv`` is the table of the package tg263 0.2.0 (Gabriel Couture, MIT licence), which took
it from the supplement of AAPM's report 263, version of 15 August 2017. Left out are volumes of
margins (PRV), which a rule makes of their structures. Two slips are mended: ``LN_lliac_Int_R`` is
written with a capital I, and ``Colon_PTVxx`` is the margin of the colon. Codes of the Foundational
Model of Anatomy (FMA) are left out where the table contradicts itself, since a code of the other
side would be worse than none: two sides or an artery and a vein share one, the description names
the other side, or left comes before right, as nowhere else.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal

Side = Literal["L", "R", ""]

_UNTURNED = {"Bladder_Wall", "Rectal_Wall", "Jejunum_Ileum"}  # as in the table
_VERTEBRAE = "VB"  # VB_L is lumbar
# How a name says a side: with a lobe or a concha too.
RIGHT = ("R", "RI", "RUL", "RML", "RLL")
LEFT = ("L", "LI", "LUL", "LLL")


@dataclass(frozen=True)
class Structure:
    """A row of the table.

    Attributes
    ----------
    name : str
        Primary name.
    kind : str
        ``Anatomic``, ``Target``, ``Non-Anatomic``, ``Derived`` or ``Surgical``.
    group : str
        Part of the body.
    description : str
        In English; may be empty.
    fma : str
        Code in the Foundational Model of Anatomy; empty where there is none.
    """

    name: str
    kind: str
    group: str
    description: str
    fma: str

    @property
    def reverse(self) -> str:
        """Its reverse order name (TG-263, 7.2, rule 13)."""
        return self.name if self.name in _UNTURNED else turned(self.name)

    @property
    def side(self) -> Side:
        """Which side of the patient it is on, where the name says."""
        *parts, last = self.name.split("_")
        if not parts or parts == [_VERTEBRAE]:
            return ""
        return "L" if last in LEFT else "R" if last in RIGHT else ""


def turned(name: str) -> str:
    """A name with its parts the other way round; what is taken away of it stays behind."""
    whole, minus, rest = name.partition("-")
    if whole == "E":  # all tissue but a target
        return name
    return "_".join(reversed(whole.split("_"))) + minus + rest


@cache
def structures() -> dict[str, Structure]:
    """All structures by their primary name in small letters."""
    text = files(__package__).joinpath("tg263.csv").read_text(encoding="utf-8")
    rows = (Structure(**row) for row in csv.DictReader(text.splitlines()))
    return {row.name.casefold(): row for row in rows}


@cache
def by_any_order() -> dict[str, tuple[str, Structure]]:
    """By primary and reverse order name in small letters: how it is written, and the structure."""
    found = {row.reverse.casefold(): (row.reverse, row) for row in structures().values()}
    return found | {key: (row.name, row) for key, row in structures().items()}
