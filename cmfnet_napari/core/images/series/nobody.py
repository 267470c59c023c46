"""Patients of whom no header says whose it is: what is tied by its identifiers is one of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Set

from pydicom.dataset import Dataset

# What takes the place of a name or a number when it is removed; letters and digits alone count.
_PLACEHOLDERS = {
    "anon", "anonym", "anonymous", "anonymized", "anonymised", "deidentified", "na", "none",
    "noname", "patient", "removed", "unknown",
}  # fmt: skip
_FILLED = re.compile("0+|x+")  # so does a field that was filled


def says_who(text: str) -> str:
    """A number or name without blanks around it; empty when it names nobody."""
    bare = text.strip(" ^=")
    words = re.split(r"[\W_]+", bare.casefold())
    nobody = all(map(_is_placeholder, filter(None, words))) or _is_placeholder("".join(words))
    return "" if nobody else bare


def _is_placeholder(word: str) -> bool:
    return word in _PLACEHOLDERS or _FILLED.fullmatch(word) is not None


def ties(header: Dataset) -> frozenset[str]:
    """UIDs that tie an object to others of its patient: study, frames of reference, series.

    Also those that it refers to, as a structure set or a registration does.
    """
    return frozenset(filter(None, map(str, _ties(header))))


def _ties(header: Dataset) -> Iterator[object]:
    for keyword in ("SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID"):
        yield header.get(keyword) or ""
    for roi in header.get("StructureSetROISequence") or []:
        yield roi.get("ReferencedFrameOfReferenceUID") or ""
    for keyword in ("ReferencedFrameOfReferenceSequence", "RegistrationSequence"):
        for item in header.get(keyword) or []:
            yield item.get("FrameOfReferenceUID") or ""
    yield from referred_series(header)


def referred_series(header: Dataset) -> Iterator[str]:
    """Series that a structure set or a segmentation refers to."""
    for frame in header.get("ReferencedFrameOfReferenceSequence") or []:
        for study in frame.get("RTReferencedStudySequence") or []:
            for series in study.get("RTReferencedSeriesSequence") or []:
                yield str(series.get("SeriesInstanceUID") or "")
    for series in header.get("ReferencedSeriesSequence") or []:
        yield str(series.get("SeriesInstanceUID") or "")


def tied(sets: Iterable[Set[str]]) -> dict[str, str]:
    """Which UIDs hang together, by each other or by more between them.

    Returns
    -------
    dict of str to str
        Of every UID the least of those that it hangs together with.
    """
    groups: list[set[str]] = []
    for one in sets:
        touched = [group for group in groups if group & one]
        groups = [group for group in groups if not group & one] + [set(one).union(*touched)]
    return {uid: min(group) for group in groups for uid in group}
