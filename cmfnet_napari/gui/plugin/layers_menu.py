"""Commands in napari's Layers menu and its palette, beside the panel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import napari
from napari.layers import Labels

from cmfnet_napari.core.errors import UserError

if TYPE_CHECKING:
    from cmfnet_napari.gui.dock import CmFNetDock

SCRIBBLE, REVIEW, EXPORT = 1, 3, 4  # tabs


def background_from_layer() -> None:
    """Layers → Segment: automatic background strokes from the contour that is chosen.

    Raises
    ------
    UserError
        No labels layer is chosen, or no patient is open; napari shows the sentence.
    """
    dock = _dock()
    layer = dock.session.viewer.layers.selection.active
    if not isinstance(layer, Labels) or layer == dock.session.scribbles:
        raise UserError("Choose the layer of a contour in the layer list first.")
    if not dock.session.writable:
        raise UserError(dock.session.case.notice)
    if layer not in dock.workbench.automatic_strokes.masks():
        raise UserError("This layer is not on the image's grid, so no strokes can be made from it.")
    dock.scribble_panel.auto.contour.value = layer
    dock.tabs.setCurrentIndex(SCRIBBLE)


def review() -> None:
    """Layers → Measure: the places to look at."""
    _dock().tabs.setCurrentIndex(REVIEW)


def export() -> None:
    """Layers → Data: save the contour, a report, DICOM."""
    _dock().tabs.setCurrentIndex(EXPORT)


def _dock() -> CmFNetDock:
    """The panel, opened if it is not there."""
    viewer = napari.current_viewer()
    if viewer is None:
        raise UserError("There is no napari window.")
    return viewer.window.add_plugin_dock_widget("cmfnet-napari", "CmFNet")[1]
