"""Study: the CT and the MR of one patient on one Grid."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from cmfnet_napari.core.arrays import Codes, Doubles, Mask, Reals
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.images.body import body_mask
from cmfnet_napari.core.images.grid import Grid
from cmfnet_napari.core.images.hounsfield import subtract
from cmfnet_napari.core.images.label_map import to_labels
from cmfnet_napari.core.images.normalise import ct_to_unit, mr_to_unit
from cmfnet_napari.core.images.padding import has_data
from cmfnet_napari.core.images.volume import (
    Volume,
    check_values,
    from_image,
    read_image,
    write_image,
)

ORIENTATION = "LPS"  # array axes z, y, x run to the head, the back and the patient's left
_MIN_OVERLAP = 0.001  # of the CT's voxels
_NO_LENGTH = 1e-9  # mm, or a cosine


@dataclass(frozen=True)
class Study:
    """The CT and the MR of one patient on the CT's Grid, axes turned to `ORIENTATION`.

    Attributes
    ----------
    first : Volume
        CT, (z, y, x), HU.
    second : Volume or None
        MR resampled onto the CT's Grid, float32, 0 where it has no data.
    seen : bool array (z, y, x) or None
        Where the MR has data.
    source_grid : Grid
        The CT's Grid as it lies in its file: what is saved is saved on it.
    second_source : Volume or None
        The MR as it was read, on its own Grid, so that it can be registered anew; None also in a
        case of an earlier version.
    """

    first: Volume
    second: Volume | None
    seen: Mask | None
    source_grid: Grid
    second_source: Volume | None = None

    @property
    def grid(self) -> Grid:
        """The Grid all arrays of the study share."""
        return self.first.grid

    @cached_property
    def body(self) -> Mask:
        """The patient without the air around, bool (z, y, x)."""
        return body_mask(self.first)

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 of voxels and geometry: names the study without naming the patient."""
        grid = self.grid
        numbers = np.array([*grid.shape, *grid.spacing, *grid.origin, *grid.direction])
        # A file gives a cosine back with another last bit; float32 does not see it.
        numbers[np.abs(numbers) < _NO_LENGTH] = 0.0
        digest = hashlib.sha256(numbers.astype("<f4").tobytes())
        for volume in (self.first, self.second):
            if volume is not None:
                digest.update(np.ascontiguousarray(volume.array).data)
        return digest.hexdigest()

    @cached_property
    def voxel_hash(self) -> str:
        """SHA-256 of the voxels of CT and MR as they were read, axes turned to the patient's.

        Whatever format they came in: only their values count, as float32, not where they lie.
        """
        return self._as_read[0]

    @property
    def second_grid(self) -> Grid | None:
        """Where the MR lay as it was read, axes turned to the patient's."""
        return self._as_read[1]

    @cached_property
    def _as_read(self) -> tuple[str, Grid | None]:
        """Hash of the voxels, and the MR's Grid; the turned MR is not kept."""
        mr = self.second
        if self.second_source is not None:
            mr = from_image(turn(self.second_source.image()), "MR")
        digest = hashlib.sha256()
        for volume in (self.first, mr):
            if volume is not None:
                digest.update(np.array(volume.array.shape, "<i8").tobytes())
                for plane in volume.array:
                    digest.update((plane.astype("<f4") + np.float32(0)).tobytes())  # −0 is 0
        return digest.hexdigest(), None if mr is None else mr.grid

    def less(self, offset: float) -> Study:
        """The same study with a number subtracted from the values of its CT."""
        if not offset:
            return self
        return replace(self, first=replace(self.first, array=subtract(self.first.array, offset)))

    def moved(self, matrix: Doubles) -> Study:
        """The same study with its MR at another place, resampled from the MR as it was read.

        Parameters
        ----------
        matrix : float array (4, 4)
            Takes points of the CT (LPS, mm) to points of the MR.

        Raises
        ------
        UserError
            There is no MR as it was read, or it does not meet the CT there.
        """
        if self.second_source is None:
            raise UserError(
                "This case keeps no MR on its own grid. Open CT and MR anew to register them."
            )
        mr, fov = _resample_mr(self.second_source.image(), self.first, matrix)
        return replace(self, second=mr, seen=fov)


def unit_pair(
    study: Study, ct_window: tuple[float, float], mr_percentiles: tuple[float, float]
) -> tuple[Reals, Reals, Mask]:
    """Both images in [0, 1], as a network sees them, and where the second has data.

    Parameters
    ----------
    study : Study
        CT and MR; without an MR the CT is given twice, as the paper does for CT alone.
    ct_window, mr_percentiles : tuple of float
        As in `ct_to_unit` and `mr_to_unit`, whose errors are raised.

    Returns
    -------
    float32, float32 and bool arrays (z, y, x)
    """
    ct = ct_to_unit(study.first.array, ct_window)
    if study.second is None or study.seen is None:
        return ct, ct, np.ones(ct.shape, dtype=bool)
    return ct, mr_to_unit(study.second.array, study.seen, mr_percentiles), study.seen


