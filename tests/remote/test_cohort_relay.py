"""A training on a cohort, followed: the other end is a folder that a test fills; no ssh."""

from __future__ import annotations

import csv
import json
from collections import deque

import pytest

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.fit.model_card import Card
from cmfnet_napari.learning.cohort import train_elsewhere as elsewhere
from cmfnet_napari.learning.cohort.split import Hooks
from cmfnet_napari.learning.cohort.train import train
from cmfnet_napari.learning.cohort.train_elsewhere import train_elsewhere
from cmfnet_napari.learning.model.checkpoint import save_model
from cmfnet_napari.learning.model.cmfnet import build
from cmfnet_napari.remote import forgotten
from cmfnet_napari.remote import line_messages as frames
from cmfnet_napari.remote.begun_training import BegunTraining
from cmfnet_napari.remote.cohort_relay import CohortRelay
from cmfnet_napari.remote.hosts import Host
from cmfnet_napari.remote.run_files import WORKING, trained_files
from tests.learning.cohort.test_train import make_cohort, small

CONFIG = small(steps=2)
FOLDS = "fold-1", "fold-2"
LIVES = "a" * 32, "b" * 32
SCORES = [["case", "split", "class", "dsc"], ["patient-0001", "fold-1", "1", "0.5"]]


def write_table(path, rows):
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


class There:
    """The other computer: what is trained there, and a line to it."""

    skew, waiting = "", False

    def __init__(self, folder):
        self.run, self.host = folder / "0001-training", Host(name="box")
        self.life, self.told, self.parts, self.said = LIVES[0], [], deque(), deque()
        self.trains, self.deleted, self.busy, self.cuts = True, False, False, 0

    def __call__(self, client):
        return self

    def make(self):
        """What a training of two folds leaves."""
        for name in FOLDS:
            fold = self.run / name
            fold.mkdir(parents=True)
            card = Card(config=CONFIG, classes=2)
            save_model(build(CONFIG, 2), card, fold / "model.safetensors")
            (fold / "model.card.json").write_text("{}")
            write_table(fold / "losses.csv", [["step", "total"], [1, 0.5], [2, 0.25]])
            write_table(fold / "results.csv", SCORES)
        write_table(self.run / "results.csv", SCORES)
        plan = {"config": {}, "folds": 2, "data": [["patient-0001", "train", "x"]]}
        (self.run / "plan.json").write_text(json.dumps(plan))

    def ask(self, message, kind, payload=b"", patience=None):
        assert payload == b""
        self.told.append(message)
        match message:
            case frames.Cohort():
                return frames.Attached(
                    missing={},
                    last=0,
                    digest="",
                    said=self.count(frames.Say),
                    life=self.life,
                    length=9,
                    busy=self.busy,
                )
            case frames.List():
                return frames.Files(files=trained_files(self.run, message.part))
            case frames.Delete():
                self.deleted = True
            case _:
                pass
        return kind()

    def send(self, message, payload=b""):
        self.told.append(message)
        if isinstance(message, frames.Get):
            data = (self.run / message.name).read_bytes()[message.offset :][: message.count]
            for at in range(0, len(data), frames.PART):
                part = frames.Part(offset=message.offset + at, packed=False)
                self.parts.append((part, data[at : at + frames.PART]))
            self.parts.append((frames.Done(), b""))
        if isinstance(message, frames.Say) and self.trains:
            line = {"event": "trained", "metrics": {"dsc": 0.5}}
            self.said.append((frames.Said(position=5, of=message.id, line=line), b""))

    def part(self):
        return self.parts.popleft()

    def heard(self, timeout):
        if self.cuts and self.count(frames.Say):
            self.cuts -= 1
            raise frames.LineLostError("cut")
        return self.said.popleft() if self.said else None

    def answer(self, kind, patience=None, check=None):
        return kind(), b""

    def close(self):
        pass

    def count(self, kind):
        return sum(isinstance(message, kind) for message in self.told)


@pytest.fixture
def there(tmp_path, monkeypatch):
    """What is told over its line comes here, and what it has made from here."""
    monkeypatch.setenv("CMFNET_HOSTS", str(tmp_path / "user" / "hosts.json"))
    monkeypatch.setattr("cmfnet_napari.remote.elsewhere._LOOK_S", 0.01)
    there = There(tmp_path / "box")
    make = CohortRelay
    monkeypatch.setattr(elsewhere, "CohortRelay", lambda *given: make(*given, there))
    return there


@pytest.fixture
def cohort(tmp_path):
    return make_cohort(tmp_path)


