"""One damaged stroke takes nothing else with it."""

import json
import shutil
import sqlite3
from contextlib import closing

import numpy as np
import pytest

from cmfnet_napari.core.case.folder import create_case, open_case
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.images.study import study_from_images
from cmfnet_napari.core.strokes.class_order import ClassStep
from cmfnet_napari.core.strokes.corrections import read_corrections
from cmfnet_napari.core.strokes.entries import Correction, Stroke, class_change
from cmfnet_napari.core.strokes.journal import Journal
from cmfnet_napari.core.strokes.journal_file import JournalHeldError
from cmfnet_napari.core.strokes.mend import mend

SHAPE, STROKES = (10, 20, 30), 300
SIZE = int(np.prod(SHAPE))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A journal of 300 strokes of all sizes, some undone, some corrections; and its rows."""
    path = tmp_path_factory.mktemp("whole") / "strokes.sqlite"
    rng = np.random.default_rng(0)
    with closing(Journal(path)) as journal:
        while journal.last_id() < STROKES:
            voxels = np.sort(rng.choice(SIZE, rng.integers(1, 4000), replace=False))
            codes = np.zeros(voxels.size, np.uint8), rng.integers(1, 4, voxels.size, np.uint8)
            kind = (Stroke, Correction)[journal.last_id() % 7 == 6]
            journal.append(kind(voxels, *codes))
            if journal.last_id() % 10 == 9:
                journal.undo()
        rows = dict(journal.entries())
    assert not path.with_name("strokes.sqlite-wal").exists()
    return path, rows


@pytest.fixture
def path(whole, tmp_path):
    return shutil.copy(whole[0], tmp_path / "strokes.sqlite")


def same(a, b):
    return type(a) is type(b) and all(np.array_equal(x, y) for x, y in zip(
        vars(a).values(), vars(b).values(), strict=True
    ))  # fmt: skip


def test_a_whole_journal_is_left_alone(path, whole):
    before = path.read_bytes()
    assert mend(path, SIZE) == ""
    assert mend(path.with_name("none.sqlite"), SIZE) == ""
    assert path.read_bytes() == before == whole[0].read_bytes()
    assert not list(path.parent.glob("*damaged*"))


def test_64_bytes_anywhere_cost_few_strokes(path, whole):
    """At every twentieth place of the file; what is read was written, under its own number."""
    data, rows = whole[0].read_bytes(), whole[1]
    kept, silent = [], 0
    for at in range(8192, len(data) - 64, len(data) // 40):
        path.write_bytes(data[:at] + b"\xa5" * 64 + data[at + 64 :])
        notice = mend(path, SIZE)
        with closing(Journal(path)) as journal:
            found = dict(journal.entries())
            assert journal.append(Stroke(np.arange(3), np.zeros(3, "u1"), np.ones(3, "u1"))) > 0
        wrong = [n for n, entry in found.items() if not same(entry, rows[n])]
        silent += bool(wrong)
        assert len(wrong) <= 1  # a time or an author may be changed without a trace
        kept.append(len(found))
        if not notice:
            assert len(found) == STROKES
            continue
        lost = STROKES - len(found)
        assert f"{lost} stroke" in notice or lost == 0
        aside = sorted(path.parent.glob("strokes.damaged-*.sqlite"))[-1]
        assert aside.name in notice
        assert aside.read_bytes()[at : at + 64] == b"\xa5" * 64
        aside.unlink()
    assert np.median(kept) >= STROKES - 1
    assert min(kept) >= STROKES - 20  # a page that many strokes share
    assert silent <= 2


@pytest.mark.parametrize("data", [b"", b"no journal at all" * 1000, None])
def test_a_journal_of_which_nothing_can_be_read(path, data):
    if data is None:
        data = b"\0" * 100 + path.read_bytes()[100:]
    path.write_bytes(data)
    notice = mend(path, SIZE)
    with closing(Journal(path)) as journal:
        assert not journal.last_id()
    assert ("no stroke of it could be read" in notice) is bool(data)  # empty, it is a new one


def test_a_journal_that_somebody_holds_is_not_taken_for_damaged(path):
    with closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA locking_mode=EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(JournalHeldError, match="Another program holds"):
            mend(path, SIZE)
    assert not list(path.parent.glob("*damaged*"))


def test_a_case_with_a_damaged_stroke_opens_and_says_so(tmp_path, oblique_grid):
    values = np.random.default_rng(0).integers(-100, 100, oblique_grid.shape).astype(np.int16)
    case = create_case(tmp_path / "a", study_from_images(oblique_grid.to_image(values)))
    size = int(np.prod(oblique_grid.shape))
    for k in range(5):
        voxels = np.arange(k * 10, k * 10 + 10)
        case.journal.append(Stroke(voxels, np.zeros(10, "u1"), np.full(10, 2, "u1")))
    far = Stroke(np.array([size + 5]), np.zeros(1, "u1"), np.ones(1, "u1"))
    case.journal.append(far)
    case.close()
    with closing(sqlite3.connect(tmp_path / "a" / "strokes.sqlite")) as db, db:
        db.execute("UPDATE strokes SET voxels = substr(voxels, 1, 4) WHERE id = 3")
    looking = open_case(tmp_path / "a", read_only=True)
    with pytest.raises(UserError, match="damaged"):
        looking.scribbles()
    looking.close()
    case = open_case(tmp_path / "a")
    assert "2 strokes are lost, 4 were kept" in case.notice
    drawn = np.flatnonzero(case.scribbles().ravel())
    np.testing.assert_array_equal(drawn, np.r_[0:20, 30:50])
    case.close()
    assert open_case(tmp_path / "a").notice == ""


def classes_come_and_go(path):
    """Strokes and corrections of classes 2, 3, 4; 3 is removed, back, gone again; more of 3, 4."""
    with closing(Journal(path)) as journal:
        old = np.zeros(3, "u1")
        journal.append(Stroke(np.arange(3), old, np.array([2, 3, 4], "u1")))
        journal.append(Correction(np.arange(9, 12), old, np.array([2, 3, 4], "u1")))
        strokes, corrections = np.zeros(SHAPE, "u1"), read_corrections(journal, SHAPE).codes
        journal.fold(strokes)
        journal.append(class_change(strokes, corrections, ClassStep((1, 2, 3, 4), 3)))
        journal.undo()
        journal.redo()
        journal.append(Stroke(np.arange(20, 23), old, np.array([2, 3, 3], "u1")))


def says(path):
    with closing(Journal(path)) as journal:
        strokes, corrections = np.zeros(SHAPE, "u1"), read_corrections(journal, SHAPE).codes
        journal.fold(strokes)
        return strokes.tolist(), corrections.tolist(), journal.class_steps


@pytest.mark.parametrize("numbers", [(3,), (4,), (3, 5), (3, 4, 5)])
def test_what_a_class_took_with_it_is_worked_out_anew(tmp_path, numbers):
    path = tmp_path / "strokes.sqlite"
    classes_come_and_go(path)
    before = says(path)
    with closing(sqlite3.connect(path)) as db, db:
        for number in numbers:
            db.execute("UPDATE strokes SET voxels = substr(voxels, 1, 4) WHERE id = ?", (number,))
    notice = mend(path, SIZE, reclassed=True)
    assert says(path) == before
    assert "0 strokes are lost, 6 were kept. What a class that was removed" in notice
    assert "another class" not in notice


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE strokes SET classes = '{' WHERE id = 3",
        "DELETE FROM strokes WHERE id = 3; UPDATE strokes SET voxels = '' WHERE id = 1",
    ],
)
def test_a_class_change_that_is_lost_is_said(tmp_path, damage):
    path = tmp_path / "strokes.sqlite"
    classes_come_and_go(path)
    with closing(sqlite3.connect(path)) as db, db:
        db.executescript(damage)
    assert "may be in another class now" in mend(path, SIZE, reclassed=True)


@pytest.mark.parametrize(
    "told",
    [
        {"before": [1, 2, 3], "gone": 3, "into": 3},
        {"before": [1, 2, 3], "gone": 4, "into": 2},
        {"before": [1, 2, 3], "gone": 3, "into": 4},
        {"before": [1, 2, 2], "gone": 2, "into": 1},
        {"before": [0, 2, 3], "gone": 2, "into": 3},
        {"before": [*range(1, 300)], "gone": 3, "into": 2},
        {"before": [], "gone": 0, "into": 0},
        [],
    ],
)
def test_a_damaged_class_change_is_said(tmp_path, told):
    path = tmp_path / "strokes.sqlite"
    classes_come_and_go(path)
    with closing(sqlite3.connect(path)) as db, db:
        classes = json.dumps({**told, "strokes": 2} if told else told)
        db.execute("UPDATE strokes SET classes = ? WHERE id = 3", (classes,))
    with pytest.raises(UserError, match="cannot be opened"):
        Journal(path, read_only=True)
