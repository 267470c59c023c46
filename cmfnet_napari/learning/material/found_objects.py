"""Objects found in real images without labels: muscles, bones, fat, vessels, skin.

An object is a connected part of an intensity band, or a basin between edges, of one image or of
both together, in a cube of any voxel size. Nobody drew it, but its border is one that a person
would follow.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import ndimage
from skimage.segmentation import watershed

from cmfnet_napari.core.arrays import Floats, Mask, three
from cmfnet_napari.learning.material.patient_cubes import Source, one_image
from cmfnet_napari.learning.material.sample import ACROSS, SIDE, Sample, extent

_VOXEL_MM = (0.7, 2.6)
_EXTENT = (0.55 * ACROSS, 1.6 * ACROSS)  # voxels
_FILLED = (0.08, 0.85)  # share of its box that an object fills
_AIR = 0.03  # what is darker in all images is no tissue
_TRIES = 60
_TRIES_A_CUBE = 4
_SMOOTH = (0.6, 1.6)  # voxels
_ROUND = 1.3  # voxels that a border is rounded by
_STEEPER = 1.5  # times steeper at the border than within, at least


def find_object(source: Source, rng: np.random.Generator) -> Sample:
    """A cube with something found in it; after many tries whatever was found last."""
    sample, found = _cube(source, rng), np.zeros((SIDE,) * 3, dtype=bool)
    for attempt in range(_TRIES):
        if attempt % _TRIES_A_CUBE == _TRIES_A_CUBE - 1:
            sample = _cube(source, rng)
        images, seed = _images(sample, rng), _seed(rng)
        rough = _band(images, seed, rng) if rng.random() < 0.6 else _basin(images, seed, rng)
        found = _part(ndimage.gaussian_filter(rough.astype(np.float32), _ROUND) > 0.5, seed)
        if _is_an_object(found, images) and _has_a_border(found, images):
            break
    return one_image(replace(sample, object=found & sample.there), rng)


def _cube(source: Source, rng: np.random.Generator) -> Sample:
    """A cube of any voxel size, most of it within the images."""
    low, high = np.log(_VOXEL_MM)
    while True:
        place, voxel = source.any_place(rng), float(np.exp(rng.uniform(low, high)))
        if source.holds(place, voxel):
            return source.cut(place, voxel, rng)


def _is_an_object(found: Mask, images: list[Floats]) -> bool:
    size = extent(found)
    if not _EXTENT[0] <= size <= _EXTENT[1] or max(i[found].mean() for i in images) < _AIR:
        return False
    return _FILLED[0] <= float(found.sum()) / size**3 <= _FILLED[1]


def _has_a_border(found: Mask, images: list[Floats]) -> bool:
    """Whether the images change more across the border than within."""
    deep = ndimage.binary_erosion(found, iterations=3)
    border = ndimage.binary_dilation(found) & ~ndimage.binary_erosion(found)
    slope = _slope(images)
    return bool(deep.any() and slope[border].mean() > _STEEPER * slope[deep].mean())


def _images(sample: Sample, rng: np.random.Generator) -> list[Floats]:
    """One image or both, smooth; the second only where the middle of the cube is seen."""
    middle = slice(SIDE // 4, 3 * SIDE // 4)
    both = sample.seen[middle, middle, middle].mean() > 0.9
    chosen = rng.integers(3) if both else 0
    images = [(sample.first,), (sample.second,), (sample.first, sample.second)][chosen]
    sigma = rng.uniform(*_SMOOTH)
    return [ndimage.gaussian_filter(image, sigma) for image in images]


def _seed(rng: np.random.Generator) -> tuple[int, int, int]:
    z, y, x = (int(n) for n in rng.integers(SIDE // 3, SIDE - SIDE // 3, 3))
    return z, y, x


def _slope(images: list[Floats]) -> Floats:
    """Gradient magnitude over all images, a voxel."""
    slope: Floats = np.sqrt(sum(g**2 for image in images for g in np.gradient(image)))
    return slope


def _band(images: list[Floats], seed: tuple[int, int, int], rng: np.random.Generator) -> Mask:
    """Connected voxels that look like a seed, without thin bridges."""
    inside = np.ones(images[0].shape, dtype=bool)
    for image in images:
        width = np.exp(rng.uniform(np.log(0.03), np.log(0.2)))
        inside &= np.abs(image - image[seed]) < width
    return _part(ndimage.binary_opening(inside, iterations=int(rng.integers(1, 3))), seed)


def _basin(images: list[Floats], seed: tuple[int, int, int], rng: np.random.Generator) -> Mask:
    """A basin of the gradient, joined with those beside it that look alike."""
    slope = _slope(images)
    low = ndimage.minimum_filter(slope, size=int(rng.integers(3, 9)))
    markers, _ = ndimage.label(slope <= low + rng.uniform(0.002, 0.02) * slope.std())
    basins = watershed(slope, markers).ravel()
    sizes = np.bincount(basins).clip(min=1)
    means = np.stack([np.bincount(basins, image.ravel()) / sizes for image in images])
    here = means[:, basins.reshape(slope.shape)[seed]]
    alike = np.abs(means - here[:, None]).max(axis=0) < rng.uniform(0.02, 0.1)
    return _part(ndimage.binary_opening(alike[basins].reshape(slope.shape)), seed)


def _part(inside: Mask, seed: tuple[int, int, int]) -> Mask:
    """The part that holds the seed, or the nearest one; holes are filled."""
    parts, count = ndimage.label(inside)
    if not count:
        return inside
    if not parts[seed]:
        nearest = ndimage.distance_transform_edt(
            parts == 0, return_distances=False, return_indices=True
        )
        seed = three(int(n) for n in nearest[(slice(None), *seed)])
    filled: Mask = ndimage.binary_fill_holes(parts == parts[seed])
    return filled
