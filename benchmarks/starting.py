"""From a command to a window, a patient on the screen, and a first contour.

Each program is started anew, in turn with napari alone, which shows the same CT. Times count from
the command; those of the first contour from *Make the contour*, whose worker is started by it.
Nothing else should run. Needs a display:
``xvfb-run -a -s "-screen 0 1440x900x24" python benchmarks/starting.py``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
from report import Row, machine, table
from rich.console import Console
from scrolling import _until

STARTS = 3
GOALS = {
    "window usable": "≤ 3 s",
    "patient on the screen": "≤ 6 s",
    "first contour, from the click": "≤ 5 s",
}


def measure() -> list[Row]:
    """Medians, seconds."""
    from cmfnet_napari.core.samples.phantom import write_phantom

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        files = write_phantom(folder)
        names = [str(files[name]) for name in ("ct", "mr", "scribbles")]
        found = [
            {which: _started(which, names, Path(folder) / f"{which}{number}") for which in SHOWN}
            for number in range(STARTS)
        ]
    rows = []
    for what, goal in GOALS.items():
        ours, bare = (
            [float(start[which][what]) for start in found if what in start[which]]
            for which in ("cmfnet", "bare")
        )
        theirs = float(np.median(bare)) if bare else None
        rows.append(Row("starting", what, float(np.median(ours)), theirs, "s", goal))
    return rows


def _started(which: str, files: list[str], home: Path) -> dict[str, float]:
    """What a program that is started now says of its times."""
    kept = {"CASES": home / "cases", "PREFERENCES": home / "window.json", "REVIEW": home / "keys"}
    places = {f"CMFNET_{name}": str(path) for name, path in kept.items()}
    command = [sys.executable, __file__, which, str(time.time()), *files]
    environment = {**os.environ, "LIBGL_ALWAYS_SOFTWARE": "1", **places}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
    times: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return times


def _bare(began: float, ct: str, _mr: str, _scribbles: str) -> dict[str, float]:
    import napari
    import SimpleITK as sitk

    viewer = napari.Viewer(show_welcome_screen=False)
    _drawn(viewer)
    usable = time.time() - began
    viewer.add_image(sitk.GetArrayFromImage(sitk.ReadImage(ct)))
    _drawn(viewer)
    return {"window usable": usable, "patient on the screen": time.time() - began}


def _cmfnet(began: float, ct: str, mr: str, scribbles: str) -> dict[str, float]:
    from cmfnet_napari.gui.app import add_dock, check_window

    check_window()
    import napari

    from cmfnet_napari.gui.patient.opened import open_files

    viewer = napari.Viewer(title="CmFNet", show_welcome_screen=False)
    dock = add_dock(viewer)
    _drawn(viewer)
    times = {"window usable": time.time() - began}
    opened, previews, finished = [], [], []
    dock.session.opened.connect(lambda: opened.append(True))
    dock.workbench.training.previewed.connect(previews.append)
    dock.workbench.training.finished.connect(finished.append)
    dock.session.open(partial(open_files, ct, mr, scribbles, ("", "")))
    _until(lambda: opened, 100)
    _drawn(viewer)
    times["patient on the screen"] = time.time() - began
    pressed = time.time()
    dock.training_panel.start_at_once()
    _until(lambda: previews, 100)
    _drawn(viewer)
    times["first contour, from the click"] = time.time() - pressed
    _until(lambda: finished, 100)
    return times


def _drawn(viewer: object) -> None:
    """Until the window is there, and all that waits is done."""
    from qtpy.QtCore import QTimer

    window = viewer.window._qt_window
    _until(lambda: window.windowHandle() is not None and window.windowHandle().isExposed(), 100)
    passed: list[bool] = []
    QTimer.singleShot(0, lambda: passed.append(True))
    _until(lambda: passed, 100)


SHOWN = {"bare": _bare, "cmfnet": _cmfnet}

if __name__ == "__main__":
    if len(sys.argv) > 1:
        which, began, *files = sys.argv[1:]
        sys.stdout.write("\n" + json.dumps(SHOWN[which](float(began), *files)) + "\n")
        sys.stdout.flush()
        os._exit(0)  # the worker ends with us
    console = Console()
    console.print(machine())
    console.print(table(measure()))
