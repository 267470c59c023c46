"""What the window keeps for its user on this computer: ways to work, folders, recent patients.

No patient's name is kept: recent patients are names of case folders, which are digests. Folders
that files were chosen in last are paths, as every program keeps them, napari too (its File menu).
`forget` clears all of them.
"""

from __future__ import annotations

import logging
import os
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path

from napari.settings import get_settings
from platformdirs import user_config_path

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.files import private_folder, read_json, write_json

VARIABLE = "CMFNET_PREFERENCES"
_RECENT = 8
_log = logging.getLogger(__name__)


@dataclass
class Preferences:
    """Read once, written when something changes.

    Attributes
    ----------
    wheel_zooms : bool
        napari's way: the wheel zooms, with Ctrl it changes the slice. Else the other way round.
    room : str
        ``images``: napari's own panels are hidden; ``napari``: they are shown.
    folders : dict
        The folder chosen in last, by what was chosen.
    recent : list of str
        Names of case folders, the newest first.
    cards_read : list of str
        Digests of models' cards that were read.
    """

    wheel_zooms: bool = False
    room: str = "images"
    folders: dict[str, str] = field(default_factory=dict)
    recent: list[str] = field(default_factory=list)
    cards_read: list[str] = field(default_factory=list)

    def opened(self, case: str) -> None:
        """A case was opened: it is the newest."""
        self.recent = [case, *(name for name in self.recent if name != case)][:_RECENT]
        self.write()

    def forget(self) -> None:
        """Forget recent patients and folders, also napari's own; cases stay where they are."""
        self.recent, self.folders = [], {}
        self.write()
        napari = get_settings().application
        try:
            napari.open_history, napari.save_history = [], []
        except OSError:
            _log.warning("The preferences of napari could not be written.")

    def write(self) -> None:
        """Write them; a full disk or a folder that is not ours is no reason to stop anyone."""
        try:
            path = preferences_file()
            private_folder(path.parent)
            write_json(path, asdict(self), private=True)  # folders may be called like patients
        except (OSError, UserError):
            _log.warning("The preferences could not be written.")


def preferences_file() -> Path:
    """Where they are kept (variable ``CMFNET_PREFERENCES``)."""
    chosen = os.environ.get(VARIABLE)
    folder = user_config_path("cmfnet-napari", appauthor=False)
    return Path(chosen) if chosen else folder / "window.json"


def preferences() -> Preferences:
    """Those of this computer's user: the same object for everyone who asks."""
    return _read(preferences_file())


@lru_cache(maxsize=1)
def _read(path: Path) -> Preferences:
    """What is missing, damaged or of another kind is as in a new installation."""
    found = Preferences()
    if not path.exists():
        return found
    try:
        values = read_json(path)
    except UserError:
        _log.warning("The preferences are damaged and were not used.")
        return found
    found.wheel_zooms = values.get("wheel_zooms") is True
    found.room = "napari" if values.get("room") == "napari" else "images"
    folders, recent = values.get("folders"), values.get("recent")
    if isinstance(folders, dict):
        found.folders = {k: v for k, v in folders.items() if isinstance(v, str)}
    if isinstance(recent, list):
        found.recent = [name for name in recent if isinstance(name, str)][:_RECENT]
    if isinstance(read := values.get("cards_read"), list):
        found.cards_read = [digest for digest in read if isinstance(digest, str)]
    return found
