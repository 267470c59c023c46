"""Layers of the main viewer shown once more in another view, with the same array."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from napari.layers import Image, Labels, Layer
from qtpy.QtCore import QTimer

from cmfnet_napari.core.images.checkerboard import Checkerboard
from cmfnet_napari.gui.patient.layers import ROLE, set_visible
from cmfnet_napari.gui.views.spared import no_thumbnail, tools_when_used

_SHOWN = {
    Image: ("colormap", "contrast_limits", "gamma", "blending", "opacity", "interpolation2d"),
    Labels: (
        "colormap",
        "blending",
        "opacity",
        "contour",
        "show_selected_label",
        "preserve_labels",
        "contiguous",
        "n_edit_dimensions",
        "editable",
        "mode",
    ),
}
_BOTH_WAYS = {Image: (), Labels: ("selected_label", "brush_size")}  # the mouse changes these
_PAINTED_MS = 40  # a stroke that is being drawn shows in the other views this often


def can_be_shown(layer: Layer) -> bool:
    """Whether a layer of the main viewer belongs into the other views, too."""
    return type(layer) in _SHOWN and layer.ndim == 3


class LinkedLayer:
    """A layer that shows what another one shows, in a viewer of its own.

    napari slices a layer for one viewer only, so each view needs its own layers. They hold the
    same array: what is painted into one is in all, and only has to be drawn.

    Parameters
    ----------
    layer : Image or Labels
        The main viewer's.
    image : str
        Name of an image in a view of that image alone, empty in a view that shows both.
    painted : callable
        Told after its array was changed by painting in this layer.
    """

    def __init__(self, layer: Layer, image: str, painted: Callable[[], None]) -> None:
        self.original = layer
        self._image = image
        self._painted = painted
        self._seen = True
        self.shown = Layer.create(*layer.as_layer_data_tuple())
        no_thumbnail(self.shown)
        self._connections: list[tuple[object, Callable]] = []
        kind = type(layer)
        if kind is Labels:
            tools_when_used(self.shown)
        for name in (*_SHOWN[kind], *_BOTH_WAYS[kind]):
            self._copy(layer, self.shown, name)
        for name in _BOTH_WAYS[kind]:
            self._copy(self.shown, layer, name)
        self._on(layer.events.visible, self._follow_visible)
        self._on(layer.events.data, self._follow_data)
        self._timer = QTimer(singleShot=True, interval=_PAINTED_MS)
        self._timer.timeout.connect(self.redraw)
        if kind is Labels:
            self._on(layer.events.labels_update, self.redraw_soon)
            self._on(layer.events.paint, self.redraw_soon)
            self._on(self.shown.events.labels_update, self._tell)
            self._on(self.shown.events.paint, self._tell)
        self._follow_data()
        self._follow_visible()

    @property
    def role(self) -> str:
        """The case's name of the layer, or empty."""
        return self.original.metadata.get(ROLE, "")

    def follow(self, seen: bool) -> None:
        """Be visible when the original is, as long as the view is seen at all."""
        if seen != self._seen:
            self._seen = seen
            self._follow_visible()

    def redraw_soon(self, _event: object = None) -> None:
        """Show what was painted elsewhere, not for every point of a line."""
        if not self._timer.isActive():
            self._timer.start()

    def redraw(self) -> None:
        """Show the array as it is now."""
        self.shown.refresh(thumbnail=False, highlight=False, extent=False)

    def close(self) -> None:
        """Follow no longer."""
        self._timer.stop()
        for event, callback in self._connections:
            event.disconnect(callback)
        self._connections.clear()

    def _on(self, event: object, callback: Callable) -> None:
        event.connect(callback)
        self._connections.append((event, callback))

    def _copy(self, source: Layer, target: Layer, name: str) -> None:
        copy = partial(self._follow, source, target, name)
        self._on(getattr(source.events, name), copy)
        copy(None)

    def _follow(self, source: Layer, target: Layer, name: str, _event: object) -> None:
        value = getattr(source, name)
        if name == "opacity" and self._alone:
            value = 1.0
        now = getattr(target, name)
        if value is not now and (name == "colormap" or not np.array_equal(value, now)):
            setattr(target, name, value)

    def _follow_visible(self, _event: object = None) -> None:
        pictured = self._image and self.role and type(self.original) is Image
        visible = self.role == self._image if pictured else self.original.visible
        set_visible(self.shown, visible and self._seen)
        if type(self.shown) is Labels:
            self.shown.mode = self.original.mode  # napari leaves the tool when a layer is hidden

    def _follow_data(self, _event: object = None) -> None:
        data = self.original.data
        if self._alone and isinstance(data, Checkerboard):
            data = data.image
        if self.shown.data is not data:
            self.shown.data = data
        else:
            self.redraw_soon()

    @property
    def _alone(self) -> bool:
        """Whether it is the picture of a view of its own."""
        return bool(self._image) and self.role == self._image

    def _tell(self, _event: object) -> None:
        self._painted()
