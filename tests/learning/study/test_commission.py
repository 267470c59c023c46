"""A model on contoured patients of one's own: who is taken, what is done once, what is said."""

from __future__ import annotations

import csv
import json
import re
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.backends.backend_pdf import PdfPages
from scipy import ndimage

from cmfnet_napari.core.contours.metrics import evaluate
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.fit.card_sections import (
    Performance,
    Sections,
    patient_digest,
    read_full_card,
)
from cmfnet_napari.core.fit.events import Finished, Step, encode
from cmfnet_napari.core.fit.model_card import model_path
from cmfnet_napari.core.folder_lock import alone
from cmfnet_napari.core.images.grid import Grid
from cmfnet_napari.core.images.study import save_labels
from cmfnet_napari.core.report import commission_page, text_pages
from cmfnet_napari.core.report.commission_advice import advice
from cmfnet_napari.core.report.commission_facts import (
    Commissioning,
    PatientFacts,
    Score,
    against_card,
    known_patients,
)
from cmfnet_napari.core.report.commission_page import save_commissioning
from cmfnet_napari.core.report.text_pages import together
from cmfnet_napari.learning.cohort.split import Hooks
from cmfnet_napari.learning.study.commission import commission
from cmfnet_napari.learning.study.commission_jobs import worst_slice
from cmfnet_napari.learning.study.commission_plan import Plan
from cmfnet_napari.learning.study.contoured import find_patients, read_patient
from tests.dicom_files import rewrite, uid, write_patient

