"""One window writes a case; a second one looks on and says who has it."""

import errno
import getpass
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from filelock import FileLock

from cmfnet_napari.core.case import folder, lock
from cmfnet_napari.core.case.find_case import case_for
from cmfnet_napari.core.case.folder import create_case, open_case
from cmfnet_napari.core.case.lock import HOLDER_FILE, CaseInUseError, CaseLock
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.images.study import Study
from cmfnet_napari.core.images.volume import Volume
from cmfnet_napari.core.strokes.entries import Stroke

HOLD = """
import sys
from pathlib import Path
from cmfnet_napari.core.case.lock import CaseLock
lock = CaseLock(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def study(oblique_grid):
    ct = Volume(np.zeros(oblique_grid.shape, np.int16), oblique_grid, "CT")
    return Study(ct, None, None, oblique_grid)


@pytest.fixture
def other(tmp_path):
    """Another process that holds the case in ``tmp_path/case``."""
    holder = None

    def hold():
        nonlocal holder
        holder = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(tmp_path / "case")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8",
        )  # fmt: skip
        assert holder.stdout.readline() == "held\n"
        return holder

    yield hold
    if holder is not None:
        holder.kill()
        holder.communicate()


def test_a_second_window_looks_on(study, tmp_path, other):
    case = create_case(tmp_path / "case", study)
    stroke = Stroke(np.array([3]), np.zeros(1, np.uint8), np.full(1, 2, np.uint8))
    case.journal.append(stroke)
    case.close()
    process = other()

    with pytest.raises(CaseInUseError, match=f"{getpass.getuser()} on .*process {process.pid}"):
        open_case(tmp_path / "case")
    second = case_for(study, tmp_path / "case")
    assert second.read_only
    assert second.scribbles().reshape(-1)[3] == 2
    with pytest.raises(UserError, match="could not be saved"):
        second.journal.append(stroke)
    with pytest.raises(UserError, match="another window"):
        second.save_classes(second.classes)
    second.close()


def test_a_killed_window_holds_nothing(study, tmp_path, other):
    create_case(tmp_path / "case", study).close()
    process = other()
    process.kill()
    process.wait()
    case = open_case(tmp_path / "case")
    assert not case.read_only
    case.close()
    assert not (tmp_path / "case" / HOLDER_FILE).exists()


def test_one_process_may_open_its_case_again(study, tmp_path, other):
    first = create_case(tmp_path / "case", study)
    second = open_case(tmp_path / "case")
    first.close()
    probe = subprocess.run(
        [sys.executable, "-c", HOLD, str(tmp_path / "case")],
        stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8",
    )  # fmt: skip
    assert "CaseInUseError" in probe.stderr
    second.close()
    other()


def test_a_case_that_does_not_open_is_held_by_nobody_and_stays_as_a_crash_left_it(
    study, tmp_path, other, monkeypatch
):
    case = create_case(tmp_path / "case", study)
    case.close()
    held = other()
    held.kill()
    held.wait()
    left = (tmp_path / "case" / HOLDER_FILE).read_bytes()
    image = tmp_path / "case" / "study" / "ct.nrrd"
    whole = image.read_bytes()
    image.write_bytes(whole + b"x")
    steps = []  # what was left is back before another window can come
    monkeypatch.setattr(lock, "keep_private", lambda path: steps.append(path.name))
    release = FileLock.release
    monkeypatch.setattr(FileLock, "release", lambda self: (steps.append("free"), release(self)))
    with pytest.raises(UserError, match="not those it was made with"):
        open_case(tmp_path / "case")
    assert steps[-2:] == [HOLDER_FILE, "free"]
    monkeypatch.undo()
    assert (tmp_path / "case" / HOLDER_FILE).read_bytes() == left
    image.write_bytes(whole)
    again = open_case(tmp_path / "case")
    assert again.unclean
    again.close()


def test_images_of_a_case_that_another_window_has_are_not_compared(
    study, tmp_path, other, monkeypatch
):
    create_case(tmp_path / "case", study).close()
    other()
    compared = []
    monkeypatch.setattr(folder, "check_images", lambda *what: compared.append(what))
    with pytest.raises(CaseInUseError):
        open_case(tmp_path / "case")
    assert compared == []


def test_a_damaged_note_of_the_holder_is_no_hindrance(study, tmp_path, other):
    create_case(tmp_path / "case", study).close()
    other()
    (tmp_path / "case" / HOLDER_FILE).write_text("[1")
    with pytest.raises(CaseInUseError, match="open in another window\\. Here"):
        CaseLock(tmp_path / "case")


def test_a_lock_that_a_cleaner_removed_lets_no_second_writer_in(tmp_path, study, other):
    """The other window goes on without knowing; it says in in-use.json that it is there."""
    create_case(tmp_path / "case", study).close()
    other()
    (tmp_path / "case" / "case.lock").unlink()
    with pytest.raises(CaseInUseError, match="open in another window"):
        open_case(tmp_path / "case")
    assert case_for(study, tmp_path / "case").read_only
    holder = json.loads((tmp_path / "case" / HOLDER_FILE).read_text())
    holder["started"] -= 100  # another process had that number before
    (tmp_path / "case" / HOLDER_FILE).write_text(json.dumps(holder))
    (tmp_path / "case" / "case.lock").unlink()
    case = open_case(tmp_path / "case")
    assert case.unclean
    case.close()


def test_a_case_that_cannot_be_written_can_be_looked_at(tmp_path, study, monkeypatch):
    create_case(tmp_path / "case", study).close()

    def refuse(*_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr("cmfnet_napari.core.case.lock.FileLock.acquire", refuse)
    case = case_for(study, tmp_path / "case")
    assert case.read_only
    assert "cannot be written" in case.notice
    assert "looked at, not changed" in case.notice
    assert not case.scribbles().any()
