"""What an image's header promises, judged before ITK sets memory aside for it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import prod
from pathlib import Path

import numpy as np
import psutil
import SimpleITK as sitk

from cmfnet_napari.core.arrays import Doubles
from cmfnet_napari.core.errors import UserError

_MOST_PACKED = 2000  # deflate packs 1:1032 at best, and no image is that dull
_SPACING_MM = (1e-3, 1e3)
_FARTHEST_MM = 1e6
_SKEW = 1e-2  # of cosines that are not at right angles
_EXACT = 1e-6  # of cosines that are: nothing is to be seen of that
SAID_VOXELS = 0.1  # places that are farther apart than this are no rounding
_PIXEL_BYTES = {
    sitk.sitkUInt16: 2,
    sitk.sitkInt16: 2,
    sitk.sitkUInt32: 4,
    sitk.sitkInt32: 4,
    sitk.sitkFloat32: 4,
    sitk.sitkUInt64: 8,
    sitk.sitkInt64: 8,
    sitk.sitkFloat64: 8,
}  # all others: at least one


def check_promise(reader: sitk.ImageFileReader, path: Path, detached: Iterable[Path] = ()) -> int:
    """Refuse a header that promises more than its file can hold, or than there is memory for.

    Parameters
    ----------
    reader : ImageFileReader
        Has read the header.
    path : Path
        The file.
    detached : iterable of Path
        Files that hold its voxels, if it does not hold them itself.

    Returns
    -------
    int
        Bytes of all voxels.

    Raises
    ------
    UserError
        No voxels, or too many.
    """
    size = reader.GetSize()
    values = int(prod(size) * max(1, reader.GetNumberOfComponents()))
    promised = values * _PIXEL_BYTES.get(reader.GetPixelID(), 1)
    held = sum(file.stat().st_size for file in {path, *detached})
    check_size(path.name, size, promised, held)
    return promised


def check_size(name: str, size: tuple[int, ...], promised: int, held: int, files: int = 1) -> None:
    """Refuse an image of no voxels, of more than its file can hold, or than there is memory for.

    Parameters
    ----------
    name : str
        The file's name.
    size : tuple of int
        Voxels along each axis, as the header says.
    promised, held : int
        Bytes of all voxels; of the file.
    files : int
        How many files of this size the image has.

    Raises
    ------
    UserError
        As said.
    """
    shown = times(size)
    if min(size) < 1:
        raise UserError(f"{name} is no image: its header says {shown} voxels.")
    if promised > held * _MOST_PACKED:
        raise UserError(
            f"{name} is damaged: its header says {shown} voxels, but the file has only "
            f"{held} bytes. Copy or export it again."
        )
    free = psutil.virtual_memory().available
    if promised * files > free:
        raise UserError(
            f"{name} needs {promised * files / 2**30:.1f} GiB of memory and "
            f"{free / 2**30:.1f} GiB are free. Close other programs, or use a smaller image."
        )


def check_geometry(image: sitk.Image, name: str) -> None:
    """Refuse a spacing, an origin or a direction that no patient can have.

    Raises
    ------
    UserError
        Not finite, spacing outside 0.001 to 1000 mm, farther away than 1 km, or axes that are
        not at right angles.
    """
    low, high = _SPACING_MM
    spacing, origin = np.array(image.GetSpacing()), np.array(image.GetOrigin())
    cosines = np.array(image.GetDirection()).reshape(image.GetDimension(), -1)
    if not ((spacing >= low) & (spacing <= high)).all():
        said = "×".join(f"{s:g}" for s in spacing)
        raise UserError(
            f"{name} says that its voxels are {said} mm large, which cannot be. Export it again."
        )
    if not (np.abs(origin) <= _FARTHEST_MM).all():
        said = ", ".join(f"{o:g}" for o in origin)
        raise UserError(f"{name} says that it lies at ({said}) mm. Export it again.")
    if not (np.abs(cosines @ cosines.T - np.eye(len(cosines))) <= _SKEW).all():
        raise skewed(name)


def put_straight(image: sitk.Image, name: str) -> None:
    """Put the axes of an image at right angles, where only a rounding has turned them.

    Raises
    ------
    UserError
        As `straightened`.
    """
    spacing, cosines = np.array(image.GetSpacing()), np.array(image.GetDirection()).reshape(3, 3)
    if np.abs(cosines @ cosines.T - np.eye(3)).max() > _EXACT:
        straight = straightened(cosines, spacing, image.GetSize(), name)
        image.SetDirection(straight.ravel().tolist())


def straightened(cosines: Doubles, spacing: Doubles, size: Sequence[int], name: str) -> Doubles:
    """The axes at right angles that are nearest to those of an image.

    Parameters
    ----------
    cosines : float array (3, 3)
        Patient directions of the axes, each a column of length 1.
    spacing : float array (3,)
        mm along the axes.
    size : sequence of int
        Voxels along the axes.
    name : str
        What messages call the image.

    Raises
    ------
    UserError
        A voxel would lie more than a tenth of a voxel elsewhere: the image is sheared.
    """
    if not np.isfinite(cosines).all():
        raise skewed(name)
    left, _, right = np.linalg.svd(cosines)
    straight: Doubles = left @ right
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in size])).reshape(len(size), -1)
    apart = np.abs((cosines - straight) * spacing @ corners).max()
    if apart > SAID_VOXELS * spacing.min():
        raise skewed(name)
    return straight


def skewed(name: str) -> UserError:
    """What to say of an image whose axes are not at right angles."""
    return UserError(
        f"{name} has axes that are not at right angles to each other. Export it again, resampled "
        "onto a grid with right angles."
    )


def times(numbers: Iterable[float]) -> str:
    """``512×512×40``, ``0.977×0.977×3.27``: sizes along the axes."""
    return "×".join(str(n) if isinstance(n, int) else f"{n:.3g}" for n in numbers)
