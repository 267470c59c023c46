"""When it is looked for what speaks against a fit, and where a finding is shown."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from cmfnet_napari.core.fit.config import make_config
from cmfnet_napari.core.fit.cost_estimate import Expected
from cmfnet_napari.core.fit.preflight_checks import Finding
from cmfnet_napari.gui.training import preflight as module
from cmfnet_napari.gui.training.preflight import Answer, Preflight
from cmfnet_napari.gui.training.preflight_panel import expected_words
from tests.gui_logic.stand_ins import StandInTraining


class Views:
    """Planes and places that are shown."""

    def __init__(self):
        self.plane, self.went = "axial", []

    def show(self, plane):
        self.plane = plane

    def look_at(self, voxel):
        self.went.append(voxel)


@pytest.fixture
def asked(monkeypatch):
    """The questions that were looked into."""
    asked = []

    def examine(question):
        asked.append(question)
        return Answer((), Expected(1.0, None, None), look=len(asked))

    monkeypatch.setattr(module, "examine", examine)
    return asked


@pytest.fixture
def preflight(session, background, asked, heard):
    views = Views()
    preflight = Preflight(session, StandInTraining(), views, views, lambda: make_config("quick"))
    heard.listen(preflight, "changed")
    return preflight


def test_it_is_looked_once_when_changes_rest(preflight, session, asked, heard):
    preflight._timer.fire()
    assert asked == []  # no patient
    session.open()
    for signal in (session.strokes_changed, session.classes_changed):
        signal.emit()
    preflight._timer.fire()
    (question,) = asked
    assert (question.look, question.training, question.names[2]) == (None, False, "Tumour")
    assert question.journal == session.folder / "strokes.sqlite"
    preflight._training.running = True
    preflight._training.state_changed.emit("training")
    preflight._timer.fire()
    assert (asked[1].look, asked[1].training) == (1, True)  # the images are looked at once
    assert len(heard) == 2


def test_what_changes_while_it_is_looked_is_looked_at_after(preflight, session, asked, background):
    background.held = True
    session.open()
    preflight._timer.fire()
    preflight.refresh()
    preflight._timer.fire()
    assert not preflight._timer.isActive()
    background.catch_up()
    assert preflight._timer.isActive()
    assert len(asked) == 1


def test_an_answer_about_a_patient_that_was_left_is_not_told(preflight, session, background, heard):
    background.held = True
    session.open()
    preflight._timer.fire()
    session.close()
    background.catch_up()
    assert heard == [("changed", None)]


def test_a_failure_is_nobodys_news(preflight, session, heard, monkeypatch):
    def broken(_question):
        raise RuntimeError

    monkeypatch.setattr(module, "examine", broken)
    session.open()
    preflight._timer.fire()
    assert heard == []
    preflight.refresh()
    assert preflight._timer.isActive()


@pytest.mark.parametrize(("plane", "shown"), [("", "axial"), ("sagittal", "sagittal")])
def test_a_finding_is_shown_where_it_is(preflight, session, plane, shown):
    finding = Finding("warning", "Look.", voxel=(1, 2, 3), plane=plane)
    preflight.go_to(finding)
    assert preflight._navigation.went == []  # no patient
    session.scribbles = SimpleNamespace(visible=False)
    session.viewer = SimpleNamespace(layers=SimpleNamespace(selection=SimpleNamespace(active=None)))
    session.open()
    preflight.go_to(Finding("error", "Of nowhere."))
    preflight.go_to(finding)
    assert (preflight._planes.plane, preflight._navigation.went) == (shown, [(1, 2, 3)])
    assert session.viewer.layers.selection.active is session.scribbles
    assert session.scribbles.visible


def test_expected_words():
    gib = 2**30
    assert expected_words(Expected(1.5 * gib, None, None)) == (
        "Expected: about 1.5 GiB of memory on the processor."
    )
    assert expected_words(Expected(gib, 96, 0.32)) == (
        "Expected: about 2 min of training (0.32 s a step in an earlier run) and about 1.0 GiB of "
        "memory on the processor."
    )
