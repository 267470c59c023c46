"""What the views cost: scrolling, strokes and the event loop on a 512×512×200 study.

Beside the GUI thread's time a frame stands that of a napari viewer that shows the CT alone.

A frame is counted when the window has shown it, with all canvases of the arrangement. The GUI
thread's own time beside it says what an idle machine would do, and what of it goes by before
anything is drawn. Needs a display:
``xvfb-run -a -s "-screen 0 1280x800x24" python benchmarks/run.py scrolling``.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable

import numpy as np
from report import Row
from scipy import ndimage

SHAPE = (200, 512, 512)
SPACING = (2.0, 0.98, 0.98)
FRAMES, POINTS, LOOP_SECONDS, SCROLL_MS = 30, 25, 3.0, 100
LAYOUTS = ("one", "pair", "planes", "all")


def measure() -> list[Row]:
    """Frames a second, milliseconds from a mouse move to its stroke, lateness of a 5 ms timer."""
    os.environ.setdefault("LIBGL_ALWAYS_SOFTWARE", "1")
    os.environ["CMFNET_CASES"] = tempfile.mkdtemp()
    os.environ["CMFNET_PREFERENCES"] = os.path.join(tempfile.mkdtemp(), "window.json")
    os.environ["CMFNET_REVIEW"] = tempfile.mkdtemp()
    import napari

    from cmfnet_napari.gui.app import add_dock

    bare = _bare()
    viewer = napari.Viewer(show_welcome_screen=False)
    dock = add_dock(viewer)
    dock.window().resize(1280, 800)
    _open(dock)
    rows: list[Row] = []
    for layout in LAYOUTS:
        dock.workbench.layouts.show(layout)
        _run(1.0)
        rows += _rows(dock, layout, bare)
    viewer.close()
    return rows


def _bare() -> dict[str, float]:
    """The GUI thread's seconds a frame of a napari viewer that shows the CT and nothing else."""
    import napari

    viewer = napari.Viewer(show_welcome_screen=False)
    viewer.window.resize(1280, 800)
    viewer.add_image(_smooth().astype(np.int16), scale=SPACING)
    _run(1.0)
    (canvas,) = _canvases(viewer.window._qt_window)
    seconds = {}
    for plane, order in (("axial", (0, 1, 2)), ("sagittal", (2, 0, 1))):
        viewer.dims.order = order
        _run(0.5)
        _scroll(viewer, canvas)  # what is made once
        _, seconds[plane], _ = _scroll(viewer, canvas)
    viewer.close()
    return seconds


def _rows(dock: object, layout: str, bare: dict[str, float]) -> list[Row]:
    canvases = _canvases(dock.window())
    rows = []
    for plane in ("axial", "sagittal"):
        dock.workbench.planes.show(plane)
        _run(0.5)
        frame, thread, slicing = _scroll(dock.session.viewer, canvases[0])
        name = f"{layout}, {plane}, {len(canvases)} canvases"
        rows.append(_row(f"frames a second, {name}", 1 / frame, "/s", "> 20"))
        cost = f"GUI thread a frame, {name}"
        rows.append(Row("scrolling", cost, 1000 * thread, 1000 * bare[plane], "ms", "< 50"))
        rows.append(_row(f"of it slicing, {name}", 1000 * slicing, "ms"))
    dock.workbench.planes.show("axial")
    _run(0.5)
    stroke, thread = _stroke(dock, canvases[0])
    rows.append(_row(f"mouse move to stroke, {layout}", 1000 * stroke, "ms", "≤ 16"))
    rows.append(_row(f"GUI thread of it, {layout}", 1000 * thread, "ms"))
    late = _lateness(dock.session.viewer)
    rows.append(_row(f"event loop late, 95 %, {layout}", late, "ms"))
    return rows


def _row(what: str, value: float, unit: str, goal: str = "") -> Row:
    return Row("scrolling", what, value, None, unit, goal)


def _open(dock: object) -> None:
    """CT, MR half over it, strokes and a contour, all visible."""
    from cmfnet_napari.core.images.grid import Grid
    from cmfnet_napari.core.images.study import study_from_images
    from cmfnet_napari.gui.patient.layers import segmentation_layer
    from cmfnet_napari.gui.patient.opened import prepare

    grid, smooth = Grid(SHAPE, SPACING), _smooth()
    z, y, x = np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
    ball = ((z - 100) * 2) ** 2 + (y - 256) ** 2 + (x - 256) ** 2 < 80**2
    strokes = np.zeros(SHAPE, np.uint8)
    strokes[::4, 250:254, 200:300] = 2
    strokes[:, 100:104, 150:350] = 1
    images = grid.to_image(smooth.astype(np.int16)), grid.to_image(smooth + 1000)
    session = dock.session
    session.open(lambda: prepare(study_from_images(*images), strokes))
    _until(lambda: session.patient is not None, 300)
    colors = session.scribbles.colormap
    contour = segmentation_layer(ball.astype(np.uint8), session.case.study.grid, colors, "Contour")
    session.viewer.add_layer(contour)
    session.viewer.layers.selection.active = session.scribbles
    dock.workbench.fusion.set_blend(50)
    _run(2.0)


