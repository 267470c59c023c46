"""Nothing about a patient gets out, and nothing from outside is taken for a path or markup."""

from __future__ import annotations

from pathlib import Path

import pytest

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.privacy import inside, printable, redact, redacted_traceback


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/data/DOE/ct.nii.gz does not exist.", "<path> does not exist."),
        ("/data/DOE JOHN/ct.nii.gz does not exist.", "<path> does not exist."),
        ("/data/Doe John 1970.nii.gz is cut off", "<path> is cut off"),
        ("No such file: '/data/DOE JOHN'", "No such file: '<path>'"),
        ('open("C:\\\\Users\\\\Doe John\\\\ct") failed', 'open("<path>") failed'),
        ("C:\\Users\\Doe John\\ct.nrrd: no access", "<path>: no access"),
        ("C:/Users/Doe/ct is gone", "<path> is gone"),
        ("\\\\server\\share\\Doe\\a.dcm broke", "<path> broke"),
        ("see file:///home/doe/x.html now", "see <path> now"),
        ("~/patients/doe is read-only", "<path> is read-only"),
        ("../patients/doe: no", "<path>: no"),
        ("DOE_JOHN.nii.gz holds NaN", "<path> holds NaN"),
        ("/data/<b>x</b>[red].nii.gz is cut off", "<path> is cut off"),
        ("moved /data/a/b, then /data/c", "moved <path>, then <path>"),
        ("The folder /mnt/p/Müller, Hans/CT cannot be read", "The folder <path> cannot be read"),
        ("C:\\Users\\Doe, John\\ct.nii.gz is bad", "<path> is bad"),
        ("see /data/a, /data/b and more", "see <path>, <path> and more"),
        ("data/DOE_JOHN/ct.nii is bad", "<path> is bad"),
        ("(DOE_JOHN/CT/IM1.DCM)", "<path>)"),
        ("DOE_1.hdr DOE.img DOE.nhdr DOE.zip: no", "<path> <path> <path> <path>: no"),
        ("The model DOE.safetensors is damaged", "The model <path> is damaged"),
        ("denied: 'DOE_JOHN/CT'", "denied: '<path>'"),
        ('denied: "DOE O\'Brien/CT"', 'denied: "<path>"'),
        # what is no path stays
        (
            'File "cmfnet_napari/core/privacy.py", line 3',
            'File "cmfnet_napari/core/privacy.py", line 3',
        ),
        ("CT/MR pair, 3 mm/s, and/or 1/2", "CT/MR pair, 3 mm/s, and/or 1/2"),
        ("see https://pypi.org/project/x", "see https://pypi.org/project/x"),
        ("a <b>bold</b> word", "a <b>bold</b> word"),
        ("runs/0001-quick/model.safetensors", "runs/0001-quick/model.safetensors"),
        ("loss 0.5 at 12:30", "loss 0.5 at 12:30"),
    ],
)
def test_paths_are_taken_out(monkeypatch, text, expected):
    for name in ("USER", "LOGNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/nonexistent/mueller")
    assert redact(text) == expected


def test_what_steers_a_terminal_is_taken_out():
    assert printable("a\x1b[31mred\x07\r\nb é×…") == "a\ufffd[31mred\ufffd\ufffd\nb é×…"


def test_the_users_name_is_taken_out(monkeypatch):
    monkeypatch.setenv("USER", "jdoe")
    monkeypatch.setenv("HOME", "/home/jdoe")
    assert redact("locked by jdoe, not by jdoette") == "locked by <path>, not by jdoette"


def test_a_traceback_keeps_the_code_and_loses_the_data(tmp_path):
    file = tmp_path / "DOE^JOHN" / "ct.nii.gz"
    try:
        file.read_bytes()
    except OSError as error:
        text = redacted_traceback(error)
    assert "DOE" not in text
    assert str(tmp_path) not in text
    assert 'test_privacy.py", line ' in text
    assert "FileNotFoundError" in text


@pytest.mark.parametrize(
    "name", ["../secret", "runs/../../secret", "/etc/passwd", "", ".", "a\0b", "way-out/secret"]
)
def test_a_name_that_leads_out_of_the_case_is_refused(tmp_path, name):
    case = tmp_path / "case"
    (case / "runs").mkdir(parents=True)
    (tmp_path / "secret").write_text("x")
    (case / "way-out").symlink_to(tmp_path)
    with pytest.raises(UserError, match="outside its folder"):
        inside(case, name)


def test_a_name_within_the_case_is_a_path(tmp_path):
    assert inside(tmp_path, "runs/0001-quick/preview.npy") == Path(
        tmp_path.resolve() / "runs" / "0001-quick" / "preview.npy"
    )
