"""Every key of the window beside napari's own E (erase), P (paint), [ and ] (brush).

They are actions of napari, so its preferences list them and can change them. Ctrl+Z is the
journal's, not napari's: napari forgets its history when the plane changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from inspect import unwrap
from typing import TYPE_CHECKING

from app_model.types import KeyCode, KeyMod
from napari.components import ViewerModel
from napari.settings import get_settings
from napari.utils.action_manager import action_manager

from cmfnet_napari.core.scribbles import BACKGROUND, FIRST_CLASS
from cmfnet_napari.gui.widgets import said

if TYPE_CHECKING:
    from cmfnet_napari.gui.session import Session

BACKGROUND_KEY, FIRST_CLASS_KEY, NEXT_CLASS_KEY = "Q", "W", "Shift-W"
NEXT_PLACE_KEY = "N"
UNDO_KEY = KeyMod.CtrlCmd | KeyCode.KeyZ
REDO_KEY = KeyMod.CtrlCmd | KeyMod.Shift | KeyCode.KeyZ
PLANE_KEYS = {"axial": "Shift-A", "sagittal": "Shift-S", "coronal": "Shift-C"}
LAYOUT_KEY, CHECKERBOARD_KEY, FLICKER_KEY, CROSSHAIR_KEY = "G", "K", "T", "H"
SHEET_KEY = "Shift-H"  # and a question mark, which napari's keys do not know


@dataclass(frozen=True)
class Shortcut:
    """A key, what it does in a clinician's words, and the doing."""

    key: object  # as napari's bind_key takes it
    title: str
    do: Callable[[Session], object]
    let_go: Callable[[Session], object] | None = None  # for keys that are held

    @property
    def name(self) -> str:
        """What napari calls the action."""
        return f"cmfnet-napari:{self.title.lower().replace(':', '').replace(' ', '_')}"

    @property
    def keys(self) -> list[object]:
        """The keys as they are: those of napari's preferences, if they were changed there."""
        return get_settings().shortcuts.shortcuts.get(self.name, [self.key])


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
    Shortcut(SHEET_KEY, "Show all keys", lambda s: s.keys_asked.emit()),
)
_ON_LAYER = (UNDO_KEY, REDO_KEY)  # where napari has its own
_open: list[Session] = []  # with a patient


def class_key(code: int) -> str:
    """The key that chooses a class, or empty."""
    return {BACKGROUND: BACKGROUND_KEY, FIRST_CLASS: FIRST_CLASS_KEY}.get(code, "")


def bind_keys(session: Session) -> None:
    """Let the keys act on a session; undo also on its layer, where napari has its own."""
    _register()
    _open.append(session)
    for shortcut in SHORTCUTS:
        if shortcut.key in _ON_LAYER:
            session.scribbles.bind_key(
                shortcut.key, lambda _layer, do=shortcut.do: said(do)(session), overwrite=True
            )


def unbind_keys(session: Session) -> None:
    """Let them act on it no more."""
    _open.remove(session)
    for key in _ON_LAYER:
        session.scribbles.bind_key(key, None)


def _register() -> None:
    """Make the keys known to napari, which keeps what its user changes; twice is once."""
    for shortcut in SHORTCUTS:
        action_manager.register_action(
            shortcut.name, _action(shortcut), shortcut.title, ViewerModel
        )
        for key in shortcut.keys:
            action_manager.bind_shortcut(shortcut.name, key)


def _action(shortcut: Shortcut) -> Callable[[ViewerModel], object]:
    if shortcut.let_go is None:

        def act(viewer: ViewerModel) -> None:
            if (session := _session_of(viewer)) is not None:
                said(shortcut.do)(session)

        return act

    def hold(viewer: ViewerModel) -> Iterator[None]:
        session = _session_of(viewer)
        if session is None:
            return
        said(shortcut.do)(session)
        yield
        said(shortcut.let_go)(session)

    return hold


def _session_of(viewer: ViewerModel) -> Session | None:
    """The session with a patient in a viewer; plugins get a proxy of theirs (wrapt)."""
    return next((s for s in _open if unwrap(s.viewer) is unwrap(viewer)), None)


def _next_code(session: Session) -> int:
    codes = [entry.code for entry in session.case.classes]
    now = session.scribbles.selected_label
    return codes[(codes.index(now) + 1) % len(codes)] if now in codes else codes[0]
