"""Take the README's picture: the window on a real patient after a fit.

    python scripts/take_screenshot.py CASE_FOLDER [minutes]

CASE_FOLDER holds ct.nii.gz, mr.nii.gz and gtv.nii.gz, as in the test data's sts/cases. Strokes
are made from the contour as a user makes them, by erosion; then CmFNet trains. Run it with a
display, or under ``xvfb-run -a -s "-screen 0 1280x800x24"``.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import napari
from qtpy.QtWidgets import QApplication

from cmfnet_napari.gui.app import add_dock
from cmfnet_napari.gui.dock import CmFNetDock
from cmfnet_napari.gui.patient.opened import open_files

TARGET = Path(__file__).parents[1] / "docs" / "images" / "window-real-patient.png"


def wait(condition: Callable[[], object], seconds: float = 120.0) -> None:
    """Let the window work until something is so."""
    end = time.monotonic() + seconds
    while not condition():
        QApplication.processEvents()
        time.sleep(0.01)
        if time.monotonic() > end:
            raise SystemExit("It took too long.")


def pause(seconds: float) -> None:
    """Let the window work for a while."""
    end = time.monotonic() + seconds
    wait(lambda: time.monotonic() > end, seconds + 60)


def draw_strokes(dock: CmFNetDock, contour: Path) -> None:
    """Background and tumour strokes by erosion of the contour, with the panel's own controls."""
    panel = dock.scribble_panel.auto
    dock.workbench.automatic_strokes.load_mask(str(contour))
    wait(lambda: panel.contour.value is not None)
    for kind, margin, coverage in ((0, 6.0, 0.12), (1, 3.0, 0.04)):
        panel.kind.setCurrentIndex(kind)
        panel.margin.setValue(margin)
        panel.coverage.setValue(coverage)
        panel.preview.setChecked(True)
        wait(panel.apply_button.isEnabled)
        panel.apply_button.click()


def train(dock: CmFNetDock, minutes: float) -> None:
    """A fit to its end."""
    training, ended = dock.workbench.training, []
    training.finished.connect(ended.append)
    training.failed.connect(lambda reason, details: ended.append(f"{reason}\n{details}"))
    dock.tabs.setCurrentIndex(2)
    training.start("quick", minutes=minutes)
    wait(lambda: ended, 60 * minutes + 300)
    print(ended[0])
    wait(lambda: dock.workbench.result.prediction is not None)


def main() -> None:
    """Open, draw, train, compare, take the picture."""
    folder = Path(sys.argv[1])
    minutes = float(sys.argv[2]) if len(sys.argv) > 2 else 2.0
    os.environ["CMFNET_CASES"] = tempfile.mkdtemp()
    os.environ["CMFNET_PREFERENCES"] = os.path.join(tempfile.mkdtemp(), "window.json")
    os.environ["CMFNET_REVIEW"] = tempfile.mkdtemp()
    viewer = napari.Viewer(show_welcome_screen=False)
    dock = add_dock(viewer)
    dock.window().resize(1280, 800)
    files = (folder / f"{name}.nii.gz" for name in ("ct", "mr"))
    dock.session.open(partial(open_files, *files))
    wait(lambda: dock.session.patient)
    draw_strokes(dock, folder / "gtv.nii.gz")
    train(dock, minutes)
    dock.result_panel.marked_only.setChecked(True)
    pause(2)
    dock.workbench.comparison.use_file(str(folder / "gtv.nii.gz"))
    dock.view_panel.fusion.slider.setValue(100)
    pause(3)
    viewer.window.screenshot(str(TARGET), canvas_only=False, flash=False)
    viewer.close()
    pause(1)


if __name__ == "__main__":
    main()
