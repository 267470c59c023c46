"""The list of models to start from."""

from __future__ import annotations

import json
from functools import partial

import numpy as np
from napari.utils.notifications import notification_manager
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog, QWidget
from safetensors.numpy import save_file

from cmfnet_napari.core.fit.config import make_config
from cmfnet_napari.core.fit.events import decode_command
from cmfnet_napari.core.fit.model_card import FORMAT, Card
from cmfnet_napari.gui.patient.opened import open_files
from cmfnet_napari.gui.training.card_check import CardCheck
from cmfnet_napari.gui.training.model_card_dialog import ModelCardDialog
from tests.gui_logic.training.test_base_models import write

NOTHING = "Strokes alone (from nothing)"


def items(box):
    return [box.itemText(i) for i in range(box.count())]


def choose(monkeypatch, path):
    """What the file dialog answers."""
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(path), ""))


def test_the_list_of_models(dock, models, qtbot, tmp_path, monkeypatch):
    thinking_better_of_it_changes_nothing(dock, monkeypatch)
    what_is_no_model_is_said_and_not_added(dock, models, qtbot, tmp_path, monkeypatch)
    every_control_is_reached_with_the_tab_key(dock)
    dock.tabs.setCurrentIndex(0)
    models_of_the_folder_are_offered_with_what_their_card_says(dock, models)


def thinking_better_of_it_changes_nothing(dock, monkeypatch):
    choose(monkeypatch, "")
    dock.training_panel.begin.add_button.click()
    assert items(dock.training_panel.begin.base) == [NOTHING]


def what_is_no_model_is_said_and_not_added(dock, models, qtbot, tmp_path, monkeypatch):
    path = tmp_path / "photo.safetensors"
    path.write_bytes(b"not a model")
    choose(monkeypatch, path)
    notification_manager.records.clear()
    dock.training_panel.begin.add_button.click()
    qtbot.waitUntil(lambda: bool(notification_manager.records), timeout=5000)
    assert "photo.safetensors is damaged" in notification_manager.records[-1].message
    assert items(dock.training_panel.begin.base) == [NOTHING]
    assert not models.exists()


def every_control_is_reached_with_the_tab_key(dock):
    dock.tabs.setCurrentIndex(2)
    panel = dock.training_panel
    wanted = [panel.begin.preset, panel.begin.base, panel.begin.add_button, panel.train_button]
    follower, order = wanted[0], [wanted[0]]
    while follower.nextInFocusChain() is not wanted[0]:
        follower: QWidget = follower.nextInFocusChain()
        order.append(follower)
    places = [order.index(widget) for widget in wanted]
    assert places == sorted(places)
    assert all(widget.focusPolicy() & Qt.FocusPolicy.TabFocus for widget in wanted)


def models_of_the_folder_are_offered_with_what_their_card_says(dock, models):
    begin = dock.training_panel.begin
    assert items(begin.base) == [NOTHING]
    assert begin.base_path is None
    write(models / "sarcoma.safetensors", steps=12000, data=("a", "b", "c"), created="2026-01-31")
    write(models / "organs.safetensors", classes=8, steps=500, metrics={"dsc": 0.806})
    (models / "broken.safetensors").write_bytes(b"half a file")
    dock.tabs.setCurrentIndex(2)  # what is new in the folder is there when the tab is opened
    assert items(begin.base) == [NOTHING, "organs", "sarcoma"]
    tips = [begin.base.itemData(i, Qt.ItemDataRole.ToolTipRole) for i in (1, 2)]
    assert tips == [
        "organs: 7 classes, trained for 500 steps; mean DSC 0.81 on patients it had not seen.",
        "sarcoma: 1 class, trained for 12,000 steps on 3 patients; made on 2026-01-31.",
    ]
    begin.base.setCurrentIndex(2)
    assert begin.base_path == models / "sarcoma.safetensors"
    assert "voxels of 2.5 mm" in begin.help.text()  # the model's, not the preset's
    assert tips[1] in begin.help.text()
    dock.tabs.setCurrentIndex(1)
    dock.tabs.setCurrentIndex(2)
    assert begin.base.currentText() == "sarcoma"  # and stays chosen


def test_a_fit_is_told_its_base_model(opened, fake, scribble, models, qtbot):
    path = write(models / "sarcoma.safetensors")
    fake("good")
    scribble()
    opened.tabs.setCurrentIndex(2)
    opened.training_panel.begin.base.setCurrentIndex(1)
    opened.training_panel.train_button.click()
    card = opened.training_panel.findChild(ModelCardDialog)  # a model that is new here
    assert "says nothing of intended use" in card.text.toPlainText()
    assert opened.workbench.training.state == "idle"
    card.reject()
    opened.training_panel.train_button.click()
    *_, card = opened.training_panel.findChildren(ModelCardDialog)
    with qtbot.waitSignal(opened.workbench.training.finished, timeout=30000):
        card.use_button.click()
    command = decode_command((opened.session.case.folder / "command.json").read_text())
    assert command.base == str(path)


