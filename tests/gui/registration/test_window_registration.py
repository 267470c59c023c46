"""The MR moved on the CT with the keyboard and by the computer: seen, kept, undone."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from napari.utils.notifications import notification_manager

from cmfnet_napari.core.errors import CancelledError, UserError
from cmfnet_napari.core.images.checkerboard import Checkerboard
from cmfnet_napari.core.images.study import study_from_images
from cmfnet_napari.core.images.volume import read_image
from cmfnet_napari.gui.contours.result import Result
from cmfnet_napari.gui.patient.opened import open_files
from cmfnet_napari.gui.registration.nudge import nudged
from tests.gui.conftest import SHAPE


@pytest.fixture
def settle(opened, qtbot):
    """Wait until the MR is shown where it lies."""
    image_placement = opened.workbench.image_placement

    def wait():
        qtbot.waitUntil(lambda: not image_placement._resampling, timeout=15000)
        qtbot.wait(30)

    wait()
    return wait


def shown(session):
    return np.array(session.second_layer.data)


def weight(array):
    """Centre of what is bright, (z, y, x) voxels."""
    bright = array > 250
    return np.argwhere(bright).mean(axis=0)


def test_keys_move_the_mr_as_it_is_seen(opened, settle, hand):
    session = opened.session
    opened.open_panel.registration.by_keys.setChecked(True)
    for plane, key, way in (
        ("axial", "Alt+Right", (0, 0, 1)),
        ("axial", "Alt+Down", (0, 1, 0)),
        ("coronal", "Alt+Up", (1, 0, 0)),  # to the head
        ("sagittal", "Alt+Right", (0, 1, 0)),
        ("axial", "Alt+PgUp", (1, 0, 0)),
    ):
        before = shown(session)
        hand.look_at(plane, (5, 10, 8))
        for _ in range(6):
            hand.press(key)
        settle()
        moved = (weight(shown(session)) - weight(before)) * session.case.study.grid.spacing
        np.testing.assert_allclose(moved, 6 * np.array(way), atol=1.3, err_msg=f"{plane} {key}")
        opened.workbench.image_placement.discard()
        settle()
    assert session.case.registrations.current.how == "frame of reference"  # nothing was kept


def test_kept_undone_and_there_again(opened, settle, hand, qtbot, patient, monkeypatch):
    session, panel = opened.session, opened.open_panel.registration
    before = shown(session)
    hand.look_at("axial", (5, 10, 8))
    panel.by_keys.setChecked(True)
    hand.press("Alt+Right")
    hand.press("Alt+Shift+Right")
    settle()
    assert "Tried, not yet kept: moved by hand" in panel.state.text()
    tried = shown(session)
    assert not np.array_equal(tried, before)
    notification_manager.records.clear()
    with qtbot.waitSignal(session.opened, timeout=15000):
        panel.keep_button.click()
    settle()
    assert "The MR lies elsewhere now" in notification_manager.records[-1].message
    assert [e.how for e in session.case.registrations.entries] == ["frame of reference", "by hand"]
    np.testing.assert_allclose(shown(session), tried, atol=1e-3)
    assert not panel.by_keys.isChecked()
    named = []
    monkeypatch.setattr(
        "cmfnet_napari.core.report.page.save_report",
        lambda _study, _labels, facts, path, _other: named.append(facts.case) or path,
    )
    nothing = np.zeros(SHAPE, np.uint8)
    monkeypatch.setattr(opened.workbench.result, "shown", lambda: nothing)
    monkeypatch.setattr(Result, "model_labels", nothing)
    opened.workbench.report_export.save_report("report.pdf")
    qtbot.waitUntil(lambda: bool(named), timeout=10000)
    assert named == [session.case.folder.name]  # not the hash of what it is now

    with qtbot.waitSignal(session.opened, timeout=15000):  # the same files find the same place
        session.open(partial(open_files, patient.ct, patient.mr))
    np.testing.assert_allclose(shown(session), tried, atol=1e-3)
    settle()
    with qtbot.waitSignal(session.opened, timeout=15000):
        panel.undo_button.click()
    settle()
    np.testing.assert_allclose(shown(session), before, atol=1e-3)
    assert len(session.case.registrations.entries) == 1


def test_trials_one_after_another(opened, settle, qtbot, monkeypatch, patient):
    placement = opened.workbench.image_placement

    def discard():
        if placement.trial is not None:
            placement.discard()
            settle()

    looked_at_tried_and_discarded(opened, settle)
    for act in (
        registered_by_the_computer,
        a_search_can_be_cancelled,
        a_place_that_could_not_be_kept_is_not_said_to_be,
        a_thin_mr_is_moved_about_its_middle,
    ):
        with monkeypatch.context() as patch:
            act(opened, settle, qtbot, patch)
        discard()
    edges_follow_the_mr(opened, settle)
    discard()
    a_place_off_the_ct_is_refused_and_the_mr_goes_back(opened, settle, patient)
    a_trial_is_seen_in_squares_and_ends_with_the_patient(opened, settle)


def looked_at_tried_and_discarded(opened, settle):
    session, panel = opened.session, opened.open_panel.registration
    before = shown(session)
    assert "The MR lies as its file says." in panel.state.text()
    assert "100 % of it lie within the CT" in panel.state.text()
    assert not panel.trial.isVisibleTo(panel)
    assert not panel.undo_button.isEnabled()
    opened.workbench.image_placement.nudge((4, 0, 0, 0))
    settle()
    assert not np.array_equal(shown(session), before)
    np.testing.assert_array_equal(session.case.study.second.array, before)  # nothing is kept yet
    panel.discard_button.click()
    settle()
    np.testing.assert_allclose(shown(session), before, atol=1e-3)
    assert session.second_layer.data is session.case.study.second.array
    assert not panel.trial.isVisibleTo(panel)
    assert opened.workbench.image_placement.trial is None


def registered_by_the_computer(opened, settle, qtbot, monkeypatch):
    """The search itself is tested in core; here, that its answer is tried and shown."""
    session, panel = opened.session, opened.open_panel.registration
    matrix = nudged(
        np.eye(4), session.case.study.grid, (0, 1, 2), np.zeros(3), (2.0, 0.0, 0.0, 0.0)
    )
    monkeypatch.setattr(
        "cmfnet_napari.gui.registration.image_placement.register", lambda *_args: matrix
    )
    panel.register_button.click()
    assert not panel.register_button.isEnabled()
    qtbot.waitUntil(lambda: opened.workbench.image_placement.trial is not None, timeout=10000)
    settle()
    assert "Tried, not yet kept: registered by the computer" in panel.state.text()
    assert panel.trial.isVisibleTo(panel)


def a_search_can_be_cancelled(opened, settle, qtbot, monkeypatch):
    def search(_ct, _mr, _start, progress, _kinds):
        while progress(0.3):
            time.sleep(0.01)
        raise CancelledError

    monkeypatch.setattr("cmfnet_napari.gui.registration.image_placement.register", search)
    panel = opened.open_panel
    panel.registration.register_button.click()
    qtbot.waitUntil(lambda: panel.cancel_button.isVisibleTo(panel), timeout=5000)
    panel.cancel_button.click()
    qtbot.waitUntil(panel.registration.register_button.isEnabled, timeout=5000)
    assert opened.workbench.image_placement.trial is None
    assert not panel.cancel_button.isVisibleTo(panel)


def edges_follow_the_mr(opened, settle):
    session, panel = opened.session, opened.open_panel.registration
    panel.edges.setChecked(True)
    settle()
    layer = opened.workbench.image_placement.edges
    first = layer.data.copy()
    assert first.any()
    opened.workbench.image_placement.nudge((0, 5, 0, 0))
    settle()
    assert not np.array_equal(layer.data, first)
    panel.edges.setChecked(False)
    assert layer not in session.viewer.layers


def a_place_off_the_ct_is_refused_and_the_mr_goes_back(opened, settle, patient):
    session = opened.session
    before = shown(session)
    notification_manager.records.clear()
    opened.workbench.image_placement.nudge((900, 0, 0, 0))
    settle()
    settle()
    assert "covers 0 % of the CT" in notification_manager.records[-1].message
    assert opened.workbench.image_placement.trial is None
    np.testing.assert_allclose(shown(session), before, atol=1e-3)
    straight = study_from_images(read_image(patient.ct), read_image(patient.mr))
    np.testing.assert_allclose(before, straight.second.array, atol=1e-3)


def a_place_that_could_not_be_kept_is_not_said_to_be(opened, settle, qtbot, monkeypatch):
    session = opened.session
    opened.workbench.image_placement.nudge((4, 0, 0, 0))
    settle()

    def full(_entry):
        raise UserError("The disk is full.")

    monkeypatch.setattr(session.case, "register", full)
    notification_manager.records.clear()
    opened.workbench.image_placement.keep()
    qtbot.waitUntil(lambda: bool(notification_manager.records), timeout=10000)
    assert [record.message for record in notification_manager.records] == ["The disk is full."]


def a_thin_mr_is_moved_about_its_middle(opened, settle, _qtbot, monkeypatch):
    session = opened.session
    fov = np.zeros(SHAPE, bool)
    fov[5:8, 2:19, 3:14] = True
    monkeypatch.setattr(session.patient.case, "study", replace(session.case.study, seen=fov))
    opened.workbench.image_placement.nudge((0, 0, 0, 90))
    centre = session.case.study.grid.to_patient(np.array([6.0, 10.0, 8.0]))
    matrix = opened.workbench.image_placement.trial.array
    np.testing.assert_allclose((matrix @ [*centre, 1])[:3], centre, atol=1e-6)
    settle()


def a_trial_is_seen_in_squares_and_ends_with_the_patient(opened, settle):
    session = opened.session
    layer, kept = session.second_layer, session.case.study.second.array
    opened.workbench.fusion.set_board(True)
    opened.workbench.image_placement.nudge((4, 0, 0, 0))
    settle()
    assert isinstance(layer.data, Checkerboard)
    assert not np.array_equal(layer.data.image, kept)
    opened.workbench.close()
    assert layer.data is kept


def test_no_mr_no_panel(dock, patient, qtbot):
    with qtbot.waitSignal(dock.session.opened, timeout=15000):
        dock.session.open(partial(open_files, patient.ct))
    assert not dock.open_panel.registration.isVisibleTo(dock.open_panel)
    dock.open_panel.registration.by_keys.setChecked(True)
    assert not dock.workbench.image_placement.by_keys


def test_training_shows_the_place_that_is_kept(opened, settle, fake, scribble, qtbot):
    session = opened.session
    before = shown(session)
    opened.workbench.image_placement.nudge((4, 0, 0, 0))
    settle()
    scribble()
    fake("slow")
    opened.workbench.training.start("quick")
    settle()
    qtbot.waitUntil(lambda: np.allclose(shown(session), before, atol=1e-3), timeout=10000)
    with pytest.raises(UserError, match="Training is running"):
        opened.workbench.image_placement.nudge((1, 0, 0, 0))
    opened.workbench.training.stop()
    qtbot.waitUntil(lambda: not opened.workbench.training.running, timeout=10000)