def _smooth() -> np.ndarray:
    coarse = np.random.default_rng(0).normal(0, 300, [n // 8 for n in SHAPE])
    return ndimage.zoom(coarse.astype(np.float32), 8, order=1)


def _canvases(window: object) -> list[object]:
    from napari.qt import QtViewer

    shown = window.centralWidget().findChildren(QtViewer)
    return [viewer.canvas.native for viewer in shown if viewer.isVisible()]


def _scroll(viewer: object, canvas: object) -> tuple[float, float, float]:
    """Seconds a frame, the GUI thread's own of them, and its own before anything is drawn."""
    axis = viewer.dims.order[0]
    slicing = 0.0
    began, thread = time.perf_counter(), time.thread_time()
    for number in range(FRAMES):
        shown = _Shown(canvas)
        here = time.thread_time()
        viewer.dims.set_current_step(axis, SHAPE[axis] // 3 + number)
        slicing += time.thread_time() - here
        shown.wait()
    frame, thread = time.perf_counter() - began, time.thread_time() - thread
    return frame / FRAMES, thread / FRAMES, slicing / FRAMES


def _stroke(dock: object, canvas: object) -> tuple[float, float]:
    """Seconds from a mouse move until its stroke is seen, and the GUI thread's; medians."""
    from qtpy.QtCore import QEvent, QPointF, Qt
    from qtpy.QtGui import QMouseEvent
    from qtpy.QtWidgets import QApplication

    dock.session.select_class(2)
    left, keys = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier

    def send(kind: object, x: float, held: object) -> None:
        here = QPointF(x, canvas.height() / 2)
        event = QMouseEvent(
            kind, here, QPointF(canvas.mapToGlobal(here.toPoint())), left, held, keys
        )
        QApplication.sendEvent(canvas, event)

    x, times, threads = canvas.width() / 3, [], []
    send(QEvent.Type.MouseButtonPress, x, left)
    _run(0.2)
    for number in range(POINTS):
        shown = _Shown(canvas)
        began, thread = time.perf_counter(), time.thread_time()
        send(QEvent.Type.MouseMove, x + 3 * (number + 1), left)
        if shown.wait():
            times.append(time.perf_counter() - began)
            threads.append(time.thread_time() - thread)
        _run(0.02)
    send(QEvent.Type.MouseButtonRelease, x, Qt.MouseButton.NoButton)
    _run(0.5)
    return float(np.median(times)), float(np.median(threads))


def _lateness(viewer: object) -> float:
    """Milliseconds that a 5 ms timer is late, 95th percentile, at ten slices a second."""
    from qtpy.QtCore import Qt, QTimer

    axis, late, last = viewer.dims.order[0], [], [time.perf_counter()]

    def tick() -> None:
        now = time.perf_counter()
        late.append(max(0.0, 1000 * (now - last[0]) - 5))
        last[0] = now

    def step() -> None:
        viewer.dims.set_current_step(axis, viewer.dims.current_step[axis] + 1)

    timers = []
    for interval, call in ((5, tick), (SCROLL_MS, step)):
        timer = QTimer(interval=interval, timerType=Qt.TimerType.PreciseTimer)
        timer.timeout.connect(call)
        timer.start()
        timers.append(timer)
    _run(LOOP_SECONDS)
    for timer in timers:
        timer.stop()
    return float(np.percentile(late, 95))


class _Shown:
    """Whether a canvas has been shown anew since then."""

    def __init__(self, canvas: object) -> None:
        self._canvas, self._done = canvas, False
        canvas.frameSwapped.connect(self._note)

    def wait(self) -> bool:
        """False when nothing was drawn: a stroke over one of its own class changes nothing."""
        end = time.monotonic() + 2
        _until(lambda: self._done or time.monotonic() > end, 10)
        self._canvas.frameSwapped.disconnect(self._note)
        return self._done

    def _note(self) -> None:
        self._done = True


def _until(condition: Callable[[], object], seconds: float) -> None:
    from qtpy.QtWidgets import QApplication

    end = time.monotonic() + seconds
    while not condition():
        QApplication.processEvents()
        if time.monotonic() > end:
            raise SystemExit("It took too long.")


def _run(seconds: float) -> None:
    end = time.monotonic() + seconds
    _until(lambda: time.monotonic() > end, seconds + 60)
