"""Which two images belong together."""

from __future__ import annotations

from itertools import product

import numpy as np

from cmfnet_napari.core.arrays import Doubles
from cmfnet_napari.core.images.grid import Grid
from cmfnet_napari.core.images.modality import MODALITIES, Modalities
from cmfnet_napari.core.images.series.scan_result import ImageSeries, Scan

_FEW_SLICES = 6  # fewer are a scout
_PAIRS: tuple[Modalities, ...] = ("CT", "MR"), ("CT", "PT"), ("MR", "MR")


def propose(found: Scan) -> tuple[ImageSeries | None, ImageSeries | None]:
    """Propose the images to open: a CT and an MR, if there are both, else what there is.

    Of one patient, readable, in one frame of reference and at one place, if there are such; then
    those with most slices. A CT goes with an MR, else with a PET; without a CT, two MR go together
    that share their frame of reference, as sequences of one examination do. One image is enough.
    """
    kinds = {
        kind: [i for i in found.images if i.origin.modality == kind and not i.stack.problem]
        for kind in MODALITIES
    }
    for first, second in _PAIRS:
        pairs = [
            (one, other)
            for one, other in product(kinds[first], kinds[second])
            if one.origin.patient == other.origin.patient and _go_together(one, other)
        ]
        if pairs:
            return max(pairs, key=_merit)
    every = next((images for images in kinds.values() if images), [])
    return max(every, key=_size, default=None), None


def _go_together(one: ImageSeries, other: ImageSeries) -> bool:
    """Two images of one kind do where they are two series of one frame of reference."""
    if one.origin.modality != other.origin.modality:
        return True
    whole = min(_size(one), _size(other)) >= _FEW_SLICES
    apart = one.origin.uid != other.origin.uid and _size(one) >= _size(other)
    return whole and apart and same_frame(one, other)


def same_frame(first: ImageSeries, second: ImageSeries) -> bool:
    """Whether both say that they lie in one frame of reference."""
    return bool(first.origin.frame_uid) and first.origin.frame_uid == second.origin.frame_uid


def _merit(pair: tuple[ImageSeries, ImageSeries]) -> tuple[float, ...]:
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
