"""What is kept for the user: folders of every question, recent cases; damaged files harm nobody."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from napari.settings import get_settings
from qtpy.QtCore import Qt

from cmfnet_napari.gui.shared import dialogs
from cmfnet_napari.gui.shared.preferences import _read, preferences, preferences_file


@pytest.fixture(autouse=True)
def file(tmp_path, monkeypatch):
    path = tmp_path / "settings" / "window.json"
    monkeypatch.setenv("CMFNET_PREFERENCES", str(path))
    return path


def again():
    """As after a restart."""
    _read.cache_clear()
    return preferences()


@pytest.mark.parametrize(
    ("typed", "chosen", "whole"),
    [
        ("a", "", "a.pdf"),
        ("a", "JSON (*.json)", "a.json"),
        ("a 1.5", "", "a 1.5.pdf"),
        ("a.JSON", "", "a.JSON"),
        ("a.pdf", "", "a.pdf"),
    ],
)
def test_a_file_that_is_there_is_asked_about_once(tmp_path, monkeypatch, typed, chosen, whole):
    """By the system's dialog as it was typed; here once an ending was put behind that."""
    kinds, asked, sure = "PDF (*.pdf);;JSON (*.json)", [], [False]

    def question(_parent, _title, text, *_answers, **_default):
        asked.append(text)
        answers = dialogs.QMessageBox.StandardButton
        return answers.Yes if sure[0] else answers.No

    typed, whole = tmp_path / typed, tmp_path / whole
    monkeypatch.setattr(dialogs.QFileDialog, "getSaveFileName", lambda *_: (str(typed), chosen))
    monkeypatch.setattr(dialogs.QMessageBox, "question", question)

    def ask():
        return dialogs.ask_save(None, "Save", "review.pdf", kinds)

    assert ask() == str(whole)
    whole.write_text("another patient's")
    assert ask() == ("" if typed != whole else str(whole))
    sure[0] = True
    assert ask() == str(whole)
    assert len(asked) == (2 if typed != whole else 0)
    assert all(f"{whole.name} is there already" in text for text in asked)


@pytest.mark.parametrize(
    ("typed", "whole"), [("a", "a.nii.gz"), ("a.nii", "a.nii"), ("a.mha", "a.mha"), ("", "")]
)
def test_an_image_ends_as_it_is_proposed(monkeypatch, typed, whole):
    monkeypatch.setattr(dialogs.QFileDialog, "getSaveFileName", lambda *_: (typed, ""))
    assert dialogs.ask_target(None, "Save", "prediction.nii.gz") == whole


def test_a_question_begins_where_its_kind_was_answered_last(tmp_path, monkeypatch):
    asked = []
    models, images = tmp_path / "models", tmp_path / "images"
    models.mkdir()
    images.mkdir()

    def answer(path):
        def ask(_parent, _title, start, *_kinds):
            asked.append(start)
            return path, ""

        return ask

    monkeypatch.setattr(dialogs.QFileDialog, "getOpenFileName", answer(str(models / "a.x")))
    dialogs.ask_model(None, "Model")
    monkeypatch.setattr(dialogs.QFileDialog, "getOpenFileName", answer(str(images / "ct.nii")))
    dialogs.ask_file(None, "CT")
    monkeypatch.setattr(dialogs.QFileDialog, "getOpenFileName", answer(""))  # thought better of
    again()
    assert dialogs.ask_model(None, "Model") == ""
    dialogs.ask_file(None, "CT")
    assert asked == ["", "", str(models), str(images)]
    models.rmdir()
    dialogs.ask_model(None, "Model")
    assert asked[-1] == ""  # it is not there any more

    saved = []
    monkeypatch.setattr(
        dialogs.QFileDialog,
        "getSaveFileName",
        lambda _parent, _title, name, _kinds: saved.append(name) or (str(images / "b.nii"), ""),
    )
    for _ in range(2):
        dialogs.ask_target(None, "Save", "prediction.nii.gz")
    assert saved == ["prediction.nii.gz", str(images / "prediction.nii.gz")]


@pytest.mark.skipif(os.name != "posix", reason="Windows has no modes")
def test_folders_may_be_called_like_patients(file):
    before = os.umask(0)
    try:
        preferences().opened("a")
    finally:
        os.umask(before)
    assert [oct(path.stat().st_mode & 0o777) for path in (file.parent, file)] == ["0o700", "0o600"]


def test_recent_cases_are_the_newest_first_each_once_and_can_be_forgotten(file):
    for name in [*"abcdefghij", "c"]:
        preferences().opened(name)
    preferences().folders["images"] = "/somewhere"
    preferences().write()
    assert again().recent == ["c", "j", "i", "h", "g", "f", "e", "d"]
    preferences().forget()
    assert (again().recent, again().folders) == ([], {})
    assert "somewhere" not in file.read_text()


def test_folders_that_napari_remembers_are_forgotten_too():
    settings = get_settings()
    settings.application.open_history = ["/data/DOE JOHN"]
    settings.application.save_history = ["/data/DOE JANE"]
    settings.save()
    kept = Path(settings.config_path)
    assert "DOE" in kept.read_text()
    preferences().forget()
    assert "DOE" not in kept.read_text()


@pytest.mark.parametrize("text", ["{", "[]", '{"recent": 3, "folders": [], "room": 7}', '{"a": 1}'])
def test_a_damaged_file_is_a_new_installation(file, text):
    file.parent.mkdir()
    file.write_text(text)
    found = again()
    assert (found.recent, found.folders, found.room, found.wheel_zooms) == ([], {}, "images", False)


def test_a_choice_counts_after_a_restart_and_no_folder_is_no_harm(file, monkeypatch, tmp_path):
    kept = preferences()
    kept.wheel_zooms, kept.room = True, "napari"
    kept.write()
    assert json.loads(file.read_text())["room"] == "napari"
    assert (again().wheel_zooms, again().room) == (True, "napari")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CMFNET_PREFERENCES", str(tmp_path / "file" / "window.json"))
    preferences().opened("a")  # it cannot be written
    assert preferences_file().parent.name == "file"


def test_words_of_a_file_are_no_markup_in_a_question(monkeypatch):
    asked = []

    def answer(_parent, _title, text, _buttons, defaultButton):  # noqa: N803 (Qt's name)
        asked.append(text)
        return defaultButton

    monkeypatch.setattr(dialogs.QMessageBox, "question", answer)
    assert not dialogs.ask_sure(None, "Placed?", "<img src='file:///x'> lies elsewhere.")
    assert not Qt.mightBeRichText(asked[0])
    assert asked[0].endswith("lies elsewhere.")
