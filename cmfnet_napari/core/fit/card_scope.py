"""Whether a patient's images are such as a model's card speaks of, in words."""

from __future__ import annotations

from collections.abc import Iterator

from cmfnet_napari.core.fit.card_sections import FullCard, Range
from cmfnet_napari.core.fit.model_card import taught_otherwise
from cmfnet_napari.core.images.study import Study

_LITTLE = 0.02  # of a length: rounded headers


def outside_card(full: FullCard, study: Study) -> list[str]:
    """Say where a patient is outside of what a card says; nothing where it is not.

    Compared are the kinds of images, the weighting of the MR, the size of voxels, and the part of
    the body by the field of view of the image that is drawn on.

    Returns
    -------
    list of str
        Whole sentences.
    """
    kinds = taught_otherwise(full.card, full.name, study.kinds)
    return [*filter(None, [kinds]), *_weightings(full, study), *_lengths(full, study)]


def _weightings(full: FullCard, study: Study) -> Iterator[str]:
    known = full.sections.scope.weightings
    if not known:
        return
    for name, kind, weighting in zip(study.names, study.kinds, study.weightings, strict=False):
        if kind != "MR" or weighting in known:
            continue
        said = " or ".join(known)
        yield (
            f"The {name} is {weighting}, and {full.name} was taught on {said}: nobody has measured "
            "how it does on others."
            if weighting
            else f"{full.name} was taught on {said}, and this {name} does not say which sequence "
            "it is: make sure that it is such a one."
        )


def _lengths(full: FullCard, study: Study) -> Iterator[str]:
    scope, grid = full.sections.scope, study.grid
    slices, rows, columns = grid.spacing
    size = [n * mm for n, mm in zip(grid.shape, grid.spacing, strict=True)]
    anatomy = full.sections.training.anatomy or "another part of the body"
    compared = (
        ("voxels within slices", (rows, columns), scope.in_plane_mm, "fine or coarse detail"),
        ("slices every", (slices,), scope.slice_mm, "what lies between slices"),
        ("a field of view of", size[1:], scope.field_mm, anatomy),
        ("a length along the slices of", size[:1], scope.length_mm, anatomy),
    )
    for what, found, known, why in compared:
        if known is None or all(_inside(mm, known) for mm in found):
            continue
        shown = " × ".join(f"{mm:.3g}" for mm in found)
        yield (
            f"The {study.names[0]} has {what} {shown} mm; {full.name} was measured on "
            f"{known[0]:g} to {known[1]:g} mm ({why}). Look at its contour with more care."
        )


def _inside(length: float, known: Range) -> bool:
    return known[0] * (1 - _LITTLE) <= length <= known[1] * (1 + _LITTLE)
