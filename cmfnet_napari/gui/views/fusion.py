"""Both images in one picture: blended, as a checkerboard, or one instead of the other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from napari.layers import Image
from qtpy.QtCore import QObject, Signal

from cmfnet_napari.core.images.checkerboard import Checkerboard
from cmfnet_napari.gui.patient.layers import set_visible
from cmfnet_napari.gui.patient.session import Session


class Fusion(QObject):
    """How the second image lies over the first in views that show both. It holds no widget.

    Attributes
    ----------
    blend : int
        Percent of the second image.
    board : bool
        Whether both are shown square by square.
    """

    changed = Signal()

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._session = session
        self._second: Image | None = None
        self._whole: np.ndarray | None = None  # the second image where it is shown
        self._forget()
        session.opened.connect(self._on_opened)
        session.closed.connect(self._forget)

    @property
    def available(self) -> bool:
        """Whether there is a second image to see over the first, and not beside it."""
        return self._second is not None and not self._parted

    @property
    def front(self) -> str:
        """Name of the image one looks at: the one that window and level are set for."""
        names = self._session.image_names
        return "" if not names else names[-1] if self._share() >= 50 else names[0]

    def set_blend(self, percent: int) -> None:
        """Blend the first image (0) and the second (100)."""
        self.blend, self.board = percent, False
        self._show()

    def set_board(self, on: bool) -> None:
        """Show a checkerboard of both, or the blend."""
        self.board = on
        self._show()

    def switch_board(self) -> None:
        """Show a checkerboard, or no longer."""
        self.set_board(not self.board)

    def flicker(self, on: bool) -> None:
        """Show the other image: the second for the first, the first for the second."""
        self._flicker = on
        self._show()

    def bring_back(self, blend: int, board: bool) -> None:
        """Begin as the patient was last seen; to be called before it is shown."""
        self.blend, self.board = blend, board

    def show_second(self, array: np.ndarray) -> None:
        """Show the second image as it lies elsewhere: an array (z, y, x) on the Study's Grid."""
        if self._second is None or self._whole is array:
            return
        self._whole = array
        self._second.data = (
            self._squares() if isinstance(self._second.data, Checkerboard) else array
        )

    def part(self, on: bool) -> None:
        """Show the first image alone, since the second has a view of its own beside it."""
        self._parted = on
        self._show()

    def _on_opened(self) -> None:
        self._second = self._session.second_layer
        if self._second is None:
            return
        self._whole = self._second.data
        self._second.events.visible.connect(self._follow)
        self._second.events.opacity.connect(self._follow)
        if self.board or self._parted:  # as views.json had it, or the arrangement wants it
            self._show()
        else:
            self._follow()

    def _forget(self) -> None:
        if self._second is not None:
            self._second.events.visible.disconnect(self._follow)
            self._second.events.opacity.disconnect(self._follow)
            self._second.data = self._whole
        self._second = self._whole = None
        self.blend = 0
        self.board = self._flicker = self._parted = self._showing = False
        self.changed.emit()

    def _share(self) -> int:
        """Percent of the second image that is seen now."""
        share = 0 if self._parted else 100 if self.board else self.blend
        return (0 if share >= 50 else 100) if self._flicker else share

    def _show(self) -> None:
        if self._second is None:
            return
        share = self._share()
        with self._unheard():
            board = self.board and not (self._flicker or self._parted)
            if board != isinstance(self._second.data, Checkerboard):
                self._second.data = self._squares() if board else self._whole
            if share:
                self._second.opacity = share / 100
            set_visible(self._second, share > 0)
        self.changed.emit()

    def _squares(self) -> Checkerboard:
        return Checkerboard(self._whole, self._session.case.study.grid.spacing)

    def _follow(self) -> None:
        """The second image's eye and opacity in napari's own list are the same blend."""
        if not (self._showing or self._flicker or self._parted or self.board):
            self.blend = round(100 * self._second.opacity) if self._second.visible else 0
            self.changed.emit()

    @contextmanager
    def _unheard(self) -> Iterator[None]:
        self._showing = True
        try:
            yield
        finally:
            self._showing = False
