"""Each canvas's OpenGL commands in its own context."""

from __future__ import annotations

from napari.qt import QtViewer


def remove_in_own_context(qt_viewer: QtViewer) -> None:
    """Make a canvas's context current before napari removes a layer from it.

    napari sends the commands that free the layer's textures and buffers at once, outside of any
    painting. Then that context is current which Qt puts the window's parts together in, or none:
    there they would free what Qt draws with, or set what the next picture is drawn from nowhere.
    """
    canvas = qt_viewer.canvas.native

    def own(_event: object) -> None:
        if canvas.isValid():
            canvas.makeCurrent()

    qt_viewer.viewer.layers.events.removing.connect(own)
