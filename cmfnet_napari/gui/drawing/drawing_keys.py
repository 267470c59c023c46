"""Keys to draw with: classes, tools, slices, undo. Beside them napari's own E, P, [ and ].

Ctrl+Z is the journal's, not napari's: napari forgets its history when the plane changes.
"""

from __future__ import annotations

from functools import partial

from app_model.types import KeyCode, KeyMod

from cmfnet_napari.core.strokes.scribbles import BACKGROUND, FIRST_CLASS
from cmfnet_napari.gui.drawing.drawing import Drawing
from cmfnet_napari.gui.drawing.tools import TOOLS
from cmfnet_napari.gui.patient.session import Session
from cmfnet_napari.gui.shared.shortcuts import Actions, Shortcut

DRAW_BACKGROUND = Shortcut("Q", "Draw background")
DRAW_FIRST_CLASS = Shortcut("W", "Draw the first class")
DRAW_NEXT_CLASS = Shortcut("Shift-W", "Draw the next class")
FILL_BETWEEN = Shortcut("I", "Fill the slices between drawn ones")
SWAP_LAYER = Shortcut("Y", "Draw on the contour, or on strokes again")
NEXT_SLICE = Shortcut(".", "Next slice without a stroke of the class")
PREVIOUS_SLICE = Shortcut(",", "Previous slice without a stroke of the class")
UNDO = Shortcut(KeyMod.CtrlCmd | KeyCode.KeyZ, "Take the last stroke back", on_layer=True)
REDO = Shortcut(
    KeyMod.CtrlCmd | KeyMod.Shift | KeyCode.KeyZ, "Bring the stroke back", on_layer=True
)
SHORTCUTS = (
    DRAW_BACKGROUND,
    DRAW_FIRST_CLASS,
    DRAW_NEXT_CLASS,
    *(tool.shortcut for tool in TOOLS.values()),
    SWAP_LAYER,
    FILL_BETWEEN,
    NEXT_SLICE,
    PREVIOUS_SLICE,
    UNDO,
    REDO,
)


def class_key(code: int) -> str:
    """The key that chooses a class, or empty."""
    return {BACKGROUND: DRAW_BACKGROUND.key, FIRST_CLASS: DRAW_FIRST_CLASS.key}.get(code, "")


def what_keys_do(session: Session, drawing: Drawing) -> Actions:
    """What is done for every one of `SHORTCUTS`."""
    return {
        DRAW_BACKGROUND: partial(session.select_class, BACKGROUND),
        DRAW_FIRST_CLASS: partial(session.select_class, FIRST_CLASS),
        DRAW_NEXT_CLASS: session.select_next_class,
        **{tool.shortcut: partial(drawing.choose, name) for name, tool in TOOLS.items()},
        SWAP_LAYER: drawing.swap,
        FILL_BETWEEN: drawing.fill_between,
        NEXT_SLICE: partial(drawing.step, 1),
        PREVIOUS_SLICE: partial(drawing.step, -1),
        UNDO: session.undo,
        REDO: session.redo,
    }
