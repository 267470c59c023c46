"""How far a contour is signed off: draft, reviewed, peer-reviewed; from the entries of its log."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.files import JsonObject
from cmfnet_napari.core.review.log_entry import Entry
from cmfnet_napari.core.strokes.scribbles import FIRST_CLASS, ScribbleClass, segmentation_code

Stage = Literal["draft", "reviewed", "peer-reviewed"]
_MARKS = ("reviewed", "peer-reviewed")


@dataclass(frozen=True)
class Standing:
    """What a log says of a contour.

    Attributes
    ----------
    stage : str
        ``draft``, ``reviewed`` or ``peer-reviewed``.
    sentence : str
        The same in words: who, when, what is missing, how the two readers differ.
    mark : Entry or None
        What made it so.
    """

    stage: Stage
    sentence: str
    mark: Entry | None = None


def named_classes(classes: Iterable[ScribbleClass]) -> list[JsonObject]:
    """What the labels of a contour stand for, as a mark says it: label, number and name."""
    return [
        {"label": segmentation_code(entry.code), "number": entry.number, "name": entry.name}
        for entry in classes
        if entry.code >= FIRST_CLASS
    ]


def standing(
    entries: Sequence[Entry], contour: str, classes: Sequence[JsonObject] | None
) -> Standing:
    """How far a contour is signed off.

    Parameters
    ----------
    entries : sequence of Entry
        Of the log, as `check_log` found them written.
    contour : str
        `record.digest` of the contour as it is now.
    classes : sequence of dict or None
        What its labels stand for now, as `named_classes` says it; None: nobody knows.
    """
    marks = standing_marks(entries)
    own = [mark for mark in marks if is_about(mark, contour, classes)]
    peer = next((mark for mark in reversed(own) if mark.what == "peer-reviewed"), None)
    if peer is not None:
        return Standing("peer-reviewed", _peer_sentence(peer, entries), peer)
    if own:
        return Standing("reviewed", f"Reviewed {_by(own[-1])}.", own[-1])
    if marks:
        last = marks[-1]
        how = "peer-reviewed" if last.what == "peer-reviewed" else "reviewed"
        named = last.contour == contour
        what = "classes were renamed or merged" if named else "the contour has changed"
        return Standing(
            "draft", f"Draft again: {what} since it was {how} by {last.who} on {last.moment}."
        )
    taken_back = next((e for e in reversed(entries) if e.what == "withdrawn"), None)
    if taken_back is not None:
        why = f"{taken_back.who} took the review back on {taken_back.moment}"
        return Standing("draft", f"Draft: {why}.")
    return Standing("draft", "Draft: nobody has signed it off.")


def is_about(mark: Entry, contour: str, classes: Sequence[JsonObject] | None) -> bool:
    """Whether a mark was given to this contour, its labels standing for the same classes.

    Marks of earlier versions say nothing of classes. Parameters are as in `standing`.
    """
    same = classes is None or all(one in classes for one in mark.detail.get("classes", []))
    return mark.contour == contour and same


def standing_marks(entries: Sequence[Entry]) -> list[Entry]:
    """Entries that sign a contour off and were not taken back, oldest first."""
    since = max((k for k, entry in enumerate(entries) if entry.what == "withdrawn"), default=-1)
    return [entry for entry in entries[since + 1 :] if entry.what in _MARKS]


def first_review(entries: Sequence[Entry], second: str) -> Entry:
    """The newest review by another reader, which a second one is about.

    Parameters
    ----------
    entries : sequence of Entry
        Of the log.
    second : str
        Name of the second reader.

    Raises
    ------
    UserError
        Nobody has reviewed it, or nobody but the second reader.
    """
    reviews = [entry for entry in standing_marks(entries) if entry.what == "reviewed"]
    if not reviews:
        raise UserError("Nobody has reviewed this contour yet. The first reader marks it first.")
    others = [entry for entry in reviews if entry.reader.casefold() != second.casefold()]
    if not others:
        raise UserError(
            f"{second} has reviewed it already; a second reader is somebody else. Type the name of "
            "who looks at it now."
        )
    return others[-1]


def _peer_sentence(peer: Entry, entries: Sequence[Entry]) -> str:
    first = next((entry for entry in entries if entry.n == peer.detail.get("first")), None)
    after = "" if first is None else f", after {first.who} on {first.moment}"
    return f"Peer-reviewed {_by(peer)}{after}. {difference_sentence(peer.detail)}"


def _by(mark: Entry) -> str:
    """Who, when, and what was not looked at."""
    said = f"by {mark.who} on {mark.moment}"
    if unseen := mark.detail.get("unseen"):
        said += f", {'1 axial slice' if unseen == 1 else f'{unseen} axial slices'} not looked at"
    if left := mark.detail.get("open"):
        said += f", {'1 place' if left == 1 else f'{left} places'} not decided about by anybody"
    return said


def difference_sentence(detail: JsonObject) -> str:
    """How two readers differ, as a mark says it."""
    slices = detail.get("slices", 0)
    if not slices:
        return "Both readers have the same contour."
    parts = [
        f"{name}: Dice {one['dice']:.3f}, +{one['added_ml']:.2f} −{one['removed_ml']:.2f} ml"
        for name, one in detail.get("difference", {}).items()
    ]
    where = "1 axial slice" if slices == 1 else f"{slices} axial slices"
    return f"The second reader changed {where}: {'; '.join(parts)}."
