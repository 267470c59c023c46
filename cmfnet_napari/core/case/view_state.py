"""views.json of a case: how the patient was looked at, checked before a window follows it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.files import JsonObject, read_json

VIEWS_FILE = "views.json"

_Place = Annotated[float, Field(ge=-1e6, le=1e6)]  # mm, along the layers' own axes
_Share = Annotated[float, Field(ge=0, le=1)]


class Look(BaseModel):
    """How one layer was shown; `limits` are the values that were black and white."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    visible: bool
    opacity: _Share
    limits: tuple[float, float] | None = None

    @field_validator("limits")
    @classmethod
    def _rise(cls, limits: tuple[float, float] | None) -> tuple[float, float] | None:
        if limits is not None and not limits[0] < limits[1]:
            raise ValueError("limits do not rise")
        return limits


class Views(BaseModel):
    """What views.json holds.

    Attributes
    ----------
    plane : str
        A name of `gui.views.planes.PLANES`.
    slices : tuple of int
        Voxel (z, y, x) on the Study's Grid that the planes went through.
    center, zoom : numbers
        The camera's, in mm and pixels a mm.
    brush : float
        Diameter of the brush in voxels, counted in the shortest side.
    selected : int
        Scribble code in use.
    protect : bool
        Whether strokes of other classes were kept.
    provisional : bool
        Whether a provisional contour was shown while one drew; earlier versions had none.
    marked : bool
        Whether only parts of the contour that hold a stroke were kept; earlier versions had none.
    teach : bool
        Whether corrected voxels counted as strokes; earlier versions had none.
    preset : str
        What the next fit was to be begun with; views of earlier versions have none.
    layout : str
        A name of `gui.views.layouts.LAYOUTS`; views of earlier versions lack it and the next three.
    blend : int
        Percent of the MR over the CT.
    board : bool
        Whether CT and MR were a checkerboard.
    crosshair : bool
        Whether the crosshair was shown where there are several views.
    layers : dict
        How each of the case's layers was shown.
    """

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    plane: str
    slices: tuple[int, int, int]
    center: tuple[_Place, _Place, _Place]
    zoom: float = Field(ge=1e-3, le=1e4)
    brush: float = Field(ge=0.01, le=1000)
    selected: int = Field(alias="class", ge=0, le=255)
    protect: bool = Field(alias="keep other classes")
    provisional: bool = Field(True, alias="provisional contour")
    marked: bool = Field(False, alias="only parts with a stroke")
    teach: bool = Field(True, alias="corrections teach")
    preset: str = ""
    layout: str = "one"
    blend: int = Field(default=0, ge=0, le=100)
    board: bool = Field(alias="checkerboard", default=False)
    crosshair: bool = True
    layers: dict[str, Look]


def parse_views(values: JsonObject) -> Views:
    """Check what views.json holds.

    Raises
    ------
    UserError
        It is damaged.
    """
    try:
        return Views.model_validate(values)
    except ValidationError as error:
        raise UserError("The views of the case are damaged.") from error


def marked_only(folder: Path) -> bool:
    """Whether the window keeps only parts of a case's contour that hold a stroke."""
    try:
        return parse_views(read_json(folder / VIEWS_FILE)).marked
    except UserError:  # none, or damaged: the window does not follow it either
        return False
