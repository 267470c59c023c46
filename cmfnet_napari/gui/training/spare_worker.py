"""A worker that is started before anybody needs it: all that it imports takes seconds."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtCore import QObject, QTimer, Signal

from cmfnet_napari.gui.patient.session import Session
from cmfnet_napari.gui.training.worker_client import WorkerClient

_AFTER_MS = 1500  # the window comes first
_IDLE_MS = 600_000  # without a stroke: it is let go, and its memory with it


class SpareWorker(QObject):
    """Ready for the open case, until a fit or an update takes it.

    Parameters
    ----------
    session : Session
        A case that is open for looking only needs none.
    command : callable
        Program and arguments of the open case's worker.
    """

    line_changed = Signal(object)  # LineChanged, of any worker that was made here

    def __init__(self, session: Session, command: Callable[[], list[str]]) -> None:
        super().__init__(session)
        self._session, self._command = session, command
        self._client: WorkerClient | None = None
        self._started: list[str] = []
        self._wanted = False
        self._timer = QTimer(self, singleShot=True, interval=_AFTER_MS)
        self._timer.timeout.connect(self.prepare)
        self._idle = QTimer(self, singleShot=True, interval=_IDLE_MS)
        self._idle.timeout.connect(self._let_go)
        session.opened.connect(self._on_opened)
        session.strokes_changed.connect(self._on_stroke)

    def prepare(self) -> None:
        """Start it, unless it is there or another one has been taken already."""
        if self._wanted and self._client is None and self._session.writable:
            self._started = self._command()
            self._client = self._make(self._started)
            self._client.ended.connect(self._forget)
            self._idle.start()

    def take(self) -> WorkerClient:
        """Hand over the worker that is ready, or a new one."""
        command, client = self._command(), self._client
        self._wanted = False
        if client is None:
            return self._make(command)
        if not client.running or command != self._started:
            self._let_go()
            return self._make(command)
        self._forget()
        return client

    def start_anew(self) -> None:
        """Another computer was chosen: what is ready is ready in the wrong place."""
        if self._client is not None:
            self._let_go()
        if self._session.patient is not None:
            self._on_opened()

    def close(self) -> None:
        """The patient is left."""
        self._wanted = False
        self._timer.stop()
        self._let_go(left=True)

    def _make(self, command: list[str]) -> WorkerClient:
        client = WorkerClient(command)
        client.line_changed.connect(self.line_changed)
        return client

    def _on_opened(self) -> None:
        self._wanted = self._session.writable
        self._timer.start()

    def _on_stroke(self) -> None:
        """Who draws will train; one that was let go comes back."""
        if self._client is not None:
            self._idle.start()
        elif self._wanted and not self._timer.isActive():
            self._timer.start()

    def _forget(self) -> None:
        client, self._client = self._client, None
        self._idle.stop()
        if client is not None:
            client.ended.disconnect(self._forget)

    def _let_go(self, left: bool = False) -> None:
        client = self._client
        self._forget()
        if client is not None:
            client.close(left)