PATIENTS = 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three patients: of the last one the structure set is missing."""
    root = tmp_path_factory.mktemp("patients")
    for number in range(PATIENTS):
        write_patient(root / f"Smith^{number}")
        for path in sorted(p for p in (root / f"Smith^{number}").rglob("*") if p.is_file()):

            def other(data, number=number):
                data.PatientID = f"P{number}"
                data.PatientName = "Smith^John"
                for name in ("SeriesInstanceUID", "StudyInstanceUID", "SOPInstanceUID"):
                    setattr(data, name, f"{getattr(data, name)}.{number + 1}")
                data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
                if "PixelData" in data:
                    pixels = data.pixel_array
                    data.PixelData = (pixels + number).astype(pixels.dtype).tobytes()

            rewrite(path, other)
    for path in (root / f"Smith^{PATIENTS - 1}").glob("rs-*.dcm"):
        path.unlink()
    return root


@pytest.fixture
def fits(monkeypatch):
    """Fits that grow the strokes, noted; the test says which one is killed, and which fails."""
    noted = SimpleNamespace(calls=[], killed_at=None, failing="")

    def fit(study, strokes, run, config, *, base, hooks, **_):
        if hooks.request():
            return None
        noted.calls.append((study.voxel_hash[:16], base, config.steps))
        if noted.failing and noted.failing == study.voxel_hash[:16]:
            raise UserError("The fit has no memory.")
        if len(noted.calls) == noted.killed_at:
            told = Step(step=3, progress=0.5, elapsed_s=500, remaining_s=500, losses={})
            (run / "events.jsonl").write_text(encode(told) + "\n")
            (run / "state.pt").write_text("")
            raise KeyboardInterrupt
        labels = ndimage.binary_dilation(strokes == 2, iterations=3).astype(np.uint8)
        save_labels(labels, study, run / "prediction.nii.gz")
        return Finished(
            model="model.safetensors", labels="prediction.nii.gz", probabilities="p.nii.gz",
            volumes_ml={},
        )  # fmt: skip

    monkeypatch.setattr("cmfnet_napari.learning.study.commission_jobs.fit", fit)
    return noted


def plan(folder, out, **changes):
    known = {"users": ("careful", "hasty"), "structures": ("ctv", "gtv ct")}
    return Plan(folder, out, **({"changes": {"steps": 7}, **known} | changes))


def test_who_is_taken(folder, tmp_path):
    found = find_patients(folder)
    assert len(found) == PATIENTS
    one = read_patient(found[0], ["CTV", "gtv CT"])
    assert (one.name, one.study.kinds) == ("GTV CT", ("CT", "MR"))
    ball = 4 / 3 * np.pi * 11.0**3 / 1000
    assert one.truth.sum() * one.study.grid.voxel_ml == pytest.approx(ball, rel=0.1)
    assert one.study.weightings == ("", "T1")
    with pytest.raises(UserError, match=r"Several structures may be meant: GTV CT, GTV MR\. Say"):
        read_patient(found[0])
    with pytest.raises(UserError, match=r"called CTV or PTV\. There are: GTV CT, GTV MR"):
        read_patient(found[0], ["CTV", "PTV"])
    with pytest.raises(UserError, match=r"no structure whose name begins with GTV\. .*none"):
        read_patient(found[2])
    with pytest.raises(UserError, match="holds no DICOM image"):
        find_patients(tmp_path)


def test_what_is_not_used_is_said(folder, tmp_path, fits):
    one = tmp_path / "in"
    shutil.copytree(next(path for path in folder.iterdir() if path.name.endswith("0")), one)
    ct = one / "ct"
    (ct / "cut off.dcm").write_bytes(next(iter(sorted(ct.iterdir()))).read_bytes()[:400])
    for path in sorted((one / "mr").iterdir()):
        copy = one / "mip" / path.name
        copy.parent.mkdir(exist_ok=True)
        shutil.copy(path, copy)

        def other(data, name=path.name):
            data.SeriesInstanceUID, data.SOPInstanceUID = uid("mip"), uid("mip", name)
            data.SeriesDescription, data.ImageType = "a MIP", ["DERIVED", "SECONDARY", "MIP"]

        rewrite(copy, other)
    result = commission(plan(one, tmp_path / "out", users=("careful",)))
    said = " ".join(result["notes"])
    assert "Patient 1: Not used: MR a MIP" in said
    assert "1 file was left out, since damaged: cut off.dcm." in said
    assert "MR a MIP" in (tmp_path / "out" / "patients.csv").read_text()
    page = (tmp_path / "out" / "results.csv").read_text() + str(result["left_out"])
    assert "MIP" not in page


def test_a_damaged_file_is_not_named_on_the_page(folder, tmp_path, fits, monkeypatch):
    for path in folder.iterdir():
        shutil.copytree(path, tmp_path / "in" / path.name)
    cut_off = sorted((tmp_path / "in" / "Smith^0" / "ct").iterdir())[3]
    cut_off.write_bytes(cut_off.read_bytes()[:-500])
    cut_off.rename(cut_off.with_name("SMITH_JOHN_0.dcm"))
    shown = []
    monkeypatch.setattr(
        commission_page, "text_pages", lambda lines: shown.extend(list(lines)) or []
    )
    monkeypatch.setattr(commission_page, "save_pages", lambda _, __, path, **___: path)
    result = commission(plan(tmp_path / "in", tmp_path / "out", users=("careful",)))
    assert "SMITH_JOHN_0.dcm is damaged" in result["left_out"][0]  # said
    assert "SMITH_JOHN_0.dcm is damaged" in (tmp_path / "out" / "patients.csv").read_text()
    page = " ".join(text for text, _ in shown)
    assert "Patient 1 was left out" in page
    assert "smith" not in page.lower()


def test_killed_it_goes_on_and_names_nobody(folder, tmp_path, fits):
    out = tmp_path / "out"
    fits.killed_at = 6
    with pytest.raises(KeyboardInterrupt):
        commission(plan(folder, out))
    assert len(fits.calls) == 6  # four contours of the first patient, one and a half of the next
    fits.killed_at = None
    result = commission(plan(folder, out))
    assert len(fits.calls) == 6 + 3
    assert {steps for _, base, steps in fits.calls if base} == {0}  # the model reads strokes
    assert {steps for _, base, steps in fits.calls if not base} == {7}
    assert result["patients"] == 2
    assert [re.sub(r"\. .*", "", said) for said in result["left_out"]] == ["Patient 3 was left out"]
    assert commission(plan(folder, out))["patients"] == 2  # nothing is left to do
    assert len(fits.calls) == 9
    with open(out / "results.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 2 * 2
    assert {row["method"] for row in rows} == {"limb-sarcoma", "quick"}
    took = [float(row["seconds"]) >= 500 for row in rows]
    assert took == [False] * 5 + [True] + [False] * 2  # what it had taken before the kill counts
    said = "".join(path.read_text("latin-1") for path in out.rglob("*.*") if path.is_file()
                   and path.name != "patients.csv")  # fmt: skip
    assert "smith" not in said.lower()
    assert str(tmp_path) not in said
    assert "Smith^1" in (out / "patients.csv").read_text()  # stays in the department
    assert not list(out.rglob("*.run"))
    with open(out / "patients.csv", newline="") as file:
        people = list(csv.DictReader(file))
    assert [bool(row["hash"]) for row in people] == [True, True, False]
    assert all(f"Smith^{n}" in row["folder"] for n, row in enumerate(people))
    assert "no structure called ctv or gtv ct" in people[2]["left_out"]
    assert commission(plan(folder, out, structures=("GTV MR",)))["patients"] == 2
    assert len(fits.calls) == 9 + 8  # another contour by hand; else nothing is begun anew
    with pytest.raises(UserError, match="another commissioning: users differ"):
        commission(plan(folder, out, users=("hasty",)))


def test_what_changed_is_damaged_or_lost_is_made_anew(folder, tmp_path, fits, monkeypatch):
    monkeypatch.setattr(
        "cmfnet_napari.learning.study.commission.save_commissioning", lambda *_: "not drawn"
    )
    wanted = plan(folder, tmp_path / "out", users=("careful", "hasty"))
    commission(wanted)
    assert len(fits.calls) == 8
    *harmed, one, other = sorted((tmp_path / "out").glob("*/*.json"))
    left = {file: file.stat().st_mtime_ns for file in (one, other)}
    for file, harm in zip(harmed, DAMAGES, strict=True):
        harm(file, json.loads(file.read_text()))
    assert commission(wanted)["left_out"][1:] == []  # the third has no structure set
    assert len(fits.calls) == 8 + 6
    assert {file: file.stat().st_mtime_ns for file in left} == left
    assert commission(wanted)["patients"] == 2
    assert len(fits.calls) == 8 + 6


def cut(file, keep, end=b""):
    packed = file.with_suffix(".npz")
    packed.write_bytes(packed.read_bytes()[:keep] + end)


DAMAGES = (
    lambda file, told: file.write_text(json.dumps(told | {"truth": "another"})),
    lambda file, told: file.write_text(json.dumps({"truth": told["truth"], "scores": {}})),
    lambda file, told: file.write_text("{"),
    lambda file, told: file.with_suffix(".npz").unlink(),
    lambda file, told: cut(file, file.with_suffix(".npz").stat().st_size // 2),
    lambda file, told: cut(file, -90, b"\0" * 90),
)


def test_a_patient_whose_fit_fails_is_left_out_and_named(folder, tmp_path, fits, monkeypatch):
    card = read_full_card("limb-sarcoma")
    taught = card.sections.training.model_copy(update={"patient_digests": (patient_digest(" p1"),)})
    public = card.model_copy(
        update={"sections": card.sections.model_copy(update={"training": taught})}
    )
    monkeypatch.setattr("cmfnet_napari.learning.study.commission.read_full_card", lambda _: public)
    shown = []
    monkeypatch.setattr(
        "cmfnet_napari.learning.study.commission.save_commissioning",
        lambda found, _, path: shown.append(found) or path,
    )
    wanted = plan(folder, tmp_path / "out", users=("careful",))
    fits.failing = read_patient(find_patients(folder)[0], ["gtv ct"]).study.voxel_hash[:16]
    result = commission(wanted)
    assert result["patients"] == 1
    assert result["left_out"][0] == "Patient 1 was left out. The fit has no memory."
    assert shown[0].left_out == (
        "Patient 1 was left out: it could not be contoured (why: see patients.csv).",
        "Patient 3 was left out: its images or its structure could not be used "
        "(why: see patients.csv).",
    )
    assert shown[0].known == [2]  # P1, of which other voxels were taught, perhaps
    with open(result["results"], newline="") as file:
        assert {row["patient"] for row in csv.DictReader(file)} == {"2"}
    with alone(wanted.out), pytest.raises(UserError, match="Another process is writing into out"):
        commission(wanted)


def test_wrong_use_and_a_wish_to_stop(folder, tmp_path, fits):
    with pytest.raises(UserError, match="no user 'lazy'; choose from careful"):
        commission(plan(folder, tmp_path / "a", users=("lazy",)))
    with pytest.raises(UserError, match="no preset 'slow'"):
        commission(plan(folder, tmp_path / "a", presets=("slow",)))
    named = tmp_path / "quick.safetensors"
    named.write_bytes(model_path("limb-sarcoma").read_bytes())
    with pytest.raises(UserError, match="The model is called quick, like a preset"):
        commission(plan(folder, tmp_path / "a", model=str(named)))
    with pytest.raises(UserError, match=r"No patient could be taken\. Patient 1 was left out"):
        commission(plan(folder, tmp_path / "a", structures=("CTV",)))
    assert commission(plan(folder, tmp_path / "b"), Hooks(stop=lambda: True)) is None
    assert fits.calls == []


def test_the_slice_with_most_wrong():
    truth, found = np.zeros((2, 9, 6, 6), bool)
    truth[2:7, 2:5, 2:5] = True
    found[2:7, 2:5, 2:5] = True
    found[6, 2:4] = False
    assert worst_slice(found, truth) == (6, 1.0)
    found[8] = True  # beyond the end
    assert worst_slice(found, truth) == (8, 1.5)


def scored(dsc, place=0.5, users="careful", method="limb-sarcoma", patient=1):
    """A contour of a box that agrees so far with another one."""
    grid = Grid((3, 12, 102), (1.0, 1.0, 1.0))
    ours, theirs = np.zeros((2, *grid.shape), np.uint8)
    theirs[1, 1:11, 1:101] = 1
    ours[1, 1:11, 1 : 1 + round(100 * dsc / (2 - dsc))] = 1
    scores = evaluate(ours, theirs, grid).mean
    assert scores.dsc == pytest.approx(dsc, abs=0.01)
    return Score(patient, users, method, scores, 1.0, 1, place)


def commissioning(scores, patients, **sections):
    card = read_full_card("limb-sarcoma")
    row = {"group": "all", "mean": 0.86, "low": 0.85, "high": 0.87, "patients": 24}
    rows = (Performance(users="careful", **row),)
    known = Sections(performance=rows) if not sections else Sections(**sections)
    card = card.model_copy(update={"sections": known})
    people = tuple(PatientFacts(n, "hash", "CT and MR") for n in range(1, patients + 1))
    return Commissioning(card, "GTV", people, tuple(scores))


def test_what_is_said_against_the_card():
    worse = [scored(dsc, patient=n) for n, dsc in enumerate((0.6, 0.62, 0.58, 0.61, 0.6))]
    (said,) = against_card(commissioning(worse, 5))
    assert said.startswith("DSC, careful strokes: 0.603 (0.585 to 0.621) here, 0.86")
    assert said.endswith("WORSE than the card says. Find out why before the model is used.")
    (said,) = against_card(commissioning([scored(0.86, patient=n) for n in range(5)], 5))
    assert said.endswith("alike.")
    (said,) = against_card(commissioning(worse[:2], 2))
    assert said == "2 patients: too few to be compared with the card; 5 at least are needed."
    (said,) = against_card(commissioning(worse, 5, intended_use="x"))
    assert "has no figures of these users" in said
    row = {"group": "all", "users": "careful", "patients": 24, "low": 1.0, "high": 1.2, "mean": 1}
    rows = tuple(Performance(measure=name, **row) for name in ("dice", "mean", "volume_ml"))
    said = list(against_card(commissioning(worse, 5, performance=rows)))
    assert "has dice of careful strokes, which is not measured here. Measured are asd_" in said[0]
    assert "has mean of careful strokes" in said[1]
    assert said[2].endswith("OTHER than the card says. Find out why before the model is used.")


def test_patients_that_the_model_knows_count_for_nothing(tmp_path, monkeypatch):
    """Two that flatter, three that do not: by their figures alone means and sentences are made."""
    scores = [scored(dsc, patient=n) for n, dsc in enumerate((0.99, 0.98, 0.5, 0.52, 0.54), 1)]
    found = commissioning(scores, 5)
    people = tuple(replace(one, known=one.number < 3) for one in found.patients)
    some = replace(found, patients=people)
    assert some.mean("limb-sarcoma", "careful", "dsc").mean == pytest.approx(0.52, abs=0.01)
    assert "made with 2 of these patients (1, 2): their figures flatter" in next(
        known_patients(some)
    )
    assert next(advice(some)).startswith("Contoured were 3 of 10 patients that the model does not")
    pages = []
    monkeypatch.setattr(
        commission_page, "text_pages", lambda lines: pages.append(list(lines)) or []
    )
    monkeypatch.setattr(commission_page, "save_pages", lambda *_, **__: None)
    save_commissioning(some, [], tmp_path / "page.pdf")
    said, table = (" ".join(text for text, _ in page) for page in pages)
    assert "mean over 3 patients that the model does not know (95 % interval)" in said
    assert "WORSE" not in said  # three are too few
    assert re.findall(r"(\d\*?) +limb-sarcoma", table) == ["1*", "2*", "3", "4", "5"]
    every = replace(found, patients=tuple(replace(one, known=True) for one in people))
    assert every.mean("limb-sarcoma", "careful", "dsc").mean == pytest.approx(0.706, abs=0.01)
    assert "all figures flatter" in next(known_patients(every))
    assert next(advice(every)).startswith("Contoured were 0 of 10 patients that the model does not")
    assert list(known_patients(found)) == []
    one = replace(some, patients=tuple(replace(p, known=p.number < 5) for p in people))
    pages.clear()
    save_commissioning(one, [], tmp_path / "page.pdf")
    rows = [text for text, _ in pages[0] if text.startswith("limb-sarcoma, careful")]
    assert [re.findall(r"[\d.]+", row)[0] for row in rows] == ["0.54"]
    assert "–" not in rows[0].replace(" ", "")[:30]  # of one patient there is no interval


def test_what_to_tell_the_users():
    careful = [scored(0.8, 1.0, patient=n) for n in range(10)]
    hasty = [scored(0.6, 0.0, "hasty", patient=n) for n in range(10)]
    quick = [scored(0.7, 0.5, "careful", "quick", patient=n) for n in range(10)]
    said = list(advice(commissioning([*careful, *hasty, *quick], 10)))
    assert said[0].startswith("How one draws counts: mean DSC 0.80 with careful strokes, 0.60")
    assert said[1].startswith("The worst slice lies at an end of the structure in 20 of 20")
    assert said[2].startswith("Contours are smaller than those by hand: -4")
    assert said[3].startswith("Expect to draw ")
    assert said[4].startswith("limb-sarcoma less quick: mean DSC +0.1")
    assert said[4].endswith("10 patients).")
    few = list(advice(commissioning(careful[:3], 3)))
    assert few[0].startswith("Contoured were 3 of 10 patients: too few for a decision.")


def test_the_place_to_sign_is_on_one_page():
    block = [("Decision", "title"), ("sign", "table"), ("here", "table")]
    for before in (0, 55, 56, 58, 100):
        lines = together([("x", "text")] * before, block)
        pages = {at // 58 for at, line in enumerate(lines) if line in block}
        assert len(pages) == 1
        assert len(lines) - before in (3, 3 + -before % 58)


def test_users_of_a_patient_are_no_more_patients():
    """Gains of 0.1 and 0.3, each said by three users: two values say next to nothing."""
    scores = []
    for patient, dsc in ((1, 0.5), (2, 0.3)):
        for users in ("careful", "hasty", "sloppy"):
            scores += [scored(0.6, users=users, patient=patient)]
            scores += [scored(dsc, users=users, patient=patient, method="quick")]
    said = next(said for said in advice(commissioning(scores, 2)) if "less quick" in said)
    mean, low, high = map(float, re.findall(r"[+-][\d.]+", said))
    assert said.endswith("2 patients).")
    assert mean == pytest.approx(0.2, abs=0.02)
    assert (low, high) == (-1, 1)  # 12.7 · 0.141 / √2 = 1.27 on either side; a DSC ends before


def test_no_line_of_the_page_leaves_the_paper(tmp_path, monkeypatch):
    found = commissioning([scored(0.6, patient=n) for n in (1, 1234)], 2)
    wide = "Several structures may be meant: GTV CT, GTV MRI, CTV MRI, PTV MRI WARM, GTVn, ITV. "
    card = found.card.model_copy(update={"name": "long-name-" * 12})
    found = replace(found, card=card, left_out=(wide * 3, wide[20:] * 3))
    pages = []
    monkeypatch.setattr(PdfPages, "savefig", lambda _, figure, **__: pages.append(figure))
    monkeypatch.setattr(text_pages, "write_safely", lambda path, _, write: write(path))
    save_commissioning(found, [], tmp_path / "page.pdf")
    assert len(pages) >= 2
    for page in pages:
        page.set_dpi(720)  # widths as in the file, not rounded to pixels
        for text in page.texts:
            room = page.bbox.x1 - text.get_window_extent().x1
            assert room > 0.2 * page.dpi, text.get_text()  # inches; printers leave out 5 mm


@pytest.mark.slow
def test_the_real_patient_is_commissioned(test_data, tmp_path):
    folder = test_data / "sts" / "dicom_STS_025"
    result = commission(Plan(folder, tmp_path / "out", presets=(), users=("careful",)))
    assert (result["patients"], result["left_out"]) == (1, [])
    with open(result["results"], newline="") as file:
        (row,) = csv.DictReader(file)
    assert float(row["dsc"]) > 0.8
    assert float(row["reference_ml"]) == pytest.approx(30.1, abs=0.2)
    assert (tmp_path / "out" / "commissioning.pdf").read_bytes().startswith(b"%PDF")
