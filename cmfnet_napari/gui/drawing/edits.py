"""Edits of a whole structure, a row of `EDITS` each; no widget, no layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from cmfnet_napari.core.contours.components import largest_part
from cmfnet_napari.core.contours.relabel import Relabelled, relabel
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.geometry.margin import Sides, all_round, grown, shrunk
from cmfnet_napari.core.geometry.shape import filled, smoothed
from cmfnet_napari.core.strokes.between import redraw_between

Sources = Mapping[str, Callable[[], np.ndarray]]  # masks by what they are called


@dataclass(frozen=True, eq=False)
class Wish:
    """What is to be done.

    Attributes
    ----------
    edit : str
        A name of `EDITS`.
    mm : float
        How far; how far around another structure, for edits that take one.
    sides : Sides or None
        How far in each direction; None: `mm` in all.
    other, inside, without : str
        Structures, as they are called: the one that an edit takes, what the outcome is kept
        inside of, and what is taken off it; empty for none.
    into : int
        Code of the class that becomes the outcome; 0: the class itself.
    here_only : bool
        Only the slice on the screen, in two dimensions.
    """

    edit: str
    mm: float = 0.0
    sides: Sides | None = None
    other: str = ""
    inside: str = ""
    without: str = ""
    into: int = 0
    here_only: bool = False

    @property
    def margins(self) -> Sides:
        """How far in each direction."""
        return self.sides or all_round(self.mm)


@dataclass(frozen=True, eq=False)
class Subject:
    """What is edited, as it was when it was asked for.

    Attributes
    ----------
    labels : uint8 array (z, y, x)
        Strokes or contour.
    code : int
        The class that is edited.
    spacing : tuple of float
        mm along (z, y, x).
    axis, here : int
        Which slice is on the screen, and across which array axis.
    corrected : int array (n,)
        Slices across that axis that were painted by hand.
    keep_others : bool
        Whether other classes keep what they have.
    sources : mapping of str to callable
        Other structures by name: bool arrays (z, y, x).
    """

    labels: np.ndarray
    code: int
    spacing: tuple[float, float, float]
    axis: int
    here: int
    corrected: np.ndarray
    keep_others: bool
    sources: Sources = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Shape:
    """What a row of `EDITS` gets: one class, in 3D or cut to a slice, and what the user wants."""

    mask: np.ndarray
    other: np.ndarray | None
    spacing: tuple[float, float, float]
    axis: int
    here: int
    corrected: np.ndarray
    wish: Wish

    @property
    def wide(self) -> np.ndarray:
        """The other structure with a margin around it."""
        if self.other is None:
            raise UserError("Choose the other structure first.")
        return grown(self.other, self.spacing, self.wish.margins)


@dataclass(frozen=True)
class Edit:
    """All there is to say of an edit.

    Attributes
    ----------
    label : str
        In the list.
    tip : str
        What it does, in a sentence.
    make : callable
        Gives the new shape of the class, bool (z, y, x).
    asks : tuple of str
        What it needs to know: names of fields of `Wish`.
    mm : float
        The length that is proposed.
    """

    label: str
    tip: str
    make: Callable[[Shape], np.ndarray]
    asks: tuple[str, ...]
    mm: float = 0.0


_MARGINS = ("mm", "sides", "here_only")
_OTHER = ("other", *_MARGINS)
EDITS = {
    "smooth": Edit(
        "Smooth",
        "Takes away corners, spikes and notches smaller than the length",
        lambda shape: smoothed(shape.mask, shape.spacing, shape.wish.mm),
        ("mm", "here_only"),
        mm=2.0,
    ),
    "holes": Edit(
        "Fill holes",
        "Fills what is enclosed on the slices of the plane on the screen",
        lambda shape: filled(shape.mask, shape.axis),
        ("here_only",),
    ),
    "largest": Edit(
        "Keep the largest part",
        "Takes away all parts that do not hang together with the largest",
        lambda shape: largest_part(shape.mask),
        ("here_only",),
    ),
    "between": Edit(
        "Fill between slices",
        "Draws the slices between those painted by hand anew, around the one on the screen",
        lambda shape: redraw_between(
            shape.mask, shape.corrected, shape.axis, shape.here, shape.spacing
        ),
        (),
    ),
    "grow": Edit(
        "Grow",
        "Adds a margin in 3D; keeps inside one structure and off another; into any class",
        lambda shape: grown(shape.mask, shape.spacing, shape.wish.margins),
        (*_MARGINS, "inside", "without", "into"),
        mm=5.0,
    ),
    "shrink": Edit(
        "Shrink",
        "Takes a margin away, measured inwards from the border",
        lambda shape: shrunk(shape.mask, shape.spacing, shape.wish.margins),
        (*_MARGINS, "into"),
        mm=2.0,
    ),
    "add": Edit(
        "Add a structure",
        "Adds another structure, with a margin if wanted",
        lambda shape: shape.mask | shape.wide,
        _OTHER,
    ),
    "subtract": Edit(
        "Subtract a structure",
        "Takes another structure away, with a margin if wanted",
        lambda shape: shape.mask & ~shape.wide,
        _OTHER,
    ),
    "intersect": Edit(
        "Keep what is inside",
        "Keeps only what lies in another structure, with a margin if wanted",
        lambda shape: shape.mask & shape.wide,
        _OTHER,
    ),
}


def edited(subject: Subject, wish: Wish) -> Relabelled:
    """What an edit changes.

    Raises
    ------
    UserError
        A structure that it takes is missing, or the class has nothing to start from.
    """
    mask = subject.labels == subject.code
    if not mask.any() and not wish.other:
        raise UserError("There is nothing of this class yet. Draw it first.")
    other, inside, without = (_mask(subject, name) for name in _names(wish))
    part = [slice(None)] * 3
    if wish.here_only:
        part[subject.axis] = slice(subject.here, subject.here + 1)
    cut = tuple(part)
    shape = Shape(
        mask[cut],
        None if other is None else other[cut],
        subject.spacing,
        subject.axis,
        subject.here,
        subject.corrected,
        wish,
    )
    made = EDITS[wish.edit].make(shape)
    if inside is not None:
        made &= inside[cut]
    if without is not None:
        made &= ~without[cut]
    into = wish.into or subject.code
    new = mask if into == subject.code else subject.labels == into
    new[cut] = made
    return relabel(subject.labels, into, new, subject.keep_others or into != subject.code)


def only_asked(wish: Wish) -> Wish:
    """A wish without what its edit does not ask for."""
    asks = EDITS[wish.edit].asks
    fields = ("mm", "sides", "other", "inside", "without", "into", "here_only")
    blank = Wish(wish.edit)
    return replace(blank, **{name: getattr(wish, name) for name in fields if name in asks})


def _names(wish: Wish) -> tuple[str, str, str]:
    return wish.other, wish.inside, wish.without


def _mask(subject: Subject, name: str) -> np.ndarray | None:
    if not name:
        return None
    if name not in subject.sources:
        raise UserError(f"The structure {name} is not there any more. Choose another one.")
    mask = subject.sources[name]()
    if not mask.any():
        raise UserError(f"The structure {name} is empty. Choose another one.")
    return mask
