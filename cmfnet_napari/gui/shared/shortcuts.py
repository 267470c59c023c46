"""Every key of the window beside napari's own E (erase), P (paint), [ and ] (brush), as data.

They are actions of napari, so its preferences list them and can change them. Ctrl+Z is the
journal's, not napari's: napari forgets its history when the plane changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from inspect import unwrap

from app_model.types import KeyCode, KeyMod
from napari.components import ViewerModel
from napari.layers import Labels
from napari.settings import get_settings
from napari.utils.action_manager import action_manager

from cmfnet_napari.core.strokes.scribbles import BACKGROUND, FIRST_CLASS
from cmfnet_napari.gui.shared.widgets import said

BACKGROUND_KEY, FIRST_CLASS_KEY, NEXT_CLASS_KEY = "Q", "W", "Shift-W"
NEXT_PLACE_KEY = "N"
UNDO_KEY = KeyMod.CtrlCmd | KeyCode.KeyZ
REDO_KEY = KeyMod.CtrlCmd | KeyMod.Shift | KeyCode.KeyZ
PLANE_KEYS = {"axial": "Shift-A", "sagittal": "Shift-S", "coronal": "Shift-C"}
LAYOUT_KEY, CHECKERBOARD_KEY, FLICKER_KEY, CROSSHAIR_KEY = "G", "K", "T", "H"
SHEET_KEY = "Shift-H"  # and a question mark, which napari's keys do not know


Actions = Mapping[object, Callable[..., object]]  # what is done for the key of each shortcut


@dataclass(frozen=True)
class Shortcut:
    """A key, and what it does in a clinician's words; what is held is told of both ends."""

    key: object  # as napari's bind_key takes it
    title: str
    held: bool = False  # its action gets True when it is pressed, False when it is let go

    @property
    def name(self) -> str:
        """What napari calls the action."""
        return f"cmfnet-napari:{self.title.lower().replace(':', '').replace(' ', '_')}"

    @property
    def keys(self) -> list[object]:
        """The keys as they are: those of napari's preferences, if they were changed there."""
        return get_settings().shortcuts.shortcuts.get(self.name, [self.key])


DRAWING = {
    "free": Shortcut("D", "Draw a free line"),
    "straight": Shortcut("S", "Draw a straight line"),
    "lasso": Shortcut("O", "Outline an area and fill it"),
    "between": Shortcut("I", "Fill the slices between drawn ones"),
    "next": Shortcut(".", "Next slice without a stroke of the class"),
    "previous": Shortcut(",", "Previous slice without a stroke of the class"),
}
SHORTCUTS = (
    Shortcut(BACKGROUND_KEY, "Draw background"),
    Shortcut(FIRST_CLASS_KEY, "Draw the first class"),
    Shortcut(NEXT_CLASS_KEY, "Draw the next class"),
    *DRAWING.values(),
    Shortcut(UNDO_KEY, "Take the last stroke back"),
    Shortcut(REDO_KEY, "Bring the stroke back"),
    Shortcut(PLANE_KEYS["axial"], "Axial plane"),
    Shortcut(PLANE_KEYS["sagittal"], "Sagittal plane"),
    Shortcut(PLANE_KEYS["coronal"], "Coronal plane"),
    Shortcut(LAYOUT_KEY, "Next arrangement of the views"),
    Shortcut(CHECKERBOARD_KEY, "CT and MR as a checkerboard"),
    Shortcut(FLICKER_KEY, "Hold: the other of CT and MR", held=True),
    Shortcut(CROSSHAIR_KEY, "Show or hide the crosshair"),
    Shortcut(NEXT_PLACE_KEY, "Next place to review"),
    Shortcut(SHEET_KEY, "Show all keys"),
)
_ON_LAYER = (UNDO_KEY, REDO_KEY)  # where napari has its own
_bound: list[tuple[ViewerModel, Actions]] = []  # of viewers with a patient


def class_key(code: int) -> str:
    """The key that chooses a class, or empty."""
    return {BACKGROUND: BACKGROUND_KEY, FIRST_CLASS: FIRST_CLASS_KEY}.get(code, "")


def bind_keys(viewer: ViewerModel, scribbles: Labels, actions: Actions) -> None:
    """Let the keys act in a viewer; undo also on the strokes' layer, where napari has its own."""
    _register()
    _bound.append((viewer, actions))
    for key in _ON_LAYER:
        scribbles.bind_key(key, lambda _layer, do=actions[key]: said(do)(), overwrite=True)


def unbind_keys(scribbles: Labels, actions: Actions) -> None:
    """Let them do nothing any more."""
    _bound[:] = [bound for bound in _bound if bound[1] is not actions]
    for key in _ON_LAYER:
        scribbles.bind_key(key, None)


def _register() -> None:
    """Make the keys known to napari, which keeps what its user changes; twice is once."""
    for shortcut in SHORTCUTS:
        action_manager.register_action(
            shortcut.name, _action(shortcut), shortcut.title, ViewerModel
        )
        for key in shortcut.keys:
            action_manager.bind_shortcut(shortcut.name, key)


def _action(shortcut: Shortcut) -> Callable[[ViewerModel], object]:
    if not shortcut.held:

        def act(viewer: ViewerModel) -> None:
            if (actions := _actions_of(viewer)) is not None:
                said(actions[shortcut.key])()

        return act

    def hold(viewer: ViewerModel) -> Iterator[None]:
        actions = _actions_of(viewer)
        if actions is None:
            return
        said(actions[shortcut.key])(True)
        yield
        said(actions[shortcut.key])(False)

    return hold


def _actions_of(viewer: ViewerModel) -> Actions | None:
    """What keys do in a viewer with a patient; plugins get a proxy of theirs (wrapt)."""
    return next((actions for v, actions in _bound if unwrap(v) is unwrap(viewer)), None)
