"""Keys that choose a class, beside napari's own E (erase), P (paint), [ and ] (brush)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cmfnet_napari.core.scribbles import BACKGROUND, FIRST_CLASS

if TYPE_CHECKING:
    from cmfnet_napari.gui.session import Session

BACKGROUND_KEY, FIRST_CLASS_KEY, NEXT_CLASS_KEY = "Q", "W", "N"


def class_key(code: int) -> str:
    """The key that chooses a class, or empty."""
    return {BACKGROUND: BACKGROUND_KEY, FIRST_CLASS: FIRST_CLASS_KEY}.get(code, "")


def bind_class_keys(session: Session) -> None:
    """Register the keys with the viewer."""
    actions = {
        BACKGROUND_KEY: lambda _viewer: session.select_class(BACKGROUND),
        FIRST_CLASS_KEY: lambda _viewer: session.select_class(FIRST_CLASS),
        NEXT_CLASS_KEY: lambda _viewer: session.select_class(_next_code(session)),
    }
    for key, action in actions.items():
        session.viewer.bind_key(key, action, overwrite=True)


def unbind_class_keys(session: Session) -> None:
    """Give the keys back."""
    for key in (BACKGROUND_KEY, FIRST_CLASS_KEY, NEXT_CLASS_KEY):
        session.viewer.bind_key(key, None)


def _next_code(session: Session) -> int:
    codes = [entry.code for entry in session.case.classes]
    now = session.scribbles.selected_label
    return codes[(codes.index(now) + 1) % len(codes)] if now in codes else codes[0]
