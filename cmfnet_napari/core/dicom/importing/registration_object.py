"""Spatial registrations (REG, PS3.3 C.20.2): how two frames of reference lie to each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

from cmfnet_napari.core.arrays import Doubles
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.images.dicom_check import check_lengths
from cmfnet_napari.core.images.dicom_file import read_dicom

_RIGID = 1e-3  # of a cosine


@dataclass(frozen=True, eq=False)
class SpatialRegistration:
    """Matrices of one REG object.

    Attributes
    ----------
    to_registered : mapping of str to float array (4, 4)
        For a frame of reference, what takes its points (LPS, mm) to the registered one.
    """

    to_registered: Mapping[str, Doubles]

    def between(self, first: str, second: str) -> Doubles | None:
        """The matrix (4, 4) that takes points of one frame to another one; None if unknown."""
        if first not in self.to_registered or second not in self.to_registered:
            return None
        matrix: Doubles = np.linalg.inv(self.to_registered[second]) @ self.to_registered[first]
        return matrix


def read_registration(
    path: str | Path, frames: Mapping[str, str] | None = None
) -> SpatialRegistration:
    """Read a REG object.

    Parameters
    ----------
    path : path
        Its file.
    frames : mapping of str to str, optional
        Frame of reference by SOP instance UID, for objects that name images instead of frames.

    Raises
    ------
    UserError
        Damaged, deformable, or with a matrix that bends or scales.
    """
    path = Path(path)
    try:
        check_lengths(path)
        data = read_dicom(path)
        items = data.get("RegistrationSequence") or []
        found: dict[str, Doubles] = {str(data.get("FrameOfReferenceUID") or ""): np.eye(4)}
        for item in items:
            found[_frame(item, frames or {})] = _matrix(item)
    except UserError:
        raise
    except Exception as error:  # pydicom raises what it happens to stumble over
        raise UserError(f"The registration {path.name} is damaged. Export it again.") from error
    if not items:
        raise UserError(
            f"{path.name} is a deformable registration or holds none; a rigid one is needed."
        )
    for matrix in found.values():
        turn = matrix[:3, :3]
        proper = np.allclose(turn @ turn.T, np.eye(3), atol=_RIGID) and np.linalg.det(turn) > 0
        if not proper or not np.allclose(matrix[3], (0, 0, 0, 1)) or not np.isfinite(matrix).all():
            raise UserError(
                f"The registration {path.name} is not rigid: it scales or shears. Register the "
                "images here instead."
            )
    found.pop("", None)
    return SpatialRegistration(found)


def _frame(item: Dataset, frames: Mapping[str, str]) -> str:
    if uid := str(item.get("FrameOfReferenceUID") or ""):
        return uid
    images = item.get("ReferencedImageSequence") or []
    return next(
        (
            frames[i.ReferencedSOPInstanceUID]
            for i in images
            if i.ReferencedSOPInstanceUID in frames
        ),
        "",
    )


def _matrix(item: Dataset) -> Doubles:
    """The product of the item's matrices in the order they are written (Eq. C.20.2-2)."""
    product: Doubles = np.eye(4)
    for part in item.MatrixRegistrationSequence[0].MatrixSequence:
        values = np.array(part.FrameOfReferenceTransformationMatrix, dtype=float)
        product = product @ values.reshape(4, 4)
    return product
