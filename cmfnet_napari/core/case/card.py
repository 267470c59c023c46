"""case.json: what a case folder says of itself, checked before anything believes it."""

from __future__ import annotations

import re

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.files import JsonObject
from cmfnet_napari.core.images.grid import Grid
from cmfnet_napari.core.images.modality import Modality
from cmfnet_napari.core.strokes.scribbles import BACKGROUND, MAX_CODE, ScribbleClass

# With corrections, with classes removed, with images other than CT and MR: programs of earlier
# versions would not see it.
FORMAT, CORRECTED, RECLASSED, ANY_PAIR = 1, 2, 3, 4
_MOST_CLASSES = 10_000  # there ever were; at one time there are `MAX_CODE` at most
_COLOR = re.compile(r"#[0-9a-fA-F]{6}")


class CaseCard(BaseModel):
    """What case.json holds. Fields of a newer version are kept.

    Attributes
    ----------
    format : int
        Version of the case folder: `FORMAT`, `CORRECTED` once a contour of it was corrected,
        `RECLASSED` once a class was removed or merged, `ANY_PAIR` where the images are none of CT,
        or CT and MR.
    study : str
        Hash of the study, to the bit.
    voxels : str
        Hash of the voxels of both images as they were read; cases of earlier versions have none.
    grid, mr_grid : Grid or None
        Where they lay, axes turned to the patient's.
    images : dict
        SHA-256 of each file of the folder ``study``, by its name.
    source_grid : Grid
        The first image's Grid as it lay in its file.
    classes : tuple of ScribbleClass
        Background and all classes there ever were, by number, which is what their `code` says
        here; which of them are left, and in what order, the journal knows.
    notes : tuple of str
        What was left out or is worth a look, from the import.
    modalities, units : tuple of str
        What the images are, and what their values are in; empty: CT, or CT and MR.
    weightings : tuple of str
        Of the images, such as ``T1``; empty: not known.
    """

    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False)

    format: int = FORMAT
    study: str
    source_grid: Grid
    classes: tuple[ScribbleClass, ...]
    notes: tuple[str, ...] = ()
    voxels: str = ""
    grid: Grid | None = None
    mr_grid: Grid | None = None
    images: dict[str, str] = {}
    modalities: tuple[Modality, ...] = Field((), max_length=2)
    units: tuple[str, ...] = ()
    weightings: tuple[str, ...] = Field((), max_length=2)

    @field_validator("source_grid", "grid", "mr_grid")
    @classmethod
    def _in_space(cls, grid: Grid | None) -> Grid | None:
        if grid is None:
            return None
        numbers = np.array([*grid.spacing, *grid.origin, *grid.direction])
        if len(numbers) != 15 or not np.isfinite(numbers).all() or min(grid.spacing) <= 0:
            raise ValueError("no place in space")
        return grid

    @field_validator("classes")
    @classmethod
    def _painted(
        cls, classes: tuple[ScribbleClass, ...], info: ValidationInfo
    ) -> tuple[ScribbleClass, ...]:
        codes = [entry.code for entry in classes]
        most = _MOST_CLASSES if info.data.get("format", FORMAT) >= RECLASSED else MAX_CODE
        if not codes or codes[0] != BACKGROUND or codes[-1] > most:
            raise ValueError("codes")
        if codes != sorted(set(codes)):
            raise ValueError("codes are not in order")
        if not all(_COLOR.fullmatch(entry.color) for entry in classes):
            raise ValueError("a colour")
        return classes

    @property
    def key(self) -> str:
        """Names the case, not the patient: 16 digits of the hash that its folder is found by."""
        return (self.voxels or self.study)[:16]


def parse_card(values: JsonObject, case: str) -> CaseCard:
    """Check what case.json holds.

    Parameters
    ----------
    values : dict
        From the file.
    case : str
        Name of the case for messages.

    Raises
    ------
    UserError
        Another version, or damaged.
    """
    if values.get("format") not in range(FORMAT, ANY_PAIR + 1):
        other = str(values.get("format"))[:20]
        raise UserError(
            f"The case {case} has format {other}, this version reads {FORMAT} to {ANY_PAIR}. "
            "Open it with the version that wrote it; nothing of it was changed."
        )
    try:
        return CaseCard.model_validate(values)
    except ValidationError as error:
        field = ".".join(str(part) for part in error.errors()[0]["loc"][:3])
        raise UserError(
            f"case.json in {case} is damaged ({field}). Bring it back from a backup, or open the "
            "images as a new case."
        ) from error
