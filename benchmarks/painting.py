"""How soon a stroke is seen: from the mouse's move to the picture, on a 512×512×200 study.

The real mouse events in a real viewer with CT, MR and scribbles; every tool against napari's own
brush of the same width. Needs a display: ``xvfb-run -a python benchmarks/run.py painting``.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from report import Row

SHAPE = (200, 512, 512)
SPACING = (3.27, 0.98, 0.98)
BRUSH_MM = 10.0
STROKES, MOVES = 6, 15
PAUSE_SECONDS = 0.03  # a hand's moves; the screen is still meanwhile
PLANES = {"axial": (0, 1, 2), "sagittal": (2, 0, 1)}
GOAL = "≤ 16 ms"
NOTHING_CORRECTED = SimpleNamespace(
    contradicted=lambda voxels: voxels[:0], follow=lambda number, stroke: None
)


def measure() -> list[Row]:
    """Milliseconds a move, median and the slowest of twenty, and of it the GUI thread's own."""
    import napari
    from qtpy.QtWidgets import QApplication

    os.environ.setdefault("LIBGL_ALWAYS_SOFTWARE", "1")
    viewer = napari.Viewer(show_welcome_screen=False)
    rng = np.random.default_rng(0)
    for name in ("CT", "MR"):
        noise = rng.normal(0, 100, SHAPE).astype(np.int16)
        viewer.add_image(noise, name=name, scale=SPACING, contrast_limits=(-200, 200), opacity=0.5)
    layer = viewer.add_labels(np.zeros(SHAPE, np.uint8), scale=SPACING)
    layer.selected_label = 2
    viewer.window.resize(1280, 800)
    rows = []
    for plane, order in PLANES.items():
        viewer.dims.order = order
        viewer.fit_to_view()
        QApplication.processEvents()
        layer.mode, layer.brush_size = "paint", round(BRUSH_MM / min(SPACING))
        napari_s = _moves()
        layer.mode = "pan_zoom"
        for tool in ("free", "straight", "lasso"):
            with _pen(viewer, layer, tool):
                rows += _rows(f"{tool}, {plane}", _moves(), napari_s)
        layer.n_edit_dimensions = 3
        with _pen(viewer, layer, "free"):
            rows += _rows(f"ball, {plane}", _moves(), napari_s)
        layer.n_edit_dimensions = 2
    viewer.close()
    return rows


@contextmanager
def _pen(viewer: object, layer: object, tool: str) -> Iterator[None]:
    """Our tool on the layer, with a journal."""
    from cmfnet_napari.core.strokes.journal import Journal
    from cmfnet_napari.core.strokes.scribbles import MAX_CODE
    from cmfnet_napari.gui.drawing.brush_settings import Brush
    from cmfnet_napari.gui.drawing.layer_pen import LayerPen
    from cmfnet_napari.gui.patient.stroke_recorder import StrokeRecorder
    from cmfnet_napari.gui.views.trail import Trail

    brush = Brush()
    brush.choose(tool)
    brush.set_size(BRUSH_MM)
    with tempfile.TemporaryDirectory() as folder:
        counts = np.bincount(layer.data.ravel(), minlength=MAX_CODE + 1)
        journal = Journal(Path(folder) / "strokes.sqlite")
        recorder = StrokeRecorder(layer, journal, NOTHING_CORRECTED, counts, viewer.dims)
        pen = LayerPen(layer, brush, recorder, Trail())
        layer.selected_label = 1 + layer.selected_label % MAX_CODE  # so that it changes something
        layer.mode = "paint"
        yield
        assert journal.last_id() >= STROKES
        pen.close()
        recorder.close()
        journal.close()


def _moves() -> tuple[np.ndarray, np.ndarray]:
    """Strokes across the canvas: milliseconds of every move until it is on the screen, and of it
    the GUI thread's."""
    from qtpy.QtCore import QEvent, QPoint
    from qtpy.QtOpenGLWidgets import QOpenGLWidget
    from qtpy.QtWidgets import QApplication

    canvas = _canvas(QOpenGLWidget)
    frames: list[float] = []
    canvas.frameSwapped.connect(lambda: frames.append(time.perf_counter()))
    wall, own = [], []
    centre = QPoint(canvas.width() // 2, canvas.height() // 2)
    for stroke in range(STROKES):
        at = centre + QPoint(-150, 25 * stroke - 70)
        _send(canvas, QEvent.Type.MouseButtonPress, at)
        for move in range(MOVES):
            _settle(PAUSE_SECONDS)
            at += QPoint(18, 4 if move % 2 else -4)
            frames.clear()
            began, began_own = time.perf_counter(), time.thread_time()
            _send(canvas, QEvent.Type.MouseMove, at)
            while not frames and time.perf_counter() < began + 1:
                QApplication.processEvents()
            wall.append(1000 * (time.perf_counter() - began))
            own.append(1000 * (time.thread_time() - began_own))
        _send(canvas, QEvent.Type.MouseButtonRelease, at)
        _settle(0.2)
    return np.array(wall), np.array(own)


def _canvas(kind: type) -> object:
    from qtpy.QtWidgets import QApplication

    return next(w for w in QApplication.allWidgets() if isinstance(w, kind) and w.isVisible())


def _send(canvas: object, kind: object, at: object) -> None:
    from qtpy.QtCore import QEvent, QPointF, Qt
    from qtpy.QtGui import QMouseEvent
    from qtpy.QtWidgets import QApplication

    left, none = Qt.MouseButton.LeftButton, Qt.MouseButton.NoButton
    button = none if kind == QEvent.Type.MouseMove else left
    held = none if kind == QEvent.Type.MouseButtonRelease else left
    everywhere = QPointF(canvas.mapToGlobal(at))
    keys = Qt.KeyboardModifier.NoModifier
    QApplication.sendEvent(canvas, QMouseEvent(kind, QPointF(at), everywhere, button, held, keys))


def _settle(seconds: float) -> None:
    from qtpy.QtWidgets import QApplication

    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        QApplication.processEvents()
        time.sleep(0.002)


def _rows(what: str, ours: tuple[np.ndarray, ...], theirs: tuple[np.ndarray, ...]) -> list[Row]:
    parts = [
        ("until it is seen, median", lambda times: float(np.median(times[0])), GOAL),
        ("… one in twenty is slower than", lambda times: float(np.percentile(times[0], 95)), ""),
        ("the GUI thread, median", lambda times: float(np.median(times[1])), ""),
    ]
    return [
        Row("painting", f"{what}: {name}", figure(ours), figure(theirs), "ms", goal)
        for name, figure, goal in parts
    ]
