"""What of a case goes to another computer: images, strokes and codes, nothing that names anyone.

Left out are names of classes, notes of an import, who drew a stroke and when, reviews, structures
that came with the patient, and whatever a newer version keeps with a case.
"""

from __future__ import annotations

import uuid
from functools import lru_cache
from pathlib import Path

from cmfnet_napari.core.case.card import CaseCard
from cmfnet_napari.core.case.folder import Case, read_card
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.files import JsonObject, hash_file, read_json, write_json
from cmfnet_napari.core.registration.registrations import FILE as REGISTRATION_FILE
from cmfnet_napari.core.registration.registrations import parse_registrations
from cmfnet_napari.core.strokes.scribbles import BACKGROUND, ScribbleClass, class_color
from cmfnet_napari.remote import forgotten

REMOTE_FILE = "remote.json"  # in a case here: what it is called there, and what was heard of it


class TravellingCase:
    """A case here, as it is sent.

    Parameters
    ----------
    case : Case
        Open for reading.

    Attributes
    ----------
    images : dict
        Files of its images by their hash.
    """

    def __init__(self, case: Case) -> None:
        self._case = case
        self._names = {path.name: _hash(path) for path in _images(case.folder)}
        self.images = {sha: case.folder / "study" / name for name, sha in self._names.items()}

    def card(self) -> JsonObject:
        """What the case says of itself there; the images are called as here."""
        card, study = read_card(self._case.folder), self._case.study
        sent = CaseCard(
            format=card.format,
            study=card.study,
            source_grid=card.source_grid,
            classes=tuple(_unnamed(entry.code) for entry in card.classes),
            voxels=card.voxels,
            grid=study.grid,
            mr_grid=card.mr_grid,
            images=self._names,
            modalities=card.modalities,
            units=card.units,
        )
        return sent.model_dump(mode="json")

    def registration(self) -> JsonObject | None:
        """Where the second image lies; None: as it was."""
        path = self._case.folder / REGISTRATION_FILE
        if not path.exists():
            return None
        found = parse_registrations(read_json(path), self._case.folder.name)
        entries = [{"matrix": entry.matrix, "how": entry.how} for entry in found.entries]
        return {"format": 1, "entries": entries}


class Remembered:
    """What a case here remembers of its double elsewhere.

    Parameters
    ----------
    folder : Path
        The case folder.
    host : str
        Name of the other computer.

    Attributes
    ----------
    case : str
        What it is called there: chance, so that it tells nothing of the patient.
    life, position : str, int
        Which record of the worker was heard, and how far.
    """

    def __init__(self, folder: Path, host: str) -> None:
        self._path, self._host = folder / REMOTE_FILE, host
        values: JsonObject = {}
        if self._path.exists():
            try:
                values = read_json(self._path)
            except UserError:  # it is made anew, and the images are sent again
                values = {}
        hosts = values.get("hosts")
        self._hosts = hosts if isinstance(hosts, dict) else {}
        known = values.get("case")
        is_known = isinstance(known, str) and len(known) == 32
        self.case = known if isinstance(known, str) and is_known else uuid.uuid4().hex
        own = self._hosts.get(host)
        own = own if isinstance(own, dict) else {}
        self.life = str(own.get("life", ""))
        self.position = own["position"] if isinstance(own.get("position"), int) else 0
        if not is_known:
            self.write()

    def write(self) -> None:
        """Keep it with the case."""
        own: JsonObject = {"life": self.life, "position": self.position}
        hosts = {**self._hosts, self._host: own}
        write_json(self._path, {"case": self.case, "hosts": hosts}, private=True)

    @property
    def sent(self) -> bool:
        """Whether anything of the case was ever on that computer."""
        return self._host in self._hosts


def note_forget(folder: Path, host: str) -> None:
    """Have what lies there of a case deleted at the next call there, if anything does.

    Raises
    ------
    UserError
        It cannot be noted.
    """
    if (folder / REMOTE_FILE).exists() and (remembered := Remembered(folder, host)).sent:
        forgotten.note(host, remembered.case)


def _hash(path: Path) -> str:
    found = path.stat()
    return _hash_as_it_is(path, found.st_size, found.st_mtime_ns)


@lru_cache(maxsize=32)
def _hash_as_it_is(path: Path, size: int, time_ns: int) -> str:
    """Hash of a file, which is read once as long as its size and time are the same."""
    return hash_file(path)


def _images(folder: Path) -> list[Path]:
    return sorted(p for p in (folder / "study").glob("*.nrrd") if p.name[0] != ".")


def _unnamed(number: int) -> ScribbleClass:
    name = "Background" if number == BACKGROUND else f"Class {number - BACKGROUND}"
    return ScribbleClass(number, name, class_color(number), number)
