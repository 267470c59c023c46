"""A patient's name, birth date, number and folder stay where they were: in the patient's files."""

import gzip
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from cmfnet_napari.core.case.folder import create_case, read_card
from cmfnet_napari.core.dicom.importing.import_case import import_patient, read_patient
from cmfnet_napari.core.dicom.importing.patient import Choice
from cmfnet_napari.core.fit import events
from cmfnet_napari.core.fit.config import cohort_config, make_config
from cmfnet_napari.core.images.series.scan import scan
from cmfnet_napari.core.images.study import open_study, save_labels
from cmfnet_napari.core.strokes.entries import difference
from cmfnet_napari.gui.patient.opened import open_dicom
from cmfnet_napari.learning.cohort.cohort_file import read_cohort
from cmfnet_napari.learning.cohort.train import train
from tests.dicom_files import rewrite, write_structures
from tests.faults.mutate_samples import write_series
from tests.learning.conftest import Worker

SECRETS = ("DOEVANDERBERG", "JOHANNES", "PID-4711-X", "19490523")
TAGS = {
    "0010|0010": "DOEVANDERBERG^JOHANNES",
    "0010|0020": "PID-4711-X",
    "0010|0030": "19490523",
}
TINY = {"width": 2, "patch": (16, 16, 16), "spacing": None, "steps": 2, "precision": "float32"}


@pytest.fixture
def patient(tmp_path):
    """CT and MR as DICOM, in folders named like the patient; a mask on the CT's grid."""
    folder = tmp_path / "DOEVANDERBERG JOHANNES 19490523"
    z, y, x = np.indices((16, 18, 20))
    inside = (z - 8) ** 2 + (y - 9) ** 2 + (x - 10) ** 2 < 25
    noise = np.random.default_rng(0).normal(0, 5, inside.shape)
    for name, sop, level in (("CT", "2", 40), ("MR", "4", 300)):
        image = sitk.GetImageFromArray((level * (1 + inside) + noise).astype(np.int16))
        tags = {**TAGS, "0008|0060": name, "0008|0016": f"1.2.840.10008.5.1.4.1.1.{sop}"}
        write_series(folder / name, tags, image)
    study = open_study(folder / "CT" / "open", folder / "MR" / "open")
    save_labels(inside.astype(np.uint8), study, folder / "PID-4711-X.nii.gz")
    return folder, study, inside


def leaks(data: bytes, where: str) -> list[str]:
    """Secrets in some bytes, whatever the case, also as UTF-16 and in packed data."""
    if data[:2] == b"\x1f\x8b":
        data += gzip.decompress(data)
    text = data.upper()
    coded = [(s, c) for s in SECRETS for c in (s.encode(), s.encode("utf-16-le"))]
    return [f"{secret} in {where}" for secret, code in coded if code in text]


