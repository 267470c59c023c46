"""Whether two images lie on each other: a measure that needs no registration, in a moment.

Normalised mutual information (Studholme, Hill, Hawkes: Pattern Recognition 32, 1999) of both
images on coarse voxels, once where the second lies and once moved up to some centimetres. Where two
images of one patient are registered, it is high and falls in every direction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from cmfnet_napari.core.arrays import Doubles, Mask, Reals, Wholes, three
from cmfnet_napari.core.geometry.boxes import box_around, grow
from cmfnet_napari.core.images.grid import Triple
from cmfnet_napari.core.images.modality import USUAL
from cmfnet_napari.core.images.study import Study

_COARSE_MM = 6.0
_THIN_MM = 2.0
_REACH_MM = 42.0  # how far the second image is moved
_NEAR_MM = 10.0  # a fit so near is as good as one in place: coarse voxels see no finer
_ALIKE = 0.1  # normalised mutual information, less 1: registered pairs had 0.13 and more
_FAR_MM = 12.0
_BETTER = 0.9  # of the best value: a pair in place has more
_STRIDE = 2  # coarse voxels between the moves of the first round
_SAMPLES = 20_000  # coarse voxels that are compared
_LEAST_SAMPLES = 500  # fewer tell nothing
_LEAST_SHARE = 0.35  # of them that must meet the moved MR
_CT_EDGES = np.array([-300, -140, -70, -20, 20, 50, 80, 150])  # HU: air, fat, soft tissue, bone
_LEVELS = 8  # of an MR, of equal counts
_NO_DATA = len(_CT_EDGES) + 1  # above all levels

Shift = tuple[int, int, int]


@dataclass(frozen=True)
class Likeness:
    """How alike two images are.

    Attributes
    ----------
    here : float
        Normalised mutual information, less 1, where the second lies: the best within 10 mm.
    best : float
        The same at the best place that was tried.
    move : tuple of float
        How far the second would have to go to that place along (z, y, x), mm; towards the head,
        the back and the patient's left.
    """

    here: float
    best: float
    move: Triple

    @property
    def distance(self) -> float:
        """Length of `move`, mm."""
        return float(np.linalg.norm(self.move))


def likeness(study: Study) -> Likeness | None:
    """Compare the second image of a study with its first.

    Returns
    -------
    Likeness or None
        None without a second, when too little of it lies on the first to tell, and where one of
        them is a PET: what takes up a tracer need not look like anatomy.
    """
    if study.second is None or study.seen is None or "PT" in study.modalities:
        return None
    thin, block = zip(*(_steps(s) for s in study.grid.spacing), strict=True)
    if any(n < t * b for n, t, b in zip(study.grid.shape, thin, block, strict=True)):
        return None
    spacing = three(s * t * b for s, t, b in zip(study.grid.spacing, thin, block, strict=True))
    every = tuple(slice(None, None, t) for t in thin)
    seen = study.seen[every]
    known_values = np.where(seen, study.second.array[every], np.float32(0))
    first, second, share = (
        _block_means(array, block) for array in (study.first.array[every], known_values, seen)
    )
    known = share >= 0.5
    if known.sum() < _LEAST_SAMPLES:
        return None
    levels = np.full(second.shape, _NO_DATA)
    values = second[known] / share[known]  # the sum is 0 where it has no data
    levels[known] = _levels(values, study.second.modality)
    return _search(_Pairs(_levels(first, study.first.modality), levels, spacing), spacing)


def _steps(spacing: float) -> tuple[int, int]:
    """Every how many-th voxel is looked at (about 2 mm), and how many of those are averaged."""
    thin = max(1, int(_THIN_MM / spacing))
    return thin, max(1, round(_COARSE_MM / (thin * spacing)))


def _block_means(array: np.ndarray, block: tuple[int, ...]) -> Reals:
    """Means of blocks, float32; what is left over at the far ends is dropped."""
    counts = [n // b for n, b in zip(array.shape, block, strict=True)]
    whole = array[tuple(slice(n * b) for n, b in zip(counts, block, strict=True))]
    split = [n for pair in zip(counts, block, strict=True) for n in pair]
    means: Reals = whole.reshape(split).mean(axis=(1, 3, 5), dtype=np.float32)
    return means


def _levels(values: Reals, modality: str) -> Wholes:
    """Levels of tissue in a CT; of an MR, which has no unit, each as frequent as the others."""
    if modality == "CT":
        return np.digitize(values, _CT_EDGES)
    return np.digitize(values, np.quantile(values, np.linspace(0, 1, _LEVELS + 1)[1:-1]))


def _search(pairs: _Pairs, spacing: Triple) -> Likeness:
    """Moves a stride apart, then the neighbours of the best, and those of no move."""
    steps = [int(_REACH_MM / s / _STRIDE) for s in spacing]
    wide = product(*(range(-n * _STRIDE, n * _STRIDE + 1, _STRIDE) for n in steps))
    values = {shift: pairs.information(shift) for shift in map(three, wide)}
    for centre in (max(values, key=values.__getitem__), (0, 0, 0)):
        for step in product((-1, 0, 1), repeat=3):
            shift = three(c + s for c, s in zip(centre, step, strict=True))
            values.setdefault(shift, pairs.information(shift))
    moves = {shift: three(n * s for n, s in zip(shift, spacing, strict=True)) for shift in values}
    near = [v for shift, v in values.items() if np.linalg.norm(moves[shift]) <= _NEAR_MM]
    best = max(values, key=values.__getitem__)
    return Likeness(max(near), values[best], moves[best])


class _Pairs:
    """Levels of both images at a sample of coarse voxels, for any move of the second."""

    def __init__(self, first: Wholes, second: Wholes, spacing: Triple) -> None:
        pad = [int(_REACH_MM / s) + 2 for s in spacing]
        wide = np.pad(second, [(n, n) for n in pad], constant_values=_NO_DATA)
        self._second = wide.ravel()
        self._strides = np.array([wide.shape[1] * wide.shape[2], wide.shape[2], 1])
        places = _sample(second < _NO_DATA, pad)
        self._first = first[tuple(places.T)] * (_NO_DATA + 1)
        self._at = (places + pad) @ self._strides
        self.count = int(self._joint((0, 0, 0)).sum())

    def information(self, shift: Shift) -> float:
        """Normalised mutual information less 1 with the second moved by coarse voxels (z, y, x)."""
        joint = self._joint(shift)
        if joint.sum() < _LEAST_SHARE * self.count:
            return 0.0
        share = joint / joint.sum()
        both = _entropy(share)
        return (_entropy(share.sum(0)) + _entropy(share.sum(1))) / both - 1 if both > 0 else 0.0

    def _joint(self, shift: Shift) -> Wholes:
        """Counts of (first's level, second's level) where the moved second has data."""
        second = self._second[self._at - int(np.dot(shift, self._strides))]
        size = (_NO_DATA, _NO_DATA + 1)
        return np.bincount(self._first + second, minlength=size[0] * size[1]).reshape(size)[:, :-1]


def _sample(known: Mask, reach: list[int]) -> Wholes:
    """Places (n, 3) to compare: at random where the second has data or may be moved to."""
    box = grow(box_around(known), tuple(reach), known.shape)
    first = np.array([part.start for part in box])
    places: Wholes = (
        np.argwhere(np.ones([part.stop - part.start for part in box], dtype=bool)) + first
    )
    if len(places) <= _SAMPLES:
        return places
    return np.random.default_rng(0).choice(places, _SAMPLES, replace=False)


def _entropy(share: Doubles) -> float:
    found = share[share > 0]
    return float(-(found * np.log(found)).sum())


def doubts(found: Likeness | None, names: Sequence[str] = USUAL) -> str:
    """Say what speaks against the second image's place; empty when nothing does.

    The thresholds and how often they are right: docs/measurements.md.
    """
    if found is None:
        return ""
    one, other = names
    if found.here < _ALIKE:
        return (
            f"The {other} hardly resembles the {one} where it lies: likeness "
            f"{found.here:.2f}, registered pairs have {_ALIKE:g} and more. Check that both are of "
            "one patient and registered."
        )
    if found.distance > _FAR_MM and found.here < _BETTER * found.best:
        return (
            f"The {other} may not be registered to the {one}: it would fit better about "
            f"{found.distance:.0f} mm away. Compare both with the slider from {one} to {other}."
        )
    return ""
