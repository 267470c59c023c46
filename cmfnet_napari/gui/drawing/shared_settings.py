"""Class in use, protection and ball are one for strokes and contours: a hand has one state."""

from __future__ import annotations

from napari.layers import Labels
from qtpy.QtCore import QObject

from cmfnet_napari.core.strokes.scribbles import BACKGROUND, MAX_CODE, UNLABELLED
from cmfnet_napari.gui.patient.session import Session

_SAME = ("preserve_labels", "n_edit_dimensions")
_ALL = ("selected_label", *_SAME)


class SharedSettings(QObject):
    """Keeps the layers that are drawn on in step, whoever changes one of them."""

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._session = session
        self._setting = False

    def open(self) -> None:
        """A patient has been opened."""
        self._follow(self._session.scribbles)

    def add(self, contour: Labels) -> None:
        """A contour can be drawn on, with what the scribbles are drawn with."""
        self._copy(self._session.scribbles, contour)
        self._follow(contour)

    def _follow(self, layer: Labels) -> None:
        for name in _ALL:
            getattr(layer.events, name).connect(lambda _event, layer=layer: self._spread(layer))

    def _spread(self, source: Labels) -> None:
        """A layer was given another setting: all have it."""
        session = self._session
        if self._setting or session.patient is None:
            return
        self._setting = True
        try:
            for layer in (session.scribbles, *session.contours):
                if layer != source:
                    self._copy(source, layer)
        finally:
            self._setting = False

    def _copy(self, source: Labels, layer: Labels) -> None:
        for name in _SAME:
            setattr(layer, name, getattr(source, name))
        code = source.selected_label + self._above_scribbles(layer, source)
        if UNLABELLED <= code <= MAX_CODE and layer.selected_label != code:
            layer.selected_label = code

    def _above_scribbles(self, layer: Labels, source: Labels) -> int:
        """What a code of one layer is more in another: contours have 0 for the background."""
        strokes = self._session.scribbles
        return BACKGROUND * (int(layer == strokes) - int(source == strokes))
