"""Names from outside on a terminal: neither rich's markup nor escape codes are followed."""

from __future__ import annotations

import sys

import pytest

from cmfnet_napari.cli import doctor
from cmfnet_napari.cli import main as cli
from cmfnet_napari.cli.options import print_result
from cmfnet_napari.learning.model.describe import show

NAME = "<b>x<b>[red]\x1b[31m.nii.gz"


def test_a_files_name_in_an_error(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(sys, "argv", ["cmfnet", "evaluate", NAME, NAME])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys.stdout, "reconfigure", lambda **_: None, raising=False)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 1
    said = capsys.readouterr().err
    assert said.startswith("cmfnet: <b>x<b>[red]\ufffd[31m.nii.gz does not exist.")
    assert "\x1b" not in said


def test_tables_show_names_as_they_are(capsys):
    print_result({"prediction": "a[red].nii.gz", "[bold]key": {"[/x]": 1}}, as_json=False)
    show({"model": "a[red]", "software": {"[/b]": "1"}})
    said = capsys.readouterr().out
    for text in ("a[red].nii.gz", "[bold]key", '{"[/x]": 1}', "[/b]: 1"):
        assert text in said


def test_doctor_shows_a_folders_name_as_it_is(monkeypatch, tmp_path, capsys):
    facts = doctor.examine()
    facts["cases"]["folder"] = "/data/[/red]cases"
    doctor.report(facts)
    assert "[/red]cases" in capsys.readouterr().out.replace("\n", "")
