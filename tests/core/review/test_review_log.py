"""The review log: whole after any kill, and no byte of it changes unseen."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.privacy import account
from cmfnet_napari.core.review.check_log import check_lines, check_log
from cmfnet_napari.core.review.review_log import LOG_FILE, ReviewLog, reader_name
from cmfnet_napari.core.review.signer import End, known_end, own_signer

ODD = 'Dr. Müller-"Ünal" {腫瘍} \\'


@pytest.fixture
def log(tmp_path):
    """Six entries, two readers, on the disk."""
    log = ReviewLog(tmp_path, "0123456789abcdef")
    log.append("looked", {"plane": "axial", "index": 4}, "aa")
    log.append("accepted", {"voxel": [4, 5, 6], "ml": 0.25}, "bb")
    log.append("reviewed", {"unseen": 1}, "cc", "Anna")
    log.append("looked", {"plane": "axial", "index": 5}, "dd", ODD)
    log.append("peer-reviewed", {"first": 4}, "cc", ODD)
    log.to_disk()
    return log


@pytest.fixture
def lines(log, tmp_path):
    return (tmp_path / LOG_FILE).read_bytes().split(b"\n")


def test_a_log_as_written(log, lines, tmp_path):
    check = check_log(tmp_path)
    assert check.ok
    assert [e.what for e in check.entries] == [
        "began", "looked", "accepted", "reviewed", "looked", "peer-reviewed",
    ]  # fmt: skip
    assert check.entries[0].detail["case"] == "0123456789abcdef"
    assert check.entries[-1].reader == ODD
    assert check.entries[-1].account == account()
    assert check.sentences == [
        "6 entries, as written.",
        f"The key {own_signer().key[:16]} (this account's on this computer) signed 6.",
    ]
    again = ReviewLog(tmp_path, "0123456789abcdef")
    assert again.entries == log.entries
    again.append("withdrawn")
    assert check_log(tmp_path).entries[-1].n == 7
    values = json.loads(lines[3])  # by the definition alone
    public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(values["key"]))
    public.verify(bytes.fromhex(values["signature"]), values["hash"].encode())


def test_a_changed_byte_is_found_wherever_it_is(lines):
    for number, line in enumerate(lines[:-1], start=1):
        for place in range(0, len(line), 7):
            changed = bytearray(line)
            changed[place] ^= 1
            found = check_lines([*lines[: number - 1], bytes(changed), *lines[number:]])
            assert f"line {number}" in found.broken, (number, place, found)
            assert len(found.entries) == number - 1
            assert not found.ok


def test_lines_that_go_come_or_move_are_found(lines, log):
    without = check_lines([*lines[:2], *lines[3:]])
    assert without.broken.endswith("line 3: entry 4 stands where entry 3 belongs.")
    assert "line 4" in check_lines([*lines[:3], lines[2], *lines[3:]]).broken
    assert "line 2" in check_lines([lines[0], lines[2], lines[1], *lines[3:]]).broken
    assert "line 3" in check_lines([*lines[:2], b"", *lines[2:]]).broken
    assert "line 2" in check_lines([lines[0], b'{"what": "reviewed"}', *lines[1:]]).broken
    cut = check_lines([*lines[:4], b""])
    assert cut.missing.startswith("The review log ends early: 2 of 6 entries are missing")
    assert not cut.ok
    assert check_lines([b""]).ok  # an empty file does not even say which log it was


def test_who_writes_a_log_anew_needs_the_key_and_is_found_by_an_export(log, tmp_path, monkeypatch):
    last = log.entries[-1]
    end = End(last.n, last.hash)
    values = [json.loads(line) for line in (tmp_path / LOG_FILE).read_bytes().splitlines()]
    monkeypatch.setenv("CMFNET_REVIEW", str(tmp_path / "another computer"))
    other = tmp_path / "other"
    other.mkdir()
    forged = ReviewLog(other, "0123456789abcdef")
    for one in values[1:]:
        forged.append(one["what"], one["detail"], one["contour"], one["reader"])
    check = check_log(other)
    assert check.ok  # it follows the rules; the key is another one
    assert check.keys[0][0] != last.key
    assert "written anew" in check_log(other, [end]).missing
    theirs = check_log(tmp_path)  # the first one, looked at on this other computer
    assert theirs.ok
    assert not theirs.remembered
    assert any("another account or computer" in said for said in theirs.sentences)
    assert any("this computer cannot tell" in said for said in theirs.sentences)
    assert not any("cannot tell" in said for said in check_log(tmp_path, [end]).sentences)


def test_a_half_line_is_no_change_and_the_log_goes_on(lines, tmp_path):
    path, whole = tmp_path / LOG_FILE, len(lines) - 2
    kept = b"\n".join(lines[:whole]) + b"\n"
    for length in range(1, len(lines[whole]), 5):
        path.write_bytes(kept + lines[whole][:length])
        found = check_lines(path.read_bytes().split(b"\n"), ())
        assert (found.broken, found.halves, len(found.entries)) == ("", 1, whole), length
    for tail in (lines[whole][:50], b"\0" * 80):
        path.write_bytes(kept + tail)
        log = ReviewLog(tmp_path, "0123456789abcdef")
        log.append("looked", {"plane": "axial", "index": 9}, "ee")
        log.append("looked", {"plane": "axial", "index": 8}, "ff")
        found = check_log(tmp_path)
        assert (found.broken, found.halves, len(found.entries)) == ("", 1, whole + 2)
        after = path.read_bytes().split(b"\n")
        assert "half line" in check_lines([*after[:whole], *after[whole + 1 :]]).broken
    path.write_bytes(kept + lines[whole])  # only the end of the line is missing
    ReviewLog(tmp_path, "0123456789abcdef").append("withdrawn")
    assert check_log(tmp_path).ok


def test_a_kill_at_any_moment_leaves_a_log_that_verifies(tmp_path):
    script = (
        "import sys; from pathlib import Path\n"
        "from cmfnet_napari.core.review.review_log import ReviewLog\n"
        "log = ReviewLog(Path(sys.argv[1]), 'case')\n"
        "for n in range(100000):\n"
        "    log.append('looked', {'plane': 'axial', 'index': n}, 'aa')\n"
        "    n % 20 or log.to_disk()\n"
        "    print(log.entries[-1].n, flush=True)\n"
    )
    told = 0
    for _ in range(3):
        command = [sys.executable, "-c", script, str(tmp_path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
            for _ in range(30):
                told = int(writer.stdout.readline())
            writer.send_signal(signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
        check = check_log(tmp_path)
        assert check.ok, check.sentences
        assert len(check.entries) >= told  # what was said to be written is there


def test_a_case_without_a_log_a_reader_without_a_name_a_key_that_is_none(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="has no review log"):
        check_log(tmp_path)
    for typed in ("", "  \n", "\u202e"):
        with pytest.raises(UserError, match="Say who reads"):
            reader_name(typed)
    with pytest.raises(UserError, match="64 characters"):
        reader_name("x" * 65)
    assert reader_name(" Dr.\nO'Hara\t腫 ") == "Dr. O'Hara 腫"
    monkeypatch.setenv("CMFNET_REVIEW", str(tmp_path / "keys"))
    ReviewLog(tmp_path, "case").append("looked")
    (tmp_path / "keys" / "key").write_text("none")
    before = (tmp_path / LOG_FILE).read_bytes()
    with pytest.raises(UserError, match="cannot be used"):
        ReviewLog(tmp_path, "case").append("looked")
    assert (tmp_path / LOG_FILE).read_bytes() == before
    assert known_end("../../etc") is None
