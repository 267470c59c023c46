"""Which CT and which MR belong together."""

from __future__ import annotations

from itertools import product

import numpy as np

from cmfnet_napari.core.arrays import Doubles
from cmfnet_napari.core.images.grid import Grid
from cmfnet_napari.core.images.series.scan_result import ImageSeries, Scan

_FEW_SLICES = 6  # fewer are a scout


def propose(found: Scan) -> tuple[ImageSeries | None, ImageSeries | None]:
    """Propose the CT and the MR to open.

    Of one patient, readable, in one frame of reference and at one place, if there are such; then
    those with most slices. Without a CT, nothing is proposed.
    """
    cts, mrs = (
        [i for i in found.images if i.origin.modality == modality and not i.stack.problem]
        for modality in ("CT", "MR")
    )
    pairs = [(ct, mr) for ct, mr in product(cts, mrs) if ct.origin.patient == mr.origin.patient]
    if pairs:
        return max(pairs, key=_merit)
    return max(cts, key=_size, default=None), None


def same_frame(first: ImageSeries, second: ImageSeries) -> bool:
    """Whether both say that they lie in one frame of reference."""
    return bool(first.origin.frame_uid) and first.origin.frame_uid == second.origin.frame_uid


def _merit(pair: tuple[ImageSeries, ImageSeries]) -> tuple[float, ...]:
    ct, mr = pair
    together = same_frame(ct, mr)
    overlap = _overlap(ct.stack.grid, mr.stack.grid) if together else 0.0
    whole = min(len(ct.stack.slices), len(mr.stack.slices)) >= _FEW_SLICES
    same_study = ct.origin.study_uid == mr.origin.study_uid
    return (whole, together, round(overlap, 2), same_study, _size(ct), _size(mr))


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
