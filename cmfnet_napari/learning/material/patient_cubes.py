"""Cubes of a real patient's images: around a contour, or anywhere, in any direction.

From a contour the cube's voxels follow the contour's extent; objects are then found in cubes of
any voxel size (found_objects.py).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from cmfnet_napari.core.arrays import Doubles, Mask, Reals, Wholes
from cmfnet_napari.core.fit.config import Config
from cmfnet_napari.core.images.grid import Grid
from cmfnet_napari.core.images.modality import Modalities
from cmfnet_napari.core.images.study import (
    Study,
    load_labels,
    open_study,
    say_no_units,
    unit_pair,
)
from cmfnet_napari.learning.material.sample import ACROSS, SIDE, Sample

_ANY_SIZE = (0.65, 1.5)  # of a contour in its cube, as a share of `ACROSS`
_TURN = 0.35  # radians: how far a cube is turned against the patient
_FINER = 2  # a voxel is the mean of so many along each axis
_COVERED = 0.85  # of a cube around a contour that the images are to reach
_ONE_IMAGE = 0.15  # how often the second image is left out or the first
_LEAST = 300  # voxels of an object in its cube
_TRIES = 30
_COARSE = 12  # points along a side that say how much of a cube is reached


@dataclass(frozen=True, eq=False)
class Source:
    """A patient to cut cubes from, on the Study's Grid.

    Attributes
    ----------
    first, second : Image
        In [0, 1]; without a second the first twice.
    seen : Image
        1 where the second image has data.
    contour : Image or None
        1 inside the contour.
    body : bool array (z, y, x)
        What is the patient.
    grid : Grid
        Of all of them.
    content_hash : str
        Of the study.
    """

    first: sitk.Image
    second: sitk.Image
    seen: sitk.Image
    contour: sitk.Image | None
    body: Mask
    grid: Grid
    content_hash: str

    @classmethod
    def of(cls, study: Study, contour: Mask | None) -> Source:
        """Normalise a study as the network's inputs are."""
        usual, grid = Config(), study.grid
        pair = unit_pair(study, usual.ct_window, usual.mr_percentiles)
        first, second, seen = (_image(array, grid) for array in pair)
        outline = None if contour is None else _image(contour, grid)
        return cls(first, second, seen, outline, study.body, grid, study.content_hash)

    def any_place(self, rng: np.random.Generator) -> Doubles:
        """A random place in the patient, LPS mm."""
        inside = np.flatnonzero(self.body)
        at = np.unravel_index(inside[rng.integers(len(inside))], self.body.shape)
        return self.place(np.array(at, dtype=float))

    def place(self, index: Doubles) -> Doubles:
        """Where an index (z, y, x) lies, LPS mm."""
        xyz = [float(n) for n in index[::-1]]
        place: Doubles = np.array(self.first.TransformContinuousIndexToPhysicalPoint(xyz))
        return place

    def cut(self, place: Doubles, voxel: float, rng: np.random.Generator) -> Sample:
        """A cube around a place, turned a little by chance, `voxel` mm fine.

        The object is the contour; empty where there is none.
        """
        return self.cut_turned(place, voxel, _turn(rng))

    def cut_turned(self, place: Doubles, voxel: float, axes: Doubles) -> Sample:
        """The same along the columns of a matrix."""
        grid = _cube(place, voxel / _FINER, axes)
        first, second, seen = (_cut(i, grid) for i in (self.first, self.second, self.seen))
        contour = np.zeros_like(first) if self.contour is None else _cut(self.contour, grid)
        known = seen > 0.5
        second = np.where(known, second / np.maximum(seen, 0.5), 0).astype(np.float32)
        return Sample(first, second, known, contour > 0.5, self.reach(place, voxel, axes))

    def reach(self, place: Doubles, voxel: float, axes: Doubles, count: int = SIDE) -> Mask:
        """Where the images reach in a cube, at so many points along each side (z, y, x)."""
        steps = np.linspace(-1, 1, count) * voxel * (SIDE - 1) / 2
        z, y, x = np.meshgrid(steps, steps, steps, indexing="ij")
        mm = place[:, None] + axes @ np.stack([x.ravel(), y.ravel(), z.ravel()])
        ends = (np.array(self.grid.shape[::-1]) - 1) * self.grid.spacing[::-1]
        within: Mask = ((mm >= 0) & (mm <= ends[:, None])).all(axis=0)
        return within.reshape(count, count, count)

    def holds(self, place: Doubles, voxel: float) -> bool:
        """Whether the images reach as far as the inner half of a cube does."""
        at = self.first.TransformPhysicalPointToContinuousIndex(place.tolist())
        mm = np.array(at[::-1]) * self.grid.spacing
        sides = (np.array(self.grid.shape) - 1) * self.grid.spacing
        reach = voxel * SIDE / 4
        return bool((mm >= reach).all() and (mm <= sides - reach).all())


