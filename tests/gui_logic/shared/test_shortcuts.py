"""Keys as data: none twice, each with something to do, and only in a viewer with a patient."""

from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Labels

from cmfnet_napari.gui.key_sheet import SHORTCUTS, sheet
from cmfnet_napari.gui.shared import shortcuts
from cmfnet_napari.gui.shared.shortcuts import _action, bind_keys, unbind_keys


@pytest.fixture
def bound(monkeypatch):
    """Keys that remember what they did in a viewer."""
    monkeypatch.setattr(shortcuts, "_register", lambda _: None)  # napari's own, for all viewers
    viewer, layer, did = ViewerModel(), Labels(np.zeros((2, 2, 2), np.uint8)), []
    actions = {
        shortcut: lambda *held, title=shortcut.title: did.append((title, *held))
        for shortcut in SHORTCUTS
    }
    bind_keys(viewer, layer, actions)
    yield viewer, layer, actions, did
    unbind_keys(layer, actions)


def press(viewer, shortcut):
    done = _action(shortcut)(viewer)
    if shortcut.held:
        list(done)


def test_no_key_is_given_twice():
    keys = [str(shortcut.key) for shortcut in SHORTCUTS]
    assert len(keys) == len(set(keys))
    names = [shortcut.name for shortcut in SHORTCUTS]
    assert len(names) == len(set(names))


def test_every_key_acts_in_its_viewer(bound):
    viewer, _, _, did = bound
    for shortcut in SHORTCUTS:
        press(ViewerModel(), shortcut)  # one without a patient
    assert did == []
    for shortcut in SHORTCUTS:
        press(viewer, shortcut)
    assert did == [
        entry
        for shortcut in SHORTCUTS
        for entry in (
            [(shortcut.title, True), (shortcut.title, False)]
            if shortcut.held
            else [(shortcut.title,)]
        )
    ]


def test_keys_that_were_let_go_of_do_nothing(bound):
    viewer, layer, actions, did = bound
    unbind_keys(layer, actions)
    for shortcut in SHORTCUTS:
        press(viewer, shortcut)
    assert did == []


def test_all_keys_are_on_the_sheet():
    assert all(shortcut.title in sheet() for shortcut in SHORTCUTS)
