"""A hand that opens a patient, scrolls, draws and waits for the contour, filmed as pictures.

    xvfb-run -a -s "-screen 0 1440x900x24" python benchmarks/film.py OUT.png [STS_030]

Mouse and keys are sent to the real window. Each picture says what was done, and how long it took
from there until it was seen: from the command to the window, from the choice of the patient to its
images, from a turn of the wheel to the slice, from the press of the button to the end of a stroke,
from the last stroke to the provisional contour, from *Make the contour* to the first contour and to
the end. Nothing else should run. Data: CMFNET_TEST_DATA, or ../shared/data.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
from painting import _send
from PIL import Image, ImageDraw, ImageFont
from scrolling import _canvases, _run, _Shown, _until

DATA = Path(os.environ.get("CMFNET_TEST_DATA", "../shared/data")).resolve()
SIZE, SMALL, COLUMNS = (1440, 900), (720, 450), 2
TURNS, MOVES = 8, 20


class Film:
    """Pictures of a window with what was done, and seconds."""

    def __init__(self, window: object) -> None:
        self._window, self._frames = window, []

    def show(self, what: str, seconds: float) -> None:
        """Take one."""
        with tempfile.TemporaryDirectory() as folder:
            self._window.grab().save(f"{folder}/frame.png")
            frame = Image.open(f"{folder}/frame.png").convert("RGB")
        frame = frame.resize(SMALL, Image.Resampling.LANCZOS)
        pen = ImageDraw.Draw(frame)
        words = f"{what}: {seconds:.2f} s"
        font = ImageFont.load_default(20)
        pen.rectangle((0, SMALL[1] - 32, pen.textlength(words, font) + 16, SMALL[1]), fill="white")
        pen.text((8, SMALL[1] - 28), words, fill="black", font=font)
        self._frames.append(frame)
        print(words, flush=True)

    def save(self, path: str) -> None:
        """All of them in one picture."""
        rows = -(-len(self._frames) // COLUMNS)
        whole = Image.new("RGB", (COLUMNS * SMALL[0], rows * SMALL[1]))
        for number, frame in enumerate(self._frames):
            whole.paste(frame, (number % COLUMNS * SMALL[0], number // COLUMNS * SMALL[1]))
        whole.save(path, optimize=True)


def main(path: str, case: str = "STS_030") -> None:
    """Film it."""
    command = psutil.Process().create_time()
    home = Path(tempfile.mkdtemp())
    for name, place in (("CASES", "cases"), ("PREFERENCES", "window.json"), ("REVIEW", "keys")):
        os.environ[f"CMFNET_{name}"] = str(home / place)
    os.environ["LIBGL_ALWAYS_SOFTWARE"] = "1"
    import napari

    from cmfnet_napari.gui.app import add_dock
    from cmfnet_napari.gui.patient.opened import open_files

    viewer = napari.Viewer(title="CmFNet", show_welcome_screen=False)
    dock = add_dock(viewer)
    dock.window().resize(*SIZE)
    _run(0.01)
    film = Film(dock.window())
    film.show("from the command to the window", time.time() - command)
    folder = DATA / "sts" / "cases" / case
    began = time.perf_counter()
    dock.session.open(lambda: open_files(folder / "ct.nii.gz", folder / "mr.nii.gz"))
    _until(lambda: dock.session.patient is not None, 100)
    _run(0.05)
    film.show("a patient is chosen", time.perf_counter() - began)
    (canvas,) = _canvases(dock.window())
    _run(1.0)
    places = _places(folder / "gtv.nii.gz", dock)
    viewer.dims.set_point(viewer.dims.order[0], places[0])
    _run(0.5)
    film.show(f"a turn of the wheel (the middle one of {TURNS})", _wheel(canvas))
    viewer.dims.set_point(viewer.dims.order[0], places[0])
    _run(0.5)
    taken = []
    for code, (row, column) in ((2, (0, 0)), (1, places[1]), (1, places[2])):
        dock.session.select_class(code)
        _run(0.2)
        taken.append(_stroke(canvas, *_pixel(viewer, canvas, row, column, places[3])))
    film.show("a stroke (the longest of three)", max(taken))
    provisional = dock.workbench.provisional
    began = time.perf_counter()
    _until(lambda: provisional.layer is not None, 60)
    _run(0.05)
    film.show("the provisional contour, from the last stroke", time.perf_counter() - began)
    _train(dock, film)
    film.save(path)
    sys.stdout.flush()
    os._exit(0)  # the worker ends with us


def _places(mask: Path, dock: object) -> tuple:
    """The tumour's middle slice (mm), rows and columns of background on it, and its middle (mm)."""
    from cmfnet_napari.core.images.study import load_labels

    grid = dock.session.case.study.grid
    inside = np.argwhere(load_labels(mask, grid) > 0)
    level = int(np.median(inside[:, 0]))
    plane = inside[inside[:, 0] == level]
    low, high = plane.min(axis=0), plane.max(axis=0)
    layer = dock.session.scribbles
    scale, origin = np.array(layer.scale), np.array(layer.translate)
    middle = plane.mean(axis=0) * scale + origin
    reach = (high - low)[1:] * scale[1:] / 2 + 12.0  # mm
    return float(middle[0]), (-reach[0], 0.0), (reach[0], 0.0), middle


