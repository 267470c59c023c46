"""Made-up anatomy: warped ellipsoids, tubes and shells, nested and touching, in two images.

Every structure has an intensity of its own in each image, often none in one of the two. What makes
real images hard is laid over that: texture, a bias field, noise, blur, thick slices, a second
image that is shifted or ends half way, one image alone.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import ndimage

from cmfnet_napari.core.arrays import Doubles, Floats, Mask
from cmfnet_napari.learning.material.sample import ACROSS, SIDE, Sample

_STRUCTURES = (3, 16)  # beside the object
_SIZES = (0.7, 1.45)  # of an object, as a share of `ACROSS`
_LEAST = 200  # voxels of an object
_TRIES = 20
_ALONE = 0.3  # how often there is one image
_ENDS = 0.15  # how often the second image ends within the cube
_LEAST_CONTRAST = 0.06  # of the object to what surrounds it, in one image at least

Shape = Callable[[Doubles], Doubles]  # points (3, z, y, x), voxels → distance, negative inside


def make_up(rng: np.random.Generator) -> Sample:
    """A sample of made-up anatomy; same state, same sample."""
    for _ in range(_TRIES):
        labels, target = _anatomy(rng)
        if (labels == target).sum() >= _LEAST:
            break
    first, second = _images(labels, target, rng)
    seen = np.ones(labels.shape, dtype=bool)
    if rng.random() < _ALONE:
        return Sample(first, first, seen, labels == target, np.ones_like(seen))
    shift = rng.normal(0, 0.5, 3) * (rng.random() < 0.5)
    second = ndimage.shift(second, shift, order=1, mode="nearest")
    if rng.random() < _ENDS:
        seen = _half(rng)
    return Sample(first, np.where(seen, second, 0), seen, labels == target, np.ones_like(seen))


def smooth_noise(rng: np.random.Generator, scale: float) -> Floats:
    """Random field (z, y, x), mean 0, deviation 1, features of about so many voxels."""
    white = rng.normal(size=(SIDE,) * 3).astype(np.float32)
    field: Floats = ndimage.gaussian_filter(white, scale / 2, mode="reflect", truncate=3.0)
    field -= field.mean()
    field /= max(float(field.std()), 1e-6)
    return field


# --- structures


def _anatomy(rng: np.random.Generator) -> tuple[np.ndarray, int]:
    """Labels (z, y, x), 0 for what lies between structures, and the object's label."""
    points = np.indices((SIDE,) * 3, dtype=np.float64)
    strength = rng.uniform(0, 4) * (rng.random() < 0.8)
    points += strength * np.stack([smooth_noise(rng, rng.uniform(8, 24)) for _ in range(3)])
    labels = np.zeros((SIDE,) * 3, dtype=np.uint8)
    count = int(rng.integers(_STRUCTURES[0], _STRUCTURES[1] + 1))
    target = count + 1
    shape = _object(rng)
    before = rng.random() < 0.75  # the object lies over the others; else some cut into it
    order = [*range(1, count + 1)]
    order.insert(count if before else int(rng.integers(1, count + 1)), target)
    outline = shape(points)
    for label in order:
        if label == target:
            labels[outline < 0] = target
        else:
            own = _structure(rng)(points)
            margin = rng.uniform(0, 3) if rng.random() < 0.3 else None
            if margin is not None:  # it touches the object, along all that it meets of it
                own = np.maximum(own, -(outline - margin))
            labels[own < 0] = label
    if rng.random() < 0.4:  # air around the patient
        labels[_ellipsoid(rng, np.full(3, rng.uniform(30, 60)), _anywhere(rng))(points) > 0] = 0
    inside = labels == target
    parts, found = ndimage.label(inside)
    if found > 1:  # an object is one part: what others cut off is another structure
        largest = np.argmax(np.bincount(parts.ravel())[1:]) + 1
        labels[inside & (parts != largest)] = count
    return labels, target


def _object(rng: np.random.Generator) -> Shape:
    size = ACROSS * rng.uniform(*_SIZES)
    place = SIDE / 2 + rng.uniform(-6, 6, 3)
    kind = rng.random()
    if kind < 0.2:  # longer than the cube, as cords and vessels are
        return _tube(rng, rng.uniform(2.5, 9), place)
    radii = size / 2 * np.exp(rng.normal(0, 0.25, 3))
    if kind < 0.35:
        outer = _ellipsoid(rng, radii, place)
        thick = rng.uniform(2, 0.5 * radii.min() + 2)
        return lambda points: np.maximum(outer(points), -(outer(points) + thick))
    if kind < 0.65:
        return _lobes(rng, radii, place)
    return _ellipsoid(rng, radii, place, power=2 if rng.random() < 0.7 else 4)


def _structure(rng: np.random.Generator) -> Shape:
    place, kind = _anywhere(rng), rng.random()
    if kind < 0.35:
        return _tube(rng, np.exp(rng.uniform(np.log(1), np.log(9))), place)
    radii = np.exp(rng.uniform(np.log(3), np.log(22))) * np.exp(rng.normal(0, 0.3, 3))
    if kind < 0.5:
        outer, thick = _ellipsoid(rng, 2 * radii, place), rng.uniform(1.5, 5)
        return lambda points: np.abs(outer(points)) - thick
    return _ellipsoid(rng, radii, place)


