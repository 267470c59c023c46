"""The synthetic patient's anatomy: a right thigh with a sarcoma, as functions of place.

Every structure is a signed distance (mm, negative inside) of points in the patient, so that CT
and MR can look at the same body on any grid. Points are (x, y, z): x to the patient's left
(medial here), y to the back, z to the head; the thigh's centre is at 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import numpy as np
from scipy import ndimage

from cmfnet_napari.core.arrays import Floats, Reals, Wholes

_REACH = 110.0  # noise is defined this far around the centre, mm
_COUCH_Y = 64.0  # top of the couch, mm

# x, y at the centre, drift of x and y a mm upwards, radius: mid-thigh, seen from the feet.
_MUSCLES = np.array(
    [
        (-8, -46, 0.05, 0.02, 15),  # rectus femoris
        (-42, -20, 0.02, 0.03, 24),  # vastus lateralis
        (-12, -20, 0.0, 0.02, 20),  # vastus intermedius
        (24, -34, -0.12, 0.03, 20),  # vastus medialis
        (43, -18, -0.22, -0.06, 11),  # sartorius
        (34, 2, -0.05, -0.05, 14),  # adductor longus
        (53, 12, 0.0, -0.02, 10),  # gracilis
        (22, 20, 0.04, -0.03, 22),  # adductor magnus
        (26, 46, 0.03, 0.02, 14),  # semimembranosus
        (4, 50, 0.06, 0.04, 13),  # semitendinosus
        (-20, 46, 0.08, 0.02, 16),  # biceps femoris, long head
        (-24, 20, 0.0, 0.04, 12),  # biceps femoris, short head
        (-46, 10, 0.01, 0.0, 19),  # vastus lateralis, back
    ],
    dtype=np.float32,
)
_PUSHED = np.array([36.0, 36.0, 48.0], np.float32)  # how far the tumour pushes muscles, mm
_TUMOUR = np.array([21.0, 18.0, -4.0], np.float32)  # mm


@dataclass(frozen=True)
class Anatomy:
    """Signed distances in mm (negative inside), one array of the points' shape each."""

    skin: Floats
    muscle: Floats  # everything inside the deep fascia
    septa: Floats  # fat planes between muscles
    muscle_index: Wholes  # which muscle, int
    bone: Floats
    marrow: Floats
    vessels: Floats
    bundle: Floats  # fat around vessels and nerve
    nerve: Floats
    tumour: Floats
    couch: Floats


