"""Room for the images: napari's own panels behind one button."""

from __future__ import annotations

from napari.qt import QtViewer
from qtpy.QtCore import QObject
from qtpy.QtWidgets import QDockWidget, QMainWindow, QPushButton, QWidget

from cmfnet_napari.gui.shared.preferences import preferences
from cmfnet_napari.gui.shared.widgets import button, is_there

_PANELS = ("layer list", "layer controls")  # napari's names of them
# napari counts slices from 0, the words over the view and all reports from 1.
_NUMBERS = ("slice_label", "slice_label_sep")  # napari's names of them


def without_numbers(qt_viewer: QtViewer) -> None:
    """Take the numbers off a view's sliders: the view says which slice it is, counted from 1."""
    for name in _NUMBERS:
        for number in qt_viewer.dims.findChildren(QWidget, name):
            number.hide()


class Room(QObject):
    """Hides napari's list and controls of the layers while a patient is open.

    What the user chose last counts for the next patient too.

    Attributes
    ----------
    button : QPushButton
        Down while the panels are there.
    """

    def __init__(self) -> None:
        super().__init__()
        self._window: QMainWindow | None = None
        self._hidden: list[QDockWidget] = []
        self.button: QPushButton = button(
            "Layers", self._choose, "napari's list and controls of the layers"
        )
        self.button.setCheckable(True)
        self.button.setChecked(preferences().room == "napari")

    def open(self, window: QMainWindow | None) -> None:
        """A patient is open in a window."""
        self._window = window
        self._arrange()

    def close(self) -> None:
        """Give back what was hidden here."""
        for panel in self._hidden:
            if is_there(panel):
                panel.show()
        self._hidden, self._window = [], None

    def _choose(self) -> None:
        kept = preferences()
        kept.room = "napari" if self.button.isChecked() else "images"
        kept.write()
        self._arrange()

    def _arrange(self) -> None:
        if self._window is None:
            return
        wanted = self.button.isChecked()
        panels = self._window.findChildren(QDockWidget)
        for panel in (panel for panel in panels if panel.objectName() in _PANELS):
            if not wanted and not panel.isHidden():
                panel.hide()
                self._hidden.append(panel)
            elif wanted:
                panel.show()