@pytest.fixture
def go(cohort, tmp_path, there):
    def go(host="box", config=CONFIG, hooks=None, **given):
        host = Host(name=host, forget=True, **given)
        return train_elsewhere(cohort, tmp_path / "out", config, host, folds=2, hooks=hooks)

    return go


def test_what_is_done_is_never_trained_twice(go, there, tmp_path, monkeypatch):
    """Broken off while it comes home, the same command ends it, and needs no computer for that."""
    there.make()
    out, moved = tmp_path / "out", elsewhere.save_training
    full = OSError(28, "No space left on device")

    def fill(*_):
        raise full

    monkeypatch.setattr(elsewhere, "save_training", fill)
    with pytest.raises(UserError, match=r"moved into out \(No space left on device\)"):
        go()
    assert not there.deleted
    with pytest.raises(UserError, match=r"begun on another computer\. Give --on"):
        train(tmp_path / "cohort.csv", out, CONFIG, folds=2)
    monkeypatch.setattr(elsewhere, "save_training", moved)
    clear, cleared = BegunTraining.clear, []

    def kill(record):
        cleared.append(clear(record))
        raise KeyboardInterrupt

    monkeypatch.setattr(BegunTraining, "clear", kill)
    told = list(there.told)
    with pytest.raises(KeyboardInterrupt):
        go()
    monkeypatch.undo()
    monkeypatch.setenv("CMFNET_HOSTS", str(tmp_path / "user" / "hosts.json"))
    (tmp_path / "ct1.nii.gz").unlink()  # nor does it need the images
    (tmp_path / "ct1.nii.gz").touch()
    found = go()
    assert there.told == told
    assert found == {
        "models": [str(out / fold / "model.safetensors") for fold in FOLDS],
        "metrics": {"dsc": 0.5},
    }
    assert (out / "curves.png").exists()
    with open(out / "results.csv", newline="") as file:
        assert [row[0] for row in csv.reader(file)] == ["case", "P1"]
    assert json.loads((out / "plan.json").read_text())["data"] == [["P1", "train", "x"]]
    assert not (out / WORKING).exists()
    assert len(forgotten.noted("box")) == 1  # it is deleted there at the next call


def test_done_is_proved(go, there, tmp_path):
    """A model that did not come is no model, and the only copy of the others stays there."""
    there.make()
    (there.run / "fold-2" / "model.safetensors").rename(tmp_path / "lost")
    with pytest.raises(UserError, match=r"fold-2/model\.safetensors did not come. Nothing was"):
        go()
    assert not there.deleted
    assert not (tmp_path / "out" / "plan.json").exists()
    (tmp_path / "lost").rename(there.run / "fold-2" / "model.safetensors")
    assert len(go()["models"]) == 2
    assert there.deleted


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("plan.json", '{"config": {}, "data": [7]}'),
        ("plan.json", '{"config": {}, "data": [["mueller", "train", "x"]]}'),
        ("results.csv", "case\npatient-0001\n"),
        ("results.csv", "case,split,class,dsc\nmueller,fold-1,1,0.5\n"),
        ("results.csv", "case,split,class,dsc\npatient-0001,fold-1,1,x\n"),
        ("fold-1/losses.csv", "step,total\n1,x\n"),
        ("fold-2/losses.csv", "total\n1\n"),
    ],
)
def test_a_table_that_is_none_is_not_taken(go, there, tmp_path, name, text):
    there.make()
    (there.run / name).write_text(text)
    with pytest.raises(UserError, match=r"still on box\. Try again; .* into a new folder"):
        go()
    assert not there.deleted
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["fit.lock", WORKING]


def test_what_was_begun_is_gone_on_with_from_anywhere(go, there, cohort, tmp_path, monkeypatch):
    """Neither times nor the way a path is given are the cohort; host, settings and voxels are."""
    there.trains = False
    steps = iter([False] * 8)  # four of them while it is prepared
    left = Hooks(stop=lambda: next(steps, there.count(frames.Say) > 0))
    with pytest.raises(UserError, match=r"begun on box, and goes on there .*for 7 days"):
        go(hooks=left)
    with pytest.raises(UserError, match="was begun on box, and goes on there"):
        go(hooks=Hooks(stop=lambda: True))  # while it is prepared
    with pytest.raises(UserError, match=r"begun on box\. Give --on box .*'cmfnet on box stop'"):
        go("gpu2")
    with pytest.raises(UserError, match=r"begun on box with .*steps"):
        go(config=CONFIG.model_copy(update={"steps": 3}))
    for path in tmp_path.glob("*.nii.gz"):
        path.chmod(0o640)
        path.touch()
    monkeypatch.chdir(tmp_path)
    other = train_elsewhere
    with pytest.raises(UserError, match="goes on there"):
        other(
            cohort.relative_to(tmp_path),
            tmp_path / "out",
            CONFIG,
            Host(name="box"),
            folds=2,
            hooks=Hooks(stop=lambda: there.count(frames.Cohort) > 1),
        )
    (tmp_path / "mask3.nii.gz").write_bytes((tmp_path / "mask4.nii.gz").read_bytes())
    with pytest.raises(UserError, match=r"other images, labels or splits \(P3\)"):
        go()
    with pytest.raises(UserError, match="ended with the line, its state kept"):
        go(via="srun", hooks=Hooks(stop=lambda: True))


