"""What a logistic regression of the contour of one class looks at, voxel by voxel (chances.py).

First what the races and looks say. Then, as in auto-context (Tu and Bai, 2010), what a first
contour from these adds, and what does not change from voxel to voxel: how the user draws, and how
large the contour is, which move the border as a whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from cmfnet_napari.core.arrays import Doubles, Floats, Mask, Reals, Wholes
from cmfnet_napari.core.clues.appearance import appearance
from cmfnet_napari.core.clues.race import EDGE_MM, FAR_MM, LOOKS_EDGE_MM, race, with_air
from cmfnet_napari.core.contours.components import drop_unmarked
from cmfnet_napari.core.geometry.boxes import box_around, grow
from cmfnet_napari.core.images.grid import Triple
from cmfnet_napari.core.strokes.between import drawn_slices
from cmfnet_napari.core.strokes.scribbles import BACKGROUND, FIRST_CLASS, IGNORE, to_scribbles

Feature = tuple[str, Floats | float]
Weights = Mapping[str, float]  # by feature, and "constant"
_SMOOTH_MM = 3.0  # over which looks are averaged
_NEAR_MM = 3.0  # costs below this are alike
_LEAST = 1e-3  # chance that is never believed to be 0
_FARTHEST_MM = 100.0  # of costs as they are
_FARTHEST_LINE_MM = 40.0
_END_MM = 10.0  # from the last drawn slice to where a tumour ends at least, when nothing says so
_BESIDE_MM = 5.0  # background further beside the strokes of the class does not say where it ends
_FARTHEST_PAST_END = 2.0
_SPARSE = 0.5  # share of the slices between the outermost that are drawn on, at most
_DEEPEST_MM = 30.0
_DEPTHS_MM = (6.0, 12.0)  # over which the depth is averaged
_SAMPLED = 4000  # voxels whose look is learnt again
_SAMPLED_MM = 24.0  # how far outside the first contour they may lie
# Numbers of a patient stay within those of nearly all users that the weights were found on: they
# move the whole border, and are not to move it by what nobody has seen.
_GAPS = {"": (26.0, 133.0), " informed": (66.0, 320.0)}
_LINES_MM = (10.0, 47.0)
_REACHES_MM = (15.0, 128.0)
_VOLUMES_ML = (28.0, 1300.0)


@dataclass(frozen=True, eq=False)
class Scene:
    """Images and strokes on one grid.

    Attributes
    ----------
    images : sequence of float arrays (z, y, x)
        CT and MR in [0, 1].
    strokes : integer array (z, y, x)
        Segmentation codes at strokes, `IGNORE` elsewhere.
    body : bool array (z, y, x)
        What is the patient: the air around is background without a stroke.
    spacing : tuple of float
        mm along (z, y, x).
    """

    images: Sequence[Reals]
    strokes: Wholes
    body: Mask
    spacing: Triple

    def race(self, classes: int, edge: float = EDGE_MM, looks: Reals | None = None) -> Reals:
        """Costs of `race.race`; air is background."""
        starts = with_air(self.strokes, self.body)
        return race(self.images, starts, classes, self.spacing, edge, looks)

    def smooth(self, values: Floats, mm: float) -> Floats:
        """Gaussian mean over (z, y, x); axes before these are left alone."""
        sigma = [0.0] * (values.ndim - 3) + [mm / s for s in self.spacing]
        smooth: Floats = ndimage.gaussian_filter(values, sigma)
        return smooth

    def distance(self, mask: Mask) -> Doubles:
        """Of every voxel to a mask, mm; `FAR_MM` where it is empty."""
        if not mask.any():
            return np.full(mask.shape, FAR_MM)
        distance: Doubles = ndimage.distance_transform_edt(~mask, sampling=self.spacing)
        return distance


@dataclass(frozen=True, eq=False)
class Races:
    """What is found from a scene; all arrays float32 (classes, z, y, x).

    Attributes
    ----------
    plain : array
        Cost from the strokes of each class, mm, along the images; at most `FAR_MM`.
    informed : array
        The same of the race that knows how the classes look.
    looks : array
        Probability of each class by look.
    """

    plain: Reals
    informed: Reals
    looks: Reals


def find_races(scene: Scene, classes: int) -> Races:
    """Both races and the looks, for so many outputs, background included."""
    looks = appearance(scene.images, scene.strokes, classes)
    return Races(scene.race(classes), scene.race(classes, LOOKS_EDGE_MM, looks), looks)


def second_features(scene: Scene, races: Races, score: Floats) -> Iterator[Feature]:
    """What the second regression sees beside `race_features`; `score` is that of the first.

    Yields
    ------
    name, array that broadcasts to (z, y, x), or number
        One at a time, since together they need much memory. Numbers are of the whole patient.
    """
    yield from stroke_features(scene, races)
    yield from contour_features(scene, score)


def weigh(found: Iterable[Feature], weights: Weights) -> Floats:
    """Log-odds (z, y, x) from features."""
    total: Floats | float = weights["constant"]
    for name, value in found:
        total = total + weights[name] * value
    return np.asarray(total)


def race_features(scene: Scene, races: Races) -> Iterator[Feature]:
    """What races and looks say.

    Yields
    ------
    name, array (z, y, x)
        Logarithms of the costs to background ("far") and class ("own"), log-odds of the look,
        alone and growing with the distance from all strokes; the lead in the informed race, cubed.
    """
    far, own = (_log(cost) for cost in races.plain)
    far_informed, own_informed = (_log(cost) for cost in races.informed)
    look = _log_odds(races.looks[1])
    yield from (("far", far), ("own", own))
    yield from (("far informed", far_informed), ("own informed", own_informed))
    yield "look", look
    yield "look around", _log_odds(scene.smooth(races.looks[1], _SMOOTH_MM))
    yield "look far off", look * (far + own)
    yield "lead cubed", (far_informed - own_informed) ** 3


def stroke_features(scene: Scene, races: Races) -> Iterator[Feature]:
    """What else strokes say: distances as they are, and how the user draws.

    Yields
    ------
    name, array that broadcasts to (z, y, x), or number
        Arrays: distances to background; share of the way from the last drawn slice to where the
        class ends. Numbers: how far background lies from strokes of the class (gap), and how far
        these reach.
    """
    own, other = scene.strokes == FIRST_CLASS - 1, scene.strokes == BACKGROUND - 1
    line = scene.distance(other)
    for name, costs in (("", races.plain), (" informed", races.informed)):
        yield f"far mm{name}", costs[0].clip(max=_FARTHEST_MM)
        yield f"gap{name}", _number(_gap(costs[0][own]), _GAPS[name])
    yield "line mm", line.clip(max=_FARTHEST_LINE_MM)
    nearest = np.minimum(line, scene.distance(~scene.body))
    yield "gap line", _number(_gap(nearest[own]), _LINES_MM)
    places = np.argwhere(own) * scene.spacing
    yield "reach", _number(np.ptp(places, axis=0).mean(), _REACHES_MM)
    yield "past end", _past_end(own, other, scene.spacing)


def _gap(mm: Floats) -> float:
    """Geometric mean: it moves less than a median with how strokes fall on voxels."""
    return float(np.exp(np.log(mm.clip(min=_NEAR_MM)).mean()))


def _past_end(own: Mask, other: Mask, spacing: Triple) -> Doubles:
    """How far past the last drawn slice of the class, as a share of the way to its end.

    0 between the drawn slices, 1 at the next slice with background over or below the strokes, at
    most `_FARTHEST_PAST_END`. Without such a slice the end is as far as drawn slices are apart.
    """
    axis = _drawn_across(own)
    beside = tuple(round(_BESIDE_MM / mm) for mm in spacing)
    column = list(grow(box_around(own), beside, own.shape))
    column[axis] = slice(None)
    drawn, marked = drawn_slices(own, axis), drawn_slices(other[tuple(column)], axis)
    apart = np.diff(drawn).mean() if len(drawn) > 1 else 0.0
    usual = max(apart, _END_MM / spacing[axis])
    at = np.arange(own.shape[axis])
    past = np.zeros(len(at))
    for side, last in ((-1, drawn[0]), (1, drawn[-1])):
        beyond = side * (marked - last)
        way = min(beyond[beyond > 0], default=usual)
        past = np.maximum(past, side * (at - last) / way)
    shape = [-1 if a == axis else 1 for a in range(3)]
    return past.clip(max=_FARTHEST_PAST_END).reshape(shape)


def _drawn_across(strokes: Mask) -> int:
    """The first axis across which strokes leave out most slices that they reach over; else 0."""

    def filled(axis: int) -> float:
        drawn = drawn_slices(strokes, axis)
        return float((len(drawn) - 1) / (drawn[-1] - drawn[0] + 1))

    return next((axis for axis in range(3) if filled(axis) < _SPARSE), 0)


def contour_features(scene: Scene, score: Floats) -> Iterator[Feature]:
    """What a first contour says.

    Parameters
    ----------
    scene : Scene
        Strokes and images.
    score : array (z, y, x)
        Log-odds of the class; the contour is where they are above 0, in parts with a stroke.

    Yields
    ------
    name, array (z, y, x) or number
        Depth inside the contour (mm, negative outside), as it is and averaged; volume; look
        and race anew, once looks are learnt from the contour too.
    """
    inside = _contour(scene, score)
    depth = scene.distance(~inside) - scene.distance(inside)
    depth = depth.clip(-_DEEPEST_MM, _DEEPEST_MM)
    yield "depth", depth
    for mm in _DEPTHS_MM:
        yield f"depth around {mm:g}", scene.smooth(depth, mm)
    yield "volume", _number(_volume_ml(scene, inside), _VOLUMES_ML)
    looks = appearance(scene.images, _more_strokes(scene, inside, depth, score), 2)
    yield "look again", _log_odds(looks[1])
    yield "look again around", _log_odds(scene.smooth(looks[1], _SMOOTH_MM))
    far, own = scene.race(2, LOOKS_EDGE_MM, looks)
    yield from (("far again", _log(far)), ("own again", _log(own)))


def known_size(scene: Scene, score: Floats) -> float:
    """How far the contour of a first score is as large as those the weights were found on.

    1 from the least of these on; less in proportion for smaller ones.
    """
    return min(1.0, _volume_ml(scene, _contour(scene, score)) / _VOLUMES_ML[0])


def _contour(scene: Scene, score: Floats) -> Mask:
    """Where a score is above 0, in parts with a stroke."""
    scribbles = to_scribbles(scene.strokes, scene.strokes != IGNORE)
    return drop_unmarked((score > 0).astype(np.uint8), scribbles) > 0


def _volume_ml(scene: Scene, inside: Mask) -> float:
    return float(inside.sum() * np.prod(scene.spacing) / 1000)


def _more_strokes(scene: Scene, inside: Mask, depth: Doubles, score: Floats) -> Wholes:
    """Strokes, and voxels on both sides of the contour, those that are sure first."""
    near = np.flatnonzero((depth > -_SAMPLED_MM) & scene.body & (scene.strokes == IGNORE))
    strokes = scene.strokes.copy()
    if len(near):
        sure = np.abs(np.tanh(score.ravel()[near].astype(float) / 2)) + _LEAST  # |2 p − 1|
        rng = np.random.default_rng(0)
        some = rng.choice(near, min(_SAMPLED, len(near)), replace=False, p=sure / sure.sum())
        strokes.ravel()[some] = inside.ravel()[some]
    return strokes


def _log(mm: Floats) -> Floats:
    logarithm: Floats = np.log(mm + _NEAR_MM)
    return logarithm


def _number(value: float, limits: tuple[float, float]) -> float:
    return float(np.log(np.clip(value, *limits)))


def _log_odds(chance: Floats) -> Floats:
    """Log-odds of chances, which are never believed to be 0 or 1."""
    chance = chance.clip(_LEAST, 1 - _LEAST)
    return np.log(chance / (1 - chance))
