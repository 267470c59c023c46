"""What is drawn while nothing can be written is neither lost nor passed over in silence."""

from __future__ import annotations

import sqlite3
from contextlib import closing, contextmanager

import numpy as np
import pytest
from napari.components import ViewerModel

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.strokes import journal_file
from cmfnet_napari.gui.workbench import Workbench
from tests.case_runs import write_run
from tests.gui_logic.stand_ins import CT_SHAPE, come, patient

BOX = np.s_[1:4, 2:6, 2:5]


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(journal_file, "_WAIT_SECONDS", 0.05)


@pytest.fixture
def shown(bench):
    one = patient()
    labels = np.zeros(CT_SHAPE, np.uint8)
    labels[BOX] = 1
    write_run(one.case, labels)
    come(bench.session, lambda: one)
    return bench


@contextmanager
def held(bench):
    """Another program, such as a backup, holds the journal's file."""
    path = bench.session.case.folder / "strokes.sqlite"
    with closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.rollback()


def draw(bench):
    """One stroke and one edit of the contour."""
    bench.session.scribbles.data[0, 0, :3] = 2
    bench.result.prediction.data[1, 2, 2:5] = 0


def test_a_patient_with_strokes_that_are_not_saved_is_not_left(shown, said):
    session, other = shown.session, patient(value=50)
    with held(shown):
        draw(shown)
        here = session.patient
        come(session, lambda: other)
        assert session.patient is here
        assert said[0].startswith("What was drawn last is not saved yet. The stroke could not be")
    come(session, lambda: other)
    assert session.patient is other
    come(session, patient)
    assert session.scribbles.data[0, 0, :3].tolist() == [2, 2, 2]
    assert shown.result.shown()[1, 2, 2:5].tolist() == [0, 0, 0]


def test_an_edit_that_is_not_saved_stays_on_the_screen(shown):
    result = shown.result
    with held(shown):
        draw(shown)
        with pytest.raises(UserError, match="could not be saved"):
            result.show_own(True)
        assert not result.own
        assert result.prediction.data[1, 2, 2:5].tolist() == [0, 0, 0]
    result.show_own(True)
    assert result.prediction.data[1, 2, 2:5].tolist() == [1, 1, 1]
    assert result.shown()[1, 2, 2:5].tolist() == [0, 0, 0]


def test_what_is_lost_with_its_layer_is_not_called_kept(shown, said):
    with held(shown):
        draw(shown)
        shown.session.viewer.layers.remove(shown.session.scribbles)
    assert shown.session.patient is None
    assert any("could not be saved" in words for words in said)
    assert not any("are kept" in words for words in said)


def test_a_layer_that_nothing_can_be_recorded_of_holds_nobody(shown, said):
    """Only opening the patient again gets it back."""
    session, other = shown.session, patient(value=50)
    shown.result.prediction.data = np.zeros((2, 3, 4), np.uint8)
    come(session, lambda: other)
    assert session.patient is other


def test_one_case_is_not_open_in_two_viewers_of_a_program(shown, said):
    """The lock is the program's; each viewer followed only its own strokes and classes."""
    second = Workbench(ViewerModel())
    try:
        come(second.session, patient)
        assert second.session.patient is None
        assert not second.session.viewer.layers
        assert said == [
            "This patient is open in another viewer of this program. Close it there, then open it "
            "here."
        ]
        assert not shown.session.case.closed
        shown.close()
        come(second.session, patient)
        assert second.session.writable
    finally:
        second.close()
