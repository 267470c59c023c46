"""What was begun elsewhere on a cohort, as a folder here remembers it, and that it is done.

::

    begun.json    host, settings and data, from the moment on that the training is told there
    done.json     what it has reached; written when all that it made is here, and proved
"""

from __future__ import annotations

import shutil
from pathlib import Path

from cmfnet_napari.core.files import JsonObject, read_json, write_json

_BEGUN, _DONE = "begun.json", "done.json"


class BegunTraining:
    """A training elsewhere.

    Parameters
    ----------
    folder : Path
        Remembers it.

    Attributes
    ----------
    asked : dict
        What is to be begun.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.asked: JsonObject = {}

    @property
    def known(self) -> JsonObject | None:
        """What was begun; None: nothing."""
        path = self._folder / _BEGUN
        return read_json(path) if path.exists() else None

    @property
    def metrics(self) -> JsonObject | None:
        """What it has reached; None: not all of it is here."""
        path = self._folder / _DONE
        return read_json(path) if path.exists() else None

    def begin(self) -> None:
        """Note it before it is told there: from now on nothing else is begun from here."""
        write_json(self._folder / _BEGUN, self.asked, private=True)

    def forget(self) -> None:
        """Nothing was begun there, or it is gone."""
        (self._folder / _BEGUN).unlink(missing_ok=True)

    def settle(self, metrics: JsonObject) -> None:
        """All that it made is here."""
        write_json(self._folder / _DONE, metrics, private=True)

    def clear(self) -> None:
        """Delete all else in the folder: killed meanwhile, it is still known to be done."""
        for path in self._folder.iterdir():
            if path.name not in (_BEGUN, _DONE):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
