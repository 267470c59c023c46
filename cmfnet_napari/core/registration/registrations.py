"""registration.json: how the second image lies to the first, and lay before, to be undone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from cmfnet_napari.core.arrays import Doubles, Mask
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.files import JsonObject
from cmfnet_napari.core.images.padding import has_data
from cmfnet_napari.core.images.study import Study
from cmfnet_napari.core.registration.likeness import Likeness, doubts, likeness

FILE = "registration.json"
FORMAT: Final = 1
_RIGID = 1e-3  # of a cosine
_MOST_DEGREES, _MOST_MM = 30.0, 60.0  # a patient lies otherwise, but not that much
_LEAST_OVERLAP = 0.3  # of the second image's voxels

How = Literal["frame of reference", "registration object", "automatic", "by hand"]


class Registration(BaseModel):
    """One place of the second image.

    Attributes
    ----------
    matrix : tuple of float
        Row-major 4×4; takes points of the first image (LPS, mm) to points of the second.
    how : str
        Where it comes from.
    """

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    matrix: tuple[float, ...]
    how: How

    @field_validator("matrix")
    @classmethod
    def _rigid(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        if len(values) != 16:
            raise ValueError("sixteen numbers")
        matrix = np.array(values).reshape(4, 4)
        turn = matrix[:3, :3]
        if not np.allclose(turn @ turn.T, np.eye(3), atol=_RIGID) or np.linalg.det(turn) < 0:
            raise ValueError("no rigid matrix")
        return values

    @classmethod
    def of(cls, matrix: Doubles, how: How) -> Registration:
        """From a matrix (4, 4)."""
        return cls(matrix=tuple(float(v) for v in np.ravel(matrix)), how=how)

    @property
    def array(self) -> Doubles:
        """The matrix, float64 (4, 4)."""
        return np.array(self.matrix).reshape(4, 4)


class Registrations(BaseModel):
    """All places of the second image in a case; the last counts. Fields of a newer version stay.

    Attributes
    ----------
    format : int
        Version of the file.
    entries : tuple of Registration
        The first is the one the case was made with.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    format: Literal[1] = FORMAT
    entries: tuple[Registration, ...]

    @property
    def current(self) -> Registration:
        """The one that counts."""
        return self.entries[-1]

    def added(self, entry: Registration) -> Registrations:
        """With another one."""
        return self.model_copy(update={"entries": (*self.entries, entry)})

    def undone(self) -> Registrations:
        """Without the last one.

        Raises
        ------
        UserError
            It lies where it lay when the case was made.
        """
        if len(self.entries) < 2:
            raise UserError("The image lies where it lay when the patient was opened.")
        return self.model_copy(update={"entries": self.entries[:-1]})


AS_IT_WAS = Registrations(entries=(Registration.of(np.eye(4), "frame of reference"),))


def parse_registrations(values: JsonObject, case: str) -> Registrations:
    """Check what registration.json holds; UserError when it is damaged."""
    try:
        found = Registrations.model_validate(values)
    except ValidationError as error:
        raise UserError(
            f"{FILE} in {case} is damaged. Bring it back from a backup, or open the images as a "
            "new case."
        ) from error
    if not found.entries:
        raise UserError(f"{FILE} in {case} is empty. Bring it back from a backup.")
    return found


@dataclass(frozen=True)
class Fit:
    """How well a second image lies on the first.

    Attributes
    ----------
    overlap : float
        Share of its data that lies within the first.
    covered : float
        Share of the patient in the first that it covers.
    likeness : Likeness or None
        See `registration_check`.
    warnings : tuple of str
        What speaks against it, in sentences.
    """

    overlap: float
    covered: float
    likeness: Likeness | None
    warnings: tuple[str, ...]


def judge(
    study: Study,
    registration: Registration,
    before: Registration | None = None,
    body: Mask | None = None,
) -> Fit:
    """Judge a study whose second image lies as a registration says.

    Parameters
    ----------
    study : Study
        Its second image resampled there.
    registration : Registration
        The place.
    before : Registration, optional
        Where it lay before, from which it should not be far.
    body : bool array (z, y, x), optional
        The patient, where it is known already.
    """
    fov = study.seen
    if fov is None:
        raise ValueError("a study of one image has no registration to judge")
    overlap = _overlap(study, fov)
    body = study.body if body is None else body
    covered = float(fov[body].mean()) if body.any() else 0.0
    found = likeness(study)
    one, other = study.names
    doubt = doubts(found, study.names)
    warnings = [doubt] if doubt else []
    if overlap < _LEAST_OVERLAP:
        warnings.append(f"Only {100 * overlap:.0f} % of the {other} lie within the {one}.")
    if before is not None:
        degrees, mm = _motion(registration.array @ np.linalg.inv(before.array), study)
        if degrees > _MOST_DEGREES or mm > _MOST_MM:
            warnings.append(
                f"The {other} was turned by {degrees:.0f}° and moved by {mm:.0f} mm, which is a "
                "lot. Look whether bones and skin meet."
            )
    return Fit(overlap, covered, found, tuple(warnings))


def _overlap(study: Study, fov: Mask) -> float:
    if study.second_source is None:
        return 1.0
    own = study.second_source
    known = has_data(own.array).sum() if own.modality == "MR" else own.array.size
    total = known * own.grid.voxel_ml
    return min(1.0, float(fov.sum() * study.grid.voxel_ml / total)) if total else 0.0


def _motion(matrix: Doubles, study: Study) -> tuple[float, float]:
    """Angle, degrees, and how far the middle of the first image moves, mm."""
    angle = np.arccos(np.clip((np.trace(matrix[:3, :3]) - 1) / 2, -1, 1))
    middle = study.grid.to_patient((np.array(study.grid.shape) - 1) / 2)
    moved = matrix[:3, :3] @ middle + matrix[:3, 3] - middle
    return float(np.degrees(angle)), float(np.linalg.norm(moved))
