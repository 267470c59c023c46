"""Where trainings run: on this computer, or on another one that ssh reaches. It holds no widget."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import QObject, Signal

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.fit.events import LineChanged
from cmfnet_napari.gui.shared.tasks import run_in_background, show_failure
from cmfnet_napari.remote.hosts import Host, forget_host, host_called, known_hosts, save_host
from cmfnet_napari.remote.travelling_case import note_forget


class Where(QObject):
    """The computer that is chosen for this window, and how the line to it is.

    A new window begins with this computer: images go nowhere before somebody says so.

    Attributes
    ----------
    host : Host or None
        None: this computer.
    line : LineChanged or None
        What was said last of the line.
    """

    changed = Signal()  # another computer was chosen, or the list is another
    line_changed = Signal(object)  # LineChanged
    answered = Signal(str)  # what a test found, in sentences
    failed = Signal(str)  # why it found nothing

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self.host: Host | None = None
        self.line: LineChanged | None = None

    @property
    def hosts(self) -> list[Host]:
        """Those that are known; the chosen one is always among them."""
        try:
            known = known_hosts()
        except UserError as error:
            self.failed.emit(str(error))
            known = []
        listed = self.host is None or self.host.name in [host.name for host in known]
        return known if self.host is None or listed else [*known, self.host]

    @property
    def options(self) -> list[str]:
        """What the worker's command is told besides the case."""
        if self.host is None:
            return []
        return ["--on", self.host.name, "--via", self.host.via]

    @property
    def name(self) -> str:
        """Of the chosen computer; empty: this one."""
        return "" if self.host is None else self.host.name

    def choose(self, name: str, via: str | None = None) -> None:
        """Train on a computer from now on; an empty name is this one.

        Raises
        ------
        UserError
            It is no name.
        """
        host = host_called(name, via) if name else None
        if host != self.host:
            self.host, self.line = host, None
            self.changed.emit()

    def add(self, host: Host) -> None:
        """Keep a computer in the list, and choose it.

        Raises
        ------
        UserError
            The list cannot be written.
        """
        save_host(host)
        self.host, self.line = host, None
        self.changed.emit()

    def forget(self, name: str) -> None:
        """Take a computer from the list; this one is chosen, if it was that."""
        forget_host(name)
        if self.name == name:
            self.host, self.line = None, None
        self.changed.emit()

    def leave(self, folder: Path) -> None:
        """A patient is left: what lies there goes, if that is wanted; without a line later."""
        if self.host is not None and self.host.forget:
            try:
                note_forget(folder, self.host.name)
            except UserError as error:
                show_failure(error)

    def test(self, host: Host) -> None:
        """Ask a computer what it can do; the answer comes later."""
        run_in_background(_ask, host, done=self.answered.emit, failed=self._on_failed)

    def hear(self, event: LineChanged) -> None:
        """Take what a worker says of its line; of one that was let go nothing is heard."""
        if event.host == self.name:
            self.line = event
            self.line_changed.emit(event)

    def _on_failed(self, error: Exception) -> None:
        known = isinstance(error, UserError)
        self.failed.emit(str(error) if known else "The computer could not be tested.")
        if not known:
            show_failure(error)


def _ask(host: Host) -> str:
    from cmfnet_napari.remote.installing import ask_doctor, found_words  # slow to import

    return found_words(host, *ask_doctor(host))
