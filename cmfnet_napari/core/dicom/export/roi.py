"""One structure to export: which class, under which name, and what it is to a planning system."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.nomenclature.name_rules import judge
from cmfnet_napari.core.strokes.scribbles import FIRST_CLASS, class_color
from cmfnet_napari.core.words import clean

# RT ROI Interpreted Type (DICOM PS3.3 C.8.8.8.1): those a contour of a tumour or an organ can be.
ROI_TYPES = ("GTV", "CTV", "PTV", "ORGAN", "AVOIDANCE", "EXTERNAL")
_LONGEST_NAME = 64  # characters of a long string (LO), PS3.5 6.2


@dataclass(frozen=True)
class Roi:
    """One structure.

    Attributes
    ----------
    code : int
        Its class in the segmentation: 1, 2, …
    name : str
        ROI Name, 64 characters at most.
    type : str
        One of `ROI_TYPES`.
    color : str
        #rrggbb.
    """

    code: int
    name: str
    type: str = "GTV"
    color: str = "#e69f00"

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", clean(self.name))

    @property
    def rgb(self) -> list[int]:
        """The colour as red, green and blue, 0 … 255."""
        return [int(self.color[i : i + 2], 16) for i in (1, 3, 5)]


def make_rois(
    codes: Sequence[int],
    names: Sequence[str] = (),
    types: Sequence[str] = (),
    colors: Mapping[int, str] | None = None,
) -> list[Roi]:
    """Structures of a segmentation's classes, in the order of their codes.

    Parameters
    ----------
    codes : sequence of int
        The classes that occur: 1, 2, …
    names : sequence of str
        One a class; none: GTV, or GTV1, GTV2, … (TG-263)
    types : sequence of str
        One a class, or one for all; none: as `types_for` has it.
    colors : mapping of int to str, optional
        By class, #rrggbb; of those that are not in it, as new classes have them.

    Raises
    ------
    UserError
        Another count, a name twice, empty or too long, or a type that there is not.
    """
    names = list(names) or (["GTV"] if len(codes) == 1 else [f"GTV{code}" for code in codes])
    types = types_for(names, types)
    for what, values in (("names", names), ("types", types)):
        if len(values) != len(codes):
            raise UserError(
                f"The segmentation has {len(codes)} classes, but {len(values)} {what} were given. "
                "Give one for each class."
            )
    own = colors or {}
    rois = [
        Roi(code, name.strip(), kind, own.get(code) or class_color(code + FIRST_CLASS - 1))
        for code, name, kind in zip(codes, names, types, strict=True)
    ]
    check_rois(rois)
    return rois


def types_for(names: Sequence[str], types: Sequence[str] = ()) -> list[str]:
    """RT ROI Interpreted Types of structures, one a name.

    Parameters
    ----------
    names : sequence of str
        Theirs.
    types : sequence of str
        Those that were asked for: one each, or one for all; none: what TG-263 has for a name,
        such as ORGAN for ``Bladder``, else GTV.
    """
    if not types:
        return [judge(name.strip()).roi_type or ROI_TYPES[0] for name in names]
    asked = [kind.upper() for kind in types]
    return asked * len(names) if len(asked) == 1 else asked


def check_rois(rois: Sequence[Roi]) -> None:
    """Raise UserError for no structure, and for names and types that a structure set cannot hold.

    See `make_rois`.
    """
    if not rois:
        raise UserError("There is nothing to export: no voxel belongs to a class.")
    names = [roi.name.casefold() for roi in rois]
    for roi in rois:
        if not roi.name or len(roi.name) > _LONGEST_NAME or "\\" in roi.name:
            raise UserError(
                f"{roi.name[:80]!r} cannot be a structure's name: 1 to {_LONGEST_NAME} characters, "
                "and no backslash."
            )
        if names.count(roi.name.casefold()) > 1:
            raise UserError(f"Two structures are called {roi.name}. Give each a name of its own.")
        if roi.type not in ROI_TYPES:
            raise UserError(f"{roi.type} is no type of structure: {', '.join(ROI_TYPES)}.")
