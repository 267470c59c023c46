"""Rigid registration of a second image to the first by mutual information (SimpleITK).

Mattes, Haynor, Vesselle, Lewellen, Eubank: IEEE Trans. Med. Imaging 22 (2003). The second is
the fixed image: an MR's field of view is smaller than its CT's, so that nearly all samples meet.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
import SimpleITK as sitk

from cmfnet_napari.core.arrays import Doubles, three
from cmfnet_napari.core.errors import CancelledError, UserError
from cmfnet_napari.core.images.grid import Triple
from cmfnet_napari.core.images.modality import USUAL, Modalities
from cmfnet_napari.core.images.padding import has_data

Progress = Callable[[float], bool]  # gets the share done, 0 … 1; answers whether to go on

_LEVELS_MM = 8.0, 4.0, 2.0
_STEPS = 150  # at most, of each level
_SAMPLES = 40_000  # voxels of the second image that are compared
_BINS = 40
_CT_WINDOW = -200.0, 300.0  # HU: what MR tells apart too
_PERCENTILES = 0.5, 99.5  # of a first image that is no CT: outliers would fill the bins
_SHIFTS_MM = -60.0, -30.0, 0.0, 30.0, 60.0  # along each axis, tried where no place is known
_TRIED = 3  # of the best starts
_LEAST_OVERLAP = 0.3  # of the second image, for a start
_SEED = 7


def register(
    first: sitk.Image,
    second: sitk.Image,
    start: Doubles | None = None,
    progress: Progress | None = None,
    modalities: Modalities = USUAL,
) -> Doubles:
    """Find how the second image lies to the first.

    Parameters
    ----------
    first, second : Image
        As they were read, each in its own place.
    start : float array (4, 4), optional
        Where to begin; takes the first's points to the second's, LPS, mm. When it is not given, or
        the images hardly meet there, their places mean nothing to each other: the search begins
        with their middles together, and shifts around.
    progress : callable, optional
        Asked after every step.
    modalities : tuple of str
        What they are: of a CT (HU) only what shows tissue is compared.

    Returns
    -------
    float array (4, 4)
        Takes points of the first (LPS, mm) to points of the second.

    Raises
    ------
    UserError
        There is nothing to compare.
    CancelledError
        `progress` answered False.
    """
    fixed = sitk.Cast(second, sitk.sitkFloat32)
    if modalities[1] == "CT":
        fixed = sitk.Clamp(fixed, sitk.sitkFloat32, *_CT_WINDOW)
    mask = sitk.GetImageFromArray(has_data(sitk.GetArrayViewFromImage(second)).astype(np.uint8))
    mask.CopyInformation(second)
    low, high = _CT_WINDOW
    if modalities[0] != "CT":
        low, high = np.percentile(sitk.GetArrayViewFromImage(first), _PERCENTILES)
    moving = sitk.Clamp(
        sitk.Cast(first, sitk.sitkFloat32), sitk.sitkFloat32, float(low), float(high)
    )
    search = _Search(fixed, mask, moving, progress or (lambda _share: True))
    try:
        transform = search.begin(start)
        for level in range(1, len(_LEVELS_MM)):
            transform = search.refine(transform, level)
    except RuntimeError as error:
        raise UserError(
            f"{' and '.join(modalities)} cannot be compared: they hardly overlap, or one of them "
            f"shows nothing. Move the {modalities[1]} near its place by hand, then register again."
        ) from error
    return _inverse(matrix_of(transform))


class _Search:
    """Transforms that take the second's points to the first's, better and better."""

    def __init__(
        self, fixed: sitk.Image, mask: sitk.Image, moving: sitk.Image, progress: Progress
    ) -> None:
        self._fixed, self._mask, self._moving = fixed, mask, moving
        self._progress = progress
        self._levels: dict[int, tuple[sitk.Image, sitk.Image, sitk.Image]] = {}

    def begin(self, start: Doubles | None) -> sitk.Euler3DTransform:
        """The place at the coarsest level, from a start if the images meet there."""
        if start is not None:
            transform = _euler(_inverse(start), _middle(self._fixed))
            if self._overlap(transform) >= _LEAST_OVERLAP:
                return self.refine(transform, 0)
        return self._from_anywhere()

    def _from_anywhere(self) -> sitk.Euler3DTransform:
        """The best of some starts."""
        middle = _middle(self._fixed)
        apart = np.array(_middle(self._moving)) - middle
        values = []
        for shift in product(_SHIFTS_MM, repeat=3):
            start = sitk.Euler3DTransform(middle, 0, 0, 0, tuple(apart + shift))
            if self._overlap(start) >= _LEAST_OVERLAP or not any(shift):
                values.append((self._value(start), shift))
        found = []
        best = sorted(values)[:_TRIED]
        for number, (_, shift) in enumerate(best):
            start = sitk.Euler3DTransform(middle, 0, 0, 0, tuple(apart + shift))
            found.append(self.refine(start, 0, (number / len(best), 1 / len(best))))
        return min(found, key=self._value)

    def _value(self, transform: sitk.Euler3DTransform) -> float:
        """How badly a place fits, at the coarsest level."""
        method = self._method(0)
        method.SetInitialTransform(transform, inPlace=False)
        return float(method.MetricEvaluate(*self._images(0)))

    def refine(
        self,
        start: sitk.Euler3DTransform,
        level: int,
        part: tuple[float, float] = (0.0, 1.0),
    ) -> sitk.Euler3DTransform:
        """Climb from a start at one level; `part`: what of it was done before, and what this is."""
        method, transform = self._method(level), sitk.Euler3DTransform(start)
        method.SetInitialTransform(transform, inPlace=True)
        stopped: list[bool] = []

        def ask() -> None:
            own = part[0] + part[1] * method.GetOptimizerIteration() / _STEPS
            share = (level + own) / len(_LEVELS_MM)
            if not stopped and not self._progress(min(share, 1.0)):
                stopped.append(True)
                method.StopRegistration()

        method.AddCommand(sitk.sitkIterationEvent, ask)
        method.Execute(*self._images(level))
        if stopped:
            raise CancelledError
        return transform

    def _method(self, level: int) -> sitk.ImageRegistrationMethod:
        fixed, mask, _ = self._level(level)
        share = min(1.0, _SAMPLES / max(1, int(sitk.GetArrayViewFromImage(mask).sum())))
        method = sitk.ImageRegistrationMethod()
        method.SetMetricAsMattesMutualInformation(_BINS)
        if share < 1:
            method.SetMetricSamplingStrategy(method.RANDOM)
            method.SetMetricSamplingPercentage(share, _SEED)
        method.SetMetricFixedMask(mask)
        method.SetInterpolator(sitk.sitkLinear)
        step = max(fixed.GetSpacing()) / 2
        method.SetOptimizerAsRegularStepGradientDescent(
            step, step / 500, _STEPS, relaxationFactor=0.6, gradientMagnitudeTolerance=1e-8
        )
        method.SetOptimizerScalesFromPhysicalShift()
        return method

    def _images(self, level: int) -> tuple[sitk.Image, sitk.Image]:
        fixed, _, moving = self._level(level)
        return fixed, moving

    def _level(self, level: int) -> tuple[sitk.Image, sitk.Image, sitk.Image]:
        """Second image, its mask and first image: many starts are tried on the same ones."""
        if level not in self._levels:
            mm = _LEVELS_MM[level]
            mask = _coarse(sitk.Cast(self._mask, sitk.sitkFloat32), mm) > 0.5
            self._levels[level] = _coarse(self._fixed, mm), mask, _coarse(self._moving, mm)
        return self._levels[level]

    def _overlap(self, transform: sitk.Transform) -> float:
        """Share of the second's box whose voxels meet the first's box."""
        size = np.array(self._fixed.GetSize()) - 1
        corners = np.array(np.meshgrid(*(np.linspace(0, n, 5) for n in size))).reshape(3, -1).T
        fixed, moving = self._fixed, self._moving
        own = [fixed.TransformContinuousIndexToPhysicalPoint(c) for c in corners.tolist()]
        points = [transform.TransformPoint(point) for point in own]
        index = np.array([moving.TransformPhysicalPointToContinuousIndex(p) for p in points])
        inside = (index >= 0) & (index <= np.array(moving.GetSize()) - 1)
        return float(inside.all(axis=1).mean())


def matrix_of(transform: sitk.Euler3DTransform) -> Doubles:
    """A rigid transform as a homogeneous matrix (4, 4)."""
    turn = np.array(transform.GetMatrix()).reshape(3, 3)
    centre = np.array(transform.GetCenter())
    matrix = np.eye(4)
    matrix[:3, :3] = turn
    matrix[:3, 3] = centre + transform.GetTranslation() - turn @ centre
    return matrix


def _inverse(matrix: Doubles) -> Doubles:
    return np.asarray(np.linalg.inv(matrix), dtype=np.float64)


def _euler(matrix: Doubles, centre: Triple) -> sitk.Euler3DTransform:
    transform = sitk.Euler3DTransform()
    transform.SetCenter(centre)
    transform.SetMatrix(matrix[:3, :3].ravel().tolist(), 1e-6)
    moved = matrix[:3, :3] @ centre + matrix[:3, 3]
    transform.SetTranslation((moved - centre).tolist())
    return transform


def _coarse(image: sitk.Image, mm: float) -> sitk.Image:
    """Means of blocks whose sides come near to a length."""
    factors = [
        int(np.clip(round(mm / s), 1, n))
        for s, n in zip(image.GetSpacing(), image.GetSize(), strict=True)
    ]
    coarse: sitk.Image = sitk.BinShrink(image, factors)
    return coarse


def _middle(image: sitk.Image) -> Triple:
    index = [(n - 1) / 2 for n in image.GetSize()]
    return three(image.TransformContinuousIndexToPhysicalPoint(index))
