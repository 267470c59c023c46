"""The review log: whole after any kill, and no byte of it changes unseen."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.privacy import account
from cmfnet_napari.core.review.check_log import check_lines, check_log
from cmfnet_napari.core.review.log_entry import LOG_FILE
from cmfnet_napari.core.review.log_words import log_rows
from cmfnet_napari.core.review.review_log import ReviewLog, reader_name
from cmfnet_napari.core.review.signer import End, known_ends, own_signer, remember_end
from cmfnet_napari.core.review.standing import standing

CASE = "0123456789abcdef"
ODD = 'Dr. Müller-"Ünal" {腫瘍} \\'


@pytest.fixture
def log(tmp_path):
    """Six entries, two readers, on the disk."""
    log = ReviewLog(tmp_path, CASE)
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
    check = check_log(tmp_path, CASE)
    assert check.ok
    assert [e.what for e in check.entries] == [
        "began", "looked", "accepted", "reviewed", "looked", "peer-reviewed",
    ]  # fmt: skip
    assert check.entries[0].detail["case"] == CASE
    assert check.entries[-1].reader == ODD
    assert check.entries[-1].account == account()
    assert check.sentences == [
        "6 entries, as written.",
        f"The key {own_signer().key[:16]} (this account's on this computer) signed 6.",
    ]
    again = ReviewLog(tmp_path, CASE)
    assert again.entries == log.entries
    again.append("withdrawn")
    assert check_log(tmp_path, CASE).entries[-1].n == 7
    values = json.loads(lines[3])  # by the definition alone
    public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(values["key"]))
    public.verify(bytes.fromhex(values["signature"]), values["hash"].encode())


def test_a_changed_byte_is_found_wherever_it_is(lines):
    for number, line in enumerate(lines[:-1], start=1):
        for place in range(0, len(line), 7):
            changed = bytearray(line)
            changed[place] ^= 1
            found = check_lines([*lines[: number - 1], bytes(changed), *lines[number:]], CASE)
            assert f"line {number}" in found.broken, (number, place, found)
            assert len(found.entries) == number - 1
            assert not found.ok


def test_lines_that_go_come_or_move_are_found(lines, log):
    without = check_lines([*lines[:2], *lines[3:]], CASE)
    assert without.broken.endswith("line 3: entry 4 stands where entry 3 belongs.")
    assert "line 4" in check_lines([*lines[:3], lines[2], *lines[3:]], CASE).broken
    assert "line 2" in check_lines([lines[0], lines[2], lines[1], *lines[3:]], CASE).broken
    assert "line 3" in check_lines([*lines[:2], b"", *lines[2:]], CASE).broken
    assert "line 2" in check_lines([lines[0], b'{"what": "reviewed"}', *lines[1:]], CASE).broken
    cut = check_lines([*lines[:4], b""], CASE, known_ends(CASE))
    assert cut.missing.startswith("The review log ends early: 2 of 6 entries are missing")
    assert not cut.ok


def test_who_writes_a_log_anew_needs_the_key_and_is_found_by_an_export(log, tmp_path, monkeypatch):
    last = log.entries[-1]
    end = End(last.n, last.hash, log.name)
    values = [json.loads(line) for line in (tmp_path / LOG_FILE).read_bytes().splitlines()]
    monkeypatch.setenv("CMFNET_REVIEW", str(tmp_path / "another computer"))
    other = tmp_path / "other"
    other.mkdir()
    forged = ReviewLog(other, CASE)
    for one in values[1:]:
        forged.append(one["what"], one["detail"], one["contour"], one["reader"])
    check = check_log(other, CASE)
    assert check.ok  # it follows the rules; the key is another one
    assert check.keys[0][0] != last.key
    assert "of another review log, of 6 entries" in check_log(other, CASE, [end]).missing
    theirs = check_log(tmp_path, CASE)  # the first one, looked at on this other computer
    assert theirs.ok
    assert not theirs.remembered
    assert any("another account or computer" in said for said in theirs.sentences)
    assert any("this computer cannot tell" in said for said in theirs.sentences)
    assert not any("cannot tell" in said for said in check_log(tmp_path, CASE, [end]).sentences)


def test_a_half_line_is_no_change_and_the_log_goes_on(lines, tmp_path):
    path, whole = tmp_path / LOG_FILE, len(lines) - 2
    kept = b"\n".join(lines[:whole]) + b"\n"
    for length in range(1, len(lines[whole]), 5):
        path.write_bytes(kept + lines[whole][:length])
        found = check_lines(path.read_bytes().split(b"\n"), CASE)
        assert (found.broken, found.halves, len(found.entries)) == ("", 1, whole), length
    for tail in (lines[whole][:50], b"\0" * 80):
        path.write_bytes(kept + tail)
        log = ReviewLog(tmp_path, CASE)
        log.append("looked", {"plane": "axial", "index": 9}, "ee")
        log.append("looked", {"plane": "axial", "index": 8}, "ff")
        found = check_log(tmp_path, CASE)
        assert (found.broken, found.halves, len(found.entries)) == ("", 1, whole + 2)
        after = path.read_bytes().split(b"\n")
        assert "half line" in check_lines([*after[:whole], *after[whole + 1 :]], CASE).broken
    path.write_bytes(kept + lines[whole])  # only the end of the line is missing
    ReviewLog(tmp_path, CASE).append("withdrawn")
    assert check_log(tmp_path, CASE).ok


def test_a_kill_at_any_moment_leaves_a_log_that_verifies(tmp_path):
    script = (
        "import sys; from pathlib import Path\n"
        "from cmfnet_napari.core.review.review_log import ReviewLog\n"
        "log = ReviewLog(Path(sys.argv[1]), '0123456789abcdef')\n"
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
        check = check_log(tmp_path, CASE)
        assert check.ok, check.sentences
        assert len(check.entries) >= told  # what was said to be written is there


def test_a_case_without_a_log_a_reader_without_a_name_a_key_that_is_none(tmp_path, monkeypatch):
    assert check_log(tmp_path, CASE).nothing
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
    remember_end("../../etc", End(1, "aa", "bb"))
    assert known_ends("../../etc") == []


def test_a_forged_line_counts_for_nothing_and_what_follows_tells_of_it(log, lines, tmp_path):
    path = tmp_path / LOG_FILE
    forged = json.loads(lines[-2]) | {"n": 7, "before": log.entries[-1].hash, "reader": "Prof Fake"}
    forged |= {"what": "peer-reviewed", "contour": "ff", "hash": "0" * 64}
    path.write_bytes(path.read_bytes() + json.dumps(forged, sort_keys=True).encode() + b"\n")
    again = ReviewLog(tmp_path, CASE)
    assert standing(again.entries, "ff", None).stage == "draft"
    assert again.check.fault == (
        f"The review log was changed at line 7: entry 7 is not what was written on "
        f"{again.entries[-1].moment}."
    )
    for index in (7, 8):  # it goes on behind the forged line
        again.append("looked", {"plane": "axial", "index": index}, "aa")
    again.to_disk()
    check = check_log(tmp_path, CASE)
    assert [entry.n for entry in check.entries] == [*range(1, 9)]
    assert check.broken == again.check.broken  # for good
    after = path.read_bytes().split(b"\n")
    assert len(check_lines([*after[:6], *after[7:]], CASE).entries) == 6  # nor can it be taken out
    changed = after[6].replace(b"Fake", b"Real")
    assert len(check_lines([*after[:6], changed, *after[7:]], CASE).entries) == 6


@pytest.mark.parametrize(
    "detail",
    [
        {"slices": "two"}, {"slices": [1]}, {"difference": {"Tumour": {}}}, {"difference": 3},
        {"difference": {"Tumour": {"dice": "x", "added_ml": 0, "removed_ml": 0}}},
        {"before": {"slices": {"axial": "x"}}}, {"before": 1}, {"voxel": 5}, {"index": -1},
        {"unseen": "3"}, {"first": {}}, {"slices": 10**400},
    ],
)  # fmt: skip
def test_a_detail_that_cannot_be_read_breaks_the_log_and_nothing_else(lines, tmp_path, detail):
    """Signed by a key that is right: whoever has one cannot make a program fail, either."""
    log = ReviewLog(tmp_path, CASE)
    with pytest.raises(ValueError, match="detail"):
        log.append("peer-reviewed", detail, "cc")
    values = json.loads(lines[-2])
    values["detail"] = detail
    line = json.dumps(values, sort_keys=True).encode()
    check = check_lines([*lines[:-2], line, b""], CASE)
    assert "line 6: it is no entry" in check.broken
    assert len(log_rows(check.entries)) == 5


def test_a_log_that_is_emptied_deleted_or_swapped_is_missed(log, lines, tmp_path):
    path = tmp_path / LOG_FILE
    path.write_bytes(b"")
    assert "with 6 entries, which this computer has written, is not here" in (
        check_log(tmp_path, CASE).missing
    )
    path.unlink()
    assert not check_log(tmp_path, CASE).nothing
    other = tmp_path / "other"
    other.mkdir()
    ReviewLog(other, "00" * 8).append("reviewed", {"unseen": 0}, "cc", "Prof Fake")
    path.write_bytes((other / LOG_FILE).read_bytes())  # of another case
    found = check_log(tmp_path, CASE)
    assert found.broken == "The review log was changed at line 1: it is the log of another case."
    assert found.entries == ()
    path.unlink()
    anew = ReviewLog(tmp_path, CASE)
    anew.append("reviewed", {"unseen": 0}, "cc", "Prof Fake")
    assert "is not here" in check_log(tmp_path, CASE).missing
    anew.to_disk()  # on this very computer: from here on it is known; the window notes the fault
    assert check_log(tmp_path, CASE).ok
    assert check_log(other, "00" * 8).ok


def test_a_full_disk_after_a_kill_is_no_change(log, lines, tmp_path, monkeypatch):
    path = tmp_path / LOG_FILE
    path.write_bytes(b"\n".join(lines[:5]) + b"\n" + lines[5][:40])
    again = ReviewLog(tmp_path, CASE)

    def full(*_):
        raise UserError("The disk is full.")

    with monkeypatch.context() as patch:
        patch.setattr("cmfnet_napari.core.review.review_log.append_line", full)
        with pytest.raises(UserError):
            again.append("looked", {"plane": "axial", "index": 3}, "aa")
    again.append("looked", {"plane": "axial", "index": 3}, "aa")
    check = check_log(tmp_path, CASE)
    assert (check.broken, check.halves, len(check.entries)) == ("", 1, 6)


def test_two_writes_to_the_disk_that_pass_each_other_leave_the_newer_end(log, monkeypatch):
    waiting = []

    def sync(_):
        if not waiting:  # the first one is slow: meanwhile another entry is brought to the disk
            log.append("withdrawn")
            waiting.append(threading.Thread(target=log.to_disk))
            waiting[0].start()
            waiting[0].join(timeout=0.2)

    log.append("looked", {"plane": "axial", "index": 6}, "aa")
    monkeypatch.setattr("cmfnet_napari.core.review.review_log.os.fsync", sync)
    log.to_disk()
    waiting[0].join()
    assert [end.entries for end in known_ends(CASE)] == [8]


def test_a_time_that_the_system_does_not_know_is_shown_as_it_stands(log, monkeypatch):
    class Moment:
        def fromisoformat(self):
            return Moment()

        def astimezone(self):
            raise OSError(22, "Invalid argument")  # as on Windows for years such as 1026

    monkeypatch.setattr("cmfnet_napari.core.review.log_entry.datetime", Moment)
    entry = log.entries[0]
    assert entry.moment == entry.time


def test_what_was_found_before_is_not_found_anew_while_the_log_is_the_same(tmp_path, monkeypatch):
    log = ReviewLog(tmp_path, CASE)
    log.append("looked", {"axial": [3]})
    before = check_log(tmp_path, CASE)
    asked = []
    monkeypatch.setattr(
        "cmfnet_napari.core.review.review_log.check_log",
        lambda *given: asked.append(given) or check_log(*given),
    )
    assert ReviewLog(tmp_path, CASE, check=before).entries == log.entries
    assert not asked
    log.append("looked", {"axial": [4]})  # as by a window that still had the case
    again = ReviewLog(tmp_path, CASE, check=before)
    assert len(asked) == 1
    assert again.entries == log.entries
    again.append("looked", {"axial": [5]})
    assert not check_log(tmp_path, CASE).fault
