"""NIfTI files: opened here, so that no library looks for another file; understood by nibabel."""

from __future__ import annotations

import logging
from math import prod
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from nibabel.nifti1 import Nifti1Header
from nibabel.nifti2 import Nifti2Header
from nibabel.spatialimages import HeaderDataError

from cmfnet_napari.core.arrays import three
from cmfnet_napari.core.errors import UserError, say_of
from cmfnet_napari.core.images.header_check import check_size, times
from cmfnet_napari.core.images.nifti_place import read_place
from cmfnet_napari.core.images.unpack import Unpacked

_FIRST, _SECOND = 348, 540  # bytes of the headers, which are their own first number
_PAIRS, _VOXELS = ("ni1", "ni2"), ".img"
_WORST_FIXED = 40  # of what nibabel finds in a header: below, it says what is meant
_quiet = logging.getLogger(f"{__name__}.header")
_quiet.propagate = False
_quiet.addHandler(logging.NullHandler())


def read_nifti(path: Path) -> sitk.Image:
    """Read a NIfTI file, version 1 or 2, packed or not, whatever its name says.

    It lies where its sform says if that has a code, else where its qform says, else by its voxel
    size alone with its middle at the origin, as nibabel does. Places that contradict each other
    by more than a tenth of a voxel are said in a `DataWarning`. Scaled values are float.

    Parameters
    ----------
    path : Path
        The file; no other one is opened.

    Raises
    ------
    UserError
        It is no NIfTI, cut off, changed on the way, one half of a pair, of complex numbers,
        sheared, or too large.
    """
    with open(path, "rb") as opened:
        file = Unpacked(opened, path.name)
        header = _read_header(file, path.name)
        kind, shape = _kind(header, path.name), _shape(header)
        start, length = int(header["vox_offset"]), prod(shape) * kind.itemsize
        check_size(path.name, shape, start + length, path.stat().st_size)
        if len(shape) != 3:
            raise UserError(f"{path.name} is not a 3D image: its size is {times(shape)}.")
        file.skip_to(start)
        raw = np.frombuffer(file.read_exactly(length), kind).reshape(shape[::-1])
        file.check_end()
    grid = read_place(header, three(shape[::-1]), path.name)
    return grid.to_image(_values(raw, header, path.name))


def is_nifti(path: Path) -> bool:
    """Whether a file is a NIfTI or half of a pair by what is in it, whatever it is called."""
    if path.name.lower().endswith(_VOXELS) and path.with_name(path.name[:-3] + "hdr").exists():
        return True
    try:
        with open(path, "rb") as file:
            start = bytes(Unpacked(file, path.name).read_exactly(_FIRST))
    except (OSError, UserError):
        return False
    return start[344:347] in (b"n+1", b"ni1") or start[4:7] in (b"n+2", b"ni2")


def _read_header(file: Unpacked, name: str) -> Nifti1Header:
    """The header, with what nibabel mends: signs of voxel sizes, codes that are none."""
    start = bytes(file.read_exactly(4))
    order = "<" if int.from_bytes(start, "little") in (_FIRST, _SECOND) else ">"
    size = int.from_bytes(start, "little" if order == "<" else "big")
    if size not in (_FIRST, _SECOND):
        if name.lower().endswith(_VOXELS):
            raise _half(name)
        raise UserError(
            f"{name} cannot be read as an image: it is damaged or no NIfTI. Copy or export it "
            "again."
        )
    version: type[Nifti1Header] = Nifti1Header if size == _FIRST else Nifti2Header
    header = version(start + file.read_exactly(size - 4), order, check=False)
    magic = header["magic"].item()[:3].decode("latin-1")
    if magic in _PAIRS:
        raise _half(name)
    if not magic.startswith("n+"):
        raise UserError(
            f"{name} is an Analyze file or a damaged NIfTI: it does not say where left and right "
            "are. Export it again as NIfTI."
        )
    if (header["pixdim"][1:4] < 0).any():
        say_of(name, "says that its voxels have a negative size, which is taken as positive.")
    try:
        header.check_fix(_quiet, _WORST_FIXED)
        header.get_data_dtype()
        dimensions, start_of_voxels = int(header["dim"][0]), int(header["vox_offset"])
        if not 1 <= dimensions <= 7:
            raise HeaderDataError(f"{dimensions} dimensions")
        if start_of_voxels < header.single_vox_offset:  # 0 is let pass: voxels would be shifted
            raise HeaderDataError(f"voxels at byte {start_of_voxels}, within the header")
    except (HeaderDataError, LookupError, ValueError, OverflowError) as error:
        raise UserError(
            f"{name} cannot be read as an image: its header is damaged ({error}). Copy or export "
            "it again."
        ) from error
    return header


def _half(name: str) -> UserError:
    return UserError(
        f"{name} is one half of a pair of files (.hdr and .img), which is not read. Save the image "
        "as one file, .nii or .nii.gz."
    )


def _kind(header: Nifti1Header, name: str) -> np.dtype[np.generic]:
    """What a voxel is; one real number, or there is nothing to show."""
    kind: np.dtype[np.generic] = header.get_data_dtype()
    if kind.names:
        raise UserError(f"{name} is a colour or vector image; a CT, MR or PET is needed.")
    if kind.kind == "c":
        raise UserError(
            f"{name} holds complex numbers, as a scanner's raw data do. Export the magnitude "
            "image instead."
        )
    return kind


def _shape(header: Nifti1Header) -> tuple[int, ...]:
    """Voxels along x, y, z and whatever comes after, without what has a length of one there."""
    shape = tuple(int(n) for n in header["dim"][1 : 1 + int(header["dim"][0])])
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    return shape


def _values(raw: np.ndarray, header: Nifti1Header, name: str) -> np.ndarray:
    """Values (z, y, x) as the header scales them; as they are stored where it does not."""
    try:
        slope, inter = header.get_slope_inter()
    except HeaderDataError as error:
        raise UserError(
            f"{name} says that its values are scaled by a number that is none (scl_inter). Export "
            "it again."
        ) from error
    wide = raw.dtype.itemsize > 2
    if raw.dtype.itemsize > 8:  # float128
        raw = raw.astype(np.float64)
    if slope is None or (slope == 1 and not inter):
        return raw.astype(raw.dtype.newbyteorder("="))
    scaled = np.empty(raw.shape, np.float64 if wide else np.float32)
    for plane, stored in zip(scaled, raw, strict=True):
        plane[:] = stored.astype(np.float64) * slope + inter
    return scaled
