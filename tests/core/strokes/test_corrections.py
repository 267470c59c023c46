"""The contour of record is what the user said last, whatever else happened."""

import json
import sqlite3
import zlib

import numpy as np
import pytest
import SimpleITK as sitk

from cmfnet_napari.core.case.folder import create_case, open_case
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.images.study import study_from_images
from cmfnet_napari.core.strokes.class_order import ClassStep
from cmfnet_napari.core.strokes.corrections import (
    Corrections,
    contour_of_record,
    read_corrections,
    taught,
)
from cmfnet_napari.core.strokes.entries import Correction, Stroke, class_change
from cmfnet_napari.core.strokes.journal import Journal

SHAPE = (3, 4, 5)
SIZE = 60
KINDS = "stroke", "erase", "correction", "take back", "classes", "undo", "redo", "restart"


class Brute:
    """What stands, word by word and voxel by voxel; the slowest way there is."""

    def __init__(self):
        self.done, self.undone = [], []

    def add(self, kind, voxels, codes, number=0):
        self.done.append((kind, list(voxels), list(codes), number))
        self.undone.clear()

    def undo(self):
        if self.done:
            self.undone.append(self.done.pop())

    def redo(self):
        if self.undone:
            self.done.append(self.undone.pop())

    def at(self, voxel):
        """Stroke, correction, and which of them is newer, of one voxel."""
        stroke, corrected, newer = 0, 0, ""
        for kind, voxels, codes, _ in self.done:
            if kind == "classes":
                stroke, corrected = codes[stroke], codes[corrected]
                continue
            if voxel not in voxels:
                continue
            code = int(codes[voxels.index(voxel)])
            if kind == "correction":
                corrected, newer = code, kind
            else:
                stroke = code
                newer = kind if code else newer
        return stroke, corrected, newer

    def label(self, voxel, model):
        stroke, corrected, newer = self.at(voxel)
        if not corrected:
            return model
        return (stroke if stroke and newer == "stroke" else corrected) - 1

    def lesson(self, voxel):
        stroke, corrected, newer = self.at(voxel)
        return corrected if corrected and (not stroke or newer == "correction") else stroke


def replay(journal):
    """Scribbles and corrections as a program that was just started finds them."""
    scribbles, corrections = np.zeros(SHAPE, np.uint8), Corrections(SHAPE)
    journal.fold(scribbles)
    for number, entry in journal.entries():
        corrections.take(number, entry)
    return scribbles, corrections


def look(journal):
    """What a journal says at this moment."""
    scribbles, corrections = replay(journal)
    says = corrections.words(scribbles)
    standing = journal.class_steps, journal.standing_numbers, journal.correction_times()
    return scribbles.tolist(), says.voxels.tolist(), says.codes.tolist(), *standing