class Noise:
    """Smooth random fields on the patient: the same place has the same value on every grid."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def __call__(self, points: Reals, scale: float, number: int, along: float = 1.0) -> Floats:
        """Field `number`: mean 0, deviation about 1, features of about `scale` mm.

        Along the thigh features are `along` times as long, as muscle fibres are.
        """
        step = scale / 2 * np.array([along, 1.0, 1.0])  # z, y, x
        size = (2 * _REACH / step).astype(int) + 4
        white = np.random.default_rng([self._seed, number]).normal(size=size)
        lattice = ndimage.gaussian_filter(white, 0.9).astype(np.float32)
        at = (np.moveaxis(points, -1, 0)[::-1] + _REACH) / step[:, None, None, None] + 1
        field: Floats = ndimage.map_coordinates(
            lattice / lattice.std(), at, order=1, mode="nearest"
        )
        return 1.15 * field  # between its samples the lattice varies less


def describe(points: Reals, noise: Noise) -> Anatomy:
    """The anatomy at points (..., 3), mm."""
    tumour = _tumour(points, noise)
    skin = _skin(points, noise)
    muscle = skin + _fat_thickness(points, noise)
    bone, marrow = _femur(points, noise)
    septa, index = _muscles(points, noise)
    vessels, bundle, nerve = _bundle(points)
    tumour = np.maximum(np.maximum(tumour, muscle + 1.5), 2.0 - bone)
    y = points[..., 1]
    couch = np.maximum(_COUCH_Y + 1.5 - y, y - _COUCH_Y - 15.0)
    return Anatomy(skin, muscle, septa, index, bone, marrow, vessels, bundle, nerve, tumour, couch)


def _skin(points: Reals, noise: Noise) -> Floats:
    x, y, z = np.moveaxis(points, -1, 0)
    x, y = x - 0.03 * z, y + 5.0
    angle = np.arctan2(y, x)
    radius = 74.0 + 0.055 * z
    radius *= 1 + 0.055 * np.cos(2 * angle) + 0.025 * np.cos(3 * angle + 0.9)
    radius += 1.2 * noise(points, 45.0, 1, 2)
    flat = points[..., 1] - _COUCH_Y  # the back of the thigh lies on the couch
    return _smooth_max(np.hypot(x, y) - radius, flat, 6.0)


def _fat_thickness(points: Reals, noise: Noise) -> Floats:
    x, y = points[..., 0], points[..., 1]
    angle = np.arctan2(y, x)
    thickness: Floats = 8.5 + 2.5 * np.cos(angle - 0.5) + 1.5 * np.cos(2 * angle + 1.0)
    return thickness + 0.9 * noise(points, 30.0, 2, 2)


def _femur(points: Reals, noise: Noise) -> tuple[Floats, Floats]:
    x, y, z = np.moveaxis(points, -1, 0)
    x, y = x + 9.0 - 0.07 * z, y + 3.0 + 0.02 * z
    angle = np.arctan2(y, x)
    ridge = 2.2 * np.exp(-(((angle - 1.9) / 0.35) ** 2))  # linea aspera
    bone = np.hypot(x, 1.06 * y) - (14.0 + ridge + 0.25 * noise(points, 16.0, 3, 3))
    return bone, bone + 5.2 + 0.8 * np.cos(angle) + ridge


def _muscles(points: Reals, noise: Noise) -> tuple[Floats, Wholes]:
    """Fat planes of a power diagram with wandering borders; the tumour pushes them aside."""
    place = points[..., :2] + 4.0 * np.stack(
        [noise(points, 24.0, 4, 3), noise(points, 24.0, 5, 3)], axis=-1
    )
    away = points - _TUMOUR
    push = 0.45 * np.exp(-_squares(np.divide(away, _PUSHED)))
    place = place - push[..., None] * away[..., :2]
    near, next_near, index, next_index = _nearest_two(place, points[..., 2])
    apart = np.sqrt(_squares(_seeds(index, points) - _seeds(next_index, points)))
    half = 0.75 + 0.55 * noise(points, 14.0, 6, 2)
    return (next_near - near) / (2 * apart) - half, index


def _nearest_two(place: Floats, z: Reals) -> tuple[Floats, Floats, Wholes, Wholes]:
    """Powers of places (..., 2) to the two muscles nearest to them, and which those are."""
    near, next_near = np.full((2, *z.shape), np.inf, dtype=place.dtype)
    index, next_index = np.zeros((2, *z.shape), dtype=np.intp)
    for number, (x, y, drift_x, drift_y, radius) in enumerate(_MUSCLES):
        seed = np.stack([x + z * drift_x, y + z * drift_y], axis=-1)
        power = _squares(place - seed) - radius**2
        first, second = power < near, power < next_near
        next_near = np.where(first, near, np.where(second, power, next_near))
        next_index = np.where(first, index, np.where(second, number, next_index))
        near, index = np.where(first, power, near), np.where(first, number, index)
    return near, next_near, index, next_index


def _seeds(index: Wholes, points: Reals) -> Reals:
    """Where muscles lie at the height of points, x and y (..., 2)."""
    drift = points[..., 2, None] * _MUSCLES[:, 2:4][index]
    seeds: Reals = _MUSCLES[:, :2][index] + drift
    return seeds


def _bundle(points: Reals) -> tuple[Floats, Floats, Floats]:
    """Femoral vessels in their fat, and the sciatic nerve in its own."""

    def tube(x: float, y: float, drift: float, radius: float) -> Floats:
        at = np.hypot(points[..., 0] - x + drift * points[..., 2], points[..., 1] - y)
        distance: Floats = at - radius
        return distance

    vessels = np.minimum(tube(28.0, -14.5, 0.1, 3.6), tube(33.5, -9.5, 0.1, 4.3))
    nerve = tube(-4.0, 32.0, 0.04, 4.2)
    return vessels, np.minimum(tube(31.0, -12.0, 0.1, 9.0), tube(-4.0, 32.0, 0.04, 7.0)), nerve


def _tumour(points: Reals, noise: Noise) -> Floats:
    lobes = np.array(  # x, y, z from the centre, radius, stretch along the thigh
        [
            (0, 0, 0, 19, 1.5),
            (12, -6, 14, 12, 1.3),
            (-10, 8, -16, 13, 1.4),
            (9, 10, -10, 13, 1.2),
            (-9, -7, 8, 11, 1.6),
            (3, 9, 20, 9, 1.3),
            (14, 1, -22, 8, 1.2),
        ],
        dtype=np.float32,
    )
    joined = np.zeros(points.shape[:-1])
    for x, y, z, radius, stretch in lobes:
        away = (points - _TUMOUR - (x, y, z)) / (1.0, 1.0, stretch)
        joined += np.exp(-(np.sqrt(_squares(away)) - radius) / 2.5)
    return -2.5 * np.log(joined + 1e-30) + 1.3 * noise(points, 11.0, 7)


def _squares(vectors: Floats) -> Floats:
    """Squared lengths of vectors (..., n); several times faster than a sum over a short axis."""
    total: Floats = reduce(np.add, (np.square(vectors[..., i]) for i in range(vectors.shape[-1])))
    return total


def _smooth_max(a: Floats, b: Floats, width: float) -> Floats:
    larger: Floats = width * np.logaddexp(a / width, b / width)
    return larger
