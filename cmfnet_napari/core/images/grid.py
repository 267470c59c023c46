"""Grid: the only place that converts between array order, image order and the patient."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

import numpy as np
import SimpleITK as sitk

from cmfnet_napari.core.arrays import Doubles, three

Triple = tuple[float, float, float]

# A NIfTI header keeps float32, so equal grids differ by far less than this share of a voxel.
SAME_PLACE_VOXELS = 0.01
_LETTERS = (("R", "L"), ("A", "P"), ("I", "S"))  # towards −, towards + of LPS x, y, z


@dataclass(frozen=True)
class Grid:
    """Where the voxels of a 3D array lie in the patient.

    Attributes
    ----------
    shape : tuple of int
        Voxels along (z, y, x).
    spacing : tuple of float
        Distance of voxel centres along (z, y, x), mm.
    origin : tuple of float
        Centre of voxel (0, 0, 0) in patient coordinates (x, y, z), LPS, mm
        (DICOM PS3.3 C.7.6.2.1.1).
    direction : tuple of float
        Row-major 3×3 cosine matrix; its columns are the patient directions of the array's
        x, y and z axes, as in SimpleITK.
    """

    shape: tuple[int, int, int]
    spacing: Triple = (1.0, 1.0, 1.0)
    origin: Triple = (0.0, 0.0, 0.0)
    direction: tuple[float, ...] = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)

    @classmethod
    def from_image(cls, image: sitk.Image) -> Grid:
        """Read the Grid of a 3D SimpleITK image."""
        return cls(
            shape=image.GetSize()[::-1],
            spacing=image.GetSpacing()[::-1],
            origin=image.GetOrigin(),
            direction=image.GetDirection(),
        )

    def to_image(self, array: np.ndarray) -> sitk.Image:
        """Wrap an array (z, y, x) of this shape as a SimpleITK image (bool becomes uint8)."""
        if array.shape != self.shape:
            raise ValueError(f"array {array.shape} is not on the grid {self.shape}")
        image = sitk.GetImageFromArray(array.astype(np.uint8) if array.dtype == bool else array)
        image.SetSpacing(self.spacing[::-1])
        image.SetOrigin(self.origin)
        image.SetDirection(self.direction)
        return image

    @property
    def voxel_ml(self) -> float:
        """Volume of one voxel, millilitres."""
        return prod(self.spacing) / 1000.0

    @property
    def matrix(self) -> Doubles:
        """Direction cosines, 3×3 float64: column j is the patient direction of image axis j."""
        return np.array(self.direction, dtype=float).reshape(3, 3)

    def to_patient(self, index: np.ndarray) -> Doubles:
        """Patient coordinates of array positions.

        Parameters
        ----------
        index : array (..., 3)
            Positions in voxels, (z, y, x); fractions allowed.

        Returns
        -------
        array (..., 3), float64
            (x, y, z) in LPS, mm.
        """
        step: Doubles = np.asarray(index, dtype=float)[..., ::-1] * np.array(self.spacing[::-1])
        points: Doubles = step @ self.matrix.T + np.array(self.origin)
        return points

    def to_index(self, point: np.ndarray) -> Doubles:
        """Array positions (..., 3) in voxels, (z, y, x), of patient points (x, y, z) in mm."""
        step: Doubles = (np.asarray(point, dtype=float) - np.array(self.origin)) @ self.matrix
        index: Doubles = step / np.array(self.spacing[::-1])
        return index[..., ::-1]

    def crop(self, region: tuple[slice, slice, slice]) -> Grid:
        """Grid of ``array[region]`` (plain slices with start and stop, step 1)."""
        start = [s.start for s in region]
        shape = three(s.stop - s.start for s in region)
        origin = three(float(v) for v in self.to_patient(np.array(start)))
        return replace(self, shape=shape, origin=origin)

    def same_place(self, other: Grid) -> bool:
        """Whether both grids put every voxel within a hundredth of a voxel of each other."""
        return self.apart(other) <= SAME_PLACE_VOXELS * min(self.spacing)

    def apart(self, other: Grid) -> float:
        """How far voxels of the same index lie apart at most, mm; infinite if sizes differ."""
        if self.shape != other.shape:
            return float("inf")
        corners = np.array(np.meshgrid(*[(0, n - 1) for n in self.shape])).reshape(3, -1).T
        between = self.to_patient(corners) - other.to_patient(corners)
        return float(np.linalg.norm(between, axis=1).max())

    def difference(self, other: Grid) -> str:
        """In what two grids differ, with numbers, for a message."""
        apart = self.apart(other)
        if np.isfinite(apart):
            return f"{self} and {other}, voxels up to {apart:.3g} mm apart"
        return f"{self} and {other}"

    @property
    def translate(self) -> Triple:
        """Position of voxel (0, 0, 0) along the array's own axes (z, y, x), mm.

        With ``spacing`` this places a layer in napari. For an axis-aligned grid these are
        patient coordinates; for an oblique one they are millimetres along its own planes, so
        that slices stay the acquired ones.
        """
        own_axes = np.array(self.origin) @ self.matrix
        return three(float(v) for v in own_axes[::-1])

    def shown_apart(self, other: Grid) -> float:
        """How far voxels seem to lie off when both are placed by `spacing` and `translate`, mm.

        Two grids with axes of their own cannot be shown beside each other so.
        """
        corners = np.array(np.meshgrid(*[(0, n - 1) for n in self.shape])).reshape(3, -1).T
        off = self.to_patient(corners) @ (self.matrix - other.matrix)
        return float(np.linalg.norm(off, axis=1).max())

    @property
    def axis_letters(self) -> tuple[tuple[str, str], ...]:
        """For each array axis (z, y, x), the patient letters at its low and its high end."""
        letters = []
        for column in self.matrix.T[::-1]:
            axis = int(np.argmax(np.abs(column)))
            low, high = _LETTERS[axis]
            letters.append((low, high) if column[axis] > 0 else (high, low))
        return tuple(letters)

    def __str__(self) -> str:
        size = "×".join(str(n) for n in self.shape[::-1])
        spacing = "×".join(f"{s:.3g}" for s in self.spacing[::-1])
        origin = ", ".join(f"{o:.1f}" for o in self.origin)
        return f"{size} voxels of {spacing} mm at ({origin})"
