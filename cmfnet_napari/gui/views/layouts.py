"""Arrangements of the views, as data: what is where, relative to the plane of the main view."""

from __future__ import annotations

from dataclasses import dataclass

from qtpy.QtCore import QObject, Signal

from cmfnet_napari.gui.patient.session import Session
from cmfnet_napari.gui.views.fusion import Fusion
from cmfnet_napari.gui.views.planes import PLANES


@dataclass(frozen=True)
class Cell:
    """One view beside the main one.

    Attributes
    ----------
    row, column : int
        Where; the main view is at 0, 0.
    turn : int
        0 the plane of the main view, 1 and 2 the other two.
    image : str
        ``CT``, ``MR``, or empty: both, as in the main view.
    solid : bool
        The contour in three dimensions instead of a plane.
    """

    row: int
    column: int
    turn: int = 0
    image: str = ""
    solid: bool = False

    def plane(self, main: str) -> str:
        """Name of the plane it shows while the main view shows another."""
        names = list(PLANES)
        return names[(names.index(main) + self.turn) % len(names)]


@dataclass(frozen=True)
class Layout:
    """An arrangement: its title, the views beside the main one, whether CT and MR are apart."""

    title: str
    cells: tuple[Cell, ...] = ()
    parted: bool = False


MAIN = Cell(0, 0)  # the view that is always there
LAYOUTS = {
    "one": Layout("One view"),
    "pair": Layout("CT | MR", (Cell(0, 1, image="MR"),), parted=True),
    "planes": Layout(
        "3 planes and 3D",
        (Cell(0, 1, turn=1), Cell(1, 0, turn=2), Cell(1, 1, solid=True)),
    ),
    "all": Layout(
        "CT | MR, 3 planes",
        (
            Cell(0, 1, image="MR"),
            Cell(1, 0, turn=1, image="CT"),
            Cell(1, 1, turn=1, image="MR"),
            Cell(2, 0, turn=2, image="CT"),
            Cell(2, 1, turn=2, image="MR"),
        ),
        parted=True,
    ),
}


class Layouts(QObject):
    """Which arrangement is shown. It holds no widget: `view_grid` follows it.

    Attributes
    ----------
    enlarged : Cell or None
        The view that has all the room; None: each has its own.
    """

    changed = Signal(str)
    enlarged_changed = Signal()
    enlarging = Signal()  # the view under the mouse is to be enlarged, whichever that is

    def __init__(self, session: Session, fusion: Fusion) -> None:
        super().__init__(session)
        self._session = session
        self._fusion = fusion
        self.name = "one"
        self.enlarged: Cell | None = None
        session.closed.connect(lambda: self.show("one"))

    @property
    def cells(self) -> tuple[Cell, ...]:
        """The views beside the main one."""
        return LAYOUTS[self.name].cells

    @property
    def seen(self) -> tuple[Cell, ...]:
        """The views on the screen, the main one too."""
        every = (MAIN, *self.cells)
        return every if self.enlarged is None else (self.enlarged,)

    def enlarge(self, cell: Cell) -> None:
        """Give a view all the room, or all views theirs again."""
        if self.cells:
            self.enlarged = cell if self.enlarged is None else None
            self.enlarged_changed.emit()

    @property
    def offered(self) -> tuple[str, ...]:
        """Names of the arrangements that this patient has images for."""
        has_mr = self._session.mr_layer is not None
        return tuple(name for name, layout in LAYOUTS.items() if has_mr or not layout.parted)

    def show(self, name: str) -> None:
        """Show an arrangement; one that this patient has no images for is passed over."""
        if name not in self.offered or name == self.name:
            return
        self.name, self.enlarged = name, None
        self._fusion.part(LAYOUTS[name].parted)
        self.changed.emit(name)

    def show_next(self) -> None:
        """Show the next arrangement."""
        offered = self.offered
        now = offered.index(self.name) if self.name in offered else -1  # the MR may be gone
        self.show(offered[(now + 1) % len(offered)])
