"""The journal keeps every stroke, whatever happens to the program."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import zlib
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.strokes.entries import Stroke, difference
from cmfnet_napari.core.strokes.journal import Journal
from cmfnet_napari.core.strokes.journal_file import JournalHeldError

SHAPE = (5, 7, 11)

WRITER = """
import sys, numpy as np
from cmfnet_napari.core.strokes.entries import Stroke
from cmfnet_napari.core.strokes.journal import Journal
journal = Journal(sys.argv[1])
size = 5 * 7 * 11
for k in range(100_000):
    voxels = np.arange(k % size, min(k % size + 5, size))
    new = np.full(voxels.size, k % 250 + 1, np.uint8)
    number = journal.append(Stroke(voxels, np.zeros_like(new), new))
    print(number, flush=True)
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "strokes.sqlite"


def paint(journal, painting, region, code, source="hand"):
    """Paint in memory and record it, as the window does."""
    before = painting.copy()
    painting[region] = code
    stroke = difference(before, painting, source)
    return journal.append(stroke)


def test_fold_is_the_painting(path):
    journal, painting = Journal(path), np.zeros(SHAPE, np.uint8)
    rng = np.random.default_rng(0)
    for _ in range(40):
        start = rng.integers(0, SHAPE)
        region = tuple(slice(a, a + n) for a, n in zip(start, (1, 3, 4), strict=True))
        if (painting[region] != (code := int(rng.integers(0, 4)))).any():
            paint(journal, painting, region, code)

    folded = np.zeros(SHAPE, np.uint8)
    newest = journal.fold(folded)

    np.testing.assert_array_equal(folded, painting)
    assert len(np.unique(painting)) == 4
    assert newest == journal.last_id() > 20


def test_undo_is_a_stroke(path):
    journal, painting = Journal(path), np.zeros(SHAPE, np.uint8)
    paint(journal, painting, (slice(1, 2), slice(2, 4), slice(3, 8)), 2)
    before = painting.copy()
    paint(journal, painting, (slice(1, 2), slice(3, 5), slice(5, 9)), 1)
    ((_, last),) = journal.strokes(after=1)
    journal.append(Stroke(last.voxels, last.new, last.old))

    folded = np.zeros(SHAPE, np.uint8)
    journal.fold(folded)

    np.testing.assert_array_equal(folded, before)
    assert journal.last_id() == 3


def test_a_stroke_comes_back_as_it_went(path):
    stroke = Stroke(
        np.array([3, 384, 17]), np.array([0, 2, 1], np.uint8), np.array([1, 0, 3], np.uint8),
        "auto-background", "MM", 1234.5,
    )  # fmt: skip
    Journal(path).append(stroke)
    ((number, read),) = Journal(path).strokes()
    assert number == 1
    for name in ("voxels", "old", "new"):
        np.testing.assert_array_equal(getattr(read, name), getattr(stroke, name))
    assert (read.source, read.author, read.time) == ("auto-background", "MM", 1234.5)


def test_no_difference_is_no_stroke():
    assert difference(np.ones(SHAPE, np.uint8), np.ones(SHAPE, np.uint8)) is None


def test_reader_sees_new_strokes_and_cannot_write(path):
    journal, painting = Journal(path), np.zeros(SHAPE, np.uint8)
    paint(journal, painting, (0, 0, slice(0, 4)), 2)
    reader, seen = Journal(path, read_only=True), np.zeros(SHAPE, np.uint8)
    at = reader.fold(seen)
    np.testing.assert_array_equal(seen, painting)

    paint(journal, painting, (3, 2, slice(5, 9)), 1)
    assert (reader.fold(seen, at), reader.last_id()) == (1, 2)  # there, and not taken up yet
    reader.catch_up()
    newest = reader.fold(seen, at)

    assert (at, newest) == (1, 2)
    np.testing.assert_array_equal(seen, painting)
    with pytest.raises(UserError, match="could not be saved"):
        reader.append(Stroke(np.array([0]), np.zeros(1, np.uint8), np.ones(1, np.uint8)))
    assert journal.last_id() == 2


def test_reader_after_the_writer_left(path):
    journal, painting = Journal(path), np.zeros(SHAPE, np.uint8)
    paint(journal, painting, (0, 0, slice(0, 4)), 2)
    journal.close()
    assert Journal(path, read_only=True).last_id() == 1