def _anywhere(rng: np.random.Generator) -> Doubles:
    return rng.uniform(-4, SIDE + 4, 3)


def _ellipsoid(rng: np.random.Generator, radii: Doubles, place: Doubles, power: int = 2) -> Shape:
    turn = _rotation(rng)

    def distance(points: Doubles) -> Doubles:
        local = np.tensordot(turn, points - place[:, None, None, None], axes=1)
        scaled = np.abs(local / radii[:, None, None, None])
        away: Doubles = ((scaled**power).sum(axis=0) ** (1 / power) - 1) * float(radii.min())
        return away

    return distance


def _lobes(rng: np.random.Generator, radii: Doubles, place: Doubles) -> Shape:
    """Several ellipsoids joined, as tumours are."""
    parts = [
        _ellipsoid(rng, radii * rng.uniform(0.45, 0.8), place + rng.normal(0, 0.35, 3) * radii)
        for _ in range(int(rng.integers(3, 7)))
    ]

    def distance(points: Doubles) -> Doubles:
        nearest: Doubles = np.minimum.reduce([part(points) for part in parts])
        return nearest

    return distance


def _tube(rng: np.random.Generator, radius: float, place: Doubles) -> Shape:
    """Around a bent line through a place; its section is an ellipse."""
    turn, bends = _rotation(rng), rng.normal(0, 3, (2, 2))
    phases, flat = rng.uniform(0, 2 * np.pi, (2, 2)), np.exp(rng.normal(0, 0.2))

    def distance(points: Doubles) -> Doubles:
        along, *across = np.tensordot(turn, points - place[:, None, None, None], axes=1)
        for axis in range(2):
            waves = np.stack(
                [
                    np.sin(along / length + phases[axis, n]) - np.sin(phases[axis, n])
                    for n, length in enumerate((6.0, 15.0))
                ]
            )
            across[axis] = across[axis] - np.tensordot(bends[axis] * (0.3, 1.0), waves, axes=1)
        away: Doubles = np.hypot(across[0] * flat, across[1] / flat)
        return away - radius

    return distance


def _rotation(rng: np.random.Generator) -> Doubles:
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    return turn


# --- images


def _images(labels: np.ndarray, target: int, rng: np.random.Generator) -> list[Floats]:
    inside = labels == target
    around = ndimage.binary_dilation(inside, iterations=2) & ~inside
    neighbours = np.bincount(labels[around], minlength=target + 1) / max(around.sum(), 1)
    count = int(labels.max()) + 1
    while True:
        levels = rng.uniform(0.05, 0.95, (2, max(count, target + 1)))
        if rng.random() < 0.3:  # no contrast in one of the two
            without = int(rng.integers(2))
            levels[without, target] = levels[without, neighbours.argmax()]
        for image in range(2):  # weak contrasts are what is hard
            weak = rng.uniform(0.15, 1)
            levels[image] = levels[image].mean() + weak * (levels[image] - levels[image].mean())
        contrast = np.abs(levels[:, :, None] - levels[:, target][:, None, None])[..., 0]
        contrast[:, target] = 0
        if (contrast[:, : len(neighbours)] @ neighbours).max() >= _LEAST_CONTRAST:
            break
    air = rng.random() < 0.5
    return [_image(labels, values, air, rng) for values in levels]


def _image(labels: np.ndarray, levels: Doubles, air: bool, rng: np.random.Generator) -> Floats:
    if air:
        levels = np.concatenate([[0.0], levels[1:]])
    image = levels[labels]
    texture = rng.uniform(0, 0.12, len(levels)) * (rng.random(len(levels)) < 0.6)
    image = image + texture[labels] * smooth_noise(rng, rng.uniform(2, 7))
    image = image * np.exp(rng.uniform(0, 0.3) * smooth_noise(rng, 30))
    if rng.random() < 0.7:
        image = ndimage.gaussian_filter(image, rng.uniform(0.3, 1.3))
    image = image + rng.uniform(0, 0.07) * rng.normal(size=image.shape)
    if rng.random() < 0.4:
        image = thick_slices(image, int(rng.integers(3)), int(rng.integers(2, 5)))
    found: Floats = np.clip(image, 0, 1).astype(np.float32)
    return found


def thick_slices(image: Floats, axis: int, count: int) -> Floats:
    """Average slices along an axis by so many and interpolate between the means."""
    moved = np.moveaxis(image, axis, 0)
    whole = len(moved) // count * count
    means = moved[:whole].reshape(-1, count, *moved.shape[1:]).mean(axis=1)
    at = (np.arange(len(moved)) + 0.5) / count - 0.5
    low = np.clip(np.floor(at).astype(int), 0, len(means) - 1)
    high = np.clip(low + 1, 0, len(means) - 1)
    share = np.clip(at - low, 0, 1)[:, None, None]
    thick: Floats = np.moveaxis((1 - share) * means[low] + share * means[high], 0, axis)
    return thick


def _half(rng: np.random.Generator) -> Mask:
    """One side of a plane through the middle part of the cube."""
    normal = np.eye(3)[rng.integers(3)] if rng.random() < 0.8 else _rotation(rng)[0]
    away = np.tensordot(normal, np.indices((SIDE,) * 3) - SIDE / 2, axes=1)
    seen: Mask = away * rng.choice([-1, 1]) < rng.uniform(-6, 18)
    return seen
