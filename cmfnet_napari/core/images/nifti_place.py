"""Where the voxels of a NIfTI lie: sform, else qform, else the voxel size; conflicts are said."""

from __future__ import annotations

import numpy as np
from nibabel.nifti1 import Nifti1Header
from nibabel.spatialimages import HeaderDataError

from cmfnet_napari.core.arrays import Doubles, three
from cmfnet_napari.core.errors import UserError, say_of
from cmfnet_napari.core.images.grid import Grid
from cmfnet_napari.core.images.header_check import SAID_VOXELS, straightened, times

_MM = {1: 1000.0, 3: 0.001}  # codes of metre and micron; all else is taken for millimetres


def read_place(header: Nifti1Header, shape: tuple[int, int, int], name: str) -> Grid:
    """Where the voxels of a NIfTI lie.

    One rule for all files: where the sform says if it has a code, else where the qform says, else
    by the voxel size alone with the middle at the origin. Another place that the header gives is
    said in a `DataWarning` if it is more than a tenth of a voxel away.

    Parameters
    ----------
    header : Nifti1Header
        Checked by nibabel.
    shape : tuple of int
        Voxels along (z, y, x).
    name : str
        What messages call the file.

    Raises
    ------
    UserError
        Sheared, or no place in space.
    """
    affine, how = _affine(header, name)
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in shape[::-1]])).reshape(3, -1)
    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    if not np.isfinite(affine).all() or not sizes.all():
        raise UserError(
            f"{name} says that its voxels are {times(sizes)} mm large, which cannot be. Export "
            "it again."
        )
    straight = straightened(affine[:3, :3] / sizes, sizes, shape[::-1], name)
    _say_conflicts(header, affine, how, corners, name)
    lps = np.diag([-1.0, -1.0, 1.0])
    return Grid(
        shape,
        three(float(s) for s in sizes[::-1]),
        three(float(v) for v in lps @ affine[:3, 3]),
        tuple(float(v) for v in (lps @ straight).ravel()),
    )


def _affine(header: Nifti1Header, name: str) -> tuple[Doubles, str]:
    """Voxels (x, y, z) to mm in RAS, and which of the header's forms says so."""
    form = "sform"
    try:
        affine = header.get_sform(coded=True)[0]
        if affine is None:
            form = "qform"
            affine = header.get_qform(coded=True)[0]
        if affine is None:
            form = ""
            affine = header.get_base_affine()
    except (HeaderDataError, ValueError) as error:
        raise UserError(
            f"{name} does not say where it lies: its {form or 'voxel size'} is damaged. Export it "
            "again."
        ) from error
    return _in_mm(header, affine), form


def _in_mm(header: Nifti1Header, affine: Doubles) -> Doubles:
    scaled = np.array(affine, dtype=np.float64)
    scaled[:3] *= _MM.get(int(header["xyzt_units"]) % 8, 1.0)
    return scaled


def _say_conflicts(
    header: Nifti1Header, affine: Doubles, how: str, corners: np.ndarray, name: str
) -> None:
    """Warn where two of the header's places differ, or where it has none."""
    if not how:
        say_of(
            name,
            "does not say where it lies in the patient (no sform, no qform): left and right, "
            "front and back are taken as most programs do. Check them.",
        )
        return
    if how == "qform":
        return
    try:
        other = header.get_qform(coded=True)[0]
    except (HeaderDataError, ValueError):
        other = None
    if other is None:
        _say_sizes(header, affine, corners, name)
        return
    difference = (affine - _in_mm(header, other))[:3]
    apart = np.linalg.norm(difference[:, :3] @ corners + difference[:, 3:], axis=0).max()
    if apart > SAID_VOXELS * np.linalg.norm(affine[:3, :3], axis=0).min():
        say_of(
            name,
            f"says in two ways where it lies, up to {apart:.3g} mm apart. Its sform is taken, as "
            "nibabel and most viewers do, not its qform. Check that it lies right.",
        )


def _say_sizes(header: Nifti1Header, affine: Doubles, corners: np.ndarray, name: str) -> None:
    """Warn where the voxel size in the header is another than that of the place."""
    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    said = np.abs(header["pixdim"][1:4].astype(np.float64)) * _in_mm(header, np.eye(4))[0, 0]
    apart = np.abs(said - sizes) * corners.max(axis=1)
    if (said > 0).all() and apart.max() > SAID_VOXELS * sizes.min():
        say_of(
            name,
            f"says in two ways how large its voxels are: {times(sizes)} mm by its sform, which is "
            f"taken, and {times(said)} mm by its pixdim. Check its volumes.",
        )
