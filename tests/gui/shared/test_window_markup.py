"""Names from outside are shown letter by letter: no tag in them is followed."""

from __future__ import annotations

import json
from functools import partial

import pytest
from napari.utils.notifications import notification_manager
from qtpy.QtCore import Qt
from qtpy.QtGui import QTextDocumentFragment
from qtpy.QtWidgets import QLabel, QWidget

from cmfnet_napari.core.fit.events import Preview
from cmfnet_napari.gui.patient.opened import open_files
from cmfnet_napari.gui.shared.markup import plain

FILE = "<b>x<b>[red].nii.gz"
NAME = "<img src=x>"


def followed(dock):
    """Labels and tool tips in which Qt would follow the tag."""
    labels = [
        label.text()
        for label in dock.findChildren(QLabel)
        if label.textFormat() == Qt.TextFormat.RichText
        or (label.textFormat() == Qt.TextFormat.AutoText and Qt.mightBeRichText(label.text()))
    ]
    tips = [w.toolTip() for w in dock.findChildren(QWidget) if Qt.mightBeRichText(w.toolTip())]
    return [text for text in labels + tips if "<img" in text]


def as_shown(label):
    if label.textFormat() == Qt.TextFormat.PlainText:
        return label.text()
    return QTextDocumentFragment.fromHtml(label.text()).toPlainText()


def test_qt_takes_a_name_for_markup_unless_told_otherwise():
    assert Qt.mightBeRichText(NAME)
    assert not Qt.mightBeRichText(plain(NAME))
    assert plain(NAME).replace("\u200b", "") == NAME


def test_a_files_name_in_a_notification(dock, tmp_path, qtbot):
    notification_manager.records.clear()
    dock.open_panel.first.path = str(tmp_path / FILE)
    dock.open_panel.open_button.click()
    qtbot.waitUntil(lambda: bool(notification_manager.records), timeout=10000)
    message = notification_manager.records[-1].message
    assert FILE in message.replace("\u200b", "")
    assert not Qt.mightBeRichText(message)
    assert not Qt.mightBeRichText(dock.open_panel.first._line.toolTip())


def test_a_class_of_somebody_elses_case(opened, patient, qtbot):
    dock, session = opened, opened.session
    folder = session.case.folder
    card = json.loads((folder / "case.json").read_text())
    card["classes"][1]["name"] = NAME
    (folder / "case.json").write_text(json.dumps(card))
    with qtbot.waitSignal(session.opened, timeout=20000):
        session.open(partial(open_files, patient.ct, patient.mr))
    assert session.case.class_names == [NAME]
    opened.workbench.result.changed.emit({NAME: 1.5})
    opened.workbench.training.failed.emit(f"No stroke of {NAME}.", "")
    opened.workbench.training.noticed.emit(NAME)
    qtbot.wait(800)  # the preflight looks after a pause
    assert as_shown(dock.result_panel.volumes) == f"{NAME}: 1.5 ml"
    assert dock.training_panel.message.text() == NAME
    assert followed(dock) == []


@pytest.mark.parametrize("name", ["../secret.npy", "/etc/passwd"])
def test_a_preview_outside_the_case_is_not_read(opened, name, qtbot):
    (opened.session.case.folder.parent / "secret.npy").write_bytes(b"x")
    notification_manager.records.clear()
    opened.workbench.training._on_event(Preview(step=1, labels=name, agreement=0.5))
    qtbot.waitUntil(lambda: bool(notification_manager.records), timeout=10000)
    assert "outside its folder" in notification_manager.records[-1].message
