"""The preflight: what it finds, where it points, and that it is silent when all is well."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
from scipy import ndimage

from cmfnet_napari.core.fit import cost_estimate
from cmfnet_napari.core.fit.config import make_config
from cmfnet_napari.core.fit.cost_estimate import Expected, expect, training_memory
from cmfnet_napari.core.fit.events import Step, encode
from cmfnet_napari.core.fit.preflight_checks import Finding, look_at, preflight
from cmfnet_napari.core.images.grid import Grid
from cmfnet_napari.core.images.study import (
    Study,
    load_labels,
    open_study,
    study_from_images,
    turn,
)
from cmfnet_napari.core.images.volume import Volume, from_image
from cmfnet_napari.core.registration.likeness import doubts, likeness
from cmfnet_napari.core.strokes.entries import Stroke
from cmfnet_napari.core.strokes.erode import propose_background, propose_foreground
from cmfnet_napari.core.strokes.journal import Journal
from cmfnet_napari.core.strokes.taken_for_strokes import look_whole
from cmfnet_napari.learning.material.user_styles import STYLES, draw

SHAPE, SPACING = (8, 40, 50), (4.0, 1.5, 2.0)
GRID = Grid(SHAPE, SPACING)


@pytest.fixture(scope="module")
def study():
    """A block of tissue in air, columns 10 to 39; the MR sees rows up to 29 only."""
    ct = np.full(SHAPE, -1000, np.int16)
    ct[:, 5:35, 10:40] = 40
    fov = np.zeros(SHAPE, bool)
    fov[:, :30] = True
    mr = Volume(np.where(fov & (ct > 0), 100, 0).astype(np.float32), GRID, "MR")
    return Study(Volume(ct, GRID, "CT"), mr, fov, GRID)


@pytest.fixture
def good():
    """Strokes without a fault: 40 voxels of tumour, 92 of background, in tissue and MR."""
    scribbles = np.zeros(SHAPE, np.uint8)
    scribbles[2:4, 10:12, 20:30] = 2
    scribbles[2:4, 25:27, 12:35] = 1
    return scribbles


def test_good_strokes_have_no_finding(study, good):
    assert preflight(study, good) == []


def test_a_class_without_strokes_is_an_error_in_the_words_of_the_fit(study, good):
    good[good == 1] = 0
    (finding,) = preflight(study, good)
    assert finding.severity == "error"
    assert "no background stroke" in finding.text
    (finding,) = preflight(study, np.zeros(SHAPE, np.uint8))
    assert (finding.severity, "no tumour stroke" in finding.text) == ("error", True)


def test_a_further_class_without_strokes_is_a_warning(study, good):
    names = {1: "Background", 2: "Tumour", 3: "Node"}
    (finding,) = preflight(study, good, names=names)
    assert finding == Finding("warning", "Node has no stroke yet: it will not be learnt.")


def test_class_strokes_in_air_are_counted_and_shown(study, good):
    good[6, 20, 2:6] = 2  # 4 voxels left of the block
    (finding,) = preflight(study, good)
    assert finding.text.startswith("4 of 44 stroke voxels of Tumour are in air")
    assert finding.voxel in [(6, 20, x) for x in range(2, 6)]
    beyond = replace(study, seen=np.zeros(SHAPE, bool))  # of them nothing more is said
    texts = [other.text for other in preflight(beyond, good)]
    assert any(text.startswith("40 of 44 stroke voxels of Tumour are outside") for text in texts)
    assert finding.severity == "warning"


def test_a_brush_that_slips_over_the_skin_is_no_finding(study, good):
    good[2:5, 12:24, 30:40] = 2
    good[3, 20, 40] = 2
    assert preflight(study, good) == []


def test_background_is_missed_only_when_most_of_it_is_in_air(study, good):
    good[2, 8:20, 0:5] = 1  # 60 in air, 92 in tissue
    assert preflight(study, good) == []
    good[3, 8:20, 0:5] = 1
    (finding,) = preflight(study, good)
    assert finding.text.startswith("120 of 212 stroke voxels of Background")


def test_gas_inside_the_body_is_not_air(study, good):
    ct = study.first.array.copy()
    ct[:, 15:20, 20:28] = -900
    good[2:4, 17, 21:25] = 2
    assert preflight(replace(study, first=Volume(ct, GRID, "CT")), good) == []


def test_class_strokes_the_mr_does_not_see(study, good):
    good[5, 32, 20:28] = 2
    (finding,) = preflight(study, good)
    assert finding.text.startswith("8 of 48 stroke voxels of Tumour are outside the MR's field")
    assert finding.voxel[:2] == (5, 32)
    good[5, 33, 12:38] = 1  # some background may lie anywhere
    assert len(preflight(study, good)) == 1
    without = Study(study.first, None, None, GRID)
    assert preflight(without, good) == []


@pytest.mark.parametrize(
    ("where", "plane", "voxel"),
    [
        ((4, slice(10, 14), slice(20, 26)), "axial", (4, None, None)),
        ((slice(1, 7), 12, slice(20, 26)), "coronal", (None, 12, None)),
        ((slice(1, 7), slice(10, 14), 33), "sagittal", (None, None, 33)),
    ],
)
def test_all_strokes_of_a_class_in_one_plane(study, good, where, plane, voxel):
    good[good == 2] = 0
    good[where] = 2
    (finding,) = preflight(study, good)
    assert finding.text.startswith(f"All strokes of Tumour are in one {plane} slice")
    assert finding.plane == plane
    assert all(want in (None, got) for want, got in zip(voxel, finding.voxel, strict=True))


def stroke(scribbles, where, code, source="hand"):
    """Paint, and return the stroke."""
    voxels = np.flatnonzero(np.isin(np.arange(scribbles.size).reshape(SHAPE), where))
    flat = scribbles.reshape(-1)
    made = Stroke(voxels, flat[voxels].copy(), np.full(voxels.size, code, np.uint8), source)
    flat[voxels] = code
    return made


def test_voxels_drawn_in_two_classes_are_counted_where_they_are(study, good, tmp_path):
    journal = Journal(tmp_path / "strokes.sqlite")
    numbers = np.arange(good.size).reshape(SHAPE)
    journal.append(stroke(good, numbers[5, 20, 14:24], 2))
    journal.append(stroke(good, numbers[5:7, 20, 20:30], 1))  # 4 voxels over the first
    (finding,) = preflight(study, good, strokes=(s for _, s in journal.standing()))
    assert finding.text.startswith("4 voxels were drawn in two classes")
    assert finding.voxel in [(5, 20, x) for x in range(20, 24)]
    back = journal.undo()
    good.reshape(-1)[back.voxels] = back.new
    assert preflight(study, good, strokes=(s for _, s in journal.standing())) == []
    journal.append(stroke(good, numbers[5, 20, 14:24], 0))  # erased, then drawn: meant so
    journal.append(stroke(good, numbers[5:7, 20, 14:24], 1))
    assert preflight(study, good, strokes=(s for _, s in journal.standing())) == []
    journal.close()


def test_replacing_the_strokes_by_a_file_is_no_conflict(study, good):
    numbers = np.arange(good.size).reshape(SHAPE)
    first = stroke(good, numbers[5:7, 20, 14:24], 2)
    imported = stroke(good, numbers[5:7, 20, 14:24], 1, "import")
    assert preflight(study, good, strokes=[first, imported]) == []


def test_an_mr_that_barely_covers_the_patient(study):
    fov = np.zeros(SHAPE, bool)
    fov[3, 10:20, 10:40] = True  # 300 of 7200 voxels of the block
    findings = look_at(replace(study, seen=fov)).findings
    assert findings[0].text.startswith("The MR covers 4.")
    assert findings[0].voxel[0] == 3


def test_memory_over_what_is_free_is_a_warning(study, good, monkeypatch):
    free = SimpleNamespace(available=2**30)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)
    (finding,) = preflight(study, good, expected=Expected(1.5 * 2**30, None, None))
    assert (finding.severity, finding.voxel) == ("warning", None)
    assert "1.5 GiB of memory, but 1.0 GiB are free" in finding.text
    assert preflight(study, good, expected=Expected(0.9 * 2**30, None, None)) == []


@pytest.mark.parametrize(
    ("preset", "changes", "mib"),
    [  # peak resident memory, measured on 2026-11-24 (program and images of 50³ included)
        ("quick", {}, 908),
        ("quick", {"precision": "float32"}, 1337),
        ("paper", {"batch": 2, "precision": "float32"}, 2553),
        ("standard", {"batch": 1, "precision": "float32"}, 4139),
        ("quick", {"width": 16}, 1506),
        ("quick", {"patch": (32, 96, 96)}, 1427),
        ("paper", {}, 2006),
        ("paper", {"micro_batch": 1}, 1558),
        ("paper", {"checkpointing": True}, 1646),
        ("standard", {}, 4434),
        ("standard", {"checkpointing": True}, 2849),
    ],
)
def test_expected_memory_is_near_what_was_measured(preset, changes, mib):
    config = make_config(preset, **{"precision": "bfloat16", **changes})
    assert training_memory(config, Grid((50, 50, 50))) / 2**20 == pytest.approx(mib, rel=0.15)


@pytest.mark.parametrize("has", [True, False])
def test_auto_is_what_the_processor_computes_in(has, monkeypatch):
    monkeypatch.setattr(cost_estimate, "has_bfloat16", lambda: has)
    same = "bfloat16" if has else "float32"
    memory = [
        training_memory(make_config("quick", precision=precision), GRID)
        for precision in ("auto", same)
    ]
    assert memory[0] == memory[1]


@pytest.mark.parametrize(
    ("precision", "shape", "mib"),
    [  # whole fits of quick with CT and MR, the last prediction included, 2026-11-29
        ("bfloat16", (200, 256, 256), 1321),
        ("float32", (200, 256, 256), 1608),
    ],
)
def test_a_large_study_needs_memory_for_its_images_and_its_prediction(precision, shape, mib):
    config = make_config("quick", precision=precision)
    assert training_memory(config, Grid(shape)) / 2**20 == pytest.approx(mib, rel=0.15)


def run_of(folder, config, steps):
    """A run that took two seconds a step, cut off in the middle of an event."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"config": config.model_dump(mode="json")}))
    lines = [
        encode(Step(step=n, progress=0.1, elapsed_s=2.0 * n, remaining_s=1, losses={}))
        for n in steps
    ]
    (folder / "events.jsonl").write_text("\n".join([*lines, '{"event":"st']))
    return folder


