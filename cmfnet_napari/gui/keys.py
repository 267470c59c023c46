"""Keys to choose a class, draw and undo, beside napari's E (erase), P (paint), [ and ] (brush).

Ctrl+Z is the journal's, not napari's: napari forgets its history when the plane changes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app_model.types import KeyCode, KeyMod

from cmfnet_napari.core.scribbles import BACKGROUND, FIRST_CLASS

if TYPE_CHECKING:
    from cmfnet_napari.gui.session import Session

BACKGROUND_KEY, FIRST_CLASS_KEY, NEXT_CLASS_KEY = "Q", "W", "N"
UNDO_KEY = KeyMod.CtrlCmd | KeyCode.KeyZ
REDO_KEY = KeyMod.CtrlCmd | KeyMod.Shift | KeyCode.KeyZ


@dataclass(frozen=True)
class Key:
    """A key, what it does in a clinician's words, and the deed on the open session."""

    key: str
    title: str
    act: Callable[[Session], None]


DRAWING_KEYS = {
    "free": Key("D", "Draw a free line", lambda on: on.drawing.choose("free")),
    "straight": Key("S", "Draw a straight line", lambda on: on.drawing.choose("straight")),
    "lasso": Key("O", "Outline an area and fill it", lambda on: on.drawing.choose("lasso")),
    "between": Key("I", "Fill the slices between drawn ones", lambda on: on.drawing.fill_between()),
    "next": Key(".", "Next slice without a stroke of the class", lambda on: on.drawing.step(1)),
    "previous": Key(
        ",", "Previous slice without a stroke of the class", lambda on: on.drawing.step(-1)
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
        UNDO_KEY: lambda _viewer: session.undo(),
        REDO_KEY: lambda _viewer: session.redo(),
        **{entry.key: _deed(entry, session) for entry in DRAWING_KEYS.values()},
    }


def _deed(entry: Key, session: Session) -> Callable[[object], None]:
    """What napari calls; it wants a function that has a name."""
    return lambda _viewer: entry.act(session) if session.writable else None


def _next_code(session: Session) -> int:
    codes = [entry.code for entry in session.case.classes]
    now = session.scribbles.selected_label
    return codes[(codes.index(now) + 1) % len(codes)] if now in codes else codes[0]
