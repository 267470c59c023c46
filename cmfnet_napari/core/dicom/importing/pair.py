"""Which two images belong together."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np

from cmfnet_napari.core.arrays import Doubles
from cmfnet_napari.core.images.grid import Grid
from cmfnet_napari.core.images.modality import MODALITIES
from cmfnet_napari.core.images.series.scan_result import ImageSeries, Scan

Pair = tuple[ImageSeries, ImageSeries]

_FEW_SLICES = 6  # fewer are a scout


def propose(found: Scan) -> tuple[ImageSeries | None, ImageSeries | None]:
    """Propose the images to open: a CT and an MR, if there are both, else what there is.

    Of one patient, readable, in one frame of reference and at one place, if there are such; then
    those with most slices. Without an MR, a PET in the frame of reference of the CT with most
    slices goes with it; without a CT, two MR go together that share their frame of reference, as
    sequences of one examination do. One image is enough.
    """
    cts, mrs, pets = (
        [i for i in found.images if i.origin.modality == kind and not i.stack.problem]
        for kind in MODALITIES
    )
    if pair := _best(_of_one_patient(cts, mrs)):
        return pair
    if cts:
        drawn_on = max(cts, key=_size)  # what a PET shares a frame with decides nothing
        pairs = _of_one_patient([drawn_on], pets)
        return _best([pair for pair in pairs if same_frame(*pair)]) or (drawn_on, None)
    if pair := _best([pair for pair in _of_one_patient(mrs, mrs) if _two_sequences(*pair)]):
        return pair
    return max(mrs or pets, key=_size, default=None), None


def _of_one_patient(firsts: Sequence[ImageSeries], seconds: Sequence[ImageSeries]) -> list[Pair]:
    pairs = product(firsts, seconds)
    return [(one, other) for one, other in pairs if one.origin.patient == other.origin.patient]


def _best(pairs: Sequence[Pair]) -> Pair | None:
    return max(pairs, key=_merit, default=None)


def _two_sequences(one: ImageSeries, other: ImageSeries) -> bool:
    """Whether two MR are two series of one frame of reference, the larger one first."""
    whole = min(_size(one), _size(other)) >= _FEW_SLICES
    apart = one.origin.uid != other.origin.uid and _size(one) >= _size(other)
    return whole and apart and same_frame(one, other)


def same_frame(first: ImageSeries, second: ImageSeries) -> bool:
    """Whether both say that they lie in one frame of reference."""
    return bool(first.origin.frame_uid) and first.origin.frame_uid == second.origin.frame_uid


def _merit(pair: Pair) -> tuple[float, ...]:
    one, other = pair
    together = same_frame(one, other)
    overlap = _overlap(one.stack.grid, other.stack.grid) if together else 0.0
    whole = min(_size(one), _size(other)) >= _FEW_SLICES
    same_study = one.origin.study_uid == other.origin.study_uid
    return (whole, together, round(overlap, 2), same_study, _size(one), _size(other))


def _size(image: ImageSeries) -> int:
    return len(image.stack.slices)


def _overlap(first: Grid, second: Grid) -> float:
    """Share of the second's box that lies in the first's, boxes along the patient's axes."""
    low_1, high_1 = _box(first)
    low_2, high_2 = _box(second)
    common = np.clip(np.minimum(high_1, high_2) - np.maximum(low_1, low_2), 0, None)
    return float(np.prod(common) / max(np.prod(high_2 - low_2), 1e-9))


def _box(grid: Grid) -> tuple[Doubles, Doubles]:
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in grid.shape])).reshape(3, -1).T
    places = grid.to_patient(corners)
    return places.min(axis=0), places.max(axis=0)
