"""A training in napari's activity dock, for who works in another panel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari.utils import progress
from qtpy.QtCore import QObject

from cmfnet_napari.core.events import Step

if TYPE_CHECKING:
    from cmfnet_napari.gui.session import Session

_WHOLE = 100  # per cent


class Activity(QObject):
    """One bar while a fit runs. It holds no widget of its own."""

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._bar: progress | None = None
        session.training.state_changed.connect(self._on_state)
        session.training.stepped.connect(self._on_step)

    @property
    def share(self) -> int | None:
        """Per cent that are done; None: no training runs."""
        return None if self._bar is None else self._bar.n

    def _on_state(self, state: str) -> None:
        if state == "idle" and self._bar is not None:
            self._bar.close()
            self._bar = None
        elif state != "idle" and self._bar is None:
            self._bar = progress(total=_WHOLE, desc="CmFNet trains")

    def _on_step(self, event: Step) -> None:
        if self._bar is not None:
            self._bar.update(round(_WHOLE * event.progress) - self._bar.n)