def test_sources_are_where_their_strokes_still_show(path):
    journal, painting = Journal(path), np.zeros(SHAPE, np.uint8)
    paint(journal, painting, (2, 3, slice(0, 6)), 1, "auto-background")
    paint(journal, painting, (2, 3, slice(4, 8)), 2, "hand")
    paint(journal, painting, (2, 3, slice(0, 1)), 0, "hand")

    sources = journal.sources(SHAPE)

    expected = np.zeros(SHAPE, bool)
    expected[2, 3, 1:4] = True
    np.testing.assert_array_equal(sources["auto-background"], expected)
    expected[:] = False
    expected[2, 3, 4:8] = True
    np.testing.assert_array_equal(sources["hand"], expected)


def test_kill_loses_no_committed_stroke(path):
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, encoding="utf-8"
    )
    committed = [int(writer.stdout.readline()) for _ in range(60)]
    os.kill(writer.pid, signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
    committed += [int(line) for line in writer.stdout.read().splitlines()]
    writer.wait()

    journal = Journal(path)
    numbers = [number for number, _ in journal.strokes()]
    assert numbers[: len(committed)] == committed == list(range(1, len(committed) + 1))
    assert len(numbers) - len(committed) <= 1  # written, killed before it was said
    folded, expected = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8)
    journal.fold(folded)
    for k in range(len(numbers)):
        start = k % folded.size
        expected.reshape(-1)[start : start + 5] = k % 250 + 1
    np.testing.assert_array_equal(folded, expected)
    journal.append(Stroke(np.array([0]), np.zeros(1, np.uint8), np.ones(1, np.uint8)))


def test_full_disk_records_nothing_and_says_so(path, monkeypatch):
    real = sqlite3.connect

    def connect(*args, **options):
        connection = real(*args, **options)
        connection.execute("PRAGMA max_page_count=6")  # SQLite: database or disk is full
        return connection

    monkeypatch.setattr(sqlite3, "connect", connect)
    journal, rng = Journal(path), np.random.default_rng(0)
    voxels = rng.permutation(100_000)
    codes = rng.integers(0, 200, voxels.size).astype(np.uint8)
    with pytest.raises(UserError, match=r"could not be saved \(.*full"):
        journal.append(Stroke(voxels, codes, codes))
    assert journal.last_id() == 0
    assert journal.append(Stroke(voxels[:3], codes[:3], codes[:3])) == 1


@pytest.mark.parametrize("read_only", [True, False])
def test_a_file_that_is_no_journal(path, read_only):
    path.write_bytes(b"this is no database, " * 100)
    with pytest.raises(UserError, match=r"stroke journal strokes\.sqlite cannot be opened"):
        Journal(path, read_only)


def test_reader_makes_no_journal(path):
    with pytest.raises(UserError, match="cannot be opened"):
        Journal(path, read_only=True)
    assert not path.exists()


def test_undo_and_redo_over_restarts(path):
    """Two hundred strokes, the file closed and opened again all the time."""
    rng = np.random.default_rng(1)
    painting, states = np.zeros(SHAPE, np.uint8), []
    journal = Journal(path)
    for k in range(200):
        states.append(painting.copy())
        start = rng.integers(0, SHAPE)
        region = tuple(slice(a, a + 3) for a in start)
        paint(journal, painting, region, k % 3 + 1 if k % 3 + 1 != painting[region].max() else 9)
        if k % 20 == 0:
            journal.close()
            journal = Journal(path)
    states.append(painting.copy())

    for k in reversed(range(200)):
        stroke = journal.undo()
        painting.reshape(-1)[stroke.voxels] = stroke.new
        np.testing.assert_array_equal(painting, states[k])
        if k % 20 == 0:
            journal.close()
            journal = Journal(path)
            folded = np.zeros(SHAPE, np.uint8)
            journal.fold(folded)
            np.testing.assert_array_equal(folded, states[k])
    assert journal.undo() is None

    for k in range(200):
        stroke = journal.redo()
        painting.reshape(-1)[stroke.voxels] = stroke.new
        np.testing.assert_array_equal(painting, states[k + 1])
    assert journal.redo() is None


def test_a_new_stroke_ends_what_could_be_redone(path):
    journal, painting = Journal(path), np.zeros(SHAPE, np.uint8)
    first = paint(journal, painting, (0, 0, slice(0, 4)), 2)
    paint(journal, painting, (0, 1, slice(0, 4)), 2)
    journal.undo()
    third = paint(journal, painting, (0, 2, slice(0, 4)), 1)
    journal.close()
    journal = Journal(path)
    assert journal.redo() is None
    assert [number for number, _ in journal.standing()] == [first, third]


