"""One DICOM series as an image: pixels by SimpleITK (GDCM) or highdicom, geometry from headers."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_rescale
from pydicom.uid import UID
from scipy import ndimage

from cmfnet_napari.core.arrays import three
from cmfnet_napari.core.errors import CancelledError, UserError
from cmfnet_napari.core.files import check_name
from cmfnet_napari.core.images.dicom_check import check_lengths
from cmfnet_napari.core.images.dicom_file import read_dicom
from cmfnet_napari.core.images.grid import Grid
from cmfnet_napari.core.images.header_check import check_geometry, check_size
from cmfnet_napari.core.images.modality import mark
from cmfnet_napari.core.images.series.headers import read_header
from cmfnet_napari.core.images.series.stacks import Stack
from cmfnet_napari.core.images.series.stored import (
    fill_padding,
    odd_bits,
    shiftable,
    stored_values,
)
from cmfnet_napari.core.images.series.weighting import mr_weighting

Progress = Callable[[float], bool]  # gets the share done, 0 … 1; answers whether to go on

_GDCM_READS = {
    f"1.2.840.10008.1.2{ending}"
    for ending in (
        "",  # implicit VR
        ".1",  # explicit VR
        ".1.99",  # deflated
        ".2",  # big endian
        ".4.50",  # JPEG
        ".4.51",
        ".4.57",  # JPEG lossless
        ".4.70",
        ".4.80",  # JPEG-LS
        ".4.81",
        ".4.90",  # JPEG 2000
        ".4.91",
        ".5",  # RLE
    )
}
_GDCM = "GDCMImageIO"
_FRAMES_AT_ONCE = 16


def read_stack(
    stack: Stack, modality: str, name: str, progress: Progress | None = None
) -> sitk.Image:
    """Read the voxels of a stack.

    Parameters
    ----------
    stack : Stack
        Slices in order.
    modality : str
        ``"CT"``: Hounsfield units, whatever the photometric interpretation. Else, MONOCHROME1
        is turned round, so that what is shown white is high.
    name : str
        What messages call it.
    progress : callable, optional
        Asked between slices.

    Returns
    -------
    Image
        Rescaled values, marked with modality and units. Slices of a tilted gantry are moved within
        their planes to lie straight behind each other; nothing is interpolated from slice to slice.

    Raises
    ------
    UserError
        A fault of the stack, an unknown compression, a damaged file, too large for the memory.
    CancelledError
        `progress` answered False.
    """
    _check(stack, name)
    try:
        image = _image(stack, modality, progress or (lambda _share: True))
    except (UserError, CancelledError):
        raise
    except Exception as error:  # GDCM, pydicom and highdicom raise what they stumble over
        raise UserError(
            f"{name} cannot be read: the pixels of {_first_bad(stack)} are damaged or packed in a "
            f"way that this program does not know ({UID(stack.slices[0].syntax).name}). Export the "
            "series again, without compression."
        ) from error
    if stack.shear != (0.0, 0.0):
        array, grid = _straighten(sitk.GetArrayFromImage(image), stack.grid, stack.shear)
        image = grid.to_image(array)
    check_geometry(image, name)
    header = read_header(stack.slices[0].path) if modality in ("PT", "MR") else None
    if header is None:
        return mark(image, modality)
    units = str(header.get("Units", "")) if modality == "PT" else ""  # PS3.3 C.8.9.1
    return mark(image, modality, units, mr_weighting(header) if modality == "MR" else "")


def _check(stack: Stack, name: str) -> None:
    if stack.problem:
        raise UserError(f"{name}: {stack.problem}")
    if len(stack.slices) < 2:
        raise UserError(f"{name} is not a 3D image: it has a single slice.")
    for syntax in {s.syntax for s in stack.slices} - _GDCM_READS:
        uid = UID(syntax)
        packed = uid.name if uid.is_valid else "its transfer syntax is damaged"
        raise UserError(
            f"{name} is packed in a way that this program does not read ({packed}). "
            "Export the series again, without compression."
        )
    if any(one.table for one in stack.slices):
        raise UserError(
            f"{name} says by a table what its values mean (Modality LUT), which is not read here. "
            "Export it with a slope and an intercept."
        )
    if odd_bits(stack.slices) and not shiftable(stack.slices):
        one = stack.slices[0]
        raise UserError(
            f"{name} says that its values are {one.bits} bits up to bit {one.high_bit} of "
            f"{8 * one.sample_bytes}, and is packed: which bits count is not known. Export the "
            "series again, without compression."
        )
    files = {s.path: s for s in stack.slices}
    for path in files:
        check_name(path)
        check_lengths(path)
    smallest = min(files, key=lambda path: path.stat().st_size)
    frames = sum(s.path == smallest for s in stack.slices)
    size = (*stack.slices[0].size[::-1], frames)
    promised = prod(size) * stack.slices[0].sample_bytes
    check_size(smallest.name, size, promised, smallest.stat().st_size, len(files))


def _image(stack: Stack, modality: str, progress: Progress) -> sitk.Image:
    first, grid = stack.slices[0], stack.grid
    if odd_bits(stack.slices):
        array = _by_their_bits(stack, progress)
    elif first.frame:
        array = _enhanced(stack, progress)
    elif any(s.photometric == "MONOCHROME1" for s in stack.slices):
        array = _as_stored(stack, progress)  # GDCM would turn the values round
    else:
        image = _by_gdcm(stack, progress)
        if not any(s.padding for s in stack.slices):
            return image
        array = sitk.GetArrayFromImage(image)
    array = fill_padding(array, stack.slices, modality)
    if modality != "CT" and first.photometric == "MONOCHROME1":
        array = array.min() + array.max() - array
    return grid.to_image(_tight(array))


def _by_gdcm(stack: Stack, progress: Progress) -> sitk.Image:
    first, grid = stack.slices[0], stack.grid
    reader = sitk.ImageSeriesReader()
    reader.SetImageIO(_GDCM)  # ITK would try all its readers in turn
    reader.SetFileNames([str(s.path) for s in stack.slices])
    if len({s.rescale for s in stack.slices}) > 1 or first.rescale[0] % 1:
        reader.SetOutputPixelType(sitk.sitkFloat32)  # else the first slice's type is all slices'
    stopped: list[bool] = []

    def ask() -> None:
        if not stopped and not progress(reader.GetProgress()):
            stopped.append(True)
            reader.Abort()

    reader.AddCommand(sitk.sitkProgressEvent, ask)
    try:
        image: sitk.Image = reader.Execute()
    except RuntimeError:
        if stopped:
            raise CancelledError from None
        raise
    if stopped:
        raise CancelledError
    if image.GetSize() != grid.shape[::-1]:
        raise ValueError("slices of another size than their headers say")
    image.SetOrigin(grid.origin)
    image.SetSpacing(grid.spacing[::-1])
    image.SetDirection(grid.direction)
    return image


def _first_bad(stack: Stack) -> str:
    """Which file it is, once something is known to be wrong."""
    reader = sitk.ImageFileReader()
    reader.SetImageIO(_GDCM)
    for one in stack.slices:
        reader.SetFileName(str(one.path))
        try:
            reader.Execute()
        except RuntimeError:
            return one.path.name
    return "a slice"


def _as_stored(stack: Stack, progress: Progress) -> np.ndarray:
    """Rescaled stored values, whatever the photometric interpretation says of their display."""
    planes = []
    for number, one in enumerate(stack.slices):
        _go_on(progress, number / len(stack.slices))
        data = read_dicom(one.path)
        planes.append(apply_rescale(data.pixel_array, data))
    return np.stack(planes)


def _by_their_bits(stack: Stack, progress: Progress) -> np.ndarray:
    """Rescaled values of words whose lowest bits are not the values."""
    result = np.empty(stack.grid.shape, dtype=np.float32)
    data, path = Dataset(), Path()
    for number, one in enumerate(stack.slices):
        _go_on(progress, number / len(stack.slices))
        if one.path != path:  # an enhanced object has many frames
            data, path = read_dicom(one.path), one.path
        slope, intercept = one.rescale
        result[number] = stored_values(one, data) * slope + intercept
    return result


def _enhanced(stack: Stack, progress: Progress) -> np.ndarray:
    """Frames of enhanced objects; one object may hold several stacks, one stack lie in several."""
    import highdicom  # takes a second, and few series need it

    result = np.empty(stack.grid.shape, dtype=np.float32)
    places: dict[Path, list[int]] = {}
    for k, one in enumerate(stack.slices):
        places.setdefault(one.path, []).append(k)
    done = 0
    for path, slots in places.items():
        image = highdicom.imread(path)
        for start in range(0, len(slots), _FRAMES_AT_ONCE):
            _go_on(progress, done / len(stack.slices))
            part = slots[start : start + _FRAMES_AT_ONCE]
            result[part] = image.get_frames(
                [stack.slices[k].frame for k in part],
                dtype=np.float32,
                apply_real_world_transform=False,
                apply_voi_transform=False,
                apply_presentation_lut=False,
            )
            done += len(part)
    return result


def _go_on(progress: Progress, share: float) -> None:
    if not progress(share):
        raise CancelledError


def _tight(array: np.ndarray) -> np.ndarray:
    """int16 where nothing is lost by it, float32 elsewhere."""
    low, high = np.iinfo(np.int16).min, np.iinfo(np.int16).max
    if array.min() >= low and array.max() <= high and (array == np.rint(array)).all():
        return array.astype(np.int16)
    return array.astype(np.float32)


def _straighten(
    array: np.ndarray, grid: Grid, shear: tuple[float, float]
) -> tuple[np.ndarray, Grid]:
    """Move the slices of a tilted gantry within their planes, linearly, on a wider grid."""
    steps = np.array(shear) * grid.spacing[0] / np.array(grid.spacing[1:])  # pixels a slice
    moves = np.outer(np.arange(len(array)), steps)
    low = np.floor(moves.min(axis=0)).astype(int)
    more = np.ceil(moves.max(axis=0)).astype(int) - low
    wide = [(0, int(n)) for n in more]
    planes = [
        ndimage.shift(
            np.pad(plane.astype(np.float32), wide, constant_values=plane.min()),
            move - low,
            order=1,
            mode="constant",
            cval=float(array.min()),
        )
        for plane, move in zip(array, moves, strict=True)
    ]
    result = np.stack(planes)
    if np.issubdtype(array.dtype, np.integer):
        result = np.rint(result).astype(array.dtype)
    origin = three(float(v) for v in grid.to_patient(np.array([0, *low])))
    return result, Grid(three(result.shape), grid.spacing, origin, grid.direction)
