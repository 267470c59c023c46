"""Each canvas's OpenGL commands in its own context."""

from __future__ import annotations

from napari.qt import QtViewer
from qtpy.QtOpenGLWidgets import QOpenGLWidget

from cmfnet_napari.gui.shared.widgets import is_there

_removing: list[QOpenGLWidget] = []  # canvases that a layer is being removed from, outermost first


def remove_in_own_context(qt_viewer: QtViewer) -> None:
    """Make a canvas's context current before napari removes a layer from it.

    napari sends the commands that free the layer's textures and buffers at once, outside of any
    painting. Then that context is current which Qt puts the window's parts together in, or none:
    there they would free what Qt draws with, or set what the next picture is drawn from nowhere.
    """
    canvas = qt_viewer.canvas.native

    def own(_event: object) -> None:
        _removing.append(canvas)
        _make_current(canvas)

    def before(_event: object) -> None:
        """Layers of other views go while one of the main view does, which napari does last."""
        _removing.remove(canvas)
        if _removing:
            _make_current(_removing[-1])

    qt_viewer.viewer.layers.events.removing.connect(own)
    qt_viewer.viewer.layers.events.removed.connect(before, position="last")


def _make_current(canvas: QOpenGLWidget) -> None:
    if is_there(canvas) and canvas.isValid():
        canvas.makeCurrent()
