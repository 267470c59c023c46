"""Keys that choose a class, go to the next place to look at, and undo.

They are beside napari's own E (erase), P (paint), [ and ] (brush).
Ctrl+Z is the journal's, not napari's: napari forgets its history when the plane changes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from app_model.types import KeyCode, KeyMod

from cmfnet_napari.core.scribbles import BACKGROUND, FIRST_CLASS

if TYPE_CHECKING:
    from cmfnet_napari.gui.session import Session

BACKGROUND_KEY, FIRST_CLASS_KEY, NEXT_CLASS_KEY = "Q", "W", "Shift-W"
NEXT_PLACE_KEY = "N"
UNDO_KEY = KeyMod.CtrlCmd | KeyCode.KeyZ
REDO_KEY = KeyMod.CtrlCmd | KeyMod.Shift | KeyCode.KeyZ


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
    }


def _next_code(session: Session) -> int:
    codes = [entry.code for entry in session.case.classes]
    now = session.scribbles.selected_label
    return codes[(codes.index(now) + 1) % len(codes)] if now in codes else codes[0]
