"""Controllers of the window without a window: no viewer, no display, no event loop, no thread."""

from __future__ import annotations

import os
import sys
from functools import lru_cache

import pytest

pytest.importorskip("napari", reason="the window needs napari: pip install 'cmfnet-napari[all]'")

from napari.components import ViewerModel

from cmfnet_napari.gui.workbench import Workbench
from tests.gui_logic.stand_ins import Background, Client, StandInSession, Timer


@pytest.fixture(scope="session", autouse=True)
def settings(tmp_path_factory):
    """napari's settings are nobody's own."""
    path = tmp_path_factory.mktemp("napari") / "settings.yaml"
    os.environ.setdefault("NAPARI_CONFIG", str(path))


@pytest.fixture
def session(tmp_path):
    """A stand-in session without a patient."""
    return StandInSession(tmp_path)


@pytest.fixture
def background(monkeypatch):
    """What the controllers do in threads, in the hands of the test."""
    background = Background()
    _everywhere(monkeypatch, "run_in_background", background.run)
    return background


@pytest.fixture(autouse=True)
def timers(monkeypatch):
    """Timers that only a test fires."""
    _everywhere(monkeypatch, "QTimer", Timer)


@pytest.fixture
def bench(tmp_path, monkeypatch, background, said):
    """A whole workbench with napari's model of a viewer, which needs no display."""
    monkeypatch.setattr(
        "cmfnet_napari.gui.shared.shortcuts._register", lambda _: None
    )  # napari's own
    monkeypatch.setenv("CMFNET_CASES", str(tmp_path / "cases"))
    monkeypatch.setenv("CMFNET_PREFERENCES", str(tmp_path / "window.json"))
    bench = Workbench(ViewerModel())
    yield bench
    bench.close()


@pytest.fixture
def clients(monkeypatch):
    """The workers that were started."""
    made = []

    def make(command):
        made.append(Client(command))
        return made[-1]

    _everywhere(monkeypatch, "WorkerClient", make)
    return made


@pytest.fixture(autouse=True)
def models(tmp_path, monkeypatch):
    """The models folder of a test; it is not there yet. No model comes with the package."""
    monkeypatch.setenv("CMFNET_MODELS", str(tmp_path / "models"))
    monkeypatch.setattr("cmfnet_napari.gui.training.base_models.BUILT_IN", tmp_path / "built-in")
    return tmp_path / "models"


@pytest.fixture
def said(monkeypatch):
    """What is said to the user."""
    words = []
    for name in ("show_info", "show_warning"):
        _everywhere(monkeypatch, name, words.append)
    _everywhere(monkeypatch, "show_failure", lambda error: words.append(str(error)))
    return words


class Heard(list):
    """The signals of a controller, in the order they came: (name, arguments)."""

    def listen(self, controller, *names):
        for name in names:
            getattr(controller, name).connect(lambda *values, n=name: self.append((n, *values)))
        return self


@pytest.fixture
def heard():
    return Heard()


def _everywhere(monkeypatch, name, value):
    """Put something in place of a name in every module of the window that has imported it."""
    for module in _of_the_window(len(sys.modules)):
        if hasattr(module, name) and module.__name__ != "cmfnet_napari.gui.shared.tasks":
            monkeypatch.setattr(module, name, value)


@lru_cache(maxsize=1)
def _of_the_window(_imported):
    """Its modules; looked for among thousands only when one was imported."""
    return [m for n, m in sys.modules.items() if n.startswith("cmfnet_napari.gui.")]
