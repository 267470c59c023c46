"""A view beside the main one: the same layers in another plane, or one image of two."""

from __future__ import annotations

from collections.abc import Callable

from napari.components import Dims, ViewerModel
from napari.layers import Layer

from cmfnet_napari.gui.views.linked_layers import LinkedLayer, can_be_shown
from cmfnet_napari.gui.views.planes import PLANES, turn

Painted = Callable[["LinkedLayer"], None]
Added = Callable[["LinkedLayer", Dims], None]


class LinkedView:
    """The model of a view: napari's ViewerModel with layers linked to the main viewer's.

    Parameters
    ----------
    main : napari.Viewer
        The main viewer.
    image : str
        Name of an image to show that one alone; empty for both.
    painted : callable
        Told a linked layer that was painted into.
    added : callable
        Told a linked layer that is new, and the view's dims.
    """

    def __init__(self, main: ViewerModel, image: str, painted: Painted, added: Added) -> None:
        self.model = ViewerModel(title=image or "Images")
        self.image = image
        self._main, self._painted, self._added = main, painted, added
        self._linked_layers: list[LinkedLayer] = []
        self._seen = True
        main.layers.events.inserted.connect(self._follow_layers)
        main.layers.events.removed.connect(self._follow_layers)
        main.layers.events.reordered.connect(self._follow_layers)
        main.layers.selection.events.active.connect(self._follow_active)
        self._follow_layers()
        self.model.canvas.overlays.scale_bar.visible = True

    def show(self, plane: str) -> None:
        """Turn to a plane, at the place of the main viewer."""
        self.model.dims.point = self._main.dims.point
        self.model.dims.order = PLANES[plane]
        turn(self.model, plane)

    def follow(self, seen: bool) -> None:
        """Show what there is while somebody sees it; what is hidden is neither made nor sliced."""
        self._seen = seen
        for linked in self._linked_layers:
            linked.follow(seen)
        self._follow_layers()

    def linked(self, layer: Layer) -> LinkedLayer | None:
        """What shows a layer of the main viewer, which napari hands to plugins in a wrapper."""
        return next((linked for linked in self._linked_layers if linked.original == layer), None)

    def close(self) -> None:
        """Let go of the main viewer."""
        events = self._main.layers.events
        for event in (events.inserted, events.removed, events.reordered):
            event.disconnect(self._follow_layers)
        self._main.layers.selection.events.active.disconnect(self._follow_active)
        for linked in self._linked_layers:
            linked.close()
        self._linked_layers.clear()
        self.model.layers.clear()

    def _follow_layers(self, _event: object = None) -> None:
        """Link every layer, in the same order; layers are told apart by themselves.

        What comes while nobody sees the view is linked when it is seen again.
        """
        wanted = [layer for layer in self._main.layers if can_be_shown(layer)]
        for linked in [linked for linked in self._linked_layers if linked.original not in wanted]:
            linked.close()
            self._linked_layers.remove(linked)
            self.model.layers.remove(linked.shown)
        if not self._seen:
            return
        for layer in wanted:
            if self.linked(layer) is None:
                self._add(layer)
        for index, layer in enumerate(wanted):
            now = self.model.layers.index(self.linked(layer).shown)
            if now != index:
                self.model.layers.move(now, index)
        self._follow_active()

    def _add(self, layer: Layer) -> None:
        linked = LinkedLayer(layer, self.image, lambda: self._painted(linked))
        linked.follow(self._seen)
        self._linked_layers.append(linked)
        self.model.layers.append(linked.shown)
        self._added(linked, self.model.dims)

    def _follow_active(self, _event: object = None) -> None:
        linked = self.linked(self._main.layers.selection.active)
        self.model.layers.selection.active = None if linked is None else linked.shown