def test_what_is_undone_has_no_source(path):
    journal, painting = Journal(path), np.zeros(SHAPE, np.uint8)
    paint(journal, painting, (2, 3, slice(0, 6)), 1, "auto-background")
    paint(journal, painting, (2, 3, slice(4, 8)), 2)
    journal.undo()
    expected = np.zeros(SHAPE, bool)
    expected[2, 3, :6] = True
    (source,) = journal.sources(SHAPE).items()
    assert source[0] == "auto-background"
    np.testing.assert_array_equal(source[1], expected)


def test_a_journal_from_before_undo_was_recorded(path):
    old = sqlite3.connect(path)
    with old:
        old.execute(
            "CREATE TABLE strokes (id INTEGER PRIMARY KEY AUTOINCREMENT, time REAL NOT NULL, "
            "author TEXT NOT NULL, source TEXT NOT NULL, voxels BLOB NOT NULL, "
            "old BLOB NOT NULL, new BLOB NOT NULL)"
        )
        packed = [zlib.compress(part) for part in (b"\x05" + bytes(7), b"\0", b"\2")]
        old.execute("INSERT INTO strokes VALUES (1, 0.0, '', 'hand', ?, ?, ?)", packed)
    old.close()
    journal = Journal(path)
    stroke = journal.undo()
    assert (list(stroke.voxels), list(stroke.old), list(stroke.new)) == ([5], [2], [0])


def test_two_journals_of_one_case_undo_what_is_newest(path):
    old, painting = Journal(path), np.zeros(SHAPE, np.uint8)
    first = paint(old, painting, (0, 0, slice(0, 4)), 2)
    new = Journal(path)
    second = paint(old, painting, (0, 1, slice(0, 4)), 1)
    assert new.undo().target == second
    assert old.undo().target == first
    assert new.redo().target == first
    third = paint(old, painting, (0, 2, slice(0, 4)), 2)
    assert new.redo() is None  # it has caught up with the third
    assert [number for number, _ in new.standing()] == [first, third]
    assert new.undoable == 2
    again = Journal(path)
    assert [number for number, _ in again.standing()] == [first, third]


def test_strokes_taken_back_out_of_order_stay_within_reach(path):
    journal, painting = Journal(path), np.zeros(SHAPE, np.uint8)
    for row in range(3):
        paint(journal, painting, (0, row, slice(0, 4)), 2)
    rows = list(journal.strokes())
    for target, source in ((1, "undo"), (1, "undo"), (9, "undo"), (9, "redo")):
        _, stroke = rows[min(target, 3) - 1]
        codes = (stroke.new, stroke.old) if source == "undo" else (stroke.old, stroke.new)
        journal.append(Stroke(stroke.voxels, *codes, source, target=target))
    journal.close()
    journal, folded = Journal(path), np.zeros(SHAPE, np.uint8)
    journal.fold(folded)
    assert list(folded[0, :4, 0]) == [0, 2, 2, 0]
    assert [number for number, _ in journal.standing()] == [2, 3]
    assert journal.undo().target == 3


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("UPDATE strokes SET voxels = substr(voxels, 1, 9)", "damaged"),
        ("UPDATE strokes SET voxels = x'00'", "damaged"),
        ("UPDATE strokes SET new = old || old", "damaged"),
    ],
)
def test_damaged_strokes_are_said(path, change, words):
    journal, painting = Journal(path), np.zeros(SHAPE, np.uint8)
    paint(journal, painting, (0, 0, slice(0, 4)), 2)
    journal.close()
    db = sqlite3.connect(path)
    with db:
        db.execute(change)
    db.close()
    with pytest.raises(UserError, match=words):
        Journal(path).fold(painting)


def test_strokes_outside_the_images_are_said(path):
    journal, painting = Journal(path), np.zeros(SHAPE, np.uint8)
    paint(journal, painting, (4, 6, slice(4, 9)), 2)
    with pytest.raises(UserError, match="outside the images"):
        journal.fold(np.zeros((2, 7, 11), np.uint8))