def open_study(ct: str | Path, mr: str | Path | None = None) -> Study:
    """Read a CT and, if given, an MR and put both on the CT's Grid.

    Raises
    ------
    UserError
        As `volume.read_image`, or when the MR does not overlap the CT.
    """
    ct_image = read_image(ct)
    mr_image = None if mr is None else read_image(mr)
    return study_from_images(ct_image, mr_image)


def study_from_images(
    ct: sitk.Image, mr: sitk.Image | None = None, matrix: Doubles | None = None
) -> Study:
    """Put a CT and an MR image on one Grid; see `open_study`.

    Parameters
    ----------
    ct, mr : Image
        In their own places.
    matrix : float array (4, 4), optional
        Takes points of the CT (LPS, mm) to points of the MR; when not given, both share them.
    """
    volume = from_image(turn(ct), "CT")
    check_values(volume.array, "The CT")
    if mr is None:
        return Study(volume, None, None, Grid.from_image(ct))
    check_values(sitk.GetArrayViewFromImage(mr), "The MR")
    resampled, fov = _resample_mr(mr, volume, matrix)
    return Study(volume, resampled, fov, Grid.from_image(ct), from_image(mr, "MR"))


def turn(image: sitk.Image, orientation: str = ORIENTATION) -> sitk.Image:
    """Permute and flip the axes to the nearest patient axes: exact, no voxel is interpolated."""
    turned: sitk.Image = sitk.DICOMOrient(image, orientation)
    return turned


def load_values(path: str | Path, grid: Grid) -> np.ndarray:
    """Read an image on the CT's grid, such as probabilities or scribbles.

    Parameters
    ----------
    path : path
        Image on the CT's original grid, axes in any order.
    grid : Grid
        The Study's Grid.

    Returns
    -------
    array (z, y, x) on the Study's Grid, in the file's dtype

    Raises
    ------
    UserError
        Unreadable, or on another grid than the CT.
    """
    volume = from_image(turn(read_image(path)))
    if not volume.grid.same_place(grid):
        raise UserError(
            f"{Path(path).name} is on another grid than the CT: {volume.grid.difference(grid)}. "
            "Draw or export it on the CT."
        )
    return volume.array


def load_labels(path: str | Path, grid: Grid) -> Codes:
    """Read a contour that was drawn on the CT, uint8 (z, y, x) on the Study's Grid.

    Raises
    ------
    UserError
        As `load_values` and `label_map.to_labels`.
    """
    return to_labels(load_values(path, grid), Path(path).name)


def label_image(path: str | Path) -> sitk.Image:
    """Read a contour as it lies in its file, uint8.

    Raises
    ------
    UserError
        As `volume.read_image` and `label_map.to_labels`.
    """
    image = read_image(path)
    labels = to_labels(sitk.GetArrayViewFromImage(image), Path(path).name)
    return Grid.from_image(image).to_image(labels)


def save_labels(labels: np.ndarray, study: Study, path: str | Path) -> Path:
    """Write an array of the Study's Grid on the CT's original grid.

    Parameters
    ----------
    labels : array (z, y, x)
        Labels (any integer dtype, bool) or probabilities (float).
    study : Study
        The study they belong to.
    path : path
        Ends in ``.nii``, ``.nii.gz``, ``.nrrd`` or ``.mha``.

    Raises
    ------
    UserError
        See `volume.write_image`.
    """
    return write_image(to_source_image(labels, study), path)


def to_source_image(labels: np.ndarray, study: Study) -> sitk.Image:
    """Turn an array of the Study's Grid back to the CT's original axes, geometry to the bit."""
    source = study.source_grid
    code = sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(source.direction)
    image = turn(study.grid.to_image(labels), code)
    return source.to_image(sitk.GetArrayFromImage(image))


def rigid(matrix: Doubles | None) -> sitk.Transform:
    """A homogeneous matrix (4, 4) of points in mm as ITK's transform; None is the identity."""
    transform = sitk.AffineTransform(3)
    if matrix is not None:
        transform.SetMatrix(np.asarray(matrix)[:3, :3].ravel().tolist())
        transform.SetTranslation(np.asarray(matrix)[:3, 3].tolist())
    return transform


def _resample_mr(mr: sitk.Image, ct: Volume, matrix: Doubles | None = None) -> tuple[Volume, Mask]:
    mr, target, move = sitk.Cast(mr, sitk.sitkFloat32), ct.image(), rigid(matrix)
    data = from_image(mr)
    known = data.grid.to_image(has_data(data.array))
    fov: Mask = sitk.GetArrayFromImage(
        sitk.Resample(known, target, move, sitk.sitkNearestNeighbor, 0)
    ).astype(bool)
    if fov.mean() < _MIN_OVERLAP:
        raise UserError(
            f"The MR covers {100 * fov.mean():.2g} % of the CT (CT {ct.grid}; MR {data.grid}). "
            "Check that both are of one patient and registered."
        )
    array = sitk.GetArrayFromImage(sitk.Resample(mr, target, move, sitk.sitkLinear, 0))
    return Volume(np.where(fov, array, np.float32(0)), ct.grid, "MR"), fov
