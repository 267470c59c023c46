"""napari with the dock in place, for ``cmfnet open`` and ``cmfnet demo``."""

from __future__ import annotations

import gc
import os
import sys
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.images.modality import Modalities
from cmfnet_napari.core.isolation import python_command
from cmfnet_napari.gui.opengl import advice, last_words
from cmfnet_napari.remote.hosts import host_called

if TYPE_CHECKING:
    import napari

    from cmfnet_napari.gui.dock import CmFNetDock

_DOCK_WIDTH = 360
_BINDINGS = ("PyQt6", "PySide6", "PyQt5", "PySide2")


def open_window(
    first: str | Path | None = None,
    second: str | Path | None = None,
    scribbles: str | Path | None = None,
    *,
    modalities: Modalities = ("", ""),
    demo: bool = False,
    on: str = "",
    via: str | None = None,
) -> None:
    """Show the window and return when it is closed.

    Parameters
    ----------
    first, second, scribbles : path, optional
        What to open; without a first image the window starts empty.
    modalities : tuple of str
        What the images are, where the user says it.
    demo : bool
        Open the synthetic patient with its scribbles and start a quick training.
    on, via : str
        Another computer that trains, as in ``ssh NAME``, and what starts it there.

    Raises
    ------
    UserError
        napari, a Qt binding, a display or OpenGL is missing.
    """
    host = host_called(on, via) if on else None
    check_window()
    import napari

    from cmfnet_napari.gui.patient.opened import open_files, open_phantom

    viewer = napari.Viewer(title="CmFNet", show_welcome_screen=False)
    dock = add_dock(viewer)
    if host is not None:
        dock.workbench.training.where.choose(on, via)
    # napari looks for garbage at every layer that goes. All that is there by now stays: looking
    # through it froze the window for 0.1 to 0.3 s each time.
    gc.collect()
    gc.freeze()
    if demo:
        _train_when_open(dock)
        dock.session.open(open_phantom)
    elif first is not None:
        dock.session.open(partial(open_files, first, second, scribbles, modalities))
    napari.run()


def add_dock(viewer: napari.Viewer) -> CmFNetDock:
    """Dock CmFNet at the right of a viewer."""
    _, dock = viewer.window.add_plugin_dock_widget("cmfnet-napari", "CmFNet")
    dock.resize(_DOCK_WIDTH, dock.height())
    return dock


def check_window() -> None:
    """Raise UserError, in words, when no window can be shown here."""
    if find_spec("napari") is None or not any(find_spec(name) for name in _BINDINGS):
        raise UserError(
            "The window needs napari and a Qt binding. Install them with: "
            'pip install "cmfnet-napari[all]"'
        )
    if sys.platform.startswith("linux") and not (
        os.environ.get("DISPLAY")
        or os.environ.get("WAYLAND_DISPLAY")
        or os.environ.get("QT_QPA_PLATFORM")
    ):
        raise UserError(
            "There is no display to show the window on. Use 'cmfnet demo --headless', 'cmfnet fit' "
            "and 'cmfnet predict' here, or start it in a desktop session."
        )
    _check_qt()


def _check_qt() -> None:
    """Try Qt and OpenGL in another process: where a library is missing Qt aborts the whole one."""
    import subprocess

    probe = (
        "from qtpy.QtWidgets import QApplication\n"
        "from qtpy.QtGui import QOffscreenSurface, QOpenGLContext\n"
        "app = QApplication([])\n"
        "surface = QOffscreenSurface(); surface.create()\n"
        "context = QOpenGLContext()\n"
        "raise SystemExit(0 if context.create() and context.makeCurrent(surface) else 7)\n"
    )
    try:
        result = subprocess.run(
            python_command("-c", probe), capture_output=True, timeout=60, check=False
        )
    except subprocess.TimeoutExpired:
        return  # a slow display is still one
    if result.returncode == 7:
        raise UserError(
            "This display has no OpenGL, which napari needs. Install a graphics driver"
            + (", or set LIBGL_ALWAYS_SOFTWARE=1." if sys.platform.startswith("linux") else ".")
        )
    if result.returncode:
        reason = last_words(result.stderr.decode(errors="replace")) or "it does not say why"
        raise UserError(
            f"Qt cannot open a window here ({reason}). {advice(reason) or 'Check the display. '}"
            "'cmfnet doctor' tells more."
        )


def _train_when_open(dock: CmFNetDock) -> None:
    """Train on the first patient that opens, which is made up: no card has to be read for it."""
    from cmfnet_napari.gui.shared.widgets import said

    def train() -> None:
        dock.session.opened.disconnect(train)
        dock.tabs.setCurrentIndex(2)
        said(dock.training_panel.start_at_once)()

    dock.session.opened.connect(train)
