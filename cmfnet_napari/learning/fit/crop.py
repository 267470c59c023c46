"""The part of a study around a place: predicted first, where the user looks."""

from __future__ import annotations

from dataclasses import replace
from math import prod

from torch import Tensor

from cmfnet_napari.core.arrays import Codes, three
from cmfnet_napari.core.geometry.boxes import Box, bounding_box
from cmfnet_napari.learning.data.prepare import Inputs

_SEAM = 8  # a share of the patch at the part's border, 1/8, sees too little and is not shown


def around(place: Tensor, patch: tuple[int, int, int]) -> Box | None:
    """Part of the working grid that a prediction of a place needs: a patch, or more.

    Parameters
    ----------
    place : bool tensor (z, y, x)
        Such as new strokes, on the working grid.
    patch : tuple of int
        The training patch (z, y, x), voxels.

    Returns
    -------
    Box or None
        None where the place is nowhere, or where the whole takes about as long.
    """
    box = bounding_box(place.numpy())
    if box is None:
        return None
    part = []
    for side, p, n in zip(box, patch, place.shape, strict=True):
        length = min(n, max(p, side.stop - side.start + p // 2))
        first = (side.start + side.stop - length) // 2
        first = min(max(first, 0), n - length)
        part.append(slice(first, first + length))
    small = 2 * prod(s.stop - s.start for s in part) < place.numel()
    return three(part) if small else None


def cut(inputs: Inputs, box: Box) -> Inputs:
    """The images in a box of the working grid."""
    images = (inputs.ct, inputs.mr, inputs.fov)
    ct, mr, fov = (image[(..., *box)] for image in images)
    maps = None if inputs.maps is None else inputs.maps[(..., *box)]
    region = _on_the_study(inputs, box)
    return Inputs(ct, mr, fov, replace(inputs.frame, region=region), maps)


def paste(
    whole: Codes, part: Codes, inputs: Inputs, box: Box, patch: tuple[int, int, int]
) -> Codes:
    """Labels (uint8, Study's Grid), in a box taken from a prediction of it, without its border.

    Parameters
    ----------
    whole, part : uint8 array (z, y, x) on the Study's Grid
        Labels everywhere; labels of what `cut` gave.
    inputs : Inputs
        The images that were cut.
    box : Box
        Where.
    patch : tuple of int
        The training patch (z, y, x), voxels.
    """
    inner = []
    for side, p, n in zip(box, patch, inputs.ct.shape[2:], strict=True):
        low = side.start + (p // _SEAM if side.start > 0 else 0)
        high = side.stop - (p // _SEAM if side.stop < n else 0)
        inner.append(slice(low, high))
    region = _on_the_study(inputs, three(inner))
    labels = whole.copy()
    labels[region] = part[region]
    return labels


def _on_the_study(inputs: Inputs, box: Box) -> Box:
    """A box of the working grid on the Study's Grid."""
    frame = inputs.frame
    return three(
        slice(whole.start + side.start * f, min(whole.start + side.stop * f, whole.stop))
        for whole, side, f in zip(frame.region, box, frame.factors, strict=True)
    )
