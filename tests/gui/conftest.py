"""A display, a viewer with the dock, a tiny patient, and hands that paint."""

from __future__ import annotations

import atexit
import contextlib
import gc
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk

from tests import forked

HERE = Path(__file__).parent
SHAPE = (12, 20, 16)  # z, y, x on the Study's Grid
SPACING = (3.0, 0.9, 1.1)
LISTS = ("QMenu", "QtPopup", "QComboBoxPrivateContainer")  # of layer controls, with their window
SMALL = 900, 600  # pixels of a window, for tests (as WINDOW) to which a large one says no more
HANGS_MS = 120_000  # whoever waits longer than this waits for what will not come

pytest.importorskip("napari", reason="the window needs napari: pip install 'cmfnet-napari[all]'")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.window)


@pytest.fixture(scope="session", autouse=True)
def display(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A virtual display where there is none, software OpenGL, and napari settings of its own."""
    os.environ["NAPARI_CONFIG"] = str(tmp_path_factory.mktemp("napari") / "settings.yaml")
    if not sys.platform.startswith("linux") or os.environ.get("DISPLAY"):
        yield
        return
    if shutil.which("Xvfb") is None:
        pytest.skip("no display and no Xvfb: apt-get install xvfb")
    os.environ.setdefault("LIBGL_ALWAYS_SOFTWARE", "1")
    os.environ.setdefault("LP_NUM_THREADS", "0")  # it draws itself: two threads wait for each other
    read, write = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(write), "-screen", "0", "1400x950x24", "-nolisten", "tcp"],
        pass_fds=[write],
        stderr=subprocess.DEVNULL,
    )
    os.close(write)
    with os.fdopen(read) as pipe:
        os.environ["DISPLAY"] = f":{pipe.readline().strip()}"
    atexit.register(server.terminate)  # after Qt's last event: without a display it would exit(1)
    yield


@pytest.fixture(scope="session", autouse=True)
def manifests() -> Iterator[None]:
    """The plugins of this environment, which napari looks for at every viewer, read once."""
    from npe2 import PluginManifest

    discover, found = PluginManifest.discover, []

    def remember(paths: Sequence[str] = ()) -> Iterator[object]:
        if paths:
            yield from discover(paths)
            return
        if not found:
            found.extend(discover())
        yield from found

    PluginManifest.discover = remember
    yield
    PluginManifest.discover = discover


@pytest.fixture(scope="session", autouse=True)
def shaders() -> Iterator[None]:
    """Comments are cut out of each shader's code once, by an expression that takes its time."""
    from vispy.gloo import program

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(program, "re", SimpleNamespace(**{**vars(re), "sub": cache(re.sub)}))
        yield


@pytest.fixture
def qtbot(qtbot: object) -> object:
    """Waits that end with what they wait for: how long that may take says nothing."""
    for name in ("waitUntil", "waitSignal", "waitSignals"):
        setattr(qtbot, name, partial(patiently, getattr(qtbot, name)))
    return qtbot


def patiently(wait: Callable, *what: object, timeout: int = 0, **options: object) -> object:
    return wait(*what, timeout=max(timeout, HANGS_MS), **options)


def _nothing(_spare: object) -> None:
    """No worker before a test wants one."""


@pytest.fixture(autouse=True)
def cases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Case folders of a test live with it."""
    monkeypatch.setenv("CMFNET_CASES", str(tmp_path / "cases"))
    monkeypatch.setattr("cmfnet_napari.gui.training.spare_worker.SpareWorker.prepare", _nothing)
    monkeypatch.setenv("CMFNET_PREFERENCES", str(tmp_path / "window.json"))
    return tmp_path / "cases"


@pytest.fixture(autouse=True)
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The models folder of a test; it is not there yet. No model comes with the package."""
    monkeypatch.setenv("CMFNET_MODELS", str(tmp_path / "models"))
    monkeypatch.setattr("cmfnet_napari.gui.training.base_models.BUILT_IN", tmp_path / "built-in")
    return tmp_path / "models"


@pytest.fixture(autouse=True)
def no_window_survives(request: pytest.FixtureRequest, qapp: object) -> Iterator[None]:
    """Fail when a top-level widget is left; napari's lists and empty shells are not ours."""
    from qtpy.QtWidgets import QApplication

    if needs_canvas(request) and "own_window" not in request.fixturenames:
        request.getfixturevalue("napari_viewer")  # it stays
    gc.collect()
    gc.freeze()  # windows collect often: without it each test is slower than the one before
    gc.set_threshold(50_000, 20, 20)  # Python's own 700 costs a tenth of a window test
    before = set(QApplication.topLevelWidgets())
    yield
    collect_deleted()
    left = [w for w in QApplication.topLevelWidgets() if w not in before]
    left = [w for w in left if w.metaObject().className() not in LISTS and w.children()]
    assert not left, f"these widgets survived the test: {left}"


def needs_canvas(request: pytest.FixtureRequest) -> bool:
    """Whether a test looks at napari's window, or uses mouse and keys in it."""
    marked = request.node.get_closest_marker("canvas") is not None
    return marked or bool({"hand", "own_window"} & set(request.fixturenames))


def collect_deleted() -> None:
    """Let go of what Qt was asked to delete, and of what nobody holds any more."""
    from qtpy.QtCore import QEvent, QThreadPool
    from qtpy.QtWidgets import QApplication

    QThreadPool.globalInstance().waitForDone()  # a job holds what it will show its outcome in
    for _ in range(3):
        gc.collect()
        QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
        QApplication.processEvents()


def rotated() -> np.ndarray:
    """Direction cosines (columns x, y, z) of an oblique acquisition: 7° about x, 4° about z."""
    a, b = np.radians(7.0), np.radians(4.0)
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_z = np.array([[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]])
    return about_z @ about_x


def image_of(array: np.ndarray) -> sitk.Image:
    """An LPS array (z, y, x) as an oblique image whose file axes are flipped and permuted."""
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(SPACING[::-1])
    image.SetOrigin((-20.0, 35.0, -400.0))
    image.SetDirection(rotated().ravel().tolist())
    return sitk.DICOMOrient(image, "RSA")


@pytest.fixture
def patient(tmp_path: Path) -> SimpleNamespace:
    """Files of a tiny oblique patient: a body in air with a tumour, and an MR that shows it."""
    _, y, x = np.indices(SHAPE)
    body = ((y - 10) / 8.5) ** 2 + ((x - 8) / 7) ** 2 <= 1
    tumour = np.zeros(SHAPE, bool)
    tumour[4:8, 8:14, 6:11] = True
    noise = np.random.default_rng(3).normal(0, 8, SHAPE)
    ct = np.where(body, 40 + 15 * tumour + noise, -1000 + noise).astype(np.int16)
    mr = np.where(body, 200 + 150 * tumour + noise, 5).astype(np.float32)
    arrays = {"ct": ct, "mr": mr, "tumour": tumour.astype(np.uint8)}
    for name, array in arrays.items():
        sitk.WriteImage(image_of(array), str(tmp_path / f"{name}.nii.gz"))
    paths = {name: tmp_path / f"{name}.nii.gz" for name in arrays}
    return SimpleNamespace(arrays=arrays, **paths)


@pytest.fixture
def dock(request: pytest.FixtureRequest, qtbot: object) -> Iterator[object]:
    """The dock, shown: by itself, or in napari's window where a test needs the canvas."""
    from qtpy.QtWidgets import QApplication

    viewer = None
    if needs_canvas(request):
        from cmfnet_napari.gui.app import add_dock

        own = "own_window" in request.fixturenames
        viewer = request.getfixturevalue("own_window" if own else "napari_viewer")
        canvases()
        dock = add_dock(viewer)
        dock.window().resize(*getattr(request.module, "WINDOW", (1280, 800)))
    else:
        dock = dock_alone()
    QApplication.processEvents()
    yield dock
    with contextlib.suppress(RuntimeError):  # the dock may be closed already
        dock.workbench.close()
    if viewer is None:
        dock.deleteLater()
    elif not own:
        as_new(viewer)
        collect_deleted()
        assert not canvases(), "a view beside the main one survived the test"


@pytest.fixture
def own_window(make_napari_viewer: Callable[..., object]) -> object:
    """A napari window for a test that closes it."""
    return make_napari_viewer(show=True)


@pytest.fixture(scope="session")
def napari_viewer(display: None) -> Iterator[object]:
    """napari's window, the same for all tests: to open one takes longer than most of them."""
    import napari

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("napari._qt.threads.status_checker.StatusChecker.start", _nothing)
        viewer = napari.Viewer(show_welcome_screen=False)
    yield viewer
    viewer.window._qt_window._save_current_window_settings = lambda: None
    viewer.close()


def canvases() -> int:
    """How many were made since this was asked last, and are still there."""
    from napari.qt import QtViewer

    count = len(QtViewer._instances)
    QtViewer._instances.clear()
    return count


def as_new(viewer: object) -> None:
    """Bring napari's window back to what it was before the dock came."""
    from napari.settings import get_settings
    from napari.utils.notifications import notification_manager

    viewer.window.remove_dock_widget("all")
    viewer.layers.clear()
    viewer.dims.ndisplay = viewer.dims.ndim = 2
    viewer.dims.reset()
    notification_manager.records.clear()
    get_settings().reset()


def as_opened(dock: object) -> None:
    """No strokes, in the axial plane, with the brush that is there at first."""
    session, tools = dock.session, dock.scribble_panel.tools
    while session.scribbles.data.any():
        session.undo()
    tools.protect.setChecked(False)
    dock.workbench.drawing.choose("free")
    dock.workbench.planes.show("axial")
    session.scribbles.n_edit_dimensions = 2
    session.scribbles.mode = "pan_zoom"


def dock_alone() -> object:
    """The dock with napari's model of a viewer: all but what napari draws, in a tenth of the time.

    As in napari's window it is told of layers that come and go.
    """
    from napari.components import ViewerModel

    from cmfnet_napari.gui.dock import CmFNetDock

    viewer = ViewerModel()
    dock = CmFNetDock(viewer)
    for event in ("inserted", "removed", "reordered"):
        viewer.layers.events[event].connect(dock.reset_choices)
    dock.resize(380, 800)
    dock.show()
    return dock


@pytest.fixture
def opened(
    request: pytest.FixtureRequest, dock: object, patient: SimpleNamespace, qtbot: object
) -> object:
    """The dock with the tiny patient open."""
    from cmfnet_napari.gui.patient.opened import open_files

    with qtbot.waitSignal(dock.session.opened, timeout=20000):
        dock.session.open(partial(open_files, patient.ct, patient.mr))
    qtbot.wait(100 if needs_canvas(request) else 0)  # canvases get their size in several events
    return dock


@pytest.fixture
def fake(opened: object) -> Callable[[str], None]:
    """Use the fake worker in one of its modes."""

    def use(mode: str) -> None:
        opened.workbench.training.command = partial(fake_command, mode)

    return use


def fake_command(mode: str, case: Path) -> list[str]:
    """Command line of the fake worker in one of its modes."""
    if not forked.CAN_FORK:
        return [sys.executable, str(HERE / "fake_worker.py"), mode, str(case)]
    return forked.command("core", "tests.gui.fake_worker:main", mode, str(case))


def real_command(case: Path) -> list[str]:
    """Command line of the real worker, which need not import anything.

    As the window starts it, it is in training/test_window_real_worker.py.
    """
    if not forked.CAN_FORK:
        from cmfnet_napari.gui.training.worker_client import worker_command

        return worker_command(case)
    return forked.command("training", "tests.learning.programs:cmfnet", "worker", str(case))


@pytest.fixture
def hand(opened: object, qtbot: object) -> Hand:
    """Mouse and keyboard on the canvas."""
    return Hand(opened, qtbot)


def wipe(dock: object) -> None:
    """Take what is written on the main view off the picture."""
    words = dock.view_grid._overlay.words
    for place in ("top", "bottom", "left", "right", "plane", "value", "measure"):
        words.write(place, "")


class Hand:
    """Moves the mouse over voxels of the open case.

    Where a voxel is on the screen is computed here, from the camera and the plane, not by napari.
    """

    def __init__(self, dock: object, qtbot: object) -> None:
        from qtpy.QtOpenGLWidgets import QOpenGLWidget

        self.session, self.workbench = dock.session, dock.workbench
        self.qtbot = qtbot
        self.viewer = dock.session.viewer
        self.canvas = dock.window().centralWidget().findChild(QOpenGLWidget)

    def over(self, pane: object) -> Hand:
        """The same hand over a view beside the main one."""
        other = copy(self)
        other.viewer, other.canvas = pane.view.model, pane.widget.canvas.native
        return other

    def pixel(self, voxel: tuple[int, int, int]) -> object:
        from qtpy.QtCore import QPoint

        viewer, grid = self.viewer, self.session.case.study.grid
        world = np.array(voxel) * grid.spacing + grid.translate
        camera = viewer.scene.camera
        rows, columns = viewer.dims.displayed
        up = -1 if rows == 0 else 1  # the head is up, everything else runs down
        dy = up * (world[rows] - camera.center[-2]) * camera.zoom
        dx = (world[columns] - camera.center[-1]) * camera.zoom
        size = self.canvas.size()
        return QPoint(round(size.width() / 2 + dx), round(size.height() / 2 + dy))

    def look_at(self, plane: str, voxel: tuple[int, int, int]) -> None:
        self.workbench.planes.show(plane)
        self.session.viewer.dims.current_step = voxel
        self.qtbot.wait(100)

    def drag(
        self, *voxels: tuple[int, int, int], button: str = "left", modifier: str = "No"
    ) -> None:
        self.drag_pixels(*[self.pixel(voxel) for voxel in voxels], button=button, modifier=modifier)

    def drag_pixels(self, *points: object, button: str = "left", modifier: str = "No") -> None:
        from qtpy.QtCore import Qt
        from qtpy.QtTest import QTest

        held = getattr(Qt.MouseButton, f"{button.capitalize()}Button")
        keys = getattr(Qt.KeyboardModifier, f"{modifier}Modifier")
        QTest.mouseMove(self.canvas, points[0])
        QTest.mousePress(self.canvas, held, keys, points[0])
        for point in (*points[1:], points[-1]):  # napari may still hold the last one back
            self.qtbot.wait(20)  # moves that follow faster are dropped by vispy
            self._move(point, held, keys)
            self.qtbot.wait(20)
        QTest.mouseRelease(self.canvas, held, keys, points[-1])
        self.qtbot.wait(30)

    def _move(self, point: object, button: object, keys: object) -> None:
        """QTest.mouseMove holds no button; a drag does."""
        from qtpy.QtCore import QEvent, QPointF
        from qtpy.QtGui import QMouseEvent
        from qtpy.QtWidgets import QApplication

        here, everywhere = QPointF(point), QPointF(self.canvas.mapToGlobal(point))
        event = QMouseEvent(QEvent.Type.MouseMove, here, everywhere, button, button, keys)
        QApplication.sendEvent(self.canvas, event)

    def press(self, key: str) -> None:
        from qtpy.QtGui import QKeySequence
        from qtpy.QtTest import QTest

        combination = QKeySequence(key)[0]
        self.canvas.setFocus()
        QTest.keyClick(self.canvas, combination.key(), combination.keyboardModifiers())
        self.qtbot.wait(30)


@pytest.fixture
def scribble(opened: object) -> Callable[[], None]:
    """Enough strokes to train: background and tumour."""

    def draw() -> None:
        strokes = np.zeros(SHAPE, np.uint8)
        strokes[5, 10, 7:10] = 2
        strokes[5, 16, 6:10] = 1
        opened.session.recorder.add(strokes, "import")

    return draw


@pytest.fixture
def predicted(opened: object, fake: Callable, scribble: Callable, qtbot: object) -> object:
    """The dock with the contour of the good fake worker."""
    fake("good")
    scribble()
    with qtbot.waitSignal(opened.workbench.training.finished, timeout=30000):
        opened.training_panel.train_button.click()
    qtbot.waitUntil(lambda: "ml" in opened.result_panel.volumes.text(), timeout=5000)
    return opened
