"""Structure sets (RTSTRUCT, PS3.3 A.19): contours in the patient, not yet on any image.

The slices that contours name are not looked at: real files name some that do not exist.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset

from cmfnet_napari.core.arrays import Doubles
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.images.dicom_check import check_lengths

_CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
_COLOR = "#ff0000"


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
    """

    number: int
    name: str
    color: str
    frame_uid: str
    contours: tuple[Doubles, ...]
    left_out: int = 0

    @property
    def note(self) -> str:
        """What was left out, a sentence; empty when nothing was."""
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
        data = pydicom.dcmread(path)
        if data.get("Modality") != "RTSTRUCT":
            raise UserError(f"{path.name} is no structure set. Choose an RTSTRUCT file.")
        drawn = {int(item.ReferencedROINumber): item for item in data.get("ROIContourSequence", [])}
        rois = [_roi(entry, drawn) for entry in data.get("StructureSetROISequence", [])]
    except UserError:
        raise
    except Exception as error:  # pydicom raises what it happens to stumble over
        raise UserError(f"The structure set {path.name} is damaged. Export it again.") from error
    if not rois:
        raise UserError(f"The structure set {path.name} holds no structure. Export another one.")
    return rois


def _roi(entry: Dataset, drawn: dict[int, Dataset]) -> Roi:
    number = int(entry.ROINumber)
    item = drawn.get(number, Dataset())
    contours, left_out = [], 0
    for contour in item.get("ContourSequence") or []:
        points = np.array(contour.get("ContourData") or [], dtype=float).reshape(-1, 3)
        if contour.get("ContourGeometricType") not in _CLOSED or not _encloses(points):
            left_out += 1
        else:
            contours.append(points)
    return Roi(
        number=number,
        name=str(entry.get("ROIName") or f"Structure {number}").strip(),
        color=_color(item.get("ROIDisplayColor")),
        frame_uid=str(entry.get("ReferencedFrameOfReferenceUID") or ""),
        contours=tuple(contours),
        left_out=left_out,
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