def test_time_comes_from_the_limit_and_from_runs_that_were_as_heavy(tmp_path):
    quick = make_config("quick")  # 300 steps, two minutes
    assert expect(quick, GRID).seconds == 120
    assert expect(make_config("paper"), GRID).seconds is None
    assert expect(make_config("quick", steps=0), GRID).seconds is None  # nothing is trained
    same = run_of(tmp_path / "0001", make_config("quick", seed=3, steps=50), [1, 10])
    other = run_of(tmp_path / "0002", make_config("quick", width=4), [1, 10])
    found = expect(make_config("quick", steps=40), GRID, [same, other])
    assert (found.step_seconds, found.seconds) == (2.0, 80.0)
    assert expect(quick, GRID, [same, other]).seconds == 120  # 600 s of steps, but the limit holds
    assert expect(quick, GRID, [other, tmp_path / "none"]).step_seconds is None


@pytest.fixture(scope="module")
def phantom(synthetic):
    return study_from_images(synthetic.ct, synthetic.mr)


def test_a_registered_pair_raises_no_doubt(phantom):
    assert doubts(likeness(phantom)) == ""
    assert look_at(phantom).findings == ()


@pytest.mark.parametrize(("axis", "mm"), [(0, -36.0), (1, 36.0), (2, -36.0)])
def test_a_moved_mr_is_found_and_how_far_it_would_have_to_go(phantom, axis, mm):
    step = round(mm / phantom.grid.spacing[axis])
    arrays = [np.roll(a, step, axis) for a in (phantom.second.array, phantom.seen)]
    gap = [slice(None)] * 3
    gap[axis] = slice(step, None) if step < 0 else slice(step)
    for array in arrays:
        array[tuple(gap)] = 0
    moved = replace(phantom, second=Volume(arrays[0], phantom.grid, "MR"), seen=arrays[1])
    found = likeness(moved)
    assert found.move[axis] == pytest.approx(-mm, abs=8)
    assert found.distance == pytest.approx(abs(mm), abs=10)
    assert "registered" in doubts(found)


