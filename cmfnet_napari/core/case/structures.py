"""Structures that came with a patient: ``structures/0001.nii.gz`` and so on, on the CT's grid."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cmfnet_napari.core.arrays import Mask
from cmfnet_napari.core.case.folder import Case
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.files import private_folder, read_json, write_json
from cmfnet_napari.core.images.study import load_labels, save_labels
from cmfnet_napari.core.privacy import inside
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
    """

    name: str
    color: str
    mask: Mask

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", clean(self.name))


def save_structures(case: Case, structures: list[Structure]) -> None:
    """Keep structures with a case, after those it has; one of the same name is replaced.

    A damaged list is begun anew; the files it named stay.

    Raises
    ------
    UserError
        The case is open for looking only, or cannot be written.
    """
    if case.read_only:
        raise UserError("This case is open in another window; structures are added there.")
    folder = private_folder(case.folder / FOLDER)
    kept: dict[str, dict[str, str]] = {}
    with suppress(UserError):
        kept = {entry["name"]: entry for entry in _entries(case)}
    for structure in structures:
        number = 1 + max((int(path.name[:4]) for path in folder.glob(_FILES)), default=0)
        entry = kept.get(structure.name, {"file": f"{number:04d}.nii.gz"})
        save_labels(structure.mask, case.study, folder / entry["file"])
        kept[structure.name] = {**entry, "name": structure.name, "color": structure.color}
    write_json(folder / LIST, {"structures": list(kept.values())})  # last: names whole files only


def load_structures(case: Case) -> list[Structure]:
    """Structures of a case, in the order they came.

    Raises
    ------
    UserError
        The list or a file is damaged.
    """
    return [
        Structure(
            entry["name"],
            entry["color"],
            load_labels(inside(case.folder, f"{FOLDER}/{entry['file']}"), case.study.grid) > 0,
        )
        for entry in _entries(case)
    ]


def _entries(case: Case) -> list[dict[str, str]]:
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
    )