def leaks_in(folder: Path) -> list[str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    found = []
    for path in files:
        name = str(path.relative_to(folder))
        found += leaks(name.encode(), "a name") + leaks(path.read_bytes(), name)
    return found


def test_the_files_hold_the_secrets(patient):
    """Else the tests below could not fail."""
    folder, _, _ = patient
    (first, *_) = sorted((folder / "CT" / "open").iterdir())
    assert len(leaks(first.read_bytes(), "")) == len(SECRETS)


def test_a_case_a_fit_and_its_failures(patient):
    folder, study, inside = patient
    case = create_case(folder / "case", study)  # the user keeps it there: its path is a secret
    scribbles = np.zeros(inside.shape, np.uint8)
    scribbles[8, 8:11, 8:13], scribbles[8, 1, 2:18] = 2, 1
    case.journal.append(difference(case.scribbles(), scribbles))
    case.close()
    (folder / "base.safetensors").write_bytes(b"no model")
    config = make_config("quick", **TINY, preview_seconds=0.1).model_dump(mode="json")
    worker = Worker(case.folder).process
    said = []

    def ask(base: str = "") -> events.Event:
        fit = events.Fit(config=config, device="cpu", base=base)
        worker.stdin.write(events.encode(fit) + "\n")
        worker.stdin.flush()
        for line in worker.stdout:
            said.append(line)
            event = events.decode_event(line)
            if isinstance(event, events.Finished | events.Failed):
                return event
        raise AssertionError(worker.stderr.read())

    try:
        finished = ask()
        assert isinstance(finished, events.Finished)
        assert isinstance(ask(str(folder / "base.safetensors")), events.Failed)
        found = leaks_in(case.folder)
        (case.folder / "runs").rename(case.folder / "kept")
        (case.folder / "runs").write_text("in the way")  # nobody foresaw this
        assert isinstance(ask(), events.Failed)
        worker.stdin.close()
        log = worker.stderr.read()
    finally:
        worker.kill()
        worker.wait()
        worker.stdout.close()
        worker.stderr.close()
    assert (case.folder / finished.model.replace("runs", "kept")).exists()
    assert "Error" in log
    assert "<path>" in log
    assert found == []
    assert leaks("".join(said).encode(), "the worker's events") == []
    assert leaks(log.encode(), f"the worker's log:\n{log}") == []


def test_imports(patient, tmp_path):
    """What was left out or looks odd is said by name, and kept without."""
    folder, study, _ = patient
    series = folder / "CT" / "open"
    (series / "DOEVANDERBERG 1.dcm").touch()
    (series / "PID-4711-X report.zip").write_bytes(b"PK")
    structures = write_structures(series / "RS DOEVANDERBERG.dcm", [])
    rewrite(structures, lambda data: setattr(data, "StructureSetLabel", ""))
    rewrite(structures, lambda data: setattr(data, "SeriesDescription", ""))
    for path in series.glob("slice*"):
        rewrite(path, lambda data: setattr(data, "SeriesDescription", "CT of JOHANNES"))
    (series / "slice000.dcm").unlink()  # is said to be missing
    image = sitk.GetImageFromArray(study.first.array)
    sitk.WriteImage(image, folder / "JOHANNES.nii.gz")
    header = bytearray(gzip.decompress((folder / "JOHANNES.nii.gz").read_bytes()))
    header[252:256] = bytes(4)  # no qform, no sform
    (folder / "JOHANNES.nii.gz").write_bytes(gzip.compress(bytes(header)))
    for number, path in enumerate((folder / "CT", folder / "JOHANNES.nii.gz")):
        loaded, _ = read_patient([path])
        assert leaks(" ".join(loaded.notes).encode(), "")  # shown, else there is nothing to prove
        case = tmp_path / f"case {number}"
        import_patient(loaded, case)
        assert leaks_in(case) == []
        kept = read_card(case).notes
        assert len(kept) == len(loaded.notes)
    assert "The file does not say where it lies" in kept[0]


def test_the_window_keeps_what_an_import_keeps(patient, tmp_path, monkeypatch):
    folder, _, _ = patient
    monkeypatch.setenv("CMFNET_CASES", str(tmp_path / "cases"))
    (folder / "CT" / "open" / "DOEVANDERBERG 1.dcm").touch()
    found = scan([folder / "CT"])
    opened = open_dicom(Choice(found.images[0]), found, lambda _what, _share: True)
    opened.case.close()
    assert "DOEVANDERBERG 1.dcm" in opened.notice
    assert leaks_in(tmp_path / "cases") == []
    assert opened.case.notes == ("1 file was left out, since empty.",)


def test_a_training_on_a_cohort(patient, tmp_path, capfd):
    folder, _, _ = patient
    cohort = folder / "cohort.csv"
    cohort.write_text("case,ct,mr,mask,split\none,CT/open,MR/open,PID-4711-X.nii.gz,train\n")
    assert read_cohort(cohort)[0].mask.name == "PID-4711-X.nii.gz"
    changes = {"preset": "quick", **TINY, "batch": 1}
    train(cohort, tmp_path / "out", cohort_config(**changes), device="cpu")
    assert (tmp_path / "out" / "model.safetensors").exists()
    assert leaks_in(tmp_path / "out") == []
    printed = "".join(capfd.readouterr())
    assert leaks(printed.encode(), printed) == []
