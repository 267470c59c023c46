"""One page that says what is true, and nothing of the patient."""

from __future__ import annotations

import io
import re
import zlib
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.legend import Legend
from matplotlib.text import Text

from cmfnet_napari.core.case.folder import create_case
from cmfnet_napari.core.contours.doubt import to_percent
from cmfnet_napari.core.contours.hand_work import hand_work
from cmfnet_napari.core.contours.metrics import evaluate
from cmfnet_napari.core.errors import DataWarning, UserError
from cmfnet_napari.core.files import write_json
from cmfnet_napari.core.fit import events
from cmfnet_napari.core.fit.runs import EVENTS_FILE
from cmfnet_napari.core.images.grid import Grid
from cmfnet_napari.core.images.study import save_labels, study_from_images
from cmfnet_napari.core.report import page
from cmfnet_napari.core.report.facts import gather_facts
from cmfnet_napari.core.report.from_run import report_run
from cmfnet_napari.core.report.page import contour_words, save_report
from cmfnet_napari.core.review.log_entry import LOG_FILE
from cmfnet_napari.core.review.places import find_places
from cmfnet_napari.core.review.record import Record, digest, slice_digests, write_record
from cmfnet_napari.core.review.review_log import ReviewLog
from cmfnet_napari.core.strokes.scribbles import ScribbleClass

GRID = Grid((10, 30, 24), (4.0, 1.0, 1.5), (-20.0, 5.0, 60.0))
DOUBTFUL = np.s_[4:7, 8:16, 8:13]


@pytest.fixture(scope="module")
def study():
    rng = np.random.default_rng(0)
    ct = rng.normal(0, 60, GRID.shape).astype(np.float32)
    mr = rng.uniform(100, 900, GRID.shape).astype(np.float32)
    return study_from_images(GRID.to_image(ct), GRID.to_image(mr))


@pytest.fixture
def labels():
    array = np.zeros(GRID.shape, np.uint8)
    array[3:8, 10:20, 6:16] = 1
    return array


@pytest.fixture
def case(study, labels, tmp_path):
    """A case with a run that left its files, one slice looked at and one place decided."""
    case = create_case(tmp_path / "case", study)
    run = case.new_run("quick")
    p = np.where(labels, 0.95, 0.0).astype(np.float32)
    apart = np.zeros_like(p)
    p[DOUBTFUL], apart[DOUBTFUL] = 0.5, 0.6
    files = {"labels": "prediction", "probabilities": "probabilities", "disagreement": "apart"}
    names = {key: f"runs/{run.name}/{name}.nii.gz" for key, name in files.items()}
    arrays = labels, p, to_percent(apart)
    for name, array in zip(names.values(), arrays, strict=True):
        save_labels(array, study, case.folder / name)
    finished = events.Finished(
        model=f"runs/{run.name}/model.safetensors",
        volumes_ml={"Tumour": 3.0},
        agreement=0.97,
        held_out=0.9,
        **names,
    )
    (run / EVENTS_FILE).write_text(events.encode(finished) + "\n")
    record = Record().with_seen("axial", 5, slice_digests(labels)["axial"][5])
    (place,) = find_places(labels, p, study.grid, apart)
    write_record(record.with_decision(place, "accepted", labels, study.grid), case.folder)
    yield case
    case.close()


def pages(path):
    return len(re.findall(rb"/Type\s*/Page\b", path.read_bytes()))


def text_of(path):
    """Streams of a PDF, unpacked as far as they can be."""
    raw = path.read_bytes()
    parts = [raw]
    for stream in re.findall(rb"stream\r?\n(.*?)endstream", raw, re.DOTALL):
        try:
            parts.append(zlib.decompress(stream))
        except zlib.error:
            continue
    return b"".join(parts)


def test_facts_of_a_review(study, labels):
    digests = slice_digests(labels)
    record = Record().with_seen("axial", 3, digests["axial"][3])
    record = record.with_seen("coronal", 10, "0" * 16)  # another contour then
    facts = gather_facts(study, labels, names=["Tumour"], record=record)
    assert facts.slices == {"axial": (1, 5), "coronal": (0, 10), "sagittal": (0, 10)}
    assert facts.volumes_ml == pytest.approx({"Tumour": 5 * 10 * 10 * 6.0 / 1000})
    assert facts.case == study.content_hash[:16]
    text = "\n".join(contour_words(facts))
    assert "axial: 1 of 5" in text
    assert "0 open, 0 accepted" in text
    assert "all strokes: unknown" in text
    assert "Sign-off" not in text
    signed = replace(facts, sign_off="Reviewed by A. on 2026-11-29.")
    assert "  Reviewed by A. on 2026-11-29." in contour_words(signed)


def test_a_report_of_a_run_in_a_case(case, study, tmp_path):
    (run,) = case.runs()
    path = report_run(run, study, tmp_path / "report.pdf")
    assert path.read_bytes().startswith(b"%PDF")
    assert pages(path) == 1
    assert path.stat().st_size < 2_000_000
    assert str(tmp_path).encode() not in text_of(path)


