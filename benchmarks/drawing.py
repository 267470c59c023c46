"""What the journal costs while one draws: strokes on a 512×512×100 study in the real window.

The GUI thread's time is taken, for a stroke and the 300 ms after it, in which the journal also
looks for changes elsewhere. Strokes with and without the journal take turns. Needs a display:
``xvfb-run -a python benchmarks/run.py drawing``.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from report import Row

SHAPE = (100, 512, 512)
STROKES, ROUND, POINTS = 40, 10, 12
AFTER_SECONDS = 0.3
PLANES = {"axial": (0, 1, 2), "sagittal": (2, 0, 1), "coronal": (1, 0, 2)}
NOTHING_CORRECTED = SimpleNamespace(
    contradicted=lambda voxels: voxels[:0], follow=lambda number, stroke: None
)


def measure() -> list[Row]:
    """Milliseconds of the GUI thread a stroke, median, with and without the journal."""
    import napari
    from qtpy.QtWidgets import QApplication

    os.environ.setdefault("LIBGL_ALWAYS_SOFTWARE", "1")
    viewer = napari.Viewer()
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 100, SHAPE).astype(np.float32)
    viewer.add_image(noise, contrast_limits=(-200, 200))
    layer = viewer.add_labels(np.zeros(SHAPE, np.uint8))
    layer.mode, layer.brush_size = "paint", 8
    rows = []
    for plane, order in PLANES.items():
        viewer.dims.order = order
        QApplication.processEvents()
        rows += _plane(plane, viewer, layer, rng)
    viewer.close()
    return rows


def _plane(plane: str, viewer: object, layer: object, rng: np.random.Generator) -> list[Row]:
    from cmfnet_napari.core.strokes.journal import Journal
    from cmfnet_napari.core.strokes.scribbles import MAX_CODE
    from cmfnet_napari.gui.patient.stroke_recorder import StrokeRecorder

    taken: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
    appends: list[float] = []
    for number in range(2 * STROKES // ROUND):
        journalled = bool(number % 2)
        with tempfile.TemporaryDirectory() as folder:
            counts = np.bincount(layer.data.ravel(), minlength=MAX_CODE + 1)
            journal = Journal(Path(folder) / "strokes.sqlite")
            recorder = StrokeRecorder(layer, journal, NOTHING_CORRECTED, counts, viewer.dims)
            if not journalled:
                recorder.close()
            taken[journalled] += [_stroke(viewer, layer, rng) for _ in range(ROUND)]
            if journalled:
                assert journal.last_id() == ROUND
                recorder.close()
                appends += _appends(journal)
            journal.close()
    at_once, in_all = (
        [1000 * np.median([pair[part] for pair in taken[on]]) for on in (True, False)]
        for part in (0, 1)
    )
    goal = "≤ 2 ms more"
    return [
        Row("drawing", f"a stroke until it is recorded, {plane}", *at_once, "ms", goal),
        Row("drawing", f"the same with the 300 ms after it, {plane}", *in_all, "ms", goal),
        Row("drawing", f"of it writing to the journal, {plane}", np.median(appends), None, "ms"),
    ]


def _stroke(viewer: object, layer: object, rng: np.random.Generator) -> tuple[float, float]:
    """Paint a short line with the brush; seconds of this thread at once, and with what follows."""
    from qtpy.QtWidgets import QApplication

    axis = viewer.dims.order[0]
    start = np.array([rng.integers(20, n - 60) for n in SHAPE])
    start[axis] = viewer.dims.current_step[axis]
    step = np.zeros(3, int)
    step[viewer.dims.order[1]] = 1
    code = int(rng.integers(1, 4))
    QApplication.processEvents()
    began = time.thread_time()
    with layer.block_history():
        for point in range(POINTS):
            layer.paint(tuple(start + 3 * point * step), code)
    QApplication.processEvents()
    at_once = time.thread_time() - began
    end = time.perf_counter() + AFTER_SECONDS
    while time.perf_counter() < end:
        QApplication.processEvents()
        time.sleep(0.005)
    return at_once, time.thread_time() - began


def _appends(journal: object) -> list[float]:
    """Milliseconds to write the same strokes again."""
    times = []
    for _, stroke in list(journal.strokes()):
        began = time.perf_counter()
        journal.append(stroke)
        times.append(1000 * (time.perf_counter() - began))
    return times
