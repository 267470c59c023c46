"""What a journal holds: strokes, corrections, changes of classes; and how its file holds them."""

from __future__ import annotations

import json
import time
import zlib
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import numpy as np

from cmfnet_napari.core.arrays import Codes, Wholes
from cmfnet_napari.core.strokes.class_order import MOST_CLASSES, ClassStep

Source = Literal[
    "hand",
    "auto-background",
    "auto-foreground",
    "interpolation",
    "import",
    "tool",
    "take back",
    "classes",
    "undo",
    "redo",
]
Row = tuple[Any, ...]  # of the journal's file, in the order of `COLUMNS`

COLUMNS = "time, author, source, target, kind, run, voxels, old, new, classes"
_LARGEST = 1 << 31  # bytes of a stroke's voxels; a damaged length must not fill the memory


@dataclass(frozen=True)
class Stroke:
    """One user action.

    Attributes
    ----------
    voxels : int64 array (n,)
        Flat indices into the scribbles (C order of z, y, x), each at most once.
    old, new : uint8 array (n,)
        Codes before and after.
    source : str
        ``hand`` (painted, filled or erased), ``auto-background``, ``auto-foreground``,
        ``interpolation``, ``import``, ``tool`` (one that changes many voxels at once),
        ``take back`` (corrections that were given up), ``classes`` (a class was removed or
        merged), ``undo`` or ``redo``.
    author : str
        Who drew it; empty when not said.
    time : float
        Seconds since 1970, UTC.
    target : int or None
        Number of the entry that an undo takes back, a redo brings back, or of the one correction
        that a ``take back`` gives up.
    """

    voxels: Wholes
    old: Codes
    new: Codes
    source: Source = "hand"
    author: str = ""
    time: float = field(default_factory=time.time)
    target: int | None = None

    @property
    def touched(self) -> Wholes:
        """Flat indices of all voxels it speaks of."""
        return self.voxels

    def undone(self) -> Stroke:
        """What takes it back; `target` and the like are the journal's to say."""
        return replace(self, old=self.new, new=self.old)


@dataclass(frozen=True)
class Correction(Stroke):
    """One edit of a contour: what the user says of voxels, whatever a model says.

    Its codes are those of scribbles: `old` and `new` are 0 where nothing was corrected before, or
    is any more.

    Attributes
    ----------
    run : str
        Which contour was edited: folder of the run within the case, or ``provisional``.
    """

    run: str = ""


@dataclass(frozen=True)
class ClassChange(Stroke):
    """A class that was removed or merged into another: what becomes of all that was drawn.

    Its voxels and codes are those of the strokes.

    Attributes
    ----------
    corrected : Stroke
        The same for corrections: voxels, codes before and after.
    step : ClassStep
        Which class went.
    """

    corrected: Stroke = field(kw_only=True)
    step: ClassStep = field(kw_only=True)

    @property
    def touched(self) -> Wholes:
        """As in `Stroke`."""
        return np.concatenate([self.voxels, self.corrected.voxels])

    def undone(self) -> Stroke:
        """As in `Stroke`."""
        return replace(self, old=self.new, new=self.old, corrected=self.corrected.undone())


def class_change(strokes: Codes, corrections: Codes, step: ClassStep) -> ClassChange:
    """What a class that goes changes.

    Parameters
    ----------
    strokes, corrections : uint8 array (z, y, x)
        Scribble codes as they are.
    step : ClassStep
        Which class goes.
    """
    (voxels, old, new), corrected = (
        _recoded(codes.reshape(-1), step.table) for codes in (strokes, corrections)
    )
    return ClassChange(voxels, old, new, "classes", corrected=Stroke(*corrected), step=step)


def _recoded(codes: Codes, table: Codes) -> tuple[Wholes, Codes, Codes]:
    """Voxels whose code a table changes, with the code before and after."""
    voxels = np.flatnonzero(table[codes] != codes)
    return voxels, codes[voxels], table[codes[voxels]]


def difference(before: Codes, after: Codes, source: Source = "hand") -> Stroke | None:
    """Stroke that turns one uint8 scribble array into another; None when they are equal."""
    voxels = np.flatnonzero(before.ravel() != after.ravel())
    if not voxels.size:
        return None
    return Stroke(voxels, before.ravel()[voxels], after.ravel()[voxels], source)


def row_of(entry: Stroke) -> Row:
    """An entry as a row of a journal."""
    voxels, old, new, kind, run, classes = entry.voxels, entry.old, entry.new, "stroke", "", ""
    match entry:
        case Correction():
            kind, run = "correction", entry.run
        case ClassChange():
            kind, more = "classes", entry.corrected
            classes = json.dumps(asdict(entry.step) | {"strokes": len(voxels)})
            voxels = np.concatenate([voxels, more.voxels])
            old, new = np.concatenate([old, more.old]), np.concatenate([new, more.new])
    return (
        entry.time,
        entry.author,
        entry.source,
        entry.target,
        kind,
        run,
        zlib.compress(np.ascontiguousarray(voxels, dtype="<i8").tobytes(), 1),
        zlib.compress(np.ascontiguousarray(old, dtype=np.uint8).tobytes(), 1),
        zlib.compress(np.ascontiguousarray(new, dtype=np.uint8).tobytes(), 1),
        classes,
    )


def entry_of(
    moment: float,
    author: str,
    source: Source,
    target: int | None,
    kind: str,
    run: str,
    packed_voxels: bytes,
    packed_old: bytes,
    packed_new: bytes,
    classes: str,
) -> Stroke:
    """A row of a journal as what it was; ValueError, TypeError or zlib.error if it is damaged."""
    voxels = np.frombuffer(_unpack(packed_voxels), "<i8").astype(np.int64)
    old, new = (np.frombuffer(_unpack(part), np.uint8) for part in (packed_old, packed_new))
    if not voxels.size == old.size == new.size:
        raise ValueError(f"{voxels.size} voxels with {old.size} and {new.size} codes")
    how = source, author, moment, target
    if kind == "stroke":
        return Stroke(voxels, old, new, *how)
    if kind == "correction":
        return Correction(voxels, old, new, *how, run)
    if kind == "classes":
        step, n = step_of(classes), _whole(json.loads(classes).get("strokes"))
        rest = Stroke(voxels[n:], old[n:], new[n:])
        return ClassChange(voxels[:n], old[:n], new[:n], *how, corrected=rest, step=step)
    raise ValueError(f"an entry is of the kind {kind}")


def step_of(classes: str) -> ClassStep:
    """Which class went, as a row tells it; ValueError or TypeError if it is damaged."""
    told = json.loads(classes)
    if not isinstance(told, dict):
        raise ValueError("a change of classes is none")
    before = tuple(_whole(number) for number in told.get("before", ()))
    gone, into = _whole(told.get("gone")), _whole(told.get("into"))
    known = {0, *before}  # 0: none
    told_apart = len(before) < len(known) <= MOST_CLASSES
    if not told_apart or gone not in before or into not in known - {gone}:
        raise ValueError("a change of classes is of none that there were")
    return ClassStep(before, gone, into)


def _whole(number: Any) -> int:
    if not isinstance(number, int) or number < 0:
        raise ValueError("a change of classes has no number")
    return number


def _unpack(packed: bytes) -> bytes:
    unpacker = zlib.decompressobj()
    data = unpacker.decompress(packed, _LARGEST)
    if not unpacker.eof:
        raise ValueError("a stroke is cut off")
    return data