def test_what_a_run_report_says(case, study, labels, tmp_path, monkeypatch):
    said = {}

    def note(_study, _labels, facts, path, other):
        said.update(facts=facts, other=other)
        return path

    monkeypatch.setattr("cmfnet_napari.core.report.from_run.save_report", note)
    reference = tmp_path / "reference.nii.gz"
    save_labels(labels, study, reference)
    ReviewLog(case.folder, case.key).append("reviewed", {"unseen": 2}, digest(labels), "Anna")
    report_run(case.runs()[0], study, tmp_path / "r.pdf", reference)
    facts = said["facts"]
    assert facts.slices["axial"] == (1, 5)
    assert facts.places == {"accepted": 1, "corrected": 0}
    assert (facts.strokes, facts.held_out) == (0.97, 0.9)
    assert facts.evaluation.classes["Tumour"].dsc == 1.0
    assert facts.model == "unknown"  # it left no model
    assert facts.sign_off.startswith("Reviewed by Anna")
    assert facts.sign_off.endswith("2 axial slices not looked at.")
    log = case.folder / LOG_FILE
    forged = log.read_bytes().splitlines()[-1].replace(b'"n": 2', b'"n": 3')
    log.write_bytes(log.read_bytes() + forged.replace(b"Anna", b"Fake") + b"\n")
    report_run(case.runs()[0], study, tmp_path / "r.pdf", reference)
    assert said["facts"].sign_off == (
        f"{facts.sign_off} The review log was changed at line 3: entry 3 does not follow the one "
        "before it."
    )
    np.testing.assert_array_equal(said["other"], labels)


def test_an_empty_contour_many_classes_and_no_mr(study, tmp_path):
    alone = replace(study, second=None, seen=None)
    empty = np.zeros(GRID.shape, np.uint8)
    names = [f"An organ with a long name {n} $x_1$" for n in range(12)]
    path = save_report(alone, empty, gather_facts(alone, empty, names=names), tmp_path / "r.pdf")
    assert pages(path) == 2


TEAL, RED = "#009e73", "#d55e00"
ORGANS = [
    "GTVp", "GTVn", "Bladder", "Rectum", "Bowel", "Femur_Head_L", "Femur_Head_R", "Kidney_L",
    "Kidney_R", "SpinalCord", "Liver", "_Ring",
]  # fmt: skip


def words_of(figure):
    """Every text of a page with its lower and upper edge, in parts of the page's height."""
    figure.savefig(io.BytesIO(), dpi=80)
    found, height = [], figure.bbox.height
    for text in figure.findobj(Text):
        if text.get_text().strip() and text.get_visible():
            box = text.get_window_extent()
            found.append((text.get_text(), box.y0 / height, box.y1 / height))
    return found


@pytest.mark.parametrize("count", [1, 3, 7, 12])
def test_all_classes_are_on_the_page_or_on_a_further_one(study, tmp_path, monkeypatch, count):
    made = []
    monkeypatch.setattr(page, "save_pages", lambda figures, *_, **__: made.extend(figures))
    labels = np.zeros(GRID.shape, np.uint8)
    for code in range(1, count + 1):
        labels[3:8, 2 * code : 2 * code + 2, 2 : 2 + code] = code  # 10 × code voxels of 6 mm³
    names = ORGANS[:count]
    moved = np.roll(labels, 1, axis=2)
    classes = [ScribbleClass(code + 1, name, TEAL) for code, name in enumerate(names, start=1)]
    facts = gather_facts(
        study,
        labels,
        names=names,
        classes=[replace(classes[0], color=RED), *classes[1:]],
        evaluation=evaluate(labels, moved, study.grid, names),
        hand=hand_work(moved, labels, study.grid, names),
    )
    facts = replace(facts, sign_off="Reviewed by Anna on 2026-11-30.")
    save_report(study, labels, facts, tmp_path / "r.pdf", moved)
    assert len(made) == (1 if count <= 3 else 2)
    first = words_of(made[0])
    (words,) = (entry for entry in first if entry[0].startswith("Sign-off"))
    assert words[0].splitlines()[1] == "  Reviewed by Anna on 2026-11-30."
    for figure in made:
        assert all(low > 0 and high < 1.001 for _, low, high in words_of(figure))
    foot = min(low for text, low, _ in first if not text.startswith("Research"))
    assert foot > 0.04  # the disclaimer's
    (legend,) = made[0].findobj(Legend)
    shown = [text.get_text().strip("\u200b") for text in legend.get_texts()]
    assert shown == [*names, "reference"]
    colors = [line.get_color() for line in legend.get_lines()[:count]]
    assert colors == [RED, *[TEAL] * (count - 1)]
    if count > 3:
        lines = [text for text, *_ in words_of(made[1])]
        for code, name in enumerate(names, start=1):
            (row,) = (line for line in lines if line.startswith(f"{name} ") and "ml" not in line)
            # Of code voxels in a row all but one are the same: Dice (code − 1) / code.
            assert row.split()[1] == f"{(code - 1) / code:.3f}"
            assert f"  {name}: {10 * code * 6 / 1000:.1f} ml" in lines
        assert any(line.startswith("Mean ") for line in lines)


def test_another_patients_images_are_refused(case, study, tmp_path):
    run = case.runs()[0]
    write_json(run / "config.json", {"study": "", "first": study.first_hash})
    alone = replace(study, second=None, seen=None)
    assert report_run(run, alone, tmp_path / "r.pdf").is_file()
    other = replace(study, first=replace(study.first, array=study.first.array + 1))
    with pytest.raises(UserError, match="its voxels are others"):
        report_run(run, other, tmp_path / "other.pdf")
    (run / "config.json").unlink()
    with pytest.warns(DataWarning, match="only the grid was compared"):
        report_run(run, other, tmp_path / "other.pdf")


def test_errors_in_words(case, study, tmp_path):
    with pytest.raises(UserError, match="no training that is complete"):
        report_run(tmp_path, study, tmp_path / "r.pdf")
    with pytest.raises(UserError, match=r"r\.pdf could not be written"):
        report_run(case.runs()[0], study, tmp_path / "none" / "r.pdf")
    (case.runs()[0] / "prediction.nii.gz").unlink()
    with pytest.raises(UserError):
        report_run(case.runs()[0], study, tmp_path / "r.pdf")