def test_without_a_model_a_fit_starts_from_nothing(opened, fake, scribble, qtbot):
    fake("good")
    scribble()
    with qtbot.waitSignal(opened.workbench.training.finished, timeout=30000):
        opened.training_panel.train_button.click()
    command = json.loads((opened.session.case.folder / "command.json").read_text())
    assert command["base"] == ""


def test_a_model_that_cannot_be_used_is_said_before_the_worker_starts(
    opened, fake, scribble, models
):
    path = models / "organs.safetensors"
    fake("good")
    scribble()
    for harm, words in (
        (lambda: write(path, classes=3), "organs knows 2 classes, but the strokes mark 1"),
        (path.unlink, "holds no model"),
    ):
        write(path)
        opened.tabs.setCurrentIndex(1)
        opened.tabs.setCurrentIndex(2)
        opened.training_panel.begin.base.setCurrentIndex(1)
        assert opened.training_panel.begin.base_path == path
        harm()
        if path.exists():
            CardCheck(opened.session).note_read(opened.training_panel.begin.model)
        notification_manager.records.clear()
        opened.training_panel.train_button.click()
        assert words in notification_manager.records[-1].message
        assert opened.workbench.training.process_id == 0
        assert opened.workbench.training.state == "idle"


def test_a_model_is_added_from_a_run_and_chosen(dock, models, qtbot, tmp_path, monkeypatch):
    begin = dock.training_panel.begin
    model = write(tmp_path / "0003-standard" / "model.safetensors")
    choose(monkeypatch, model)
    with qtbot.waitSignal(dock.workbench.base_models.added, timeout=5000):
        begin.add_button.click()
    assert begin.base.currentText() == "0003-standard"
    assert begin.base_path.read_bytes() == model.read_bytes()
    assert [path.name for path in models.iterdir()] == ["0003-standard.safetensors"]


def test_a_long_name_keeps_its_ends_in_the_list_and_is_whole_beside_it(dock, models):
    name = "soft-tissue-sarcoma-of-the-thigh-12"
    write(models / f"{name}.safetensors")
    dock.tabs.setCurrentIndex(2)
    begin = dock.training_panel.begin
    begin.base.setCurrentIndex(1)
    assert begin.base.currentText() == "soft-tissue-…-the-thigh-12"
    assert name in begin.help.text()
    assert begin.base.fontMetrics().horizontalAdvance(begin.base.currentText()) < 200


def test_the_choice_is_locked_while_it_trains(opened, fake, scribble, qtbot):
    fake("endless")
    scribble()
    begin = opened.training_panel.begin
    with qtbot.waitSignal(opened.workbench.training.stepped, timeout=30000):
        opened.training_panel.train_button.click()
    assert not begin.base.isEnabled()
    assert not begin.add_button.isEnabled()


def test_a_model_of_the_package_is_proposed_until_the_user_chooses(dock, patient, tmp_path, qtbot):
    begin = dock.training_panel.begin

    def proposed(mr):
        with qtbot.waitSignal(dock.session.opened, timeout=20000):
            dock.session.open(partial(open_files, patient.ct, mr))
        return begin.base_path

    limb = write(tmp_path / "built-in" / "limb.safetensors", modalities=("CT", "MR"))
    assert proposed(patient.mr) is None  # of one structure on such images: the user may choose it
    anywhere = make_config("quick", stroke_maps=True, drawn_voxels=27)
    path = write(tmp_path / "built-in" / "structure.safetensors", config=anywhere)
    assert proposed(None) == path
    begin.base.setCurrentIndex(begin.base.findText("limb"))
    assert proposed(patient.mr) == limb  # what the user chose stays
    begin.base.setCurrentIndex(0)
    dock.tabs.setCurrentIndex(2)
    assert begin.base_path is None


def test_a_model_that_reads_strokes_is_said_to_need_no_training(dock, models):
    card = Card(config=make_config("quick", stroke_maps=True), classes=2, steps=600)
    models.mkdir()
    weights = {"weight": np.zeros(4, np.float32)}
    metadata = {"format": FORMAT, "card": card.model_dump_json()}
    save_file(weights, models / "reader.safetensors", metadata)
    dock.tabs.setCurrentIndex(2)
    begin = dock.training_panel.begin
    begin.base.setCurrentIndex(1)
    assert begin.help.text().startswith("No training: the model contours from your strokes")
    begin.base.setCurrentIndex(0)
    assert "300 steps" in begin.help.text()