@pytest.mark.parametrize("seed", range(12))
def test_random_work_against_the_slowest_way_there_is(tmp_path, seed):
    """Strokes, erasing, corrections, taking back, classes, undo, redo, new models, restarts."""
    rng, path = np.random.default_rng(seed), tmp_path / "strokes.sqlite"
    journal, brute = Journal(path), Brute()
    scribbles, corrections = np.zeros(SHAPE, np.uint8), Corrections(SHAPE)
    looker = Journal(path, read_only=True)  # another window, or the worker
    last_look = look(looker)
    seen = set()

    def take(number, entry):
        before = corrections.words(scribbles)
        old = dict(zip(before.voxels, before.codes, strict=True))
        changed = corrections.take(number, entry)
        if not isinstance(entry, Correction):
            scribbles.reshape(-1)[entry.voxels] = entry.new
        after = corrections.words(scribbles)
        new = dict(zip(after.voxels, after.codes, strict=True))
        differ = {v for v in old.keys() | new.keys() if old.get(v) != new.get(v)}
        assert differ <= set(changed)

    for _ in range(120):
        kind = rng.choice([*KINDS])
        seen.add(str(kind))
        voxels = np.sort(rng.choice(SIZE, rng.integers(1, 12), replace=False))
        if kind in ("undo", "redo"):
            entry = journal.undo() if kind == "undo" else journal.redo()
            (brute.undo if kind == "undo" else brute.redo)()
            if entry is not None:
                take(journal.last_id(), entry)
        elif kind == "restart":
            journal.close()
            journal = Journal(path)
            scribbles, corrections = replay(journal)
            assert look(looker) == last_look  # strokes and classes of one moment
            looker.catch_up()
            last_look = look(looker)
            assert last_look == look(journal)
            standing = [number for number, _ in journal.standing_corrections()]
            if standing:
                given_up = int(rng.choice(standing))
                left, less = read_corrections(journal, SHAPE, without=given_up), Brute()
                less.done = [e for e in brute.done if e[-1] != given_up]
                said = zip(*(w.tolist() for w in vars(left.words(scribbles)).values()), strict=True)
                expected = ((v, less.at(v), less.lesson(v)) for v in range(SIZE))
                assert list(said) == [(v, word) for v, at, word in expected if at[1]]
        elif kind == "classes":
            number, into = rng.choice(range(2, 5), 2, replace=False)
            step = ClassStep((1, 2, 3, 4), int(number), int(rng.choice([0, into])))
            entry = class_change(scribbles, corrections.codes, step)
            brute.add("classes", (), [int(code) for code in step.table])
            take(journal.append(entry), entry)
        else:
            made = Stroke if kind in ("stroke", "erase") else Correction
            now = scribbles if made is Stroke else corrections.codes
            spoken = kind in ("stroke", "correction")
            new = rng.integers(1, 4, voxels.size) if spoken else np.zeros(voxels.size)
            entry = made(voxels, now.reshape(-1)[voxels], new.astype(np.uint8))
            number = journal.append(entry)
            brute.add("stroke" if made is Stroke else "correction", voxels, new, number)
            take(number, entry)
        model = rng.integers(0, 3, SHAPE).astype(np.uint8)  # whatever a model says now
        words = corrections.words(scribbles)
        record = contour_of_record(model, words).reshape(-1)
        lessons = taught(scribbles, words).reshape(-1)
        assert [brute.label(v, model.flat[v]) for v in range(SIZE)] == list(record)
        assert [brute.lesson(v) for v in range(SIZE)] == list(lessons)
    assert len(seen) == len(KINDS)
    looker.close()
    again, found = replay(journal)
    assert list(taught(again, found.words(again)).flat) == list(lessons)


def correction(voxels, old, new, **known):
    return Correction(np.array(voxels), np.uint8(old), np.uint8(new), **known)


def test_undo_takes_back_the_newest_of_both_kinds_over_restarts(tmp_path):
    path = tmp_path / "strokes.sqlite"
    journal = Journal(path)
    journal.append(Stroke(np.array([3]), np.uint8([0]), np.uint8([2])))
    journal.append(correction([3, 4], [0, 0], [1, 2], run="runs/0001-quick", author="MM", time=5.0))
    journal.append(Stroke(np.array([9]), np.uint8([0]), np.uint8([1])))
    journal.close()
    journal = Journal(path)
    _, read = list(journal.entries())[1]
    assert (read.run, read.author, read.time, read.source) == ("runs/0001-quick", "MM", 5.0, "hand")
    assert journal.undo().target == 3
    back = journal.undo()
    assert isinstance(back, Correction)
    assert (list(back.voxels), list(back.old), list(back.new)) == ([3, 4], [1, 2], [0, 0])
    journal.close()
    journal = Journal(path)
    assert not list(journal.standing_corrections())
    assert isinstance(journal.redo(), Correction)
    assert [n for n, _ in journal.standing_corrections()] == [2]
    scribbles, corrections = replay(journal)
    assert list(np.flatnonzero(scribbles)) == [3]  # corrections are no strokes
    assert list(corrections.codes.flat[[3, 4, 9]]) == [1, 2, 0]


def test_one_correction_is_taken_back_also_after_classes_went_and_came_back(tmp_path):
    """What is left is what would have been without it, in the codes that classes have now."""
    path = tmp_path / "strokes.sqlite"
    journal = Journal(path)
    journal.append(correction([3, 4], [0, 0], [4, 4]))
    journal.append(correction([4, 5], [4, 0], [2, 3]))
    for gone in (3, 2):  # the second is undone again
        now = read_corrections(journal, SHAPE).codes
        step = ClassStep((1, 2, 3, 4) if gone == 3 else (1, 2, 4), gone)
        journal.append(class_change(np.zeros(SHAPE, np.uint8), now, step))
    assert list(read_corrections(journal, SHAPE).codes.flat[3:6]) == [2, 0, 0]
    journal.undo()
    assert list(read_corrections(journal, SHAPE).codes.flat[3:6]) == [3, 2, 0]
    assert list(read_corrections(journal, SHAPE, without=2).codes.flat[3:6]) == [3, 3, 0]
    assert list(read_corrections(journal, SHAPE, without=1).codes.flat[3:6]) == [0, 2, 0]


