"""How well a segmentation agrees with a reference: overlap, distances in mm, volumes in ml.

The definitions stand in docs/metrics.md, since programs differ in them.

A surface is the voxels of a class with a face towards something else; where the image ends and
cuts the class is no surface. Distances are between the centres of such voxels, in the patient's
millimetres, as the CHAOS challenge measures them (Kavur et al., Medical Image Analysis 69,
2021): ASD is its ASSD, HD its MSSD.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

import numpy as np
from scipy import ndimage
from scipy.spatial import KDTree

from cmfnet_napari.core.arrays import Labels, Mask, Wholes
from cmfnet_napari.core.contours.added_path import added_path
from cmfnet_napari.core.contours.components import class_name
from cmfnet_napari.core.errors import UserError, list_names
from cmfnet_napari.core.files import JsonObject
from cmfnet_napari.core.geometry.boxes import bounding_box, grow
from cmfnet_napari.core.images.grid import Grid

TOLERANCE_MM = 2.0  # of the surface DSC, unless another one is asked for


def _shown(title: str, digits: int) -> dict[str, str | int]:
    """Put a measure into tables, reports and a cohort's results, not into CSV alone."""
    return {"title": title, "digits": digits}


@dataclass(frozen=True)
class Scores:
    """Agreement of one class, or the mean of all; a measure is a field, in the order of tables.

    None means undefined: distances need both sides, a relative difference needs a reference.

    Attributes
    ----------
    dsc : float
        Dice similarity, 0 … 1. Both empty: 1; one empty: 0.
    asd_mm : float or None
        Average symmetric surface distance: mean over the voxels of both surfaces.
    hd95_mm : float or None
        Larger of the two directed 95th percentiles.
    hd_mm : float or None
        Hausdorff distance, the largest of all.
    surface_dsc : float
        Share of both surfaces' voxels within the tolerance of the other one, 0 … 1. Both
        empty: 1; one empty: 0.
    path_mm : float
        Added path length: of the reference's contour on axial slices, what the prediction's
        does not have (`added_path`).
    path_share : float or None
        The same as a share of the reference's contour, 0 … 1.
    volume_ml, reference_ml : float
        Volumes of prediction and reference.
    volume_difference : float or None
        (volume − reference) / reference.
    """

    dsc: float = field(metadata=_shown("DSC", 3))
    asd_mm: float | None = field(metadata=_shown("ASD, mm", 2))
    hd95_mm: float | None = field(metadata=_shown("HD95, mm", 1))
    hd_mm: float | None
    surface_dsc: float = field(metadata=_shown("Surface DSC at {tolerance_mm:g} mm", 3))
    path_mm: float = field(metadata=_shown("Added path, mm", 0))
    path_share: float | None = field(metadata=_shown("Added path, share", 3))
    volume_ml: float = field(metadata=_shown("Volume, ml", 1))
    reference_ml: float = field(metadata=_shown("Reference, ml", 1))
    volume_difference: float | None


@dataclass(frozen=True)
class Measure:
    """How a field of `Scores` is shown; the title may name the tolerance."""

    name: str
    title: str
    digits: int


MEASURES = tuple(Measure(one.name, **one.metadata) for one in fields(Scores) if one.metadata)
TITLES = {one.name: one.title.format(tolerance_mm=TOLERANCE_MM) for one in MEASURES}
LOWER_IS_BETTER = ("asd_mm", "hd95_mm", "hd_mm", "path_mm", "path_share")


@dataclass(frozen=True)
class Evaluation:
    """Scores of every class by its name, and their mean over the classes that have a value.

    Attributes
    ----------
    tolerance_mm : float
        Of the surface DSC of classes without a tolerance of their own.
    tolerances_mm : dict of str to float
        By class; empty: `tolerance_mm` of all.
    """

    classes: dict[str, Scores]
    mean: Scores
    tolerance_mm: float
    tolerances_mm: dict[str, float] = field(default_factory=dict)

    def tolerance_of(self, name: str) -> float:
        """Tolerance of a class's surface DSC, mm."""
        return self.tolerances_mm.get(name, self.tolerance_mm)

    def as_dict(self) -> JsonObject:
        """The same for JSON: undefined values are None, which becomes null."""
        return asdict(self)


