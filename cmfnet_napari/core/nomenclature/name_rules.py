"""Whether a structure's name is one by TG-263, and if not, why (AAPM report 263, 7.2 and 8.2)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from cmfnet_napari.core.nomenclature.tg263 import Structure, by_any_order

LONGEST = 16  # rule 1: what most vendors' systems show
TARGETS = {
    "GTV": "Gross tumour volume",
    "IGTV": "Internal gross tumour volume",
    "CTV": "Clinical target volume",
    "ICTV": "Internal clinical target volume",
    "ITV": "Internal target volume",
    "PTV": "Planning target volume",
    "PTV!": "Planning target volume without those of higher dose",
}
CLASSIFIERS = {
    "p": "primary",
    "n": "nodal",
    "sb": "surgical bed",
    "par": "parenchyma",
    "v": "venous thrombosis",
    "vas": "vascular",
}
_ROI_TYPES = {"IGTV": "GTV", "ICTV": "CTV", "ITV": "CTV", "PTV!": "PTV"}  # others: their own name
_OUTLINES = {"Body", "External"}
_WHERE = {"Postop", "Preop", "TumorBed", "Boost", "Eval"}  # besides the structures of the table
_TARGET = re.compile(
    r"(?P<type>PTV!|I?GTV|I?CTV|ITV|PTV)(?P<of>par|vas|sb|p|n|v)?(?P<number>\d{1,2})?"
    r"(?P<imaging>_(?:(?:CT|PT|MR|SP)\d{1,2})+)?"
    r"(?P<where>(?:_[A-Za-z]\w*?)??)"
    r"(?P<dose>_(?:High|Low|Mid(?:\d\d)?|(?:\d{3,5}|\d{1,3}(?:[.p]\d{1,2})?Gy)(?:x\d{1,2})?))?"
    r"(?P<crop>-\d\d)?",
    re.ASCII,
)
_LETTERS = re.compile(r"[A-Za-z0-9_^~+\-!.]*")
_MARGIN = re.compile(r"_PRV\d{0,2}(?=_|$)|^PRV\d{0,2}_|(?<=_)PRV\d{0,2}_")
_NUMBERS = re.compile(r"(?<=^Bolus_)\d\d(?=mm$)|(?<=_)\d{4}$|(?<=^IDL)_\d{3,5}$")
_MINUS = re.compile(r"-(?:I?GTV|I?CTV|ITV|PTV)$")
_PLANNING = re.compile(r"(?:z[A-Z0-9]|_\w).*")


@dataclass(frozen=True)
class Verdict:
    """What the rules say of a name.

    Attributes
    ----------
    name : str
        What was judged.
    why : str
        A sentence on why the name is not allowed; empty when it is.
    about : str
        What an allowed name means.
    roi_type : str
        RT ROI Interpreted Type that an allowed name asks for; empty: any.
    structure : Structure or None
        The row of the table.
    whole : bool
        It is that structure, not a part, a margin, or what is left of it.
    """

    name: str
    why: str = ""
    about: str = ""
    roi_type: str = ""
    structure: Structure | None = None
    whole: bool = False

    @property
    def allowed(self) -> bool:
        """Whether the name is one by TG-263."""
        return not self.why


def judge(name: str) -> Verdict:
    """Judge a structure's name.

    Parameters
    ----------
    name : str
        As it would be exported; small and capital letters count.
    """
    if why := _form(name):
        return Verdict(name, why)
    core, _, custom = name.partition("^")
    found = _target(core) or _anatomy(core) or _planning(core)
    if found is None:
        return Verdict(name, _unknown(core))
    if "^" in name and not re.fullmatch(r"[A-Za-z0-9_+\-]+", custom):
        return Verdict(name, "What follows ^ is letters, digits, _ + or -.")
    about = f"{found.about}, “{custom}”" if custom else found.about
    return Verdict(name, "", about, found.roi_type, found.structure, found.whole)


def _form(name: str) -> str:
    """What is wrong with the letters of a name, in a sentence."""
    if not name:
        return "A name is missing."
    if " " in name:
        return "TG-263 allows no spaces; an underscore divides a name."
    if not _LETTERS.fullmatch(name):
        odd = next(letter for letter in name if not _LETTERS.fullmatch(letter))
        return f"TG-263 does not allow “{odd}”: letters A to Z, digits, and _ ^ ~ + - ! are."
    if len(name) > LONGEST:
        return f"The name has {len(name)} characters; TG-263 allows {LONGEST}."
    return ""


def _target(core: str) -> Verdict | None:
    match = _TARGET.fullmatch(core)
    if match is None:
        return None
    where = match["where"][1:]
    if where and where not in _WHERE and _listed(where) is None:
        return None
    kind = match["type"]
    words = [TARGETS[kind]]
    words += [CLASSIFIERS[match["of"]]] if match["of"] else []
    words += [f"number {int(match['number'])}"] if match["number"] else []
    words += [where] if where else []
    words += [f"dose {match['dose'][1:]}"] if match["dose"] else []
    words += [f"cropped by {int(match['crop'][1:])} mm"] if match["crop"] else []
    return Verdict(core, "", ", ".join(words), _ROI_TYPES.get(kind, kind))


def _anatomy(core: str) -> Verdict | None:
    """A structure of the table, a part of one (~), its margin (PRV), or one less a target."""
    base, parts = re.subn(r"~(?=_|-|$)", "", core)
    base, margins = _MARGIN.subn("", base)
    if "xx" in base:  # stands for digits
        return None
    structure, minus = _listed(base) or _listed(_NUMBERS.sub(_as_listed, base)), None
    if structure is None and (minus := _MINUS.search(base)) is not None:
        structure = _listed(base[: minus.start()])
    if structure is None or parts > 1 or margins > 1:
        return None
    if margins and structure.kind != "Anatomic":
        return None
    about = structure.description or structure.name.replace("_", " ")
    about = f"part of: {about}" if parts else about
    about = f"margin around: {about}" if margins else about
    about = f"{about}, less {minus[0][1:]}" if minus else about
    derived = bool(parts or margins or minus)
    return Verdict(core, "", about, _type_of(structure, derived), structure, not derived)


def _type_of(structure: Structure, derived: bool) -> str:
    if structure.name in _OUTLINES and not derived:
        return "EXTERNAL"
    return "ORGAN" if structure.kind in ("Anatomic", "Surgical") else ""


def _planning(core: str) -> Verdict | None:
    if _PLANNING.fullmatch(core) is None:
        return None
    return Verdict(core, "", "not used to judge a dose (z or _ in front)")


def _as_listed(match: re.Match[str]) -> str:
    """Digits as the x that the table has in their place; an isodose line's has none."""
    return "" if match[0].startswith("_") else "x" * len(match[0])


def _listed(name: str) -> Structure | None:
    """The structure that a name is, capitals included."""
    written, structure = by_any_order().get(name.casefold(), ("", None))
    return structure if written == name else None


def _unknown(core: str) -> str:
    found = by_any_order().get(core.casefold())
    if "xx" in core:
        return "xx stands for digits."
    if found is not None:
        return f"TG-263 writes it {found[0]}."
    if core.upper().startswith(tuple(TARGETS)):
        return "It begins like a target and does not go on like one, as GTVp1 or CTV_High do."
    return "It is not in the list of TG-263."
