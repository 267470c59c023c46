"""Window and level of each image; kept with the case as their contrast limits."""

from __future__ import annotations

from napari.layers import Image
from qtpy.QtCore import QObject, Signal

from cmfnet_napari.core.images.window_level import (
    CT_PRESETS,
    Limits,
    dragged,
    to_level_width,
    to_limits,
)
from cmfnet_napari.gui.patient.session import Session

_NARROWEST_CT = 1.0  # HU
_NARROWEST_SHARE = 1e-3  # of the automatic window: the units of other images are unknown


class Windowing(QObject):
    """Sets what is black and white. It holds no widget."""

    changed = Signal()

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._session = session
        self._layers: dict[str, Image] = {}
        session.opened.connect(self._on_opened)
        session.closed.connect(self._forget)

    def level_width(self, image: str) -> tuple[float, float] | None:
        """Level and width of an image, by its name; None when there is none."""
        layer = self._layers.get(image)
        return None if layer is None else to_level_width(tuple(layer.contrast_limits))

    def use_preset(self, image: str, name: str) -> None:
        """Show a CT with a preset of `core.images.window_level`."""
        self.set_limits(image, to_limits(*CT_PRESETS[name]))

    def automatic(self, image: str) -> None:
        """Show an image as it was shown when it was opened first."""
        self.set_limits(image, self._usual(image))

    def set_limits(self, image: str, limits: Limits) -> None:
        """Values shown black and white."""
        if image in self._layers:
            self._layers[image].contrast_limits = limits

    def drag(self, image: str, begun: Limits, right: float, down: float) -> None:
        """Follow a drag by so many pixels that began with the given limits."""
        if self._session.is_ct(image):
            narrowest = _NARROWEST_CT
        else:
            low, high = self._usual(image)
            narrowest = (high - low) * _NARROWEST_SHARE
        self.set_limits(image, dragged(begun, right, down, narrowest))

    def limits(self, image: str) -> Limits | None:
        """Values shown black and white, now."""
        layer = self._layers.get(image)
        return None if layer is None else tuple(layer.contrast_limits)

    def _usual(self, image: str) -> Limits:
        return self._session.patient.limits[self._session.image_names.index(image)]

    def _on_opened(self) -> None:
        for name in self._session.image_names:
            layer = self._session.image_layer(name)
            if layer is not None:
                self._layers[name] = layer
                layer.events.contrast_limits.connect(self._tell)
        self.changed.emit()

    def _forget(self) -> None:
        for layer in self._layers.values():
            layer.events.contrast_limits.disconnect(self._tell)
        self._layers = {}
        self.changed.emit()

    def _tell(self) -> None:
        self.changed.emit()