def evaluate(
    prediction: Labels,
    reference: Labels,
    grid: Grid,
    names: Sequence[str] | None = None,
    tolerance_mm: float = TOLERANCE_MM,
    tolerances_mm: Mapping[str, float] | None = None,
) -> Evaluation:
    """Compare two segmentations class by class.

    Parameters
    ----------
    prediction, reference : integer or bool array (z, y, x)
        Segmentation codes, 0 background. Every class that occurs in one of them is scored;
        class 1 also when neither has any.
    grid : Grid
        The Grid both lie on.
    names : sequence of str, optional
        Names of the classes 1, 2, … in order.
    tolerance_mm : float
        Distance at which surfaces still count as the same, for the surface DSC.
    tolerances_mm : mapping of str to float, optional
        The same of some classes by their names.

    Raises
    ------
    UserError
        The two differ in shape; a tolerance is none, or of a class that neither has.
    """
    if prediction.shape != reference.shape:
        raise UserError(
            f"The prediction has {_size(prediction)} voxels and the reference "
            f"{_size(reference)}. Compare two segmentations of one CT."
        )
    codes = sorted((set(np.unique(prediction)) | set(np.unique(reference))) - {0}) or [1]
    called = {class_name(int(code), names): int(code) for code in codes}
    own = dict(tolerances_mm or {})
    _check_tolerances({"": tolerance_mm, **own}, called)
    classes = {
        name: _scores(prediction == code, reference == code, grid, own.get(name, tolerance_mm))
        for name, code in called.items()
    }
    return Evaluation(classes, _mean(list(classes.values())), tolerance_mm, own)


def dice(a: Mask, b: Mask) -> float:
    """DSC of two bool arrays of one shape; 1 where both are empty."""
    voxels = int(a.sum()) + int(b.sum())
    return 2.0 * int((a & b).sum()) / voxels if voxels else 1.0


def _check_tolerances(tolerances: Mapping[str, float], classes: Collection[str]) -> None:
    for name, mm in tolerances.items():
        if name and name not in classes:
            raise UserError(
                f"A tolerance is given for {name}, but the classes are {list_names(classes)}."
            )
        if not (np.isfinite(mm) and mm >= 0):
            whose = f" of {name}" if name else ""
            raise UserError(f"The tolerance{whose} is {mm:g} mm; it must be 0 or more.")


def _scores(a: Mask, b: Mask, grid: Grid, tolerance_mm: float) -> Scores:
    box = bounding_box(a | b)
    if box is not None:
        box = grow(box, (1, 1, 1), a.shape)  # beside a class, but not where the image ends
        a, b = a[box], b[box]
    n_a, n_b = int(a.sum()), int(b.sum())
    path = added_path(a, b, grid.spacing)
    scores = Scores(
        dsc=dice(a, b),
        asd_mm=None,
        hd95_mm=None,
        hd_mm=None,
        surface_dsc=float(n_a == n_b == 0),
        path_mm=path.added,
        path_share=path.share,
        volume_ml=n_a * grid.voxel_ml,
        reference_ml=n_b * grid.voxel_ml,
        volume_difference=(n_a - n_b) / n_b if n_b else None,
    )
    return _with_distances(scores, a, b, grid.spacing, tolerance_mm) if n_a and n_b else scores


def _with_distances(
    scores: Scores, a: Mask, b: Mask, spacing: Sequence[float], tolerance_mm: float
) -> Scores:
    points_a, points_b = (_surface(mask) * np.array(spacing) for mask in (a, b))
    a_to_b = KDTree(points_b).query(points_a)[0]
    b_to_a = KDTree(points_a).query(points_b)[0]
    both = np.concatenate([a_to_b, b_to_a])
    return replace(
        scores,
        asd_mm=float(both.mean()),
        hd95_mm=float(max(np.percentile(a_to_b, 95), np.percentile(b_to_a, 95))),
        hd_mm=float(both.max()),
        surface_dsc=float((both <= tolerance_mm).mean()),
    )


def _surface(mask: Mask) -> Wholes:
    """Indices (n, 3) of voxels with a face towards something else.

    A class that fills the image has none; then the image's own end is its surface.
    """
    surface = mask & ~ndimage.binary_erosion(mask, border_value=True)
    return np.argwhere(surface if surface.any() else mask & ~ndimage.binary_erosion(mask))


def _mean(rows: list[Scores]) -> Scores:
    means: dict[str, Any] = {
        one.name: _mean_of([getattr(row, one.name) for row in rows]) for one in fields(Scores)
    }
    return Scores(**means)


def _mean_of(values: list[float | None]) -> float | None:
    """Mean of those that are defined; None when none is."""
    defined = [value for value in values if value is not None]
    return float(np.mean(defined)) if defined else None


def _size(array: np.ndarray) -> str:
    return "×".join(str(n) for n in array.shape[::-1])
