"""Keys to look with: planes, arrangements, fusion, crosshair."""

from __future__ import annotations

from functools import partial

from cmfnet_napari.gui.shared.shortcuts import Actions, Shortcut
from cmfnet_napari.gui.views.fusion import Fusion
from cmfnet_napari.gui.views.layouts import Layouts
from cmfnet_napari.gui.views.measures import Measures
from cmfnet_napari.gui.views.navigation import Navigation
from cmfnet_napari.gui.views.planes import Planes

SHOW_PLANE = {
    "axial": Shortcut("Shift-A", "Axial plane"),
    "sagittal": Shortcut("Shift-S", "Sagittal plane"),
    "coronal": Shortcut("Shift-C", "Coronal plane"),
}
NEXT_LAYOUT = Shortcut("G", "Next arrangement of the views")
CHECKERBOARD = Shortcut("K", "Both images as a checkerboard")
FLICKER = Shortcut("T", "Hold: the other image", held=True)
CROSSHAIR = Shortcut("H", "Show or hide the crosshair")
ENLARGE = Shortcut("Shift-F", "Enlarge the view under the mouse, or show all again")
RULER = Shortcut("Shift-R", "Ruler: measure a distance, or no more")
REGION = Shortcut("Shift-E", "Region: values in an ellipse, or no more")
SHORTCUTS = (
    *SHOW_PLANE.values(),
    NEXT_LAYOUT,
    ENLARGE,
    CHECKERBOARD,
    FLICKER,
    CROSSHAIR,
    RULER,
    REGION,
)


def what_keys_do(
    planes: Planes, layouts: Layouts, fusion: Fusion, navigation: Navigation, measures: Measures
) -> Actions:
    """What is done for every one of `SHORTCUTS`."""
    return {
        **{key: partial(planes.show, plane) for plane, key in SHOW_PLANE.items()},
        NEXT_LAYOUT: layouts.show_next,
        ENLARGE: layouts.enlarging.emit,
        CHECKERBOARD: fusion.switch_board,
        FLICKER: fusion.flicker,
        CROSSHAIR: navigation.switch_crosshair,
        RULER: partial(measures.choose, "ruler"),
        REGION: partial(measures.choose, "region"),
    }
