"""What napari does for every slice of a layer, left out where nobody sees it.

napari offers no setting for either, so its own methods are replaced on the layer; what it
calls them is checked by the tests.
"""

from __future__ import annotations

from napari.layers import Labels, Layer


def no_thumbnail(layer: Layer) -> None:
    """Draw no thumbnail of a layer that is in no layer list."""
    layer._update_thumbnail = _nothing


def search_borders(layer: Labels, on: bool) -> None:
    """Search every slice for the border of its labels (napari's way), or leave it out.

    A third of the GUI thread's time in scrolling, also while the layer is not drawn.
    """
    if not on:
        layer._calculate_contour = _nothing
    elif vars(layer).pop("_calculate_contour", None) is not None:
        layer.refresh(thumbnail=False, highlight=False, extent=False)


def _nothing(*_args: object) -> None:
    """For napari: there is no contour, and nothing to do."""
