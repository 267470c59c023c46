"""Scribbles and their codes.

Scribbles: 0 unlabelled, 1 background, 2, 3, … the classes. Segmentations: 0 background,
1, 2, … the classes in order. The two codings meet in this module only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from cmfnet_napari.core.arrays import Codes, Mask, Wholes
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.images.label_map import to_labels, whole_numbers
from cmfnet_napari.core.words import clean

UNLABELLED, BACKGROUND, FIRST_CLASS = 0, 1, 2
IGNORE = 255  # target of an unlabelled voxel
MAX_CODE = 64

# Mean share of labelled voxels in the paper's scribbles, percent of all voxels.
PAPER_COVERAGE = {"background": 0.08, "automatic background": 0.06, "tumour": 0.04}


@dataclass(frozen=True)
class ScribbleClass:
    """A class the user paints: its code in scribbles, its name and its colour (#rrggbb).

    Its number stays when others are removed, and its code moves (`class_order`); 0: the case has
    not given it one yet.
    """

    code: int
    name: str
    color: str
    number: int = field(default=0, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", clean(self.name))


# Okabe and Ito's, those first that colour-blind eyes tell best from each other and from the greys
# of a CT: green and pink are grey to many.
PALETTE = ("#56b4e9", "#e69f00", "#0072b2", "#d55e00", "#f0e442", "#009e73", "#cc79a7")
# Of a contour from elsewhere: for red-, green- and blue-blind eyes as far from the first class's
# orange as it gets, and apart from every other colour (CIEDE2000 over 40, and over 13).
REFERENCE_COLOR = "#00ffff"
DEFAULT_CLASSES = (
    ScribbleClass(BACKGROUND, "Background", PALETTE[0], BACKGROUND),
    ScribbleClass(FIRST_CLASS, "Tumour", PALETTE[1], FIRST_CLASS),
)


def class_color(code: int) -> str:
    """Colour of a scribble code, #rrggbb; repeats after the palette's end."""
    return PALETTE[(code - 1) % len(PALETTE)]


def scribbles_hash(scribbles: Codes) -> str:
    """SHA-256 of scribbles (uint8 codes), by which others are told from them."""
    return hashlib.sha256(np.ascontiguousarray(scribbles).data).hexdigest()


def to_targets(scribbles: Codes) -> Codes:
    """Training targets of scribbles.

    Parameters
    ----------
    scribbles : uint8 array, any shape
        Scribble codes.

    Returns
    -------
    uint8 array of the same shape
        Segmentation codes where there is a stroke, `IGNORE` elsewhere.
    """
    return np.where(scribbles == UNLABELLED, IGNORE, scribbles - 1).astype(np.uint8)


def to_scribbles(segmentation: Wholes, where: Mask) -> Codes:
    """Scribbles that say what a segmentation says at the voxels of a boolean mask."""
    return np.where(where, segmentation + 1, UNLABELLED).astype(np.uint8)


def segmentation_code(code: int) -> int:
    """Segmentation code of a scribble code (background 1 → 0, first class 2 → 1)."""
    if code < BACKGROUND:
        raise ValueError("unlabelled voxels have no segmentation code")
    return code - 1


def label_colors(classes: Iterable[ScribbleClass]) -> dict[int, str]:
    """Colours of the classes of a segmentation, #rrggbb by code; without the background."""
    return {segmentation_code(e.code): e.color for e in classes if e.code >= FIRST_CLASS}


def count_codes(codes: Wholes, least: int = 1) -> Wholes:
    """Voxels of each code 0, 1, … of an array (z, y, x), at least so many codes.

    Slice by slice: of a large study as a whole it would take a second and eight times its memory,
    and keep the window waiting meanwhile.
    """
    counts = np.zeros(max(least, 1 + int(codes.max(initial=0))), dtype=np.int64)
    for plane in codes:
        if plane.any():
            counts += np.bincount(plane.reshape(-1), minlength=len(counts))
    counts[0] += codes.size - counts.sum()
    return counts


def coverage(scribbles: Codes) -> dict[int, tuple[int, float]]:
    """Voxels and share of all voxels (0 … 1) of every scribble code that occurs, without 0."""
    counts = count_codes(np.atleast_2d(scribbles), 2)
    return {
        int(code): (int(counts[code]), float(counts[code] / scribbles.size))
        for code in np.flatnonzero(counts)
        if code != UNLABELLED
    }


def check_codes(scribbles: np.ndarray, name: str = "the scribbles") -> Codes:
    """Return an integer-valued label array as uint8 scribbles.

    Raises
    ------
    UserError
        As `label_map.whole_numbers`, or a value above `MAX_CODE`.
    """
    scribbles = whole_numbers(scribbles, name)
    highest = scribbles.max(initial=0)
    if highest > MAX_CODE:
        raise UserError(
            f"The value {highest} in {name} is no code: 0 is unlabelled, 1 background, "
            f"2 to {MAX_CODE} the classes."
        )
    return scribbles.astype(np.uint8)


def check_classes(labels: np.ndarray, name: str) -> Codes:
    """Return labels of a contour (0 background, 1, 2, … the classes) as uint8.

    Raises
    ------
    UserError
        As `label_map.to_labels`, or a class that scribbles have no code for.
    """
    labels = to_labels(labels, name)
    highest = int(labels.max(initial=0))
    if highest >= MAX_CODE:
        raise UserError(
            f"The value {highest} in {name} is no code: 0 is background, 1 to "
            f"{MAX_CODE - 1} the classes."
        )
    return labels


def check_trainable(scribbles: Codes, name: str = "The scribbles") -> int:
    """Return the number of classes of the segmentation, background included.

    Raises
    ------
    UserError
        No background stroke, no class stroke, or a class left out between others.
    """
    codes = set(coverage(scribbles))
    if not any(code >= FIRST_CLASS for code in codes):
        raise UserError(f"{name} have no tumour stroke. Draw at least one inside the tumour.")
    if BACKGROUND not in codes:
        raise UserError(
            f"{name} have no background stroke. Draw some outside the tumour, or make them "
            "automatically."
        )
    missing = set(range(BACKGROUND, max(codes) + 1)) - codes
    if missing:
        raise UserError(
            f"{name} have no stroke of class {min(missing)}, though class {max(codes)} has some. "
            "Draw it or remove the class."
        )
    return max(codes)
