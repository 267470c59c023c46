"""Which steps are done, and what is missing."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtCore import QObject, Signal

from cmfnet_napari.gui.step_marks import StepMarks
from tests.gui_logic.stand_ins import SHAPE, StandInResult


class Tabs(QObject):
    """Tabs of a dock that nobody sees."""

    def __init__(self):
        super().__init__()
        self.titles, self.tips = {}, {}

    def tabText(self, index):  # noqa: N802
        return self.titles.get(index, "")

    def setTabText(self, index, text):  # noqa: N802 (Qt's name)
        self.titles[index] = text

    def setTabToolTip(self, index, text):  # noqa: N802
        self.tips[index] = text


class Result(StandInResult):
    saved = Signal(str)


class Export(QObject):
    exported = Signal(str, object)


class Review(QObject):
    changed = Signal()
    complete = False


@pytest.fixture
def marks(session):
    marks = StepMarks(Tabs(), session, Result(), Review(), Export())
    session.recorder.present = np.array([0], np.uint8)
    return marks


def done(marks):
    return [title[0] == "✓" for title in marks._tabs.titles.values()]


def test_without_a_patient_a_ct_is_missing(marks, session):
    assert set(marks._tabs.tips.values()) == {"Open an image first."}
    session.open()
    assert done(marks) == [True, False, False, False, False]
    session.close()
    assert done(marks) == [False] * 5
    assert marks._tabs.titles[1] == "2 Scribble"


def test_steps_are_ticked_one_by_one(marks, session):
    session.open()
    assert "stroke" in marks._tabs.tips[1]
    session.recorder.present = np.array([0, 1, 2], np.uint8)
    session.strokes_changed.emit()
    assert done(marks) == [True, True, False, False, False]
    marks._result.labels = np.ones(SHAPE, np.uint8)
    marks._result.changed.emit({"Tumour": 1.0})
    assert done(marks) == [True, True, True, False, False]
    assert marks._tabs.tips[3] == "Slices or places were not looked at yet."
    marks._review.complete = True
    marks._review.changed.emit()
    marks._result.saved.emit("prediction.nii.gz")
    assert done(marks) == [True] * 5
    marks._result.changed.emit({"Tumour": 2.0})  # what was saved is not what is shown
    assert done(marks) == [True, True, True, True, False]
    marks._export.exported.emit("gtv.dcm", None)
    assert done(marks) == [True] * 5
