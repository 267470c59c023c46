"""The layer that shows what is proposed, until it is applied or dropped."""

from __future__ import annotations

import numpy as np
from napari.layers import Labels
from napari.utils.colormaps import DirectLabelColormap

from cmfnet_napari.gui.patient.layers import NO_CONTOUR, OPENED, insert_below, placement
from cmfnet_napari.gui.patient.session import Session

_OPACITY = 0.7


class ProposedLayer:
    """A layer below the strokes that comes and goes; no contour that anything else takes.

    Parameters
    ----------
    session : Session
        The patient.
    name : str
        What it is called.

    Attributes
    ----------
    layer : Labels or None
        While something is proposed.
    """

    def __init__(self, session: Session, name: str) -> None:
        self._session, self._name = session, name
        self.layer: Labels | None = None

    def show(self, values: np.ndarray, colormap: DirectLabelColormap) -> Labels:
        """Show labels (uint8, z y x) in place of what was proposed before."""
        session, layer = self._session, self.layer
        if layer is not None and layer in session.viewer.layers:
            layer.data = values
            return layer
        self.layer = Labels(
            values,
            name=self._name,
            colormap=colormap,
            opacity=_OPACITY,
            metadata={OPENED: session.patient, NO_CONTOUR: True},
            **placement(session.case.study.grid),
        )
        insert_below(session.viewer, self.layer, session.scribbles)
        return self.layer

    def drop(self) -> None:
        """Take it away."""
        layer, self.layer = self.layer, None
        if layer is not None and layer in self._session.viewer.layers:
            self._session.viewer.layers.remove(layer)
