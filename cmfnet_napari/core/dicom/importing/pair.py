"""Which two images belong together."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from itertools import product

import numpy as np

from cmfnet_napari.core.arrays import Doubles
from cmfnet_napari.core.images.grid import Grid
from cmfnet_napari.core.images.modality import MODALITIES
from cmfnet_napari.core.images.series.scan_result import REGISTRATION, ImageSeries, Scan

Pair = tuple[ImageSeries, ImageSeries]
_Drawn = frozenset[tuple[str, str]]  # patient and series that something was drawn on

_FEW_SLICES = 6  # fewer are a scout
_MADE = {"DERIVED", "MIP", "MINIP"}  # of Image Type: computed from other images
_LONG_AGO = 100_000  # days; where a date is missing


def propose(found: Scan) -> tuple[ImageSeries | None, ImageSeries | None]:
    """Propose the images to open: a CT and an MR, if there are both, else what there is.

    Of one patient and readable. The first is one that was contoured, if there is such; then count
    one frame of reference, that the second was contoured, images that were not computed from
    others, one place, one study, the nearer dates and most slices, in this order. What was
    computed counts after the frame of reference, since an MR that was resampled onto the CT is
    derived, too. Without an MR, a PET in the frame of reference of the best CT goes with it;
    without a CT, two MR go together that share their frame of reference, as sequences of one
    examination do. One image is enough.
    """
    drawn = _drawn_on(found)
    cts, mrs, pets = (
        [i for i in found.images if i.origin.modality == kind and not i.stack.problem]
        for kind in MODALITIES
    )
    if pair := _best(_of_one_patient(cts, mrs), drawn):
        return pair
    if cts:
        first = max(cts, key=lambda ct: _merit_alone(ct, drawn))  # shared frames decide nothing
        pairs = _of_one_patient([first], pets)
        return _best([pair for pair in pairs if same_frame(*pair)], drawn) or (first, None)
    pairs = _of_one_patient(mrs, mrs)
    if pair := _best([pair for pair in pairs if _two_sequences(*pair, drawn)], drawn):
        return pair
    return max(mrs or pets, key=lambda one: _merit_alone(one, drawn), default=None), None


def _drawn_on(found: Scan) -> _Drawn:
    """Series that structure sets and segmentations of their own patient say they belong to."""
    drawn = (entry for entry in found.objects if entry.origin.modality != REGISTRATION)
    return frozenset((entry.origin.patient, uid) for entry in drawn for uid in entry.series)


def _of_one_patient(firsts: Sequence[ImageSeries], seconds: Sequence[ImageSeries]) -> list[Pair]:
    pairs = product(firsts, seconds)
    return [(one, other) for one, other in pairs if one.origin.patient == other.origin.patient]


def _best(pairs: Sequence[Pair], drawn: _Drawn) -> Pair | None:
    return max(pairs, key=lambda pair: _merit(pair[0], pair[1], drawn), default=None)


def _two_sequences(one: ImageSeries, other: ImageSeries, drawn: _Drawn) -> bool:
    """Whether two MR are two series of one frame of reference, the contoured or larger first."""
    whole = min(_size(one), _size(other)) >= _FEW_SLICES
    ahead = _size(one) >= _size(other) or _was_drawn_on(one, drawn)
    return whole and ahead and one.origin.uid != other.origin.uid and same_frame(one, other)


def same_frame(first: ImageSeries, second: ImageSeries) -> bool:
    """Whether both say that they lie in one frame of reference."""
    return bool(first.origin.frame_uid) and first.origin.frame_uid == second.origin.frame_uid


def _merit(one: ImageSeries, other: ImageSeries, drawn: _Drawn) -> tuple[float, ...]:
    together = same_frame(one, other)
    overlap = _overlap(one.stack.grid, other.stack.grid) if together else 0.0
    whole = min(_size(one), _size(other)) >= _FEW_SLICES
    return (
        _was_drawn_on(one, drawn),
        whole,
        together,
        _was_drawn_on(other, drawn),
        not _is_made(one),
        not _is_made(other),
        round(overlap, 2),
        one.origin.study_uid == other.origin.study_uid,
        -_days_apart(one, other),
        _size(one),
        _size(other),
    )


def _merit_alone(image: ImageSeries, drawn: _Drawn) -> tuple[float, ...]:
    whole = _size(image) >= _FEW_SLICES
    return (_was_drawn_on(image, drawn), whole, not _is_made(image), _size(image))


def _was_drawn_on(image: ImageSeries, drawn: _Drawn) -> bool:
    return (image.origin.patient, image.origin.uid) in drawn


def _is_made(image: ImageSeries) -> bool:
    """Whether it was computed from other images, such as a projection, as its header says."""
    words = image.stack.slices[0].splits.get("ImageType", "").upper().split()
    return not _MADE.isdisjoint(words)


def _days_apart(one: ImageSeries, other: ImageSeries) -> int:
    try:
        first, second = (date.fromisoformat(image.origin.date) for image in (one, other))
    except ValueError:
        return _LONG_AGO
    return abs((first - second).days)


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