def open_source(
    first: Path, second: Path | None, mask: Path | None, modalities: Modalities = ("", "")
) -> Source:
    """Read a patient; see `open_study` and `load_labels` for what may be wrong."""
    study = open_study(first, second, modalities)
    say_no_units(study)
    contour = None if mask is None else load_labels(mask, study.grid) > 0
    return Source.of(study, contour)


def around_contour(source: Source, rng: np.random.Generator) -> Sample:
    """A cube around a patient's contour, at a size and a place by chance."""
    if source.contour is None:
        raise ValueError("there is no contour to go around")
    outline = sitk.GetArrayViewFromImage(source.contour) > 0.5
    places = np.argwhere(outline)
    sides = np.ptp(places, axis=0) + 1
    mm = float(np.prod(sides * source.grid.spacing) ** (1 / 3))
    middle = (places.min(axis=0) + places.max(axis=0)) / 2
    for _ in range(_TRIES):
        sample = source.cut_turned(*_covered(source, mm, middle, sides, rng))
        if sample.object.sum() >= _LEAST:
            break
    return one_image(sample, rng)


def _covered(
    source: Source, mm: float, middle: Doubles, sides: Wholes, rng: np.random.Generator
) -> tuple[Doubles, float, Doubles]:
    """Place, voxel and axes of a cube that the images reach nearly all of, or the best of many.

    What is black for want of images would be taken for background, and they often end some
    centimetres beyond the contour.
    """
    cubes = (
        (
            source.place(middle + rng.uniform(-0.3, 0.3, 3) * sides),
            mm / (ACROSS * rng.uniform(*_ANY_SIZE)),
            _turn(rng),
        )
        for _ in range(_TRIES)
    )
    best, most = None, -1.0
    for cube in cubes:
        reached = float(source.reach(*cube, _COARSE).mean())
        if reached > most:
            best, most = cube, reached
        if most >= _COVERED:
            break
    if best is None:
        raise ValueError("no cube was tried")
    return best


def one_image(sample: Sample, rng: np.random.Generator) -> Sample:
    """Now and then one image alone, as it is given to both branches."""
    if rng.random() >= _ONE_IMAGE:
        return sample
    whole = sample.seen[sample.object].mean() > 0.95
    image = sample.second if whole and rng.random() < 0.5 else sample.first
    return replace(sample, first=image, second=image, seen=np.ones_like(sample.seen))


def _image(array: np.ndarray, grid: Grid) -> sitk.Image:
    image = sitk.GetImageFromArray(array.astype(np.float32))
    image.SetSpacing([float(mm) for mm in grid.spacing[::-1]])
    return image


def _cube(place: Doubles, voxel: float, axes: Doubles) -> sitk.Image:
    """An empty image of the finer voxels, around a place."""
    count = SIDE * _FINER
    grid = sitk.Image([count] * 3, sitk.sitkUInt8)
    grid.SetSpacing([voxel] * 3)
    grid.SetDirection(axes.ravel())
    grid.SetOrigin((place - axes @ np.full(3, voxel * (count - 1) / 2)).tolist())
    return grid


def _cut(image: sitk.Image, grid: sitk.Image) -> Reals:
    fine = sitk.GetArrayFromImage(
        sitk.Resample(image, grid, sitk.Transform(), sitk.sitkLinear, 0.0)
    )
    blocks = fine.reshape(SIDE, _FINER, SIDE, _FINER, SIDE, _FINER)
    means: Reals = blocks.mean(axis=(1, 3, 5), dtype=np.float32)
    return means


def _turn(rng: np.random.Generator) -> Doubles:
    """A small rotation, as a matrix."""
    turn = sitk.Euler3DTransform()
    turn.SetRotation(*(float(angle) for angle in rng.uniform(-_TURN, _TURN, 3)))
    matrix: Doubles = np.array(turn.GetMatrix()).reshape(3, 3)
    return matrix
