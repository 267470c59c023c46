"""What is left of a contour for the next one: new strokes change it around them, not everywhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from scipy import ndimage

from cmfnet_napari.core.arrays import Codes, Mask, Reals, three
from cmfnet_napari.core.files import write_safely
from cmfnet_napari.core.geometry.boxes import Box
from cmfnet_napari.core.strokes.scribbles import scribbles_hash
from cmfnet_napari.learning.predict.prediction import Prediction
from cmfnet_napari.learning.predict.scale import Scale

# Working voxels at which what is read anew counts 1/e: how far a stroke tells about a border.
_REACH = 8.0
_HASH = "strokes"  # beside what is known of the classes: which strokes that was read from


@dataclass(frozen=True, eq=False)
class Found:
    """A class as it was found.

    Attributes
    ----------
    scale : Scale
        Where, and on which working voxels.
    voxel : float
        Their side that was asked for, mm.
    chance, apart : float16 arrays (z, y, x) of the scale's region
        Chance of the class, and how far the branches are apart.
    """

    scale: Scale
    voxel: float
    chance: np.ndarray
    apart: np.ndarray

    @property
    def region(self) -> Box:
        """The part of the Study's Grid."""
        return self.scale.region


@dataclass(frozen=True, eq=False)
class Last:
    """The last contour: what it was read from (uint8, Study's Grid), and each class by its code."""

    scribbles: Codes
    classes: Mapping[int, Found]


def save_last(last: Last, file: Path) -> None:
    """Write each class of a contour, in place of those of the one before."""
    arrays: dict[str, Any] = {_HASH: scribbles_hash(last.scribbles)} | {
        f"{code} {name}": value
        for code, found in last.classes.items()
        for name, value in {
            "region": [(side.start, side.stop) for side in found.region],
            "size": found.scale.size,
            "voxel": found.voxel,
            "chance": found.chance,
            "apart": found.apart,
        }.items()
    }
    write_safely(file, ".npz", lambda part: np.savez(part, **arrays))


def load_last(file: Path, scribbles: Codes) -> Last:
    """What `save_last` wrote of a contour of these strokes.

    Without any class where it cannot be read, or was written of other strokes: then all is read
    anew, as for the first contour.
    """
    try:
        with np.load(file, allow_pickle=False) as arrays:
            if str(arrays[_HASH]) != scribbles_hash(scribbles):
                return Last(scribbles, {})
            codes = {int(name.split()[0]) for name in arrays.files if name != _HASH}
            found = {code: _found(code, arrays, scribbles.shape) for code in sorted(codes)}
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        found = {}
    return Last(scribbles, found)


def _found(code: int, arrays: Mapping[str, np.ndarray], shape: tuple[int, ...]) -> Found:
    """A class as it was written; ValueError where it does not fit into the study."""
    z, y, x = (slice(int(start), int(stop)) for start, stop in arrays[f"{code} region"])
    size = three(int(n) for n in arrays[f"{code} size"])
    chance, apart = (arrays[f"{code} {name}"].astype(np.float16) for name in ("chance", "apart"))
    sides = tuple(side.stop - side.start for side in (z, y, x))
    inside = all(0 <= s.start < s.stop <= n for s, n in zip((z, y, x), shape, strict=True))
    if not inside or not chance.shape == apart.shape == sides:
        raise ValueError(f"class {code} does not lie in the study")
    return Found(Scale((z, y, x), size), float(arrays[f"{code} voxel"]), chance, apart)


@dataclass(frozen=True)
class Contoured(Prediction):
    """A prediction from strokes, and what the next one of the same study goes on from."""

    last: Last | None = None


@dataclass(frozen=True, eq=False)
class Drawn:
    """Working voxels where something was drawn since the last contour, and where it was before."""

    new: Mask
    old: Mask


def blended(now: Found, before: Found, more: Drawn, less: Drawn) -> Found:
    """What is found now around what was drawn since, and what was found before further away.

    Else one stroke may change a contour everywhere, as all of it is read anew: on a patient five
    correct strokes cost 0.03 of DSC, far from where they were drawn. A stroke of the class takes
    nothing from it, and one of anything else adds nothing to it. Where a new stroke is nearer than
    those before, it reaches further: into a slice that nobody had drawn on, say.

    Parameters
    ----------
    now, before : Found
        Their regions may differ; outside of its own the class was not there before.
    more, less : Drawn
        On the working voxels of `now`. Of `more`, strokes of the class, with what was erased; of
        `less`, new ones of anything else, with what was erased, and all of before.
    """
    size = tuple(side.stop - side.start for side in now.region)
    chance, apart = (np.zeros(size, dtype=np.float32) for _ in range(2))
    here, there = _overlap(now.region, before.region)
    chance[here], apart[here] = before.chance[there], before.apart[there]
    gained, lost = (_nearness(drawn, now.scale) for drawn in (more, less))
    change = now.chance - chance
    chance += gained * change.clip(min=0) + lost * change.clip(max=0)
    apart += np.maximum(gained, lost) * (now.apart - apart)
    return replace(now, chance=chance.astype(np.float16), apart=apart.astype(np.float16))


def _nearness(drawn: Drawn, scale: Scale) -> Reals:
    """1 at what was drawn, falling to 0, float32 in the scale's region."""
    if not drawn.new.any():
        return np.zeros(tuple(side.stop - side.start for side in scale.region), dtype=np.float32)
    away = ndimage.distance_transform_edt(~drawn.new).astype(np.float32)
    if drawn.old.any():
        away *= np.minimum(1, away / ndimage.distance_transform_edt(~drawn.old).clip(min=1))
    return scale.refine(torch.from_numpy(np.exp(-((away / _REACH) ** 2)))[None, None])


def _overlap(first: Box, second: Box) -> tuple[Box, Box]:
    """The part that two boxes share, in each of them."""
    sides = [
        (max(a.start, b.start), max(min(a.stop, b.stop), max(a.start, b.start)))
        for a, b in zip(first, second, strict=True)
    ]

    def within(box: Box) -> Box:
        low, middle, high = (
            slice(start - side.start, stop - side.start)
            for side, (start, stop) in zip(box, sides, strict=True)
        )
        return low, middle, high

    return within(first), within(second)