def test_journals_from_before_corrections_open_and_stay_readable(tmp_path):
    """An old program goes on reading them; one that looks on changes nothing."""
    path = tmp_path / "strokes.sqlite"
    old = sqlite3.connect(path)
    with old:
        old.execute("PRAGMA journal_mode=WAL")
        old.execute(
            "CREATE TABLE strokes (id INTEGER PRIMARY KEY AUTOINCREMENT, time REAL NOT NULL, "
            "author TEXT NOT NULL, source TEXT NOT NULL, target INTEGER, voxels BLOB NOT NULL, "
            "old BLOB NOT NULL, new BLOB NOT NULL)"
        )
        packed = [zlib.compress(part) for part in (b"\x05" + bytes(7), b"\0", b"\2")]
        old.execute("INSERT INTO strokes VALUES (1, 0.0, '', 'hand', NULL, ?, ?, ?)", packed)
    looker = Journal(path, read_only=True)
    assert [s.new[0] for _, s in looker.entries()] == [2]
    assert not looker.corrected
    journal = Journal(path)
    journal.append(correction([5], [0], [1]))
    old_way = "SELECT id, time, author, source, target, voxels, old, new FROM strokes"
    assert [row[0] for row in old.execute(old_way)] == [1, 2]
    old.close()
    looker.catch_up()
    kinds = [type(entry) for _, entry in looker.entries()]  # the file has changed meanwhile
    assert kinds == [Stroke, Correction]
    assert (looker.corrected, [n for n, _ in looker.strokes()]) == (True, [1])


def test_a_corrected_case_is_refused_by_programs_that_know_no_corrections(tmp_path):
    """They read format 1 alone; a case that was never corrected stays theirs."""
    ct = sitk.GetImageFromArray(np.arange(SIZE, dtype=np.int16).reshape(SHAPE))
    study = study_from_images(ct, modalities=("CT", ""))
    case = create_case(tmp_path / "case", study)
    card = tmp_path / "case" / "case.json"
    case.journal.append(Stroke(np.array([3]), np.uint8([0]), np.uint8([2])))
    assert json.loads(card.read_text())["format"] == 1
    case.correct(correction([3], [0], [1]))
    case.save_classes(case.classes)
    assert json.loads(card.read_text())["format"] == 2
    case.close()
    case = open_case(tmp_path / "case", study)
    assert case.corrections().codes.flat[3] == 1
    looker = open_case(tmp_path / "case", study, read_only=True)
    with pytest.raises(UserError, match="another window"):
        looker.correct(correction([3], [0], [1]))
    looker.close()
    case.close()


def test_kinds_of_a_newer_version_are_said(tmp_path):
    journal = Journal(tmp_path / "strokes.sqlite")
    journal.append(correction([3], [0], [1]))
    journal.close()
    db = sqlite3.connect(tmp_path / "strokes.sqlite")
    with db:
        db.execute("UPDATE strokes SET kind = 'sculpture'")
    db.close()
    with pytest.raises(UserError, match="kind sculpture"):
        Journal(tmp_path / "strokes.sqlite").fold(np.zeros(SHAPE, np.uint8))


def test_a_stroke_over_the_same_code_wins_again():
    """Tumour was drawn, corrected to background, and drawn again: no code of a stroke changes."""
    scribbles, corrections = np.zeros(SHAPE, np.uint8), Corrections(SHAPE)
    scribbles.flat[7] = 2
    corrections.take(1, Stroke(np.array([7]), np.uint8([0]), np.uint8([2])))
    corrections.take(2, correction([7, 8], [0, 0], [1, 1]))
    assert list(corrections.contradicted(np.array([6, 7, 8]), scribbles)) == [7, 8]
    corrections.take(3, Stroke(np.array([7]), np.uint8([2]), np.uint8([2])))
    assert list(corrections.at(np.array([7, 8]), scribbles)) == [2, 1]
    assert not corrections.contradicted(np.array([7]), scribbles).size
