"""``cmfnet demo`` with a worker of the tests, closed once that has begun; it says what was."""

from __future__ import annotations

import faulthandler
import gc
import sys
from pathlib import Path

import napari
from qtpy.QtCore import QTimer

from cmfnet_napari.gui import app
from cmfnet_napari.gui.training import training
from tests import forked

HANGS = 170  # seconds, after which it shows where
WATCHED_MS = 200


def main() -> None:
    """The real `open_window`, from its first line to its last."""
    faulthandler.dump_traceback_later(HANGS, exit=True)
    gc.unfreeze()  # what this was forked from kept its own
    training.worker_command = _worker
    run = napari.run
    napari.run = lambda: (QTimer.singleShot(0, _watch), run())
    app.open_window(demo=True)
    import cmfnet_napari.gui.plugin.sample_data  # noqa: F401  as napari does

    print("learning", {"torch", "monai"} & set(sys.modules))
    print("closed")


def _watch() -> None:
    viewer = napari.current_viewer()
    docks = viewer.window.dock_widgets if viewer is not None else {}
    fit = next(iter(docks.values())).workbench.training if docks else None
    if fit is not None and fit.process_id:
        print("names", [layer.name for layer in viewer.layers], "pid", fit.process_id)
        print("kept from the garbage collector", gc.get_freeze_count() > 100_000)
        viewer.close()
        return
    QTimer.singleShot(WATCHED_MS, _watch)


def _worker(case: Path) -> list[str]:
    if not forked.CAN_FORK:
        script = Path(__file__).parent / "fake_worker.py"
        return [sys.executable, str(script), "endless", str(case)]
    return forked.command("core", "tests.gui.fake_worker:main", "endless", str(case))
