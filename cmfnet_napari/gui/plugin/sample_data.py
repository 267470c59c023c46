"""File → Open Sample."""

from __future__ import annotations

from collections.abc import Callable

import napari

from cmfnet_napari.gui.patient.layers import LayerData, case_layers
from cmfnet_napari.gui.patient.opened import Opened, open_phantom, open_sample_patient


def synthetic_patient() -> list[LayerData]:
    """Layers of the synthetic CT/MR patient with its scribbles."""
    return _open(open_phantom)


def real_patient() -> list[LayerData]:
    """Layers of the real patient with soft-tissue sarcoma, downloaded once."""
    return _open(open_sample_patient)


def _open(load: Callable[[], Opened]) -> list[LayerData]:
    """Read a sample; napari adds the layers and the dock, opened here, takes them over.

    Raises
    ------
    UserError
        The sample cannot be had; napari shows the sentence.
    """
    layers = case_layers(load())
    viewer = napari.current_viewer()
    if viewer is not None:
        viewer.window.add_plugin_dock_widget("cmfnet-napari", "CmFNet")
    return layers
