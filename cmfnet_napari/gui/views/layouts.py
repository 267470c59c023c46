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
    image : int or None
        0 the first image alone, 1 the second; None: both, as in the main view.
    solid : bool
        The contour in three dimensions instead of a plane.
    """

    row: int
    column: int
    turn: int = 0
    image: int | None = None
    solid: bool = False

    def plane(self, main: str) -> str:
        """Name of the plane it shows while the main view shows another."""
        names = list(PLANES)
        return names[(names.index(main) + self.turn) % len(names)]


@dataclass(frozen=True)
class Layout:
    """An arrangement: title, views beside the main one, whether both images are apart.

    The title names the images where it has braces.
    """

    title: str
    cells: tuple[Cell, ...] = ()
    parted: bool = False


MAIN = Cell(0, 0)  # the view that is always there
LAYOUTS = {
    "one": Layout("One view"),
    "pair": Layout("{} | {}", (Cell(0, 1, image=1),), parted=True),
    "planes": Layout(
        "3 planes and 3D",
        (Cell(0, 1, turn=1), Cell(1, 0, turn=2), Cell(1, 1, solid=True)),
    ),
    "all": Layout(
        "{} | {}, 3 planes",
        (
            Cell(0, 1, image=1),
            Cell(1, 0, turn=1, image=0),
            Cell(1, 1, turn=1, image=1),
            Cell(2, 0, turn=2, image=0),
            Cell(2, 1, turn=2, image=1),
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
        pair = self._session.second_layer is not None
        return tuple(name for name, layout in LAYOUTS.items() if pair or not layout.parted)

    def title(self, name: str) -> str:
        """What an arrangement is called for this patient."""
        return LAYOUTS[name].title.format(*self._session.image_names)

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
        now = (
            offered.index(self.name) if self.name in offered else -1
        )  # the second image may be gone
        self.show(offered[(now + 1) % len(offered)])
