"""A contour from a file of any kind: structure set, DICOM segmentation, or an image of labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from pydicom.tag import Tag

from cmfnet_napari.core.arrays import Codes, Mask
from cmfnet_napari.core.dicom.importing.rasterise import rasterise
from cmfnet_napari.core.dicom.importing.segments import Segment, read_segments
from cmfnet_napari.core.dicom.importing.structure_sets import Roi, read_structures
from cmfnet_napari.core.errors import UserError, list_names
from cmfnet_napari.core.images.dicom_file import read_dicom
from cmfnet_napari.core.images.grid import Grid
from cmfnet_napari.core.images.series.stacks import Stack
from cmfnet_napari.core.images.study import load_labels


class SeveralStructuresError(UserError):
    """The file holds several structures, and none has the name of a class.

    Attributes
    ----------
    names : list of str
        To choose one of.
    """

    def __init__(self, file: str, names: list[str]) -> None:
        self.names = names
        super().__init__(
            f"{file} holds {len(names)} structures ({list_names(names)}), and none is called like "
            "a class. Choose one of them."
        )


def read_contour(
    path: str | Path,
    grid: Grid,
    classes: Sequence[str],
    chosen: str = "",
    frame_uid: str = "",
    stack: Stack | None = None,
) -> Codes:
    """Read a contour onto the Study's Grid.

    Parameters
    ----------
    path : path
        RTSTRUCT or SEG, placed by geometry; or an image of labels on the first image's grid.
    grid : Grid
        The Study's.
    classes : sequence of str
        Names of the classes 1, 2, …: structures of the same name become them, whatever the case
        of their letters. A file's only structure becomes class 1.
    chosen : str
        The structure that becomes class 1, in place of that.
    frame_uid : str
        Frame of reference of the first image, where it is known: contours in others are refused.
    stack : Stack, optional
        Its slices, where they are known: positions that a scanner rounded are in contours too.

    Returns
    -------
    uint8 array (z, y, x)

    Raises
    ------
    SeveralStructuresError
        It is not clear which structure is meant.
    UserError
        Unreadable, in another place, or without what was chosen.
    """
    path = Path(path)
    parts: list[Roi | Segment] = []
    match _modality(path):
        case "RTSTRUCT":
            parts += [_even(roi, stack) for roi in read_structures(path)]
        case "SEG":
            parts += read_segments(path, stack)
        case _:
            return load_labels(path, grid)
    labels: Codes = np.zeros(grid.shape, dtype=np.uint8)
    for code, part in _meant(parts, classes, chosen, path.name):
        labels[_mask(part, grid, frame_uid)] = code
    return labels


def _even(roi: Roi, stack: Stack | None) -> Roi:
    if stack is None:
        return roi
    return replace(roi, contours=tuple(stack.put_even(points) for points in roi.contours))


def _modality(path: Path) -> str:
    """Of a DICOM file; empty for another."""
    try:
        header = read_dicom(path, stop_before_pixels=True, specific_tags=[Tag("Modality")])
    except Exception:  # pydicom raises what it stumbles over; the readers say it in words
        return ""
    return str(header.get("Modality") or "")


def _meant(
    parts: Sequence[Roi | Segment], classes: Sequence[str], chosen: str, file: str
) -> list[tuple[int, Roi | Segment]]:
    """Codes and the structures that become them."""
    names = {part.name.casefold(): part for part in reversed(parts)}
    if chosen:
        if chosen.casefold() not in names:
            raise UserError(f"{file} holds no structure {chosen}.")
        return [(1, names[chosen.casefold()])]
    found = [(k, names.get(name.casefold())) for k, name in enumerate(classes, start=1)]
    meant = [(code, part) for code, part in found if part is not None]
    if meant:
        return meant
    if len(parts) == 1:
        return [(1, parts[0])]
    raise SeveralStructuresError(file, [part.name for part in parts])


def _mask(part: Roi | Segment, grid: Grid, frame_uid: str) -> Mask:
    if isinstance(part, Segment):
        return part.on(grid)
    if frame_uid and part.frame_uid and part.frame_uid != frame_uid:
        raise UserError(
            f"The structure {part.name} was drawn in another frame of reference than the images. "
            "Import it with the patient, where it can be placed."
        )
    return rasterise(part.contours, grid, part.name)[0]
