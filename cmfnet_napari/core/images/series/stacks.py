"""Slices of a series put in order: one stack an acquisition, each even or with its fault named."""

from __future__ import annotations

import filecmp
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cmfnet_napari.core.arrays import Doubles, Mask, three
from cmfnet_napari.core.errors import list_names
from cmfnet_napari.core.images.dicom_file import read_dicom
from cmfnet_napari.core.images.grid import Grid
from cmfnet_napari.core.images.series.headers import SPLITS, Slice
from cmfnet_napari.core.images.series.rounded import even_places, is_rounding, reach

_SAME_MM = 0.01  # slices nearer than this lie at one place
_UNEVEN = 0.01  # of the usual distance
_ROUNDED_MM = 0.02  # scanners write positions with two digits
_WRITTEN_MM = 0.02  # contours are written with few digits
_TURNED = 1e-3  # of a cosine
_DRIFT = 0.1  # of a pixel over the whole stack: less is no tilt


@dataclass(frozen=True)
class Stack:
    """Slices of one acquisition.

    Attributes
    ----------
    slices : tuple of Slice
        In order along their normal.
    name : str
        What tells it from other acquisitions of its series; empty where it is the only one.
    problem : str
        Why it cannot be read, a sentence; empty where it can.
    notes : tuple of str
        What was left out.
    aside : tuple of Slice
        Slices of its series that are no part of it: scouts, and what came twice.
    even : tuple of float or None
        Distance of slices and place of the first along the normal, mm, where positions are
        rounded; None: they are as the slices say.
    """

    slices: tuple[Slice, ...]
    name: str = ""
    problem: str = ""
    notes: tuple[str, ...] = ()
    aside: tuple[Slice, ...] = ()
    even: tuple[float, float] | None = None

    @property
    def grid(self) -> Grid:
        """The Grid of slices that lie straight behind each other (see `shear` for others)."""
        first, places = self.slices[0], self._places()
        step = (places[-1] - places[0]) / (len(places) - 1) if len(places) > 1 else 1.0
        row, column = np.array(first.orientation[:3]), np.array(first.orientation[3:])
        matrix = np.column_stack([row, column, np.cross(row, column)])
        origin = first.position
        if self.even is not None:
            step, place = self.even
            origin = three(float(v) for v in origin + matrix[:, 2] * (place - places[0]))
        return Grid(
            (len(self.slices), *first.size),
            (float(step), *first.spacing),
            origin,
            tuple(float(v) for v in matrix.ravel()),
        )

    @property
    def shear(self) -> tuple[float, float]:
        """How far slices move along (column, row) per millimetre, as with a tilted gantry."""
        places = self._places()
        if len(places) < 2:
            return 0.0, 0.0
        across = self._across()[-1] / (places[-1] - places[0])
        drift = np.abs(across) * (places[-1] - places[0])
        least = np.maximum(_DRIFT * np.array(self.slices[0].spacing), 2 * self._rounded_aside())
        return (0.0, 0.0) if (drift <= least).all() else (float(across[0]), float(across[1]))

    def put_even(self, points: Doubles) -> Doubles:
        """Points in the plane of a slice, taken to where the Grid has it.

        Where positions are rounded, what was drawn on a slice lies up to that beside the Grid.

        Parameters
        ----------
        points : float array (n, 3)
            Such as a contour, (x, y, z) in LPS, mm. What lies in no slice stays as it is.
        """
        if self.even is None:
            return points
        at, places = points @ _normal(self.slices[0]), self._places()
        k = int(np.abs(places - at.mean()).argmin())
        if np.abs(at - places[k]).max() > _WRITTEN_MM:
            return points
        moved: Doubles = self.grid.to_patient(np.array([k, 0, 0])) - self.slices[k].position
        return points + moved

    def _rounded_aside(self) -> float:
        """How far rounding may have moved a slice within its plane, mm."""
        rows = np.array(self.slices[0].orientation).reshape(2, 3)
        return max(reach(self.slices, row) for row in rows)

    def _places(self) -> Doubles:
        """Position of every slice along the normal, mm."""
        normal = _normal(self.slices[0])
        return np.array([np.dot(s.position, normal) for s in self.slices])

    def _across(self) -> Doubles:
        """Position of every slice along (column, row) from the first, (n, 2), mm."""
        first = self.slices[0]
        axes = np.array([first.orientation[3:], first.orientation[:3]])
        moved = np.array([s.position for s in self.slices]) - np.array(first.position)
        across: Doubles = moved @ axes.T
        return across


