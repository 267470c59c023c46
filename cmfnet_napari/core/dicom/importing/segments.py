"""DICOM segmentations (SEG, PS3.3 A.51) through highdicom, as masks on their own Grid."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.valuerep import DS
from skimage.color import lab2rgb

from cmfnet_napari.core.arrays import Doubles, Mask, three
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.images.dicom_check import check_lengths
from cmfnet_napari.core.images.dicom_file import read_dicom
from cmfnet_napari.core.images.grid import Grid
from cmfnet_napari.core.images.header_check import check_size
from cmfnet_napari.core.images.series.stacks import Stack
from cmfnet_napari.core.images.study import mask_on
from cmfnet_napari.core.words import clean

_COLOR = "#ff0000"
_INSIDE = 0.5  # of a fractional segmentation
_COPIES = 4  # of the voxels, while they are put into place


@dataclass(frozen=True, eq=False)
class Segment:
    """One segment.

    Attributes
    ----------
    number : int
        Its number in the object.
    name, color : str
        Label; colour as ``#rrggbb``.
    mask : bool array (z, y, x)
        On `grid`.
    grid : Grid
        Where its frames lie.
    """

    number: int
    name: str
    color: str
    mask: Mask
    grid: Grid

    def on(self, grid: Grid, matrix: Doubles | None = None) -> Mask:
        """The mask on another Grid, by the nearest voxel.

        Parameters
        ----------
        grid : Grid
            Where it is wanted.
        matrix : float array (4, 4), optional
            Takes points of `grid` to points of the segment, both LPS, mm.

        Raises
        ------
        UserError
            Nothing of it lies there.
        """
        mask = mask_on(self.mask, self.grid, grid, matrix)
        if not mask.any():
            raise UserError(
                f"The structure {self.name} lies outside the image. Check that it was drawn on "
                "these images."
            )
        return mask


def read_segments(path: str | Path, stack: Stack | None = None) -> list[Segment]:
    """Read all segments of a SEG object.

    Parameters
    ----------
    path : path
        SEG file.
    stack : Stack, optional
        The slices that it was drawn on: where their positions are rounded, so are its frames'.

    Raises
    ------
    UserError
        Damaged, no segmentation, or not a stack of parallel, even slices.
    """
    import highdicom  # takes a second

    path = Path(path)
    check_lengths(path)
    try:
        found = highdicom.seg.Segmentation.from_dataset(read_dicom(path), copy=False)
    except Exception as error:  # highdicom and pydicom raise what they stumble over
        raise UserError(
            f"{path.name} cannot be read as a DICOM segmentation. Export it again."
        ) from error
    try:
        if stack is not None and stack.even is not None:
            _put_even(found, stack)
        _check_size(found, path)
        whole = _volume(found) if found.SegmentationType == "LABELMAP" else None
        return [
            _segment(found, item, whole)
            for item in found.SegmentSequence
            if whole is None or not _behind(found, item)
        ]
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"The segmentation {path.name} is no stack of even slices, which cannot be placed on "
            "an image. Export it as a structure set (RTSTRUCT)."
        ) from error


def _check_size(found: Dataset, path: Path) -> None:
    """Refuse frames that the file cannot hold, or that lie so far apart that memory would not do.

    Raises
    ------
    UserError
        As `check_size`.
    """
    rows, columns, frames = int(found.Rows), int(found.Columns), int(found.NumberOfFrames)
    promised = rows * columns * frames * int(found.BitsAllocated) // 8
    check_size(path.name, (columns, rows, frames), promised, path.stat().st_size)
    shape = found.get_volume_geometry(allow_missing_positions=True).spatial_shape
    voxels = prod(int(n) for n in shape)
    check_size(path.name, tuple(int(n) for n in shape[::-1]), _COPIES * voxels, voxels)


def _put_even(found: Dataset, stack: Stack) -> None:
    """Put frames that name the positions of slices to where the Grid has these slices."""
    for item in found.PerFrameFunctionalGroupsSequence:
        frame = item.PlanePositionSequence[0]
        place = stack.put_even(np.array([[float(v) for v in frame.ImagePositionPatient]]))
        frame.ImagePositionPatient = [DS(float(v), auto_format=True) for v in place[0]]


def _behind(found: Dataset, item: Dataset) -> bool:
    """Whether it is the background of a label map, which describes it like a segment."""
    return int(item.SegmentNumber) == int(found.get("PixelPaddingValue", 0))


def _volume(found: Dataset, number: int | None = None) -> Any:
    """Volume of highdicom: a segment (slices, rows, columns, 1); none: a label map without 1."""
    volume = found.get_volume(
        segment_numbers=None if number is None else [number],
        combine_segments=number is None,
        rescale_fractional=True,
        allow_missing_positions=True,
    )
    return volume.ensure_handedness("RIGHT_HANDED", flip_axis=0)


def _segment(found: Dataset, item: Dataset, whole: Any) -> Segment:
    number = int(item.SegmentNumber)
    volume = _volume(found, number) if whole is None else whole
    array = np.asarray(volume.array)
    array = array[..., 0] if whole is None else array == number
    directions = np.array(volume.direction)  # columns: slices, rows, columns
    grid = Grid(
        three(array.shape),
        three(float(v) for v in volume.spacing),
        three(float(v) for v in volume.position),
        tuple(float(v) for v in directions[:, ::-1].ravel()),
    )
    name = clean(str(item.get("SegmentLabel") or "")) or f"Segment {number}"
    mask = array >= _INSIDE if array.dtype.kind == "f" else array > 0
    return Segment(number, name, _color(item.get("RecommendedDisplayCIELabValue")), mask, grid)


def _color(values: Iterable[int] | None) -> str:
    """CIELab as DICOM scales it (PS3.3 C.10.7.1.1) to ``#rrggbb``."""
    if values is None:
        return _COLOR
    light, a, b = (int(value) / 65535 for value in values)
    rgb = lab2rgb(np.array([[[100 * light, 255 * a - 128, 255 * b - 128]]]))[0, 0]
    return "#" + "".join(f"{int(v):02x}" for v in np.clip(np.rint(255 * rgb), 0, 255))
