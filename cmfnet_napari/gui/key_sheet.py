"""All keys and mouse gestures on one sheet."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from napari.utils.key_bindings import KeyBindingLike, coerce_keybinding
from qtpy.QtCore import Qt
from qtpy.QtGui import QKeySequence
from qtpy.QtWidgets import QCheckBox, QDialog, QTextBrowser, QVBoxLayout, QWidget

from cmfnet_napari.gui.drawing import drawing_keys
from cmfnet_napari.gui.registration.nudge import KEYS as NUDGE_KEYS
from cmfnet_napari.gui.review.review import NEXT_PLACE
from cmfnet_napari.gui.shared.preferences import preferences
from cmfnet_napari.gui.shared.shortcuts import Shortcut
from cmfnet_napari.gui.views import view_keys

SHOW_KEYS = Shortcut("Shift-H", "Show all keys")  # and a question mark, unknown to napari's keys
SHORTCUTS = (*drawing_keys.SHORTCUTS, *view_keys.SHORTCUTS, NEXT_PLACE, SHOW_KEYS)
_NAPARIS = (
    ("P", "Paint"),
    ("E", "Erase"),
    ("Z, or hold the space bar", "Move the image"),
    ("[ and ]", "Smaller and larger brush"),
    ("← and →", "Previous and next slice"),
)
_MOUSE = (
    ("Left button", "Draw, in any view"),
    ("Ctrl and left button", "Join the stroke to the last one by a straight line"),
    ("Right button, dragged", "Window (right: wider) and level (down: darker)"),
    ("Shift and left button", "Put all planes through this place"),
    ("Double click", "Give a view all the room, or all again; not while you draw: Shift+F there"),
)
_SIZE = 460, 640  # pixels


class KeySheet(QDialog):
    """What every key does; stays open beside the work."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setWindowTitle("Keys")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.text = QTextBrowser()
        self.wheel = QCheckBox("The wheel zooms, as elsewhere in napari")
        self.wheel.setChecked(preferences().wheel_zooms)
        self.wheel.toggled.connect(self._choose_wheel)
        self._choose_wheel(self.wheel.isChecked())
        layout = QVBoxLayout(self)
        layout.addWidget(self.text)
        layout.addWidget(self.wheel)
        self.resize(*_SIZE)

    def _choose_wheel(self, zooms: bool) -> None:
        kept = preferences()
        if kept.wheel_zooms != zooms:
            kept.wheel_zooms = zooms
            kept.write()
        self.text.setHtml(sheet())


def sheet() -> str:
    """The sheet as HTML."""
    ours = [(_readable(entry.keys), entry.title) for entry in SHORTCUTS]
    nudges = ", ".join(_readable([key]) for key in NUDGE_KEYS)
    parts = (
        ("Keys", ours),
        ("napari's own", _NAPARIS),
        ("Mouse", (*_MOUSE, _wheel())),
        ("While the second image is moved by hand", ((nudges, "Move and turn it"),)),
    )
    note = "<p>The first group can be changed in napari: <i>File → Preferences → Shortcuts</i>.</p>"
    return "".join(_table(title, rows) for title, rows in parts) + note


def _wheel() -> tuple[str, str]:
    plain, with_ctrl = "Change the slice", "zoom"
    if preferences().wheel_zooms:
        plain, with_ctrl = "Zoom", "change the slice"
    return "Wheel; Ctrl and wheel", f"{plain}; {with_ctrl}"


def _table(title: str, rows: Iterable[tuple[str, str]]) -> str:
    cells = "".join(
        f"<tr><td><b>{escape(keys)}</b>&nbsp;&nbsp;</td><td>{escape(what)}</td></tr>"
        for keys, what in rows
    )
    return f"<h3>{title}</h3><table>{cells}</table>"


def _readable(keys: list[KeyBindingLike]) -> str:
    """As this platform writes keys."""
    words = (QKeySequence(str(coerce_keybinding(key))) for key in keys)
    native = QKeySequence.SequenceFormat.NativeText
    return " or ".join(key.toString(native) for key in words) or "no key"
