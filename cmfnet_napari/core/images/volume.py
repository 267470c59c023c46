"""Volume: one 3D image with its Grid, and the files it comes from and goes to."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.files import check_name, write_safely
from cmfnet_napari.core.images.grid import Grid
from cmfnet_napari.core.images.header_check import check_geometry, put_straight, skewed
from cmfnet_napari.core.images.itk_reader import DICOM, read_file, read_series
from cmfnet_napari.core.images.modality import Modality, unit_of, weighting_of
from cmfnet_napari.core.images.nifti import is_nifti, read_nifti

IMAGE_ENDINGS = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd")
WRITE_ENDINGS = (".nii", ".nii.gz", ".nrrd", ".mha")
_NIFTI = (".nii", ".nii.gz")
_READERS = {
    ".nrrd": "NrrdImageIO",
    ".nhdr": "NrrdImageIO",
    ".mha": "MetaImageIO",
    ".mhd": "MetaImageIO",
}

sitk.ProcessObject.SetGlobalWarningDisplay(False)  # what matters is checked and said below


@dataclass(frozen=True)
class Volume:
    """One 3D image.

    Attributes
    ----------
    array : array (z, y, x)
        CT in Hounsfield units; MR in arbitrary units; PET as stored; labels as integers.
    grid : Grid
        Where the voxels lie.
    modality : str
        ``"CT"``, ``"MR"``, ``"PT"`` or ``""`` for labels.
    unit : str
        Of the values, such as ``"HU"``; empty where there is none or it is not known.
    weighting : str
        Of an MR, such as ``"T1"``; empty where it is not known.
    """

    array: np.ndarray
    grid: Grid
    modality: Modality = ""
    unit: str = ""
    weighting: str = ""

    def image(self) -> sitk.Image:
        """The same as a SimpleITK image."""
        return self.grid.to_image(self.array)

    def on(self, grid: Grid) -> Volume:
        """The same on another Grid, interpolated; its lowest value where it has no data."""
        image = sitk.Resample(
            self.image(),
            grid.shape[::-1],
            sitk.Transform(),
            sitk.sitkLinear,
            grid.origin,
            grid.spacing[::-1],
            grid.direction,
            float(np.nanmin(self.array)),
        )
        return replace(self, array=sitk.GetArrayFromImage(image), grid=grid)


def from_image(image: sitk.Image, modality: Modality = "") -> Volume:
    """Wrap a 3D SimpleITK image."""
    grid = Grid.from_image(image)
    values, unit = sitk.GetArrayFromImage(image), unit_of(image, modality)
    return Volume(values, grid, modality, unit, weighting_of(image))


def read_image(path: str | Path) -> sitk.Image:
    """Read a 3D image as it lies on disk.

    Parameters
    ----------
    path : path
        NIfTI, NRRD, MHA or MHD file, one DICOM file of a multi-frame image, or a folder with
        one DICOM series.

    Raises
    ------
    UserError
        Missing, unreadable, not 3D, more than one value a voxel, or an uneven series.
    """
    path = Path(path)
    check_name(path)
    if not path.exists():
        raise UserError(f"{path} does not exist. Check the name and the folder.")
    if not (path.is_file() or path.is_dir()):
        raise UserError(f"{path.name} is no file but a pipe or a device. Choose a file.")
    try:
        image = _read(path)
    except (RuntimeError, OSError, ValueError, OverflowError) as error:
        raise _unreadable(path.name, error) from error
    image = _as_3d(image, path.name)
    check_geometry(image, path.name)
    if file_ending(path) in _READERS:
        put_straight(image, path.name)
    return image


def read_volume(path: str | Path, modality: Modality) -> Volume:
    """Read an image for display and training.

    Raises
    ------
    UserError
        As `read_image`; also for NaN or infinite voxels and for an image of one value only.
    """
    volume = from_image(read_image(path), modality)
    check_values(volume.array, f"The {modality} {Path(path).name}")
    return volume


def check_values(array: np.ndarray, name: str) -> None:
    """Raise UserError when an image holds NaN, infinity, or nothing but one value."""
    if np.issubdtype(array.dtype, np.floating):
        bad = int(array.size - np.isfinite(array).sum())
        if bad:
            raise UserError(
                f"{name} has {bad} voxels that are NaN or infinite, of {array.size}. Export the "
                "image again without them."
            )
    low, high = array.min(), array.max()
    if low == high:
        raise UserError(f"{name} is {low:g} in every voxel: there is nothing to see in it.")


def write_image(image: sitk.Image, path: str | Path) -> Path:
    """Write an image so that a half-written file never replaces a good one.

    Raises
    ------
    UserError
        Unknown ending, missing or read-only folder, full disk.
    """
    path = Path(path)
    ending = file_ending(path, WRITE_ENDINGS)
    if ending is None:
        raise UserError(f"{path.name} must end in {', '.join(WRITE_ENDINGS)} to be written.")
    with_compression = ending != ".nii"
    return write_safely(
        path,
        ending,
        lambda part: sitk.WriteImage(image, str(part), useCompression=with_compression),
    )


def file_ending(path: str | Path, endings: tuple[str, ...] = IMAGE_ENDINGS) -> str | None:
    """Return the known ending of a file name (``.nii.gz`` counts as one), or None."""
    name = Path(path).name.lower()
    matches = [ending for ending in endings if name.endswith(ending)]
    return max(matches, key=len) if matches else None


def _unreadable(name: str, error: Exception) -> UserError:
    """What ITK says is for programmers, and names the whole path: only one cause is told apart."""
    if "orthonormal" in str(error):
        return skewed(name)
    return UserError(
        f"{name} cannot be read as an image: it is damaged or of another kind. Copy or export it "
        "again. Expected NIfTI, NRRD, MHA/MHD or a folder with one DICOM series."
    )


def is_image_file(path: Path) -> bool:
    """Whether a file is an image by its ending, or a NIfTI by what is in it; not DICOM."""
    return file_ending(path) is not None or (path.is_file() and is_nifti(path))


def _read(path: Path) -> sitk.Image:
    """By its ending; what has none that is known is taken for DICOM unless it is a NIfTI."""
    if path.is_dir():
        return read_series(path)
    ending = file_ending(path)
    if ending in _NIFTI or (ending is None and is_nifti(path)):
        return read_nifti(path)
    return read_file(path, _READERS.get(ending or "", DICOM))


def _as_3d(image: sitk.Image, name: str) -> sitk.Image:
    if image.GetDimension() == 4 and image.GetSize()[3] == 1:
        image = image[:, :, :, 0]
    size = "×".join(str(n) for n in image.GetSize())
    if image.GetNumberOfComponentsPerPixel() != 1:
        raise UserError(f"{name} is a colour or vector image ({size}); a CT, MR or PET is needed.")
    if image.GetDimension() != 3 or image.GetSize()[2] < 2:
        raise UserError(f"{name} is not a 3D image: its size is {size}.")
    return image