def test_an_mr_of_something_else_is_found(phantom):
    noise = np.random.default_rng(0).normal(100, 20, phantom.grid.shape).astype(np.float32)
    other = replace(phantom, second=Volume(noise, phantom.grid, "MR"))
    assert likeness(other).here < 0.02
    assert "hardly resembles" in doubts(likeness(other))


def test_too_little_to_compare_raises_no_doubt(study):
    top = tuple(slice(4) if axis == 0 else slice(None) for axis in range(3))
    low = Study(
        Volume(study.first.array[top], GRID.crop((slice(0, 4), slice(0, 40), slice(0, 50))), "CT"),
        Volume(study.second.array[top], GRID, "MR"),
        study.seen[top],
        GRID,
    )
    assert likeness(low) is None  # 16 × 60 × 100 mm
    assert likeness(Study(study.first, None, None, GRID)) is None
    assert doubts(None) == ""


def whole(study, scribbles):
    return [f.text for f in preflight(study, scribbles) if "whole contours" in f.text]


def test_whole_contours_are_no_strokes(phantom, synthetic):
    truth = from_image(turn(synthetic.truth)).array > 0
    grown = ndimage.binary_dilation(truth, iterations=3)
    halves = truth.astype(np.uint8)
    halves[: np.nonzero(truth)[0].mean().astype(int)] *= 2
    for mask in (np.where(truth, 2, grown), np.where(truth, 1, 2 * grown), halves):
        assert len(whole(phantom, mask.astype(np.uint8))) == 1
    small = np.zeros(truth.shape, np.uint8)
    z, y, x = (round(15 / mm) for mm in phantom.grid.spacing)
    small[4 : 4 + z, 20 : 20 + y, 20 : 20 + x] = 1
    small[4 : 4 + z, 40 : 40 + y, 40 : 40 + x] = 2
    assert len(whole(phantom, small)) == 1
    strokes = from_image(turn(synthetic.scribbles)).array
    drawn = [strokes, *(draw(truth, phantom, style) for style in STYLES.values())]
    drawn += [draw(truth, phantom, replace(style, thick=2)) for style in STYLES.values()]
    nothing = np.zeros_like(strokes)
    around = propose_background(nothing, [truth], phantom, whole=True)
    drawn.append(around + propose_foreground(nothing, truth, 2, phantom, whole=True))
    filled = nothing.copy()  # with the lasso, on every third slice
    filled[::3] = np.where(grown & ~truth, 1, 2 * truth)[::3]
    for scribbles in (*drawn, filled):
        assert whole(phantom, scribbles) == []
    corrected = np.where(truth, 2, grown).astype(np.uint8)  # areas that were edited fill some
    assert "whole contours" not in str(preflight(phantom, corrected, drawn_alone=strokes))


def test_strokes_of_people_are_strokes(test_data):
    """And their reference contours are none."""
    patients = sorted((test_data / "acdc").glob("patient*"))
    assert patients
    for patient in patients:
        study = open_study(patient / "ed_image.nii.gz", modalities=("MR", ""))
        strokes = load_labels(patient / "ed_scribbles.nii.gz", study.grid).astype(np.uint8)
        mask = load_labels(patient / "ed_mask.nii.gz", study.grid).astype(np.uint8)
        assert look_whole(strokes, study) == ""
        assert look_whole(mask, study) != ""
