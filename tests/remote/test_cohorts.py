"""A base model trained on another computer, over a real sshd; and what is refused before."""

from __future__ import annotations

import csv
import json
import shutil

import pytest
import SimpleITK as sitk
from safetensors.torch import load_file

from cmfnet_napari.cli import main as cli
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.learning.cohort.cohort_file import read_cohort
from cmfnet_napari.learning.cohort.split import Hooks
from cmfnet_napari.learning.cohort.train import train
from cmfnet_napari.learning.cohort.train_elsewhere import train_elsewhere
from cmfnet_napari.learning.cohort.travelling_cohort import TravellingCohort
from cmfnet_napari.remote.hosts import Host
from cmfnet_napari.remote.installing import stop
from cmfnet_napari.remote.run_files import TRAINING, WORKING
from tests.learning.cohort.test_train import make_cohort, small

from .conftest import HOST

CONFIG = small(steps=6)
NAMES = {"P1": "Mueller^Anna", "P2": "Ng", "P3": "=Zoe", "P4": "Ábel"}


@pytest.fixture
def cohort(tmp_path):
    """Called by their names, also in a header; an empty line; a name that sorts otherwise."""
    folder = tmp_path / "Mueller"
    folder.mkdir()
    file = make_cohort(folder)
    image = sitk.ReadImage(str(folder / "ct1.nii.gz"))
    image.SetMetaData("PatientName", "Mueller^Anna")
    sitk.WriteImage(image, str(folder / "ct1.nrrd"))
    assert b"Mueller" in (folder / "ct1.nrrd").read_bytes()
    text = file.read_text().replace("ct1.nii.gz", "ct1.nrrd")
    for code, name in NAMES.items():
        text = text.replace(f"{code},", f"{name},")
    header, *rows = text.splitlines()
    file.write_text("\n".join([header, rows[0], "", *rows[1:]]) + "\n", encoding="utf-8")
    return file