def test_what_it_complains_about_can_be_corrected(go, there, tmp_path):
    """Nothing is frozen before it is begun there. All that is wrong is said at once, unsent."""
    right = (tmp_path / "mask3.nii.gz").read_bytes()
    (tmp_path / "mask3.nii.gz").write_bytes((tmp_path / "ct3.nii.gz").read_bytes())
    other = (tmp_path / "ct2.nii.gz").read_bytes()
    (tmp_path / "ct2.nii.gz").write_bytes((tmp_path / "ct1.nii.gz").read_bytes())
    with pytest.raises(UserError) as error:
        go()
    assert "P3 (line 4)" in str(error.value)
    assert "P1 (line 2) and P2 (line 3) hold the same CT" in str(error.value)
    (tmp_path / "mask3.nii.gz").write_bytes(right)
    (tmp_path / "ct2.nii.gz").write_bytes(other)
    with pytest.raises(UserError, match=r"stroke_maps.*P3 \(line 4\)"):
        go(config=small(steps=2, stroke_maps=True))
    assert there.told == []


def test_what_was_deleted_there_is_not_trained_anew_in_silence(go, there):
    there.trains = False
    said = Hooks(stop=lambda: there.count(frames.Say) > 0)
    with pytest.raises(UserError, match="goes on there"):
        go(hooks=said)
    there.life = LIVES[1]
    with pytest.raises(UserError, match=r"not there any more: .* after 7 days .* trains anew"):
        go()
    there.make()
    there.trains = True
    assert len(go()["models"]) == 2


def test_a_training_is_found_again_and_told_once(go, there, monkeypatch):
    """By the same command after a cut, and by a later one, whatever it was called by the first."""
    monkeypatch.setattr("cmfnet_napari.remote.kept_line._AGAIN_S", (0.0,))
    there.trains, there.busy, there.cuts = False, False, 2
    begun = BegunTraining.begin

    def begin(record):
        there.busy = True
        begun(record)

    monkeypatch.setattr(BegunTraining, "begin", begin)
    heard = []
    with pytest.raises(UserError, match="goes on there"):
        go(
            hooks=Hooks(
                lambda _, note: heard.append(note),
                lambda: heard.count("Back on box.") == 2,
            )
        )
    assert "The line to box was lost. The training goes on there" in " ".join(heard)
    there.make()
    line = {"event": "trained", "metrics": {"dsc": 0.5}}
    there.said.append((frames.Said(position=5, of="e" * 32, line=line), b""))
    assert go()["metrics"] == {"dsc": 0.5}
    assert there.count(frames.Say) == 1


def test_a_copy_that_was_cut_is_made_anew(go, there, tmp_path):
    there.trains = False
    with pytest.raises(UserError, match="goes on there"):
        go(hooks=Hooks(stop=lambda: there.count(frames.Say) > 0))
    first, second = sorted((tmp_path / "out" / WORKING).glob("*.nrrd"))[:2]
    data = first.read_bytes()
    first.write_bytes(data[:-7])
    kept = second.stat().st_mtime_ns
    there.make()
    there.trains = True
    heard = []

    def look(share, note):
        if note.startswith("box is ready"):
            heard.append((first.read_bytes() == data, second.stat().st_mtime_ns == kept))

    assert go(hooks=Hooks(look))
    assert heard == [(True, True)]


def test_no_room_for_a_second_copy_is_said_first(go, there, monkeypatch):
    monkeypatch.setattr(
        "cmfnet_napari.learning.cohort.travelling_cohort.free_bytes", lambda _: 1000
    )
    with pytest.raises(UserError, match="no room for the cohort's voxels beside the models"):
        go()
    assert there.told == []


def test_a_training_without_a_step_is_refused_here(go, there):
    with pytest.raises(UserError, match="steps: a base model needs 1"):
        go(config=CONFIG.model_copy(update={"steps": 0}))
    assert there.told == []
