"""review.json of a case: which slices were looked at, and what was decided about places.

A slice counts as looked at as long as its contour is what it was then: each one is kept with a
digest of its contour. So a new prediction keeps the slices on which nothing changed, and a stroke
that is undone brings the others back. Decisions about places are kept in the same way, with a
digest of the contour within the place's box. Nothing here names the patient or a date.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import ArrayLike
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cmfnet_napari.core.arrays import Labels, Wholes, three
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.files import read_json, write_json
from cmfnet_napari.core.geometry.boxes import Box, bounding_box
from cmfnet_napari.core.geometry.plane import VIEWS, View
from cmfnet_napari.core.images.grid import Grid
from cmfnet_napari.core.review.places import APART_MM, Place

REVIEW_FILE = "review.json"
State = Literal["open", "accepted", "corrected", "dismissed"]
Decided = Literal["accepted", "corrected", "dismissed"]
Digests = Mapping[View, Mapping[int, str]]  # by plane and slice
_Digest = Annotated[str, Field(pattern="^[0-9a-f]{16}$")]
_Index = Annotated[int, Field(ge=0, le=100_000)]


class Decision(BaseModel):
    """What was decided about a place.

    Attributes
    ----------
    voxel, low, high : (z, y, x) on the Study's Grid
        The place's centre; its box, from `low` to before `high`.
    state : str
        ``accepted``, ``corrected`` or ``dismissed``.
    contour : str
        Digest of the labels within the box when it was decided.
    run : str
        Folder of the run within the case.
    """

    model_config = ConfigDict(frozen=True)

    voxel: tuple[_Index, _Index, _Index]
    low: tuple[_Index, _Index, _Index]
    high: tuple[_Index, _Index, _Index]
    state: Decided
    contour: _Digest
    run: str = ""

    @property
    def box(self) -> Box:
        """The place's extent."""
        return three(slice(a, b) for a, b in zip(self.low, self.high, strict=True))

    def covers(self, place: Place, grid: Grid) -> bool:
        """Whether a place of a later prediction is the same one: their centres are near."""
        steps = np.subtract(self.voxel, place.voxel) * grid.spacing
        return float(np.linalg.norm(steps)) < APART_MM / 2


class Record(BaseModel):
    """What review.json holds.

    Attributes
    ----------
    format : int
        1.
    run, prediction : str
        Folder of the run that was reviewed last, within the case; digest of its labels.
    seen : dict
        By plane (`plane.VIEWS`) and slice: digest of the contour when it was looked at.
    decisions : tuple of Decision
        Oldest first.
    """

    model_config = ConfigDict(frozen=True)

    format: Literal[1] = 1
    run: str = ""
    prediction: str = ""
    seen: dict[View, dict[_Index, _Digest]] = {}
    decisions: tuple[Decision, ...] = ()

    def bound_to(self, run: str, prediction: str) -> Record:
        """The record of a case that shows another prediction now."""
        return self.model_copy(update={"run": run, "prediction": prediction})

    def with_seen(self, plane: View, index: int, digest: str) -> Record:
        """The record once a slice was looked at."""
        slices = self.seen.get(plane, {}) | {index: digest}
        return self.model_copy(update={"seen": self.seen | {plane: slices}})

    def with_decision(self, place: Place, state: Decided, labels: Labels, grid: Grid) -> Record:
        """The record once a place was decided; an earlier decision about it is replaced.

        Parameters are as in `state_of`.
        """
        decision = Decision(
            voxel=place.voxel,
            low=three(s.start for s in place.box),
            high=three(s.stop for s in place.box),
            state=state,
            contour=digest(labels[place.box]),
            run=self.run,
        )
        others = self.without_decision(place, grid).decisions
        return self.model_copy(update={"decisions": (*others, decision)})

    def without_decision(self, place: Place, grid: Grid) -> Record:
        """The record with a place open again."""
        others = tuple(d for d in self.decisions if not d.covers(place, grid))
        return self.model_copy(update={"decisions": others})

    def state_of(self, place: Place, labels: Labels, grid: Grid) -> State:
        """What was decided about a place; ``open`` where the contour has changed since.

        Parameters
        ----------
        place : Place
            Of the prediction that is shown.
        labels : integer array (z, y, x)
            The contour that is shown.
        grid : Grid
            The Study's.
        """
        decision = next((d for d in self.decisions if d.covers(place, grid)), None)
        if decision is None or decision.contour != digest(labels[decision.box]):
            return "open"
        return decision.state

    def seen_slices(self, plane: View, digests: Digests) -> set[int]:
        """Slices with contour that were looked at, the contour being what it was then."""
        now, then = digests[plane], self.seen.get(plane, {})
        return {index for index, value in now.items() if then.get(index) == value}


def digest(labels: Labels) -> str:
    """16 hex digits that name the labelled voxels of an array, and where in it they lie."""
    return _digest((labels.shape, *np.nonzero(labels), labels[labels > 0]))


def slice_digests(labels: Labels) -> dict[View, dict[int, str]]:
    """Digest of every slice with contour, by plane and index.

    Parameters
    ----------
    labels : integer array (z, y, x)
        The contour.
    """
    box = bounding_box(labels > 0)
    if box is None:
        return {plane: {} for plane in VIEWS}
    inner = labels[box]
    found: dict[View, dict[int, str]] = {}
    for axis, plane in enumerate(VIEWS):
        first, *starts = (box[a].start for a in (axis, *(a for a in range(3) if a != axis)))
        found[plane] = {
            first + i: _digest((*_places(cut, starts), cut[cut > 0]))
            for i, cut in enumerate(np.moveaxis(inner, axis, 0))
            if cut.any()
        }
    return found


def read_record(folder: Path) -> Record:
    """Read review.json of a case folder; an empty record where there is none.

    Raises
    ------
    UserError
        It is damaged.
    """
    path = folder / REVIEW_FILE
    if not path.exists():
        return Record()
    try:
        return Record.model_validate(read_json(path))
    except ValidationError as error:
        raise UserError("The review of this case (review.json) is damaged.") from error


def write_record(record: Record, folder: Path) -> Path:
    """Write review.json of a case folder, whole or not at all.

    Raises
    ------
    UserError
        It cannot be written.
    """
    return write_json(folder / REVIEW_FILE, record.model_dump(mode="json"))


def _places(cut: Labels, starts: Iterable[int]) -> list[Wholes]:
    return [where + start for where, start in zip(np.nonzero(cut), starts, strict=True)]


def _digest(parts: Iterable[ArrayLike]) -> str:
    hashed = hashlib.blake2b(digest_size=8)
    for part in parts:
        hashed.update(np.ascontiguousarray(part, dtype=np.int64).data)
    return hashed.hexdigest()
