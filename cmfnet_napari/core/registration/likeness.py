"""Whether an MR lies on its CT: a measure that needs no registration and takes a moment.

Normalised mutual information (Studholme, Hill, Hawkes: Pattern Recognition 32, 1999) of both
images on coarse voxels, once where the MR lies and once moved up to some centimetres. Where two
images of one patient are registered, it is high and falls in every direction.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

from cmfnet_napari.core.arrays import Doubles, Mask, Reals, Wholes, three
from cmfnet_napari.core.geometry.boxes import box_around, grow
from cmfnet_napari.core.images.grid import Triple
from cmfnet_napari.core.images.study import Study

_COARSE_MM = 6.0
_THIN_MM = 2.0
_REACH_MM = 42.0  # how far the MR is moved
_NEAR_MM = 10.0  # a fit so near is as good as one in place: coarse voxels see no finer
_ALIKE = 0.1  # normalised mutual information, less 1: registered pairs had 0.13 and more
_FAR_MM = 12.0
_BETTER = 0.9  # of the best value: a pair in place has more
_STRIDE = 2  # coarse voxels between the moves of the first round
_SAMPLES = 20_000  # coarse voxels that are compared
_LEAST_SAMPLES = 500  # fewer tell nothing
_LEAST_SHARE = 0.35  # of them that must meet the moved MR
_CT_EDGES = np.array([-300, -140, -70, -20, 20, 50, 80, 150])  # HU: air, fat, soft tissue, bone
_MR_LEVELS = 8  # of equal counts; one more for no data

Shift = tuple[int, int, int]


@dataclass(frozen=True)
class Likeness:
    """How alike CT and MR are.

    Attributes
    ----------
    here : float
        Normalised mutual information, less 1, where the MR lies: the best within 10 mm.
    best : float
        The same at the best place that was tried.
    move : tuple of float
        How far the MR would have to go to that place along (z, y, x), mm; towards the head,
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
    """Compare the MR of a study with its CT.

    Returns
    -------
    Likeness or None
        None without an MR, and when too little of it lies on the CT to tell.
    """
    if study.second is None or study.seen is None:
        return None
    thin, block = zip(*(_steps(s) for s in study.grid.spacing), strict=True)
    if any(n < t * b for n, t, b in zip(study.grid.shape, thin, block, strict=True)):
        return None
    spacing = three(s * t * b for s, t, b in zip(study.grid.spacing, thin, block, strict=True))
    ct, mr, fov = (
        _block_means(array[tuple(slice(None, None, t) for t in thin)], block)
        for array in (study.first.array, study.second.array, study.seen)
    )
    known = fov >= 0.5
    if known.sum() < _LEAST_SAMPLES:
        return None
    levels = np.full(mr.shape, _MR_LEVELS)
    levels[known] = _equal_counts(mr[known] / fov[known])  # the MR is 0 where it has no data
    return _search(_Pairs(np.digitize(ct, _CT_EDGES), levels, spacing), spacing)


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


def _equal_counts(values: Reals) -> Wholes:
    """Levels 0 … 7, each as frequent as the others: MR intensities have no unit."""
    return np.digitize(values, np.quantile(values, np.linspace(0, 1, _MR_LEVELS + 1)[1:-1]))


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
    """Levels of CT and MR at a sample of coarse voxels, for any move of the MR."""

    def __init__(self, ct: Wholes, mr: Wholes, spacing: Triple) -> None:
        pad = [int(_REACH_MM / s) + 2 for s in spacing]
        wide = np.pad(mr, [(n, n) for n in pad], constant_values=_MR_LEVELS)
        self._mr = wide.ravel()
        self._strides = np.array([wide.shape[1] * wide.shape[2], wide.shape[2], 1])
        places = _sample(mr < _MR_LEVELS, pad)
        self._ct = ct[tuple(places.T)] * (_MR_LEVELS + 1)
        self._at = (places + pad) @ self._strides
        self.count = int(self._joint((0, 0, 0)).sum())

    def information(self, shift: Shift) -> float:
        """Normalised mutual information less 1 with the MR moved by coarse voxels (z, y, x)."""
        joint = self._joint(shift)
        if joint.sum() < _LEAST_SHARE * self.count:
            return 0.0
        share = joint / joint.sum()
        both = _entropy(share)
        return (_entropy(share.sum(0)) + _entropy(share.sum(1))) / both - 1 if both > 0 else 0.0

    def _joint(self, shift: Shift) -> Wholes:
        """Counts of (CT level, MR level) where the moved MR has data."""
        mr = self._mr[self._at - int(np.dot(shift, self._strides))]
        size = (len(_CT_EDGES) + 1, _MR_LEVELS + 1)
        return np.bincount(self._ct + mr, minlength=size[0] * size[1]).reshape(size)[:, :-1]


def _sample(known: Mask, reach: list[int]) -> Wholes:
    """Places (n, 3) to compare: at random where the MR has data or may be moved to."""
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


def doubts(found: Likeness | None) -> str:
    """Say what speaks against the MR's place; empty when nothing does.

    The thresholds and how often they are right: docs/measurements.md.
    """
    if found is None:
        return ""
    if found.here < _ALIKE:
        return (
            "The MR hardly resembles the CT where it lies: likeness "
            f"{found.here:.2f}, registered pairs have {_ALIKE:g} and more. Check that both are of "
            "one patient and registered."
        )
    if found.distance > _FAR_MM and found.here < _BETTER * found.best:
        return (
            f"The MR may not be registered to the CT: it would fit better about "
            f"{found.distance:.0f} mm away. Compare both with the slider from CT to MR."
        )
    return ""
