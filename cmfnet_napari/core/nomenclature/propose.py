"""The nearest names by TG-263 for one that is none: English words, abbreviations, any order."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cache, lru_cache

from cmfnet_napari.core.nomenclature.name_rules import LONGEST, judge
from cmfnet_napari.core.nomenclature.tg263 import LEFT, RIGHT, Structure, structures

MOST = 5
_LEAST = 0.62  # likeness below which a name is another one
_OTHER_PRICE, _NO_SIDE_PRICE = 0.15, 0.04  # a side was said, or was not
_PREFIX = 0.9  # likeness of an abbreviation that a word begins with
_SHORTEST = 3  # letters of an abbreviation

_SIDES: dict[str, str] = {
    "l": "L", "lt": "L", "left": "L", "li": "L", "sin": "L",
    "r": "R", "rt": "R", "right": "R", "re": "R", "dex": "R",
}  # fmt: skip
_ALIKE = {
    "tumour": "tumor", "oesophagus": "esophagus", "oesophageal": "esophagus", "gland": "glnd",
    "artery": "a", "vein": "v", "muscle": "musc", "nerve": "nrv", "node": "ln", "nodes": "ln",
    "vertebra": "vb", "caecum": "cecum", "femoral": "femur",
}  # fmt: skip
_IDLE = {"of", "the", "and", "for", "only", "both", "pair", "set", "whole", "contour", "organ"}
_TUMOURS = {"tumor", "tumors", "lesion", "mass", "sarcoma", "cancer", "metastasis", "met", "gross"}
_NODES = {"ln", "nodal", "lymph", "lymphnode", "lymphnodes"}
_CHAINS = {"ax", "axillary", "neck", "iliac", "pelvic", "inguinal", "obturator", "presacral"}
_CLASSIFIER_WORDS = {
    "p": "p", "prim": "p", "primary": "p", "n": "n", "nodal": "n", "ln": "n", "sb": "sb",
    "bed": "sb", "par": "par", "v": "v", "vas": "vas", "vascular": "vas",
}  # fmt: skip
_LEVELS = {"high": "High", "hi": "High", "low": "Low", "lo": "Low", "mid": "Mid", "medium": "Mid"}
_TARGET = re.compile(r"(igtv|ictv|gtv|ctv|itv|ptv!?)[\s_\-]*(.*)", re.IGNORECASE | re.DOTALL)
_PRV = re.compile(r"[\s_]*prv[\s_]*(\d{1,2})?(?:\s*mm)?", re.IGNORECASE)
# L1 and T05 are words of their own, and no side; in FemurHeadL capitals begin words.
_WORD = re.compile(r"(?<![^\W\d_])[A-Za-z]\d+|[A-Z]+(?![a-z])|[A-Z]?[^\W\d_A-Z]+|\d+")
# A number that others hang on, as in 60/30, is no dose to be sure of.
_DOSE = re.compile(r"(?<![\d.,/])(?:(\d{1,3}(?:[.,]\d{1,2})?)\s*gy|(\d{3,5})\s*cgy)$")
_UNSURE = re.compile(r"\d\s*[.,/]\s*\d|(?<![a-z])(?:mm|c?gy)(?![a-z])")


@dataclass(frozen=True)
class _Said:
    """A name in words."""

    words: tuple[str, ...]
    side: str  # L, R, or LR, which is like neither


def nearest(name: str, most: int = MOST) -> list[str]:
    """Names by TG-263 that may be meant, the likeliest first; empty when nothing is like it.

    A name that says a side is never answered with the other one.

    Parameters
    ----------
    name : str
        As somebody wrote it.
    most : int
        Names at most.
    """
    if judge(name).allowed:
        return [name]
    target = _TARGET.fullmatch(name.strip())
    if target is not None:
        found = _canonical(target[1].upper(), target[2].strip())
    else:
        said, margin = _said(name), _margin(name)
        found = [*_tumours(said, name), *(_with_margin(one, margin) for one in _anatomy(said))]
    return list(dict.fromkeys(one for one in found if judge(one).allowed))[:most]


def remark(name: str, roi_type: str) -> str:
    """What to say of a structure that is exported under a name; empty when there is nothing.

    Parameters
    ----------
    name : str
        Its name.
    roi_type : str
        Its RT ROI Interpreted Type.
    """
    verdict = judge(name)
    if not verdict.allowed:
        found = nearest(name, most=3)
        near = f" Nearest: {', '.join(found)}." if found else ""
        return f"{name} is no name by TG-263. {verdict.why}{near}"
    if verdict.roi_type and verdict.roi_type != roi_type:
        return f"{name} is of the type {verdict.roi_type} by TG-263; it is exported as {roi_type}."
    return ""


def _tumours(said: _Said, name: str) -> list[str]:
    """Targets that a word for a tumour or a lymph node may mean."""
    words = set(said.words)
    number = next((w.lstrip("0") for w in said.words if w.isdigit() and len(w) < 3), "")
    if _UNSURE.search(name.casefold()):  # of a dose, fractions or a margin
        number = ""
    if words & _NODES and not words & _CHAINS:
        return [f"GTVn{number}", f"CTVn{number}"]
    if words & _TUMOURS:
        return [f"GTV{number}", f"GTVp{number}", f"GTVn{number}", f"CTV{number}"]
    return []


def _canonical(kind: str, rest: str) -> list[str]:
    """A target as the rules write it, from its type and what follows; none that may mislead."""
    of = number = dose = ""
    left: list[str] = []
    gray = _DOSE.search(rest.casefold())
    if gray is not None:
        rest = rest[: gray.start()]
        dose = f"_{gray[2] or round(100 * float(gray[1].replace(',', '.')))}"
    if _UNSURE.search(rest.casefold()):  # a dose, fractions or a margin: a guess may be wrong
        return []
    for written in _written(rest):
        word = written.casefold()
        if word in _CLASSIFIER_WORDS and not of and not left:
            of = _CLASSIFIER_WORDS[word]
        elif word in _LEVELS and not dose:
            dose = f"_{_LEVELS[word]}"
        elif word.isdigit() and len(word) < 3 and not number:
            number = word.lstrip("0")
        elif word.isdigit() and 3 <= len(word) <= 5 and not dose:
            dose = f"_{word}"
        else:
            left.append(written)
    plain = f"{kind}{of}{number}{dose}"
    custom = "".join(left)[: max(0, LONGEST - len(plain) - 1)]
    return [f"{plain}^{custom}", plain] if custom else [plain]


@lru_cache(maxsize=512)  # asked for at every key that chooses a class
def _anatomy(said: _Said) -> tuple[str, ...]:
    """Structures whose name or description is like what was said."""
    if not said.words:
        return ()
    known = {word: _likenesses(word) for word in said.words}
    scored = []
    for structure, keys in _keys():
        if said.side and structure.side and structure.side != said.side:
            continue
        score = max(_likeness(said.words, key, known) for key in keys)
        if said.side != structure.side:
            score -= _OTHER_PRICE if said.side else _NO_SIDE_PRICE
        if score >= _LEAST:
            scored.append((-score, len(structure.name), structure.name))
    return tuple(name for _, _, name in sorted(scored))


def _likeness(said: Sequence[str], key: Sequence[str], known: dict[str, dict[str, float]]) -> float:
    """How like two names are, 0 … 1: words one by one, each with its best; or run together."""
    if "".join(said) == "".join(key):
        return 1.0
    there = sum(max(known[word][other] for other in key) for word in said)
    back = sum(max(known[word][other] for word in said) for other in key)
    return (there + back) / (len(said) + len(key))


@lru_cache(maxsize=512)
def _likenesses(word: str) -> dict[str, float]:
    """How like a word every word of the table is, 0 … 1."""
    return {other: _word_likeness(word, other) for other in _vocabulary()}


def _word_likeness(one: str, other: str) -> float:
    if one == other or f"{one}s" == other or one == f"{other}s":
        return 1.0
    short, long = sorted((one, other), key=len)
    if len(short) >= _SHORTEST and long.startswith(short):
        return _PREFIX
    if len(short) < _SHORTEST:
        return 0.0
    matcher = SequenceMatcher(None, one, other, autojunk=False)
    ratio = matcher.ratio() if matcher.quick_ratio() > 0.6 else 0.0
    return ratio if ratio > 0.7 else 0.0


@cache
def _keys() -> list[tuple[Structure, list[tuple[str, ...]]]]:
    """The structures of the table, each with the words of its name and of its description."""
    found = []
    for row in structures().values():
        if row.kind != "Target" and "xx" not in row.name:
            keys = [_said(text).words for text in (row.name, row.description)]
            found.append((row, [key for key in dict.fromkeys(keys) if key]))
    return found


@cache
def _vocabulary() -> frozenset[str]:
    return frozenset(word for _, keys in _keys() for key in keys for word in key)


def _said(name: str) -> _Said:
    words = _words(_PRV.sub(" ", name))
    side = "".join(sorted({_side(word) for word in words}))
    kept = [_ALIKE.get(word, word) for word in words if word not in _SIDES]
    return _Said(tuple(word for word in kept if word not in _IDLE), side)


def _side(word: str) -> str:
    if word.upper() in LEFT:
        return "L"
    return "R" if word.upper() in RIGHT else _SIDES.get(word, "")


def _margin(name: str) -> str:
    """What the rules call a margin that a name speaks of, such as ``_PRV05``; empty: none."""
    match = _PRV.search(name)
    if match is None:
        return ""
    return f"_PRV{int(match[1]):02d}" if match[1] else "_PRV"


def _with_margin(name: str, margin: str) -> str:
    """The margin around a structure: it comes before the side (rule 10)."""
    if not margin:
        return name
    whole, _, side = name.rpartition("_")
    return f"{whole}{margin}_{side}" if side in ("L", "R") else f"{name}{margin}"


def _words(name: str) -> list[str]:
    """The words of a name in small letters: SpinalCord_L2 is spinal, cord, l, 2."""
    return [word.casefold() for word in _written(name)]


def _written(name: str) -> list[str]:
    return _WORD.findall(name)
