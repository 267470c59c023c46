"""Structures that came with a patient: ``structures/0001.nii.gz`` and so on, on the CT's grid.

A file is never changed when the second image is moved: what was drawn on that image is put where
it lies now when it is read, from the mask as it was placed at first, so that moves add up no error.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from cmfnet_napari.core.arrays import Doubles, Mask
from cmfnet_napari.core.case.folder import Case
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.files import JsonObject, private_folder, read_json, write_json
from cmfnet_napari.core.images.study import load_labels, mask_on, save_labels
from cmfnet_napari.core.privacy import inside
from cmfnet_napari.core.registration.registrations import Registration
from cmfnet_napari.core.words import clean

FOLDER, LIST = "structures", "structures.json"
_FILES = "[0-9]" * 4 + ".nii.gz"
_COLOR = re.compile(r"#[0-9a-fA-F]{6}")


@dataclass(frozen=True, eq=False)
class Structure:
    """A structure on the Study's Grid.

    Attributes
    ----------
    name, color : str
        As its source says; the colour as ``#rrggbb``.
    mask : bool array (z, y, x)
        Its voxels.
    placed : float array (4, 4) or None
        Of one that was drawn on the second image, where that lay for this mask: takes points of
        the first (LPS, mm) to points of the second. None: it belongs to the first.
    """

    name: str
    color: str
    mask: Mask
    placed: Doubles | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", clean(self.name))


def save_structures(case: Case, structures: list[Structure]) -> None:
    """Keep structures with a case, after those it has; one of the same name is replaced.

    One that lies by another place of the second image gets a file of its own: a mask and where it
    was placed are never those of two times, whenever this is killed.

    A damaged list is begun anew; the files it named stay.

    Raises
    ------
    UserError
        The case is open for looking only, or cannot be written.
    """
    if case.read_only:
        raise UserError("This case is open in another window; structures are added there.")
    folder = private_folder(case.folder / FOLDER)
    kept: dict[str, JsonObject] = {}
    replaced = []
    with suppress(UserError):
        kept = {entry["name"]: entry for entry in _entries(case)}
    for structure in structures:
        number = 1 + max((int(path.name[:4]) for path in folder.glob(_FILES)), default=0)
        placed = None if structure.placed is None else [float(v) for v in structure.placed.ravel()]
        entry = kept.get(structure.name, {})
        file = entry.get("file", "")
        if not file or entry.get("placed") != placed:
            replaced += [file] if file else []
            file = f"{number:04d}.nii.gz"
        save_labels(structure.mask, case.study, folder / file)
        described = {"file": file, "name": structure.name, "color": structure.color}
        kept[structure.name] = {**entry, **described, "placed": placed}
    write_json(folder / LIST, {"structures": list(kept.values())})  # last: names whole files only
    for file in replaced:
        (folder / file).unlink(missing_ok=True)


def load_structures(case: Case) -> list[Structure]:
    """Structures of a case, in the order they came, where the second image lies now.

    Raises
    ------
    UserError
        The list or a file is damaged.
    """
    now = case.registrations.current.array
    return [_structure(case, entry, now) for entry in _entries(case)]


def _structure(case: Case, entry: JsonObject, now: Doubles) -> Structure:
    grid, name, color = case.study.grid, entry["name"], entry["color"]
    mask = load_labels(inside(case.folder, f"{FOLDER}/{entry['file']}"), grid) > 0
    if (numbers := entry.get("placed")) is None:
        return Structure(name, color, mask)
    placed = np.array(numbers, dtype=float).reshape(4, 4)
    if not np.array_equal(placed, now):
        mask = mask_on(mask, grid, grid, np.linalg.inv(placed) @ now)
    return Structure(name, color, mask, now)


def _entries(case: Case) -> list[JsonObject]:
    path: Path = case.folder / FOLDER / LIST
    if not path.exists():
        return []
    entries = read_json(path).get("structures")
    if not isinstance(entries, list) or not all(_whole(entry) for entry in entries):
        raise UserError(f"{LIST} in {case.folder.name} is damaged. Import the structures again.")
    return entries


def _whole(entry: Any) -> bool:
    return (
        isinstance(entry, dict)
        and all(isinstance(entry.get(key), str) for key in ("name", "color", "file"))
        and _COLOR.fullmatch(entry["color"]) is not None
        and re.fullmatch(r"\d{4}\.nii\.gz", entry["file"]) is not None
        and (entry.get("placed") is None or _is_rigid(entry["placed"]))
    )


def _is_rigid(numbers: Any) -> bool:
    try:
        Registration.model_validate({"matrix": numbers, "how": "by hand"})
    except ValidationError:
        return False
    return True