@pytest.mark.parametrize("how", ["deleted", "replaced", "restored"])
def test_a_file_that_is_changed_under_the_window_promises_nothing(path, tmp_path, how):
    """What a sync tool or a restore does: nothing is accepted that the file does not hold."""
    older = tmp_path / "older.sqlite"
    journal = Journal(path)
    stroke = Stroke(np.arange(3), np.zeros(3, np.uint8), np.ones(3, np.uint8))
    journal.append(stroke)
    journal._db.execute("VACUUM INTO ?", (str(older),))
    journal.append(stroke)
    if how == "deleted":
        path.unlink()
    elif how == "replaced":
        os.replace(older, path)
    else:
        path.unlink()
        shutil.copy(older, path)
    with pytest.raises(UserError, match=r"replaced or deleted .* are in strokes\.open-1\.sqlite"):
        journal.append(stroke)
    with pytest.raises(UserError, match=r"are in strokes\.open-1\.sqlite"):  # it is tried again
        journal.append(stroke)
    assert [p.name for p in path.parent.glob("strokes.open-*")] == ["strokes.open-1.sqlite"]
    with closing(Journal(path.with_name("strokes.open-1.sqlite"), read_only=True)) as kept:
        assert kept.last_id() == 2
    journal.close()


def test_what_cannot_be_read_back_is_not_written(path, monkeypatch):
    """As where no more files can be opened: a stroke was written, called lost, written again."""
    with closing(Journal(path)) as journal:
        stroke = Stroke(np.arange(3), np.zeros(3, np.uint8), np.ones(3, np.uint8))

        def refused(_path, _mode):
            raise sqlite3.OperationalError("unable to open database file")

        monkeypatch.setattr("cmfnet_napari.core.strokes.journal_file.connect", refused)
        for _ in range(3):
            with pytest.raises(UserError, match="could not be saved"):
                journal.append(stroke)
        monkeypatch.undo()
        assert (journal.last_id(), journal.append(stroke)) == (0, 1)


def test_an_entry_says_who_made_it_also_an_undo(path, monkeypatch):
    stroke = Stroke(np.arange(3), np.zeros(3, np.uint8), np.ones(3, np.uint8))
    for who, act in (("anna", lambda j: j.append(stroke)), ("bert", Journal.undo)):
        monkeypatch.setattr("cmfnet_napari.core.strokes.journal.account", lambda who=who: who)
        with closing(Journal(path)) as journal:
            act(journal)
    with closing(Journal(path, read_only=True)) as journal:
        assert [entry.author for _, entry in journal.entries()] == ["anna", "bert"]


def test_a_file_that_another_program_holds_is_called_that_within_two_seconds(path):
    with closing(Journal(path)) as journal, closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN IMMEDIATE")
        stroke = Stroke(np.arange(3), np.zeros(3, np.uint8), np.ones(3, np.uint8))
        begin = time.monotonic()
        with pytest.raises(UserError, match="Another program holds its file") as caught:
            journal.append(stroke)
        assert time.monotonic() - begin < 2
        assert "disk space" not in str(caught.value)
        other.rollback()
        assert journal.append(stroke) == 1


def test_a_file_that_nobody_may_read_is_held_not_damaged(path):
    """Some backups let nobody read meanwhile; the advice was to bring the case from a backup."""
    with closing(Journal(path)) as journal:
        journal.append(Stroke(np.arange(3), np.zeros(3, np.uint8), np.ones(3, np.uint8)))
    with closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA locking_mode=EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        for look in (lambda: Journal(path), lambda: Journal(path, True)):
            begin = time.monotonic()
            with pytest.raises(JournalHeldError, match="Another program holds the stroke journal"):
                look()
            assert time.monotonic() - begin < 2
        other.rollback()


@pytest.mark.parametrize("with_log", [False, True])
def test_where_nothing_can_be_written_a_journal_can_be_read(path, monkeypatch, with_log):
    """A read-only file system: SQLite makes no files beside the journal, and refuses it."""
    journal = Journal(path)
    stroke = Stroke(np.arange(3), np.zeros(3, np.uint8), np.ones(3, np.uint8))
    journal.append(stroke)
    if not with_log:
        journal.close()
        journal = Journal(path)

    class Refused(sqlite3.Connection):
        def execute(self, *words):
            error = sqlite3.OperationalError("unable to open database file")
            error.sqlite_errorcode = sqlite3.SQLITE_CANTOPEN
            raise error

    real = sqlite3.connect

    def connect(address, **options):
        refused = Path(address.partition("?")[0].removeprefix("file://")).parent == path.parent
        return real(address, **options, **({"factory": Refused} if refused else {}))

    monkeypatch.setattr(sqlite3, "connect", connect)
    with closing(Journal(path, read_only=True)) as looking:
        assert looking.last_id() == 1
    monkeypatch.undo()
    journal.close()
