"""What to do first, on a canvas that shows nothing yet."""

from __future__ import annotations

import napari
from napari.components.overlays import TextOverlay

_NAME = "cmfnet_welcome"
_POINTS = 10
_TEXT = """1  Open a patient: "DICOM folder…" on the right,
    or drop the folder here.
    No images at hand? Try the synthetic patient.
2  Draw a few strokes inside the tumour
    and a few outside.
3  Let the network make the contour.

?  shows every key.

Research software: a qualified person
must check every contour."""


class Welcome:
    """Words on a viewer's canvas while it has no layers.

    Parameters
    ----------
    viewer : napari.Viewer
        The viewer.
    """

    def __init__(self, viewer: napari.Viewer) -> None:
        self._viewer = viewer
        viewer.canvas.overlays[_NAME] = TextOverlay(
            text=_TEXT, position="middle_center", font_size=_POINTS
        )
        viewer.layers.events.inserted.connect(self._show)
        viewer.layers.events.removed.connect(self._show)
        self._show()

    def close(self) -> None:
        """Take them away, for good."""
        self._viewer.layers.events.inserted.disconnect(self._show)
        self._viewer.layers.events.removed.disconnect(self._show)
        self._viewer.canvas.overlays.pop(_NAME)

    def _show(self) -> None:
        self._viewer.canvas.overlays[_NAME].visible = not self._viewer.layers