def _pixel(
    viewer: object, canvas: object, row: float, column: float, middle: np.ndarray
) -> tuple[float, float]:
    """Where a place (mm beside the middle) is on the canvas."""
    camera = viewer.scene.camera
    centre, zoom = camera.center[1:], camera.zoom
    y = canvas.height() / 2 + (middle[1] + row - centre[0]) * zoom
    x = canvas.width() / 2 + (middle[2] + column - centre[1]) * zoom
    return x, y


def _wheel(canvas: object) -> float:
    """Seconds from a turn of the wheel until its slice is seen; the median."""
    from qtpy.QtCore import QPoint, QPointF, Qt
    from qtpy.QtGui import QWheelEvent
    from qtpy.QtWidgets import QApplication

    times = []
    for _ in range(TURNS):
        here = QPointF(canvas.width() / 2, canvas.height() / 2)
        there = QPointF(canvas.mapToGlobal(here.toPoint()))
        none, keys = Qt.MouseButton.NoButton, Qt.KeyboardModifier.NoModifier
        phase = Qt.ScrollPhase.NoScrollPhase
        turn = QWheelEvent(here, there, QPoint(), QPoint(0, 120), none, keys, phase, False)
        shown, began = _Shown(canvas), time.perf_counter()
        QApplication.sendEvent(canvas, turn)
        if shown.wait():
            times.append(time.perf_counter() - began)
        _run(0.1)
    return float(np.median(times))


def _stroke(canvas: object, x: float, y: float) -> float:
    """Seconds from the press to the end of a stroke of 60 pixels, seen."""
    from qtpy.QtCore import QEvent, QPoint

    here = QPoint(round(x) - 30, round(y))
    began = time.perf_counter()
    _send(canvas, QEvent.Type.MouseButtonPress, here)
    for move in range(1, MOVES):
        _send(canvas, QEvent.Type.MouseMove, here + QPoint(60 * move // MOVES, 0))
        _run(0.0)
    shown = _Shown(canvas)
    _send(canvas, QEvent.Type.MouseButtonRelease, here + QPoint(60, 0))
    shown.wait()
    return time.perf_counter() - began


def _train(dock: object, film: Film) -> None:
    """*Make the contour*, until it is there."""
    training = dock.workbench.training
    previews, finished = [], []
    training.previewed.connect(previews.append)
    training.finished.connect(finished.append)
    dock.tabs.setCurrentIndex(2)
    _run(0.5)
    began = time.perf_counter()
    dock.training_panel.start_at_once()
    _until(lambda: previews or finished, 200)
    _run(0.05)
    film.show("the first contour, from the button", time.perf_counter() - began)
    _until(lambda: finished and dock.workbench.result.exists, 400)
    _run(0.05)
    film.show("the contour at the end", time.perf_counter() - began)


if __name__ == "__main__":
    main(*sys.argv[1:])
