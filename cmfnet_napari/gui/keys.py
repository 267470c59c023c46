"""Every key of the window beside napari's own E (erase), P (paint), [ and ] (brush).

Ctrl+Z is the journal's, not napari's: napari forgets its history when the plane changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app_model.types import KeyCode, KeyMod

from cmfnet_napari.core.scribbles import BACKGROUND, FIRST_CLASS

if TYPE_CHECKING:
    from cmfnet_napari.gui.session import Session

BACKGROUND_KEY, FIRST_CLASS_KEY, NEXT_CLASS_KEY = "Q", "W", "Shift-W"
NEXT_PLACE_KEY = "N"
UNDO_KEY = KeyMod.CtrlCmd | KeyCode.KeyZ
REDO_KEY = KeyMod.CtrlCmd | KeyMod.Shift | KeyCode.KeyZ
PLANE_KEYS = {"axial": "Shift-A", "sagittal": "Shift-S", "coronal": "Shift-C"}
LAYOUT_KEY, CHECKERBOARD_KEY, FLICKER_KEY, CROSSHAIR_KEY = "G", "K", "T", "H"


@dataclass(frozen=True)
class Shortcut:
    """A key, what it does in a clinician's words, and the doing."""

    key: object  # as napari's bind_key takes it
    title: str
    do: Callable[[Session], object]
    let_go: Callable[[Session], object] | None = None  # for keys that are held


DRAWING = {
    "free": Shortcut("D", "Draw a free line", lambda s: s.drawing.choose("free")),
    "straight": Shortcut("S", "Draw a straight line", lambda s: s.drawing.choose("straight")),
    "lasso": Shortcut("O", "Outline an area and fill it", lambda s: s.drawing.choose("lasso")),
    "between": Shortcut(
        "I", "Fill the slices between drawn ones", lambda s: s.drawing.fill_between()
    ),
    "next": Shortcut(".", "Next slice without a stroke of the class", lambda s: s.drawing.step(1)),
    "previous": Shortcut(
        ",", "Previous slice without a stroke of the class", lambda s: s.drawing.step(-1)
    ),
}
SHORTCUTS = (
    Shortcut(BACKGROUND_KEY, "Draw background", lambda s: s.select_class(BACKGROUND)),
    Shortcut(FIRST_CLASS_KEY, "Draw the first class", lambda s: s.select_class(FIRST_CLASS)),
    Shortcut(NEXT_CLASS_KEY, "Draw the next class", lambda s: s.select_class(_next_code(s))),
    *DRAWING.values(),
    Shortcut(UNDO_KEY, "Take the last stroke back", lambda s: s.undo()),
    Shortcut(REDO_KEY, "Bring the stroke back", lambda s: s.redo()),
    Shortcut(PLANE_KEYS["axial"], "Axial plane", lambda s: s.planes.show("axial")),
    Shortcut(PLANE_KEYS["sagittal"], "Sagittal plane", lambda s: s.planes.show("sagittal")),
    Shortcut(PLANE_KEYS["coronal"], "Coronal plane", lambda s: s.planes.show("coronal")),
    Shortcut(LAYOUT_KEY, "Next arrangement of the views", lambda s: s.layouts.show_next()),
    Shortcut(CHECKERBOARD_KEY, "CT and MR as a checkerboard", lambda s: s.fusion.switch_board()),
    Shortcut(
        FLICKER_KEY,
        "Hold: the other of CT and MR",
        lambda s: s.fusion.flicker(True),
        let_go=lambda s: s.fusion.flicker(False),
    ),
    Shortcut(CROSSHAIR_KEY, "Show or hide the crosshair", lambda s: s.navigator.switch_crosshair()),
    Shortcut(NEXT_PLACE_KEY, "Next place to review", lambda s: s.review.next_place()),
)
_ON_LAYER = (UNDO_KEY, REDO_KEY)  # where napari has its own


def class_key(code: int) -> str:
    """The key that chooses a class, or empty."""
    return {BACKGROUND: BACKGROUND_KEY, FIRST_CLASS: FIRST_CLASS_KEY}.get(code, "")


def bind_keys(session: Session) -> None:
    """Register the keys with the viewer; undo also with the layer, where napari has its own."""
    for shortcut in SHORTCUTS:
        session.viewer.bind_key(shortcut.key, _action(shortcut, session), overwrite=True)
        if shortcut.key in _ON_LAYER:
            session.scribbles.bind_key(shortcut.key, _action(shortcut, session), overwrite=True)


def unbind_keys(session: Session) -> None:
    """Give the keys back."""
    for shortcut in SHORTCUTS:
        session.viewer.bind_key(shortcut.key, None)
    for key in _ON_LAYER:
        session.scribbles.bind_key(key, None)


def _action(shortcut: Shortcut, session: Session) -> Callable[[object], object]:
    if shortcut.let_go is None:
        return lambda _shown: shortcut.do(session)

    def hold(_shown: object) -> Iterator[None]:
        shortcut.do(session)
        yield
        shortcut.let_go(session)

    return hold


def _next_code(session: Session) -> int:
    codes = [entry.code for entry in session.case.classes]
    now = session.scribbles.selected_label
    return codes[(codes.index(now) + 1) % len(codes)] if now in codes else codes[0]