def split(slices: list[Slice]) -> list[Stack]:
    """Put the images of a series in order, one stack an acquisition.

    The series is kept whole if it is even; else it is divided by the first of `SPLITS` that
    makes every part even. Where none does, it stays whole and says its fault.

    Parameters
    ----------
    slices : list of Slice
        At least one.
    """
    single, shared = _without_copies(slices)
    kept, scouts = _without_scouts(single)
    notes = (*shared, *scouts)
    aside = _others(single, kept)
    whole = replace(judge(kept), aside=aside)
    if not whole.problem:
        return [replace(whole, notes=(*notes, *whole.notes))]
    for name, (_, words) in SPLITS.items():
        values = sorted({s.splits.get(name, "") for s in kept}, key=_as_number)
        if len(values) < 2:
            continue
        parts = [judge([s for s in kept if s.splits.get(name, "") == v]) for v in values]
        if not any(part.problem or len(part.slices) < 2 for part in parts):
            return [
                replace(part, name=f"{words} {value}", notes=(*notes, *part.notes), aside=aside)
                for part, value in zip(parts, values, strict=True)
            ]
    alone, dropped = _without_same_pixels(whole)
    last = judge(alone) if dropped else whole
    aside += _others(whole.slices, alone)
    return [replace(last, notes=(*notes, *dropped, *last.notes), aside=aside)]


def _others(slices: Iterable[Slice], kept: Iterable[Slice]) -> tuple[Slice, ...]:
    """Those that were not kept: told apart by what they are, since to compare is slow."""
    those = {id(one) for one in kept}
    return tuple(one for one in slices if id(one) not in those)


def judge(slices: list[Slice]) -> Stack:
    """Sort slices along their normal and look for what makes them no image."""
    normal = _normal(slices[0])
    ordered = tuple(sorted(slices, key=lambda s: float(np.dot(s.position, normal))))
    stack = _evened(Stack(ordered))
    return replace(stack, problem=next(_faults(stack), ""))


def _evened(stack: Stack) -> Stack:
    """The stack, with even places where those it says are rounded."""
    places = stack._places()
    gaps = np.diff(places)
    if len(gaps) < 2 or (gaps < _SAME_MM).any():
        return stack
    if not (_far_off(gaps).any() or _drifted(places).any()):
        return stack
    most = reach(stack.slices, _normal(stack.slices[0]))
    even = even_places(places, most, stack.slices[0].distances)
    if even is None or not is_rounding(stack.slices, places, even[0], most):
        return stack
    note = f"Positions of its slices are rounded; they were taken as even, {even[0]:.4g} mm apart."
    return replace(stack, even=even, notes=(note,))


def _far_off(gaps: Doubles) -> Mask:
    """Which gaps differ from the usual one by more than a trifle."""
    off: Mask = np.abs(gaps - np.median(gaps)) > _trifle(gaps)
    return off


def _drifted(places: Doubles) -> Mask:
    """Which slices the Grid would put elsewhere by more than a trifle: small differences add up."""
    drifted: Mask = np.abs(places - _evenly(places)) > _trifle(np.diff(places))
    return drifted


def _evenly(places: Doubles) -> Doubles:
    """Where the Grid puts the slices: evenly from the first to the last."""
    return np.linspace(places[0], places[-1], len(places))


def _trifle(gaps: Doubles) -> float:
    """How far a slice may lie off, mm."""
    return max(_UNEVEN * float(np.median(gaps)), _ROUNDED_MM)


def _faults(stack: Stack) -> Iterator[str]:
    slices = stack.slices
    first = slices[0]
    if first.samples != 1:
        yield "it is a colour image; a CT, MR or PET is needed. Choose another series."
    if other := next(filter(None, (s.no_hu for s in slices)), ""):
        yield (
            f"its values are {other:.16} (Rescale Type), not the HU of a CT. Choose a series in "
            "Hounsfield units."
        )
    cosines = np.array([s.orientation for s in slices])
    axes = cosines[0].reshape(2, 3)
    if not np.allclose(axes @ axes.T, np.eye(2), atol=_TURNED):
        yield "its rows and columns are not at right angles. Export the series again."
    if np.abs(cosines - cosines[0]).max() > _TURNED:
        turned = int((np.abs(cosines - cosines[0]).max(axis=1) > _TURNED).sum())
        yield (
            f"its slices lie in different directions ({len(slices) - turned} in one, {turned} in "
            "others). Export each direction as a series of its own."
        )
    pixels = np.array([s.spacing for s in slices])
    drift = np.ptp(pixels, axis=0) / np.maximum(np.abs(pixels[0]), 1e-6) * np.array(first.size)
    if len({s.size for s in slices}) > 1 or (drift > _DRIFT).any():
        sizes = list_names(sorted({f"{s.size[1]}×{s.size[0]}" for s in slices}))
        yield f"its slices have different sizes or pixels ({sizes}). Export the series again."
    if not all(0 < s < 100 for s in first.spacing):
        yield "its header says no size of the pixels. Export the series again."
    yield from _uneven(stack)


