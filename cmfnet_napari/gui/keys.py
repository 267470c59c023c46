"""Keys to choose a class, draw and undo, beside napari's E (erase), P (paint), [ and ] (brush).

"""

from __future__ import annotations

from collections.abc import Callable
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


@dataclass(frozen=True)
class Shortcut:
    """A key, what it does in a clinician's words, and the doing."""

    key: object  # as napari's bind_key takes it
    title: str
    do: Callable[[Session], object]


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


def class_key(code: int) -> str:
    """The key that chooses a class, or empty."""
    return {BACKGROUND: BACKGROUND_KEY, FIRST_CLASS: FIRST_CLASS_KEY}.get(code, "")


def bind_keys(session: Session) -> None:
    """Register the keys with the viewer; undo also with the layer, where napari has its own."""
    for key, action in _actions(session).items():
        session.viewer.bind_key(key, action, overwrite=True)
    session.scribbles.bind_key(UNDO_KEY, lambda _layer: session.undo(), overwrite=True)
    session.scribbles.bind_key(REDO_KEY, lambda _layer: session.redo(), overwrite=True)


def unbind_keys(session: Session) -> None:
    """Give the keys back."""
    for key in _actions(session):
        session.viewer.bind_key(key, None)
    for key in (UNDO_KEY, REDO_KEY):
        session.scribbles.bind_key(key, None)


def _actions(session: Session) -> dict[object, Callable[[object], None]]:
    return {
        BACKGROUND_KEY: lambda _viewer: session.select_class(BACKGROUND),
        FIRST_CLASS_KEY: lambda _viewer: session.select_class(FIRST_CLASS),
        NEXT_CLASS_KEY: lambda _viewer: session.select_class(_next_code(session)),
        NEXT_PLACE_KEY: lambda _viewer: session.review.next_place(),
        UNDO_KEY: lambda _viewer: session.undo(),
        REDO_KEY: lambda _viewer: session.redo(),
        **{entry.key: _action(entry, session) for entry in DRAWING.values()},
    }


def _action(entry: Shortcut, session: Session) -> Callable[[object], None]:
    """What napari calls; it wants a function that has a name."""
    return lambda _viewer: entry.do(session)


def _next_code(session: Session) -> int:
    codes = [entry.code for entry in session.case.classes]
    now = session.scribbles.selected_label
    return codes[(codes.index(now) + 1) % len(codes)] if now in codes else codes[0]
