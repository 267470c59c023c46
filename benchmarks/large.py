"""Large studies in the real window: what grows with the volume, and what with the strokes.

    xvfb-run -a -s "-screen 0 1280x800x24" python benchmarks/large.py [100 200 400 800]

For each number of slices a process of its own opens a CT and an MR of 512×512 from files, with
twelve classes, shows three planes and 3D, and draws in every plane with the mouse. The longest
freeze is how late a timer of 5 ms came; a stroke is the window's thread from the press of the
button until the stroke is in the journal. Memory is the peak above what the window held before, in
units of the two images as int16. Nothing else should run.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from painting import _send
from report import Row, machine, table, with_peak
from rich.console import Console
from scipy import ndimage
from scrolling import _canvases, _run, _until

SIDE, SPACING = 512, (0.98, 0.98, 2.0)  # SimpleITK's order: x y z
SLICES = 100, 200, 400, 800
CLASSES, STROKES, MOVES, TICK_MS = 12, 13, 12, 5
PLANES = "axial", "sagittal", "coronal"


def measure(numbers: tuple[int, ...] = SLICES) -> list[Row]:
    """A row a figure and number of slices."""
    rows = []
    for slices in numbers:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            found = _alone(slices, Path(folder))
        for what, (value, unit, goal) in found.items():
            rows.append(Row("large", f"{what}, {slices} slices", value, None, unit, goal))
    return rows


def _alone(slices: int, folder: Path) -> dict[str, tuple[float, str, str]]:
    kept = {"CASES": "cases", "PREFERENCES": "window.json", "REVIEW": "keys"}
    places = {f"CMFNET_{name}": str(folder / path) for name, path in kept.items()}
    environment = {**os.environ, "LIBGL_ALWAYS_SOFTWARE": "1", **places}
    command = [sys.executable, __file__, "alone", str(slices), str(folder)]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
    found: dict[str, tuple[float, str, str]] = json.loads(done.stdout.splitlines()[-1])
    return found


def _in_window(slices: int, folder: Path) -> dict[str, tuple[float, str, str]]:
    ct, mr = _write_images(slices, folder)
    import napari

    from cmfnet_napari.gui.app import add_dock

    viewer = napari.Viewer(show_welcome_screen=False)
    dock = add_dock(viewer)
    dock.window().resize(1280, 800)
    _run(1.0)
    found, above = with_peak(lambda: _opened_and_drawn(dock, ct, mr))
    images = 2 * 2 * slices * SIDE * SIDE / 2**20
    found["peak memory, of the images as int16"] = above / images, "×", "≤ 6"
    return found


def _opened_and_drawn(dock: object, ct: str, mr: str) -> dict[str, tuple[float, str, str]]:
    from cmfnet_napari.gui.patient.classes import classes_up_to
    from cmfnet_napari.gui.patient.opened import open_files

    found: dict[str, tuple[float, str, str]] = {}

    def freeze(what: str, late: list[float]) -> None:
        found[f"longest freeze, {what}"] = max(late), "ms", "≤ 200 ms"

    with _lateness() as late:
        began = time.perf_counter()
        dock.session.open(lambda: open_files(ct, mr))
        _until(lambda: dock.session.patient is not None, 300)
        _run(0.1)
        found["opened"] = time.perf_counter() - began, "s", "≤ 15 s"
        _run(1.0)
    freeze("opening", late)
    dock.session.set_classes(classes_up_to(dock.session.case.classes, 1 + CLASSES))
    with _lateness() as late:
        dock.workbench.layouts.show("planes")
        _run(2.0)
    freeze("three planes and 3D", late)
    for plane in PLANES:
        dock.workbench.planes.show(plane)
        _run(1.0)
        with _lateness() as late:
            taken = [_stroke(dock, number) for number in range(STROKES)]
        found[f"a stroke, {plane}"] = 1000 * float(np.median(taken)), "ms", "≤ 50 ms"
        freeze(f"strokes, {plane}", late)
    return found


def _write_images(slices: int, folder: Path) -> tuple[str, str]:
    """Smooth noise as a CT and an MR."""
    coarse = np.random.default_rng(0).normal(0, 300, (-(-slices // 8), SIDE // 8, SIDE // 8))
    smooth = ndimage.zoom(coarse.astype(np.float32), 8, order=1)[:slices]
    paths = []
    for name, values in (("ct", smooth), ("mr", np.abs(smooth) + 100)):
        image = sitk.GetImageFromArray(values.astype(np.int16))
        image.SetSpacing(SPACING)
        paths.append(str(folder / f"{name}.nii"))
        sitk.WriteImage(image, paths[-1])
    return paths[0], paths[1]


@contextmanager
def _lateness() -> Iterator[list[float]]:
    """Milliseconds that a timer came late."""
    from qtpy.QtCore import Qt, QTimer

    late, last = [0.0], [time.perf_counter()]

    def tick() -> None:
        now = time.perf_counter()
        late.append(max(0.0, 1000 * (now - last[0]) - TICK_MS))
        last[0] = now

    timer = QTimer(interval=TICK_MS, timerType=Qt.TimerType.PreciseTimer)
    timer.timeout.connect(tick)
    timer.start()
    try:
        yield late
    finally:
        _run(0.05)
        timer.stop()


def _stroke(dock: object, number: int) -> float:
    """Seconds of the window's thread for a stroke with the mouse."""
    from qtpy.QtCore import QEvent, QPoint

    canvas = _canvases(dock.window())[0]
    dock.session.select_class(1 + number % (1 + CLASSES))  # 1 is the background
    journal = dock.session.case.journal
    before = journal.last_id()
    here = QPoint(canvas.width() // 3, round(canvas.height() * (0.45 + 0.008 * number)))
    began = time.thread_time()
    _send(canvas, QEvent.Type.MouseButtonPress, here)
    for move in range(1, MOVES):
        _send(canvas, QEvent.Type.MouseMove, here + QPoint(4 * move, 0))
    _send(canvas, QEvent.Type.MouseButtonRelease, here + QPoint(4 * MOVES, 0))
    spent = time.thread_time() - began
    _until(lambda: journal.last_id() > before, 10)
    _run(0.3)
    return spent


if __name__ == "__main__":
    if sys.argv[1:2] == ["alone"]:
        found = _in_window(int(sys.argv[2]), Path(sys.argv[3]))
        sys.stdout.write("\n" + json.dumps(found) + "\n")
        sys.stdout.flush()
        os._exit(0)
    console = Console()
    console.print(machine())
    console.print(table(measure(tuple(map(int, sys.argv[1:])) or SLICES)))