def _uneven(stack: Stack) -> Iterator[str]:
    places = stack._places()
    gaps = np.diff(places)
    if not gaps.size:
        return
    twice = np.flatnonzero(gaps < _SAME_MM)
    if twice.size:
        where = _at(stack.slices[int(twice[0])])
        yield (
            f"{len(twice)} place{'s have' if len(twice) > 1 else ' has'} two different slices, the "
            f"first at {where}. Export one acquisition alone."
        )
    usual = float(np.median(gaps))
    uneven = np.flatnonzero(_far_off(gaps))
    if uneven.size and stack.even is None:
        at = int(uneven[0])
        here, there = (_at(stack.slices[k]) for k in (at, at + 1))
        more = f" This happens {uneven.size} times." if uneven.size > 1 else ""
        yield (
            f"slices {at + 1} and {at + 2} are {gaps[at]:.2f} mm apart, the others {usual:.2f} mm "
            f"({here} to {there}): a slice is missing or the distance changes.{more} Export the "
            "whole series again."
        )
    drifted = np.flatnonzero(_drifted(places))
    if drifted.size and stack.even is None:
        off = np.abs(places - _evenly(places))
        k = int(off.argmax())
        step = (places[-1] - places[0]) / (len(places) - 1)
        yield (
            f"slice {k + 1} at {_at(stack.slices[k])} lies {off[k]:.2f} mm from where even slices "
            f"would be ({step:.4g} mm apart; at most {_trifle(gaps):.2g} mm is passed over): their "
            "distance changes. Export the series with one distance."
        )
    across = stack._across()
    straight = np.outer((places - places[0]) / (places[-1] - places[0]), across[-1])
    aside = np.abs(across - straight).max(axis=1)
    trifle = max(_DRIFT * min(stack.slices[0].spacing), _ROUNDED_MM, 2 * stack._rounded_aside())
    if aside.max() > trifle:
        k = int(aside.argmax())
        yield (
            f"slice {k + 1} at {_at(stack.slices[k])} lies {aside[k]:.1f} mm beside the line of "
            "the others. Export the series again."
        )


def _at(one: Slice) -> str:
    """Where a slice lies, along the patient's axis that is nearest to its normal."""
    axis = int(np.abs(_normal(one)).argmax())
    return f"{'xyz'[axis]} = {one.position[axis]:.1f} mm"


def _normal(one: Slice) -> Doubles:
    return np.cross(one.orientation[:3], one.orientation[3:])


def _without_copies(slices: list[Slice]) -> tuple[list[Slice], tuple[str, ...]]:
    """One slice an object: a folder may hold copies of a file.

    What shares an identifier but lies elsewhere, or has other pixels, is no copy.
    """
    alike: dict[tuple[str, int], list[Slice]] = {}
    same: dict[tuple[Path, Path], bool] = {}  # files are compared once, not for every frame
    for one in slices:
        others = alike.setdefault((one.uid, one.frame), [])
        if not any(_copy_of(one, other, same) for other in others):
            others.append(one)
    shared = sum(len(group) for group in alike.values() if len(group) > 1)
    note = f"{shared} slices share identifiers with others of them, and were all taken."
    return [one for group in alike.values() for one in group], (note,) if shared else ()


def _copy_of(one: Slice, other: Slice, same: dict[tuple[Path, Path], bool]) -> bool:
    there = np.array([*one.position, *one.orientation])
    here = np.array([*other.position, *other.orientation])
    if np.abs(there - here).max() >= _SAME_MM:
        return False
    files = one.path, other.path
    if files not in same:
        same[files] = filecmp.cmp(*files, shallow=False) or _pixels(one) == _pixels(other)
    return same[files]


def _without_scouts(slices: list[Slice]) -> tuple[list[Slice], tuple[str, ...]]:
    kept = [s for s in slices if "LOCALIZER" not in s.splits.get("ImageType", "")]
    dropped = len(slices) - len(kept)
    if not kept or not dropped:
        return slices, ()
    return kept, (f"{dropped} scout image{'s were' if dropped > 1 else ' was'} left out.",)


def _without_same_pixels(stack: Stack) -> tuple[list[Slice], tuple[str, ...]]:
    """Drop a slice that lies where another does and has the same pixels."""
    kept: list[Slice] = []
    places = stack._places()
    for k, one in enumerate(stack.slices):
        twin = k > 0 and places[k] - places[k - 1] < _SAME_MM and not one.frame
        if not (twin and _pixels(one) == _pixels(stack.slices[k - 1])):
            kept.append(one)
    dropped = len(stack.slices) - len(kept)
    if not dropped:
        return kept, ()
    return kept, (f"{dropped} slice{'s' if dropped > 1 else ''} came twice and counted once.",)


def _pixels(one: Slice) -> bytes | None:
    pixels: bytes | None = read_dicom(one.path).get("PixelData")
    return pixels


def _as_number(value: str) -> tuple[float, str]:
    try:
        return float(value), value
    except ValueError:
        return 0.0, value