def rows_of(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


@pytest.mark.slow
def test_a_training_there_is_the_training_here(ssh, cohort, tmp_path, one_thread):
    """Left in the middle, it goes on there; ended there, it goes on from its state."""
    out, heard = tmp_path / "there", []
    host = Host(name=HOST, forget=True)

    def follow(word):
        """Until something is said."""
        return Hooks(lambda share, note: heard.append(note), lambda: any(word in n for n in heard))

    with pytest.raises(UserError, match=r"begun on gpu-box, and goes on there .*follows it again"):
        train_elsewhere(cohort, out, CONFIG, host, folds=2, hooks=follow("step 1"))
    assert not (out / "plan.json").exists()
    with pytest.raises(UserError, match=r"begun on another computer\. Give --on"):
        train(cohort, out, CONFIG, folds=2)
    other = CONFIG.model_copy(update={"steps": 7})
    with pytest.raises(UserError, match=r"begun on gpu-box with .*steps"):
        train_elsewhere(cohort, out, other, host, folds=2)
    assert stop(host) == 1
    assert stop(host) == 0  # nobody is there any more
    travelled = [path.read_bytes().lower() for path in ssh.there.rglob("*") if path.is_file()]
    assert len(travelled) > 12
    assert not [data for data in travelled if b"mueller" in data or b"zoe" in data]
    heard.clear()
    found = train_elsewhere(cohort, out, CONFIG, host, folds=2, hooks=follow("never said"))
    assert not any("Sending images" in note for note in heard)  # they were there
    assert [path for path in ssh.there.rglob("*") if path.is_file()] == []
    own = tmp_path / "here"
    here = train(cohort, own, CONFIG, folds=2)
    assert found["metrics"] == pytest.approx(here["metrics"], nan_ok=True)
    assert rows_of(out / "results.csv") == rows_of(own / "results.csv")
    plans = [json.loads((folder / "plan.json").read_text()) for folder in (out, own)]
    assert plans[0] == plans[1]
    for fold in ("fold-1", "fold-2"):
        assert rows_of(out / fold / "losses.csv") == rows_of(own / fold / "losses.csv")
        weights = [load_file(folder / fold / "model.safetensors") for folder in (out, own)]
        assert all(weights[0][name].equal(weights[1][name]) for name in weights[1])
        assert (out / fold / "model.card.json").exists()
        assert list((out / fold / "tensorboard").iterdir())
    assert (out / "curves.png").exists()
    assert not (out / WORKING).exists()


def test_a_cohort_travels_without_names_and_comes_back_with_them(cohort, tmp_path):
    rows = read_cohort(cohort)
    travelling = TravellingCohort(rows, tmp_path / "working")
    assert travelling.prepare(CONFIG, lambda *_: None, lambda: False)
    by_code = {sent.patient: row.case for sent, row in zip(travelling.rows, rows, strict=True)}
    assert [by_code[code] for code in sorted(by_code)] == sorted(NAMES.values())  # as folds deal
    assert [sent.line for sent in travelling.rows] == [row.line for row in rows] == [2, 4, 5, 6]
    assert not [p for p in travelling.files.values() if b"mueller" in p.read_bytes().lower()]
    written = {path: path.stat().st_mtime_ns for path in travelling.files.values()}
    again = TravellingCohort(rows, tmp_path / "working")
    assert again.prepare(CONFIG, lambda *_: None, lambda: False)
    assert again.rows == travelling.rows
    assert {path: path.stat().st_mtime_ns for path in again.files.values()} == written
    code = travelling.rows[0].patient
    sent = "2-mask-0123456789abcdef.nrrd"
    said = f"cohort.csv: {code} (line 2): the mask {sent} has no voxel. patient-0009 is none."
    mask = rows[0].mask.name
    assert travelling.named(said, "mine.csv") == (
        f"mine.csv: Mueller^Anna (line 2): the mask {mask} has no voxel. patient-0009 is none."
    )
    before = travelling.data
    shutil.copy(rows[1].mask, rows[0].mask)
    assert travelling.prepare(CONFIG, lambda *_: None, lambda: False)
    assert [a == b for a, b in zip(travelling.data, before, strict=True)] == [
        False,
        True,
        True,
        True,
    ]
    assert set(travelling.files.values()) == set((tmp_path / "working").glob("*.nrrd"))


def test_a_training_of_one_model_is_called_as_its_folder(cohort, tmp_path):
    travelling = TravellingCohort(read_cohort(cohort), tmp_path / "working")
    run, out = tmp_path / "run", tmp_path / "sarcoma"
    run.mkdir()
    out.mkdir()
    (run / "results.csv").write_text(f"case,split,class\npatient-0002,{TRAINING},1\n")
    travelling.bring_home(run, out)
    travelling.bring_home(run, out)  # broken off, and done again
    assert rows_of(out / "results.csv")[1][1:] == ["sarcoma", "1"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--on", "box", "--method", "ustm"], "--on trains base models of CmFNet. Leave --method"),
        (["--on", "box", "--devices", "2"], "one device of that computer. Leave --devices"),
        (["--on", "box", "--nodes", "2"], "one device of that computer. Leave --devices"),
        (["--via", "srun"], "give --on HOST, too"),
    ],
)
def test_what_does_not_go_together(cohort, tmp_path, monkeypatch, capsys, words, says):
    command = ["cmfnet", "train", str(cohort), "--out", str(tmp_path / "out"), *words]
    monkeypatch.setattr("sys.argv", command)
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 1
    assert says in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_trained_on_is_said_before_anything_is_sent(cohort, tmp_path, monkeypatch):
    monkeypatch.setenv("CMFNET_SSH", "/no/such/program")
    out, host = tmp_path / "out", Host(name="box")
    (out / "x").mkdir(parents=True)
    (out / "plan.json").write_text("{}")
    with pytest.raises(UserError, match="Leave --on out to go on with it"):
        train_elsewhere(cohort, out, CONFIG, host)
    row = read_cohort(cohort)[2]
    row.mask.write_bytes(row.first.read_bytes())
    with pytest.raises(UserError, match=r"=Zoe \(line 5\): .*the mask"):
        train_elsewhere(cohort, tmp_path / "new", CONFIG, host)
