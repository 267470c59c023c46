"""The brush: one tool and one size for every layer that is drawn on. It holds no widget."""

from __future__ import annotations

from qtpy.QtCore import QObject, Signal

from cmfnet_napari.core.strokes.brush import ValueRange

SMALLEST_MM, LARGEST_MM = 0.1, 100.0
_FIRST_MM = 3.0


class Brush(QObject):
    """What pens draw with.

    Attributes
    ----------
    tool : str
        A name of `tools.TOOLS`.
    size_mm : float
        Diameter.
    within : ValueRange or None
        What all tools are kept to.
    """

    resized = Signal()  # layers take the nearest size they have
    changed = Signal()  # tool or size

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._setting = False
        self.tool = "free"
        self.size_mm = _FIRST_MM
        self.within: ValueRange | None = None

    def choose(self, tool: str) -> None:
        """Draw with a tool from now on."""
        self.tool = tool
        self.changed.emit()

    def keep_within(self, values: ValueRange | None) -> None:
        """Change only what lies in a range of values from now on; None: everything."""
        self.within = values
        self.changed.emit()

    def set_size(self, mm: float) -> None:
        """Set the diameter; napari's own slider shows the nearest it has."""
        self.size_mm = min(max(mm, SMALLEST_MM), LARGEST_MM)
        self._setting = True
        self.resized.emit()
        self._setting = False
        self.changed.emit()

    def follow(self, mm: float) -> None:
        """Napari's slider, or its keys for the brush, were used; not while they follow this."""
        if not self._setting:
            self.set_size(mm)
