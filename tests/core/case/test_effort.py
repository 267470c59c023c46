"""What a case has cost, from its journal and the moments at which it was open; many audited."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import numpy as np
import pytest

from cmfnet_napari.core.case.case_classes import check_removable
from cmfnet_napari.core.case.effort import OPEN_TIMES, note_open, read_effort
from cmfnet_napari.core.case.folder import create_case
from cmfnet_napari.core.files import write_json
from cmfnet_napari.core.images.grid import Grid
from cmfnet_napari.core.images.study import study_from_images
from cmfnet_napari.core.report.audit import (
    CaseEffort,
    audit_cases,
    case_effort,
    medians,
    write_audit,
)
from cmfnet_napari.core.report.facts import gather_facts
from cmfnet_napari.core.report.page import making_words
from cmfnet_napari.core.strokes.entries import Correction, Stroke, class_change
from cmfnet_napari.core.strokes.scribbles import DEFAULT_CLASSES, ScribbleClass
from tests.case_runs import write_run
from tests.cli.test_cli import run

GRID = Grid((4, 8, 9), (3.0, 0.5, 1.5), (1.0, 2.0, 3.0))  # 2.25 µl a voxel
NOON = 1_764_000_000.0


def stroke(at, code, moment, source="hand", old=0):
    return Stroke(np.array([at]), np.uint8([old]), np.uint8([code]), source, "", NOON + moment)


def correction(at, code, moment):
    told = np.array([at]), np.uint8([0]), np.uint8([code])
    return Correction(*told, "hand", "", NOON + moment, run="runs/0001-quick")


@pytest.fixture
def study():
    rng = np.random.default_rng(0)
    return study_from_images(GRID.to_image(rng.integers(-90, 90, GRID.shape).astype(np.int16)))


@pytest.fixture
def case(study, tmp_path):
    """Two classes; strokes, a correction, an undo; and a run that began with a model."""
    case = create_case(tmp_path / "cases" / "smith-john", study)
    case.save_classes((*DEFAULT_CLASSES, ScribbleClass(3, "Node", "#112233")))
    entries = [
        stroke(5, 1, 0),
        stroke(40, 2, 20),
        stroke(41, 3, 70),
        stroke(42, 2, 75, "auto-foreground"),  # not by hand
        stroke(40, 0, 200, old=2),  # erased, after a pause
        correction(200, 2, 230),
        correction(201, 1, 231),
    ]
    for entry in entries:
        case.journal.append(entry)
    labels = np.zeros(GRID.shape, np.uint8)
    labels.flat[[100, 201]] = 1
    write_run(case, labels)
    config = {"config": {"preset": "quick"}, "base": "limb-sarcoma"}
    write_json(case.folder / "runs" / "0001-quick" / "config.json", config)
    for moment in (-10, 20, 50, 80, 1000, 1030):
        note_open(case.folder, NOON + moment)
    yield case
    case.close()


def test_effort_counted_by_hand(case):
    effort = read_effort(case.folder)  # while the window has it open
    assert effort.open_s == 90 + 30  # the computer slept between
    assert effort.drawing_s == 20 + 50 + 5
    assert effort.editing_s == 30 + 1
    assert effort.strokes == {"Background": 1, "Tumour": 2, "Node": 1}
    assert effort.corrections == {"Background": 1, "Tumour": 1}
    assert (effort.undone, effort.last) == (0, NOON + 1030)
    assert effort.sentences == [
        "2:00 min open, 1:15 min drawing, 0:31 min correcting",
        "strokes: 1 Background, 2 Tumour, 1 Node",
        "corrections: 1 Background, 1 Tumour",
    ]


def test_classes_that_went_keep_their_strokes_and_what_was_undone_counts(case):
    zeros = np.zeros(GRID.shape, np.uint8)
    step = check_removable(case.order, 2)  # Tumour goes: Node has its code from here on
    case.change_classes(replace(class_change(zeros, zeros, step), time=NOON + 1100))
    case.journal.append(stroke(60, 2, 1110))
    case.journal.undo()  # the stroke
    case.journal.undo()  # and the class is back
    case.journal.append(stroke(61, 2, 5000))
    effort = read_effort(case.folder)
    assert effort.strokes == {"Background": 1, "Tumour": 3, "Node": 2}
    assert effort.undone == 2


def test_lines_that_a_crash_or_a_hand_left_are_passed_over(case):
    with open(case.folder / OPEN_TIMES, "a", encoding="utf-8") as file:
        file.write("17640\nnan\nwas ist das?\n\n1e999\n1e20\n-1e20\n176400")
    note_open(case.folder, NOON + 1060)
    assert read_effort(case.folder).open_s == 90 + 60
    case.journal.append(stroke(62, 2, 1e20))
    assert case_effort(case.folder).month == "2025-11"
    lines = (case.folder / OPEN_TIMES).read_text().splitlines()
    assert lines[-2:] == ["176400", f"{NOON + 1060:.0f}"]  # a half line stays by itself


def test_an_audit_of_all_cases_names_nobody(case, tmp_path, study, capsys):
    other = create_case(tmp_path / "cases" / "other", study)
    other.close()
    card = json.loads((other.folder / "case.json").read_text())
    write_json(other.folder / "case.json", card | {"format": 99})
    broken = create_case(tmp_path / "cases" / "third", study)
    broken.close()
    (broken.folder / "strokes.sqlite").write_bytes(b"no journal at all, " * 99)

    where = "--cases", tmp_path / "cases", "--out", tmp_path / "audit"
    status, out, err = run(capsys, "audit", *where, "--json")
    assert status == 0, err
    said = json.loads(out.splitlines()[-1])
    assert said["cases"] == 1
    assert [sentence.split()[0] for sentence in said["left_out"]] == ["other", "third"]
    assert "has format 99" in err
    assert "journal strokes.sqlite" in err
    with open(tmp_path / "audit" / "cases.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["class"] for row in rows] == ["all", "Background", "Tumour", "Node"]
    assert {row["case"] for row in rows} == {case.key}
    assert {row["month"] for row in rows} == {"2025-11"}
    assert {row["model"] for row in rows} == {"limb-sarcoma"}
    whole, _, tumour, _ = rows
    assert (whole["strokes"], whole["corrections"], whole["open_min"]) == ("4", "2", "2.0")
    # 200 came, 201 went: a voxel each, and a voxel's border of (0.5 + 1.5) / 2 mm
    assert float(tumour["added_ml"]) == float(tumour["removed_ml"]) == pytest.approx(0.002)
    assert (tumour["path_mm"], whole["changed_ml"]) == ("1.0", "0.0")
    everything = b"".join(path.read_bytes() for path in (tmp_path / "audit").iterdir())
    for name in (b"smith", b"john", str(tmp_path).encode()):
        assert name not in everything.lower()
    assert (tmp_path / "audit" / "audit.png").stat().st_size > 5000


def test_medians_and_what_stands_out(case, tmp_path):
    (one,), left_out = audit_cases(case.folder.parent)
    assert left_out == []
    many = [
        replace(one, case=f"case {n}", effort=replace(one.effort, open_s=60 * minutes))
        for n, minutes in enumerate((4, 5, 6, 7, 60))
    ]
    few = [replace(one, model="quick", effort=replace(one.effort, open_s=6000))]
    found = {(m.model, m.figure.name): m for m in medians([*many, *few])}
    minutes = found["limb-sarcoma", "open_min"]
    assert (minutes.cases, minutes.low, minutes.median, minutes.high) == (5, 5, 6, 7)
    assert minutes.outliers == ("case 4",)
    assert found["quick", "open_min"].outliers == ()  # one case alone stands out of nothing
    assert found["all", "open_min"].cases == 6
    nothing = CaseEffort("hash", "no contour yet", "", replace(one.effort, last=0.0))
    unknown = CaseEffort("hash", "unknown", "", one.effort)
    found = {(m.model, m.figure.name): m for m in medians([*many, *few, *[nothing] * 9, unknown])}
    assert found["no contour yet", "strokes"].cases == 9
    for name in ("strokes", "path_mm", "changed_ml"):  # what has no contour has no path of 0
        assert found["all", name].cases == 6
        assert found["all", name].median > 0
    assert not {("unknown", "path_mm"), ("no contour yet", "changed_ml")} & set(found)
    assert ("all", "strokes") not in {(m.model, m.figure.name) for m in medians([*many, nothing])}
    assert len(write_audit([*many, nothing], tmp_path / "out")) == 3
    with open(tmp_path / "out" / "cases.csv", newline="") as file:
        bare = [row for row in csv.DictReader(file) if row["case"] == "hash"]
    assert bare
    for row in bare:
        assert {row[n] for n in ("path_mm", "changed_ml", "added_ml", "slices", "ml")} == {""}
    assert len(write_audit([nothing], tmp_path / "none")) == 3


def test_a_report_says_what_the_case_has_cost(case, study):
    labels = np.ones(GRID.shape, np.uint8)
    run = case.folder / "runs" / "0001-quick"
    lines = making_words(gather_facts(study, labels, names=["Tumour"], run=run))
    assert "  2:00 min open, 1:15 min drawing, 0:31 min correcting" in lines
    assert "Effort" not in making_words(gather_facts(study, labels, names=["Tumour"]))
