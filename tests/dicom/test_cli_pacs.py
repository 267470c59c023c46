"""cmfnet pacs, as a script meets it."""

from __future__ import annotations

import json

import pydicom
import pytest

from tests.cli.test_cli import run
from tests.dicom.conftest import ROOT
from tests.dicom.orthanc import PASSWORD, USER, free_port


def last(text: str) -> dict:
    return json.loads(text.splitlines()[-1])


@pytest.fixture
def clinic(orthanc, passwords, monkeypatch, capsys) -> str:
    """The PACS, added by the command; its password is asked for."""
    monkeypatch.setattr("typer.prompt", lambda *words, **options: PASSWORD)
    status, _, err = run(capsys, "pacs", "add", "clinic", "--url", orthanc.web, "--user", USER)
    assert (status, err) == (0, "")
    return "clinic"


def test_add_list_echo_remove(clinic, orthanc, capsys) -> None:
    _, out, _ = run(capsys, "pacs", "list", "--json")
    assert last(out) == {"pacs": [{"name": "clinic", "address": orthanc.web}]}
    assert run(capsys, "pacs", "echo", clinic)[:2] == (0, "clinic answers.\n")
    assert run(capsys, "pacs", "remove", clinic)[0] == 0
    assert run(capsys, "pacs", "list")[1] == "Nothing found.\n"


def test_send_find_fetch(clinic, ct_folder, tmp_path, capsys) -> None:
    _, out, _ = run(capsys, "pacs", "send", clinic, ct_folder, "--json")
    assert last(out) == {"sent": [{"pacs": "clinic", "files": 9}]}
    _, out, _ = run(capsys, "pacs", "find", clinic, "--patient-name", "M*", "--json")
    (study,) = last(out)["studies"]
    assert (study["uid"], study["instances"]) == (f"{ROOT}.1", 9)
    _, out, _ = run(capsys, "pacs", "find", clinic, "--study", study["uid"], "--json")
    (series,) = last(out)["series"]
    words = ["pacs", "fetch", clinic, study["uid"], "--series", series["uid"]]
    _, out, _ = run(capsys, *words, "--out", tmp_path / "in", "--json")
    assert last(out)["fetched"][0]["files"] == 9
    assert len([pydicom.dcmread(f) for f in (tmp_path / "in").rglob("*.dcm")]) == 9


def test_a_pacs_that_is_away_is_one_line(passwords, capsys) -> None:
    here = ["--host", "127.0.0.1", "--port", free_port(), "--title", "PACS"]
    assert run(capsys, "pacs", "add", "away", *here)[0] == 0
    status, out, err = run(capsys, "pacs", "echo", "away")
    assert (status, out) == (1, "")
    (line,) = err.splitlines()
    assert line.startswith("cmfnet: away (PACS at 127.0.0.1:")
    assert "cannot be reached" in line
    status, _, err = run(capsys, "pacs", "echo", "nobody")
    assert (status, err.count("\n")) == (1, 1)
