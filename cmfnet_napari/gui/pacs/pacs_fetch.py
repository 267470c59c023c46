"""Studies looked for in a PACS and fetched, off the GUI thread. It holds no widget."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from qtpy.QtCore import QObject, Signal

from cmfnet_napari.core.dicom.pacs import transfer as pacs
from cmfnet_napari.core.dicom.pacs.nodes import Node
from cmfnet_napari.core.dicom.pacs.query import Query, Study
from cmfnet_napari.core.errors import CancelledError, UserError
from cmfnet_napari.gui.pacs.known_pacs import KnownPacs
from cmfnet_napari.gui.patient.session import Session
from cmfnet_napari.gui.shared.tasks import Steps, run_in_background, show_failure

_SEARCHING, _FETCHING, _STOPPING = "Searching", "Fetching", "Stopping"


class PacsFetch(QObject):
    """From words to look for, to a folder with a study.

    The folder is a temporary one that only this user can read. It stays while its patient is open,
    since the export needs the CT's files, and goes with the next patient or the window.
    """

    found = Signal(object)  # list of Study, newest first
    fetched = Signal(str)  # folder that holds the study
    failed = Signal(str)  # why not, in a sentence
    moved = Signal(str, float)  # what goes on, share done; empty: nothing

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.known = KnownPacs(self)
        self._session = session
        self._steps: Steps | None = None
        self._waiting: TemporaryDirectory | None = None  # fetched, not opened yet
        self._open: TemporaryDirectory | None = None  # of the patient that is open
        session.opened.connect(self._on_opened)
        session.closed.connect(self._on_closed)

    def search(self, name: str, query: Query) -> None:
        """Look for studies in the PACS of that name."""
        if query == Query():
            self.failed.emit(
                "Say whom to look for: a patient ID, a name, or dates. Otherwise the PACS would "
                "list all that it has."
            )
            return
        self._run(_SEARCHING, partial(_find, self.known.node(name), query), self._on_found)

    def fetch(self, name: str, study: str) -> None:
        """Fetch a study by its UID, whole or not at all."""
        self._run(_FETCHING, partial(_fetch, self.known.node(name), study), self._on_came)

    def cancel(self) -> None:
        """End what goes on; it says so when it has."""
        if self._steps is not None:
            self._steps.end()
            self.moved.emit(_STOPPING, 0.0)

    def forget(self) -> None:
        """Remove what was fetched, when it is not to be opened."""
        self._waiting = _remove(self._waiting)

    def _run(self, what: str, work: Callable[..., Any], done: Callable[[Any], None]) -> None:
        if self._steps is not None:
            self.failed.emit("The last search or fetch is still ending. Try again in a moment.")
            return
        steps = self._steps = Steps(self)
        steps.moved.connect(self.moved)
        self.moved.emit(what, 0.0)
        run_in_background(work, partial(self._go_on, steps), done=done, failed=self._on_failed)

    def _go_on(self, steps: Steps, what: str, share: float) -> None:
        """Called in the thread."""
        if self._session.ended or not steps(what, share):
            raise CancelledError

    def _end(self) -> None:
        self._steps.moved.disconnect(self.moved)
        self._steps = None
        self.moved.emit("", 0.0)

    def _on_found(self, studies: list[Study]) -> None:
        self._end()
        self.found.emit(studies)

    def _on_came(self, place: TemporaryDirectory) -> None:
        self._end()
        self.forget()
        if self._session.ended:
            _remove(place)
            return
        self._waiting = place
        self.fetched.emit(str(_study_folder(place)))

    def _on_failed(self, error: Exception) -> None:
        self._end()
        match error:
            case CancelledError():
                self.failed.emit("Stopped. No files were kept.")
            case UserError():
                self.failed.emit(str(error))
            case _:
                self.failed.emit("It did not work. No files were kept.")
                show_failure(error)

    def _on_opened(self) -> None:
        """Files of the open patient stay, those of the one before go."""
        folder = self._session.patient.folder
        if _holds(self._waiting, folder):
            _remove(self._open)
            self._open, self._waiting = self._waiting, None
        elif not _holds(self._open, folder):  # the same patient is read anew after a registration
            self._open = _remove(self._open)

    def _on_closed(self) -> None:
        if self._session.ended:
            self.forget()
            self._open = _remove(self._open)


def _find(node: Node, query: Query, go_on: Callable[[str, float], None]) -> list[Study]:
    studies = pacs.find(node, query)
    go_on(_SEARCHING, 1.0)
    return studies


def _fetch(node: Node, study: str, go_on: Callable[[str, float], None]) -> TemporaryDirectory:
    place = TemporaryDirectory(prefix="cmfnet-pacs-", ignore_cleanup_errors=True)
    try:
        folder = _study_folder(place)
        pacs.fetch(node, study, folder, progress=lambda came, of: go_on(_FETCHING, came / of))
        go_on(_FETCHING, 1.0)
    except Exception:
        place.cleanup()
        raise
    return place


def _study_folder(place: TemporaryDirectory) -> Path:
    """Within it, since a fetch puts what has come beside the folder it is to be in."""
    return Path(place.name) / "study"


def _holds(place: TemporaryDirectory | None, folder: str) -> bool:
    return place is not None and bool(folder) and Path(folder).is_relative_to(place.name)


def _remove(place: TemporaryDirectory | None) -> None:
    """None is left of it."""
    if place is not None:
        place.cleanup()
