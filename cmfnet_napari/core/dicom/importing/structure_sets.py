"""Structure sets (RTSTRUCT, PS3.3 A.19): contours in the patient, not yet on any image.

The slices that contours name are not looked at: real files name some that do not exist.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

from cmfnet_napari.core.arrays import Doubles
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.images.dicom_check import check_lengths
from cmfnet_napari.core.images.dicom_file import read_dicom
from cmfnet_napari.core.words import clean

_CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
_COLOR = "#ff0000"
_NAMELESS = "its contours have no entry among the structures; they were taken without a name."


@dataclass(frozen=True, eq=False)
class Roi:
    """One structure.

    Attributes
    ----------
    number : int
        ROI number in its structure set.
    name, color : str
        As the structure set says; the colour as ``#rrggbb``.
    frame_uid : str
        Frame of reference of its contours.
    contours : tuple of float arrays (n, 3)
        Closed contours, points (x, y, z) in LPS, mm; n ≥ 3.
    left_out : int
        Contours that enclose nothing: open ones, points, fewer than three points.
    fault : str
        What is wrong with its place in the structure set, a sentence; empty: nothing.
    """

    number: int
    name: str
    color: str
    frame_uid: str
    contours: tuple[Doubles, ...]
    left_out: int = 0
    fault: str = ""

    @property
    def note(self) -> str:
        """What was left out or is in doubt, in sentences; empty when nothing is."""
        fault = f"{self.name}: {self.fault}" if self.fault else ""
        return " ".join(filter(None, (fault, self._open_ones)))

    @property
    def _open_ones(self) -> str:
        if not self.left_out:
            return ""
        one = self.left_out == 1
        return (
            f"{self.name}: {self.left_out} open contour{'' if one else 's'} or point"
            f"{'' if one else 's'} that enclose{'s' if one else ''} nothing left out."
        )


def read_structures(path: str | Path) -> list[Roi]:
    """Read all structures of a structure set, in its order.

    Parameters
    ----------
    path : path
        RTSTRUCT file.

    Raises
    ------
    UserError
        Damaged, no structure set, or without any structure.
    """
    path = Path(path)
    try:
        check_lengths(path)
        data = read_dicom(path)
        if data.get("Modality") != "RTSTRUCT":
            raise UserError(f"{path.name} is no structure set. Choose an RTSTRUCT file.")
        entries = list(data.get("StructureSetROISequence") or [])
        items = list(data.get("ROIContourSequence") or [])
        rois = [_roi(entry, *found) for entry, found in _drawn(entries, items)]
        rois += [_roi(_nameless(item), [item], _NAMELESS) for item in _without(entries, items)]
    except UserError:
        raise
    except Exception as error:  # pydicom raises what it happens to stumble over
        raise UserError(f"The structure set {path.name} is damaged. Export it again.") from error
    if not rois:
        raise UserError(f"The structure set {path.name} holds no structure. Export another one.")
    return rois


def _without(entries: list[Dataset], items: list[Dataset]) -> list[Dataset]:
    """Items whose number no structure has."""
    numbers = {int(entry.ROINumber) for entry in entries}
    return [item for item in items if int(item.ReferencedROINumber) not in numbers]


def _nameless(item: Dataset) -> Dataset:
    entry = Dataset()
    entry.ROINumber = item.ReferencedROINumber
    return entry


def _drawn(
    entries: list[Dataset], items: list[Dataset]
) -> list[tuple[Dataset, tuple[list[Dataset], str]]]:
    """Each structure with the items that hold its contours, and what is wrong with them.

    An item belongs to the structure of its number, however many there are (PS3.3 C.8.8.6). Where
    several structures have one number, as rt-utils writes them, the first item of that number is
    the first one's, and so on; where there are not as many items, nobody can tell.
    """
    owners: dict[int, list[int]] = {}
    for k, entry in enumerate(entries):
        owners.setdefault(int(entry.ROINumber), []).append(k)
    held: dict[int, list[Dataset]] = {}
    for item in items:
        held.setdefault(int(item.ReferencedROINumber), []).append(item)
    found: list[tuple[list[Dataset], str]] = [([], "") for _ in entries]
    for number, who in owners.items():
        own = held.get(number, [])
        if len(who) == 1:
            found[who[0]] = (own, "")
        elif len(own) == len(who):
            note = (
                f"{len(who)} structures have the number {number}; contours were given to them in "
                "their order."
            )
            for k, item in zip(who, own, strict=True):
                found[k] = ([item], note)
        else:
            why = f"{len(who)} structures have the number {number}, but {len(own)} have contours"
            for k in who:
                found[k] = ([], f"{why}: nobody can tell whose they are.")
    return list(zip(entries, found, strict=True))


def _roi(entry: Dataset, items: list[Dataset], fault: str) -> Roi:
    number = int(entry.ROINumber)
    contours, left_out = [], 0
    for contour in (one for item in items for one in item.get("ContourSequence") or []):
        points = np.array(contour.get("ContourData") or [], dtype=float).reshape(-1, 3)
        if contour.get("ContourGeometricType") not in _CLOSED or not _encloses(points):
            left_out += 1
        else:
            contours.append(points)
    return Roi(
        number=number,
        name=clean(str(entry.get("ROIName") or "")) or f"Structure {number}",
        color=_color(items[0].get("ROIDisplayColor") if items else None),
        frame_uid=str(entry.get("ReferencedFrameOfReferenceUID") or ""),
        contours=tuple(contours),
        left_out=left_out,
        fault=fault,
    )


def _encloses(points: Doubles) -> bool:
    if not np.isfinite(points).all():
        raise ValueError("a contour that is nowhere")
    return len(np.unique(points, axis=0)) >= 3


def _color(values: Iterable[str | int] | None) -> str:
    try:
        red, green, blue = (int(value) for value in values or ())
    except (TypeError, ValueError):
        return _COLOR
    inside = all(0 <= value <= 255 for value in (red, green, blue))
    return f"#{red:02x}{green:02x}{blue:02x}" if inside else _COLOR
