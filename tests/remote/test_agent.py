"""Our end on the other computer takes only what its protocol knows, and only into its folder."""

from __future__ import annotations

import hashlib
import json
import os
import queue
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress

import psutil
import pytest
from filelock import FileLock

from cmfnet_napari.core.case.folder import create_case, open_case
from cmfnet_napari.core.files import read_json, write_json
from cmfnet_napari.core.strokes.entries import Stroke
from cmfnet_napari.remote import line_messages as frames
from cmfnet_napari.remote.agent import Agent
from cmfnet_napari.remote.far_store import FarStore, remote_folder
from cmfnet_napari.remote.far_worker import FarWorker, kill_keeper
from cmfnet_napari.remote.holder import lives
from cmfnet_napari.remote.journal_digest import digest_of, travelling
from cmfnet_napari.remote.run_files import note_maker, trained_files
from cmfnet_napari.remote.sending import SentJournal
from cmfnet_napari.remote.travelling_case import TravellingCase

CLIENT, CASE, ID = "1" * 32, "a" * 32, "e" * 32


class Caller:
    """Speaks with an agent in a thread as `Line` does, without ssh and without a keeper."""

    def __init__(self, root, client=CLIENT):
        there, here = os.pipe(), os.pipe()
        self.out = os.fdopen(there[1], "wb")
        self.source = os.fdopen(here[0], "rb")
        ends = os.fdopen(there[0], "rb"), os.fdopen(here[1], "wb")
        self.agent = Agent(root, *ends)
        self.sender = frames.Sender(self.out)
        self.status = queue.Queue()
        threading.Thread(target=self.serve, args=(ends[1],), daemon=True).start()
        self.say(frames.Hello(version="1", protocol=1, client=client, time=0.0))
        assert isinstance(self.answer(), frames.Welcome)

    def serve(self, sink):
        try:
            self.status.put(self.agent.serve())
        finally:
            sink.close()

    def say(self, message, payload=b""):
        self.sender.send(message, payload)

    def raw(self, line):
        self.out.write(line)
        self.out.flush()

    def answer(self):
        return frames.receive(self.source, frames.FROM_THERE)[0]

    def send(self, message, payload=b""):
        """Without waiting for an answer."""
        self.say(message, payload)

    def ask(self, message, kind=None, payload=b"", patience=None):
        self.say(message, payload)
        found = self.answer()
        assert kind is None or isinstance(found, kind), found
        return found

    def attach(self, case, name=CASE, **changes):
        copy = TravellingCase(case)
        card = copy.card() | changes
        place = copy.registration()
        return self.ask(frames.Attach(case=name, card=card, registration=place, days=7, minutes=30))

    def send_all(self, case):
        """Attach and send everything there is, as `Relay` does."""
        attached = self.attach(case)
        for sha in attached.missing:
            path = TravellingCase(case).images[sha]
            data = path.read_bytes()
            blob = frames.Blob(sha=sha, offset=0, total=len(data), packed=False)
            assert self.ask(blob, frames.Stored, data).have == len(data)
        SentJournal(open_case(case.folder, read_only=True).journal, case.folder).send(self)
        self.ask(frames.Ready(), frames.Done)
        return attached

    def end(self):
        with suppress(OSError):
            self.out.close()
        status = self.status.get(timeout=20)
        self.status.put(status)  # who asks again is not kept waiting
        self.source.close()
        return status


@pytest.fixture(autouse=True)
def no_worker(monkeypatch):
    monkeypatch.setattr(FarWorker, "start", lambda *_: None)


@pytest.fixture
def caller(tmp_path):
    caller = Caller(tmp_path / "there")
    yield caller
    with suppress(queue.Empty, ValueError):
        caller.end()


def test_no_name_travels(tmp_path, ball, caller):
    """Whatever a case knows of people stays here; all files there belong to the account alone."""
    case = create_case(tmp_path / "Mueller^Anna", ball.study)
    classes = [c.__class__(c.code, f"Mueller {c.code}", c.color, c.number) for c in case.classes]
    case.save_classes(tuple(classes))
    case.save_notes(["Series of Mueller left out"])
    card = read_json(case.folder / "case.json")
    write_json(case.folder / "case.json", card | {"reviewer": "Mueller"})
    for number in range(3):
        voxels = ball.scribbles.reshape(-1).nonzero()[0][number : number + 1]
        code = ball.scribbles.reshape(-1)[voxels]
        case.journal.append(Stroke(voxels, 0 * code, code, author="Dr Mueller"))
    caller.send_all(case)
    root = tmp_path / "there"
    case.close()
    there = FarStore(root).case(CASE)
    far = open_case(there.case, read_only=True)
    assert far.study.content_hash == ball.study.content_hash
    assert digest_of(there.journal) == digest_of(case.folder / "strokes.sqlite")
    far.close()
    caller.end()
    files = [path for path in root.rglob("*") if path.is_file()]
    assert len(files) > 8
    for path in files:
        assert b"mueller" not in path.read_bytes().lower(), path
        assert not path.stat().st_mode & 0o077, path
    assert not root.stat().st_mode & 0o077
    entry = Stroke(voxels, code, code, author="Dr Mueller", time=1.7e9)
    assert travelling(entry)[:2] == (0.0, "")


def test_images_go_on_where_they_stopped(tmp_path, case, caller, monkeypatch):
    attached = caller.attach(case)
    sha, path = next(
        (s, p) for s, p in TravellingCase(case).images.items() if s in attached.missing
    )
    data = path.read_bytes()
    half = len(data) // 2
    first = frames.Blob(sha=sha, offset=0, total=len(data), packed=False)
    assert caller.ask(first, frames.Stored, data[:half]).have == half
    caller.end()  # the line is lost
    again = Caller(tmp_path / "there")
    assert again.attach(case).missing[sha] == half
    rest = frames.Blob(sha=sha, offset=half, total=len(data), packed=False)
    assert again.ask(rest, frames.Stored, data[half:]).have == len(data)
    assert again.ask(frames.Want(sha=sha), frames.Stored).whole
    assert sha not in again.attach(case).missing
    other = hashlib.sha256(b"x").hexdigest()
    wrong = frames.Blob(sha=other, offset=0, total=1, packed=False)
    assert "damaged" in again.ask(wrong, frames.Refused, b"y").text
    monkeypatch.setattr("cmfnet_napari.remote.far_store.free_bytes", lambda _: 1 << 35)
    huge = frames.Blob(sha=other, offset=0, total=1 << 36, packed=False)
    assert "no room for the images there: 64.0 GiB" in again.ask(huge, frames.Refused, b"y").text
    again.end()


def test_two_windows_cannot_have_one_case(tmp_path, case, caller):
    caller.attach(case)
    other = Caller(tmp_path / "there", client="2" * 32)
    assert "Another window trains this case there" in other.attach(case).text
    mine = Caller(tmp_path / "there")  # the same window, whose line was cut
    assert isinstance(mine.attach(case), frames.Attached)
    assert caller.status.get(timeout=20) == 0  # who was there before it leaves
    caller.status.put(0)
    mine.end()
    assert isinstance(other.attach(case), frames.Attached)
    assert other.ask(frames.Delete(), frames.Done).count == 1
    assert not list((tmp_path / "there").rglob("*.nrrd"))
    other.end()


def test_what_an_earlier_line_still_has_to_say_comes_too_late(tmp_path, case, caller):
    """The line was cut with a command on its way, and another one has begun since."""
    caller.attach(case)
    mine = Caller(tmp_path / "there")
    mine.attach(case)
    refine = {"command": "refine", "model": "runs/0001-quick"}
    caller.say(frames.Say(number=1, id=ID, command=refine))
    assert caller.status.get(timeout=20) == 0
    caller.status.put(0)
    far = FarStore(tmp_path / "there").case(CASE)
    assert far.path("commands.jsonl").read_text() == ""
    mine.end()


def test_a_run_that_is_only_called_the_same_makes_room(tmp_path, case, caller):
    """It was made there when the line was lost; here, another one was made since."""
    caller.attach(case)
    run = FarStore(tmp_path / "there").case(CASE).run("0001-quick")
    (run / "previews").mkdir(parents=True)
    (run / "previews/00000001.npz").write_bytes(b"of another run")
    (run / "state.pt").touch()
    note_maker(run, ID)

    def offered(made):
        told = frames.RunOf(numbers=[1, 2], made=made)
        caller.ask(frames.Runs(runs={run.name: told}), frames.Done)
        return [file.name for file in caller.ask(frames.List(run=run.name), frames.Files).files]

    assert offered(ID) == ["previews/00000001.npz"]
    assert offered("") == ["classes.json"]
    assert not (run / "state.pt").exists()


def test_a_folder_that_others_use_stays_theirs(tmp_path, monkeypatch):
    shared = tmp_path / "scratch"
    shared.mkdir(mode=0o755)
    shared.chmod(0o755)
    monkeypatch.setenv("CMFNET_REMOTE", str(shared))
    there = FarStore(remote_folder()).root
    assert shared in there.parents
    assert shared.stat().st_mode & 0o777 == 0o755
    assert there.stat().st_mode & 0o777 == 0o700


def test_only_the_process_that_was_noted_is_ended(tmp_path, case, caller):
    """A number may be another process's by now, or be of another node of the cluster."""
    caller.attach(case)
    far = FarStore(tmp_path / "there").case(CASE)
    line = far.path("line.json")
    here = socket.gethostname()
    assert read_json(line)["host"] == here
    stranger = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    its = psutil.Process(stranger.pid).create_time()
    try:
        for host, started in ((here, its - 100), ("another-node", its)):
            noted = {"host": host, "process": stranger.pid, "started": started}
            write_json(far.path("keeper.json"), noted)
            kill_keeper(far)
            with pytest.raises(subprocess.TimeoutExpired):
                stranger.wait(0.1)
        assert lives({"host": "another-node", "process": 1, "started": 0.0}, far)
        assert not lives({"host": here, "process": 1, "started": 0.0}, far)
        noted = {"host": here, "process": stranger.pid, "started": its}
        write_json(far.path("keeper.json"), noted)
        kill_keeper(far)
        assert stranger.wait(20) != 0
    finally:
        stranger.kill()
        stranger.stdin.close()


def test_what_fails_there_is_told(tmp_path, case, caller, monkeypatch):
    monkeypatch.setattr("cmfnet_napari.remote.agent._DOCTOR_S", 0.01, raising=False)
    monkeypatch.setattr(
        "cmfnet_napari.remote.agent.python_command",
        lambda *_: [sys.executable, "-c", "import time; time.sleep(5)"],
    )
    assert "within 0 s" in caller.ask(frames.Doctor(), frames.Refused).text
    caller.attach(case)
    caller.ask(frames.Follow(position=0), frames.Done)
    FarStore(tmp_path / "there").case(CASE).path("events.jsonl").unlink()
    assert "No such file" in caller.answer().text
    assert caller.status.get(timeout=20) == 0
    caller.status.put(0)


def test_a_worker_that_is_being_started_is_at_work(tmp_path, case, caller):
    """The line is cut after a fit was told and before its keeper is there: it is not told twice."""
    caller.attach(case)
    fit = {"command": "fit", "config": {}}
    caller.say(frames.Say(number=1, id=ID, command=fit))
    caller.ask(frames.Ping(), frames.Pong)
    caller.end()
    far = FarStore(tmp_path / "there").case(CASE)
    lock = FileLock(far.path("keeper.lock"), mode=0o600, thread_local=False)
    threading.Timer(0.4, lock.acquire).start()
    again = Caller(tmp_path / "there")
    try:
        attached = again.attach(case)
        assert attached.busy
        assert attached.said == 1
    finally:
        again.end()
        lock.release()
    far.path("keeper.json").touch()  # that keeper was killed
    later = Caller(tmp_path / "there")
    start = time.monotonic()
    assert not later.attach(case).busy
    assert time.monotonic() - start < 10
    later.end()


def test_a_cohort_lies_there_under_codes(tmp_path, caller):
    data = {hashlib.sha256(text).hexdigest(): text for text in (b"ct", b"mask", b"other")}
    first, mask, other = data
    row = frames.CohortRow(
        patient="patient-0002", line=2, split="train", modalities=["CT"], first=first, mask=mask
    )
    rows = [row, row.model_copy(update={"patient": "patient-0001", "line": 5, "first": other})]
    sizes = {sha: len(text) for sha, text in data.items()}
    cohort = frames.Cohort(case=CASE, rows=rows, files=sizes, days=7, minutes=30)
    assert caller.ask(cohort, frames.Attached).missing == dict.fromkeys(data, 0)
    for sha, text in data.items():
        blob = frames.Blob(sha=sha, offset=0, total=len(text), packed=False)
        assert caller.ask(blob, frames.Stored, text).have == len(text)
    caller.ask(frames.Ready(), frames.Done)
    far = FarStore(tmp_path / "there").case(CASE)
    lines = (far.case / "cohort.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == [
        "case",
        "patient-0002",
        "",
        "",
        "patient-0001",
    ]
    images = far.case / "images"
    assert {path.name[:-22]: path.read_bytes() for path in images.iterdir()} == {
        "2-first": b"ct",
        "2-mask": b"mask",
        "5-first": b"other",
        "5-mask": b"mask",
    }
    # A corrected mask, before anything was begun: what lay there before is not trained on.
    mended = hashlib.sha256(b"mended").hexdigest()
    rows = [row, rows[1].model_copy(update={"mask": mended})]
    cohort = cohort.model_copy(update={"rows": rows, "files": {**sizes, mended: 6}})
    assert caller.ask(cohort, frames.Attached).missing == {mended: 0}
    blob = frames.Blob(sha=mended, offset=0, total=6, packed=False)
    caller.ask(blob, frames.Stored, b"mended")
    caller.ask(frames.Ready(), frames.Done)
    assert [path.read_bytes() for path in images.glob("5-mask*")] == [b"mended"]
    (there,) = (far.case / "cohort.csv").read_text().splitlines()[-1:]
    assert (far.case / there.split(",")[-1]).read_bytes() == b"mended"
    caller.say(frames.Say(number=1, id=ID, command={"command": "train", "config": {}}))
    caller.say(frames.Say(number=2, id=ID, command={"command": "refine", "model": "runs/0001-x"}))
    assert "not of the case" in caller.answer().text
    told = far.path("commands.jsonl").read_text().splitlines()
    assert [json.loads(line)["command"]["command"] for line in told] == ["train"]
    again = Caller(tmp_path / "there")
    lacking = cohort.model_copy(update={"files": {first: 2}})
    assert "other files than it says" in again.ask(lacking, frames.Refused).text


def cohort_of(files, case=CASE):
    """A row for each file, which is given by its hash and its bytes."""
    rows = [
        frames.CohortRow(
            patient=f"patient-{n:04d}", line=n + 1, split="train", modalities=["CT"], first=sha
        )
        for n, sha in enumerate(files, start=1)
    ]
    return frames.Cohort(case=case, rows=rows, files=files, days=7, minutes=30)


def test_the_room_for_a_cohort_is_asked_each_time(tmp_path, caller, monkeypatch):
    """More than one file may have is no reason; no room is one at the second try, too."""
    free = {"bytes": 900 << 30}
    monkeypatch.setattr("cmfnet_napari.remote.far_store.free_bytes", lambda _: free["bytes"])
    cohort = cohort_of({"1" * 64: 40 << 30, "2" * 64: 40 << 30})
    assert len(caller.ask(cohort, frames.Attached).missing) == 2
    free["bytes"] = 70 << 30
    for _ in range(2):
        assert "80.0 GiB are needed" in caller.ask(cohort, frames.Refused).text
        assert not FarStore(tmp_path / "there").case(CASE).path("line.json").exists()
    other = Caller(tmp_path / "there", client="2" * 32)  # nobody has it
    free["bytes"] = 900 << 30
    assert isinstance(other.ask(cohort), frames.Attached)
    other.end()


def test_two_cohorts_send_the_same_file_at_once(tmp_path, caller):
    data = b"0123456789"
    sha = hashlib.sha256(data).hexdigest()
    other = Caller(tmp_path / "there", client="2" * 32)
    caller.ask(cohort_of({sha: 10}), frames.Attached)
    other.ask(cohort_of({sha: 10}, "b" * 32), frames.Attached)
    for begin, end in ((0, 4), (4, 8), (8, 10)):
        blob = frames.Blob(sha=sha, offset=begin, total=10, packed=False)
        for one in (caller, other):
            assert one.ask(blob, frames.Stored, data[begin:end]).have in (end, 10)
    for one in (caller, other):
        one.ask(frames.Ready(), frames.Done)
    store = FarStore(tmp_path / "there")
    for name in (CASE, "b" * 32):
        (image,) = (store.case(name).case / "images").iterdir()
        assert image.read_bytes() == data
    assert not list((tmp_path / "there").glob("cases/*/parts/*"))
    other.end()


def test_what_is_gathered_for_days_or_fetched_late_stays(tmp_path, caller):
    data = b"of a cohort that is still being sent"
    sha = hashlib.sha256(data).hexdigest()
    caller.ask(cohort_of({sha: len(data), "2" * 64: 5}), frames.Attached)
    blob = frames.Blob(sha=sha, offset=0, total=len(data), packed=False)
    caller.ask(blob, frames.Stored, data)
    caller.end()
    store = FarStore(tmp_path / "there")
    stray = store.blob("9" * 64)
    stray.write_bytes(b"of nobody")
    for path in (stray, store.blob(sha)):
        os.utime(path, (0, 0))
    os.utime(store.case(CASE).path("kept.json"), (0, 0))
    own = Caller(tmp_path / "there", client=CASE)  # who comes for a cohort calls by its name
    assert own.ask(cohort_of({sha: len(data), "2" * 64: 5}), frames.Attached).missing == {
        "2" * 64: 0
    }
    assert not stray.exists()
    own.end()
    os.utime(store.case(CASE).path("kept.json"), (0, 0))
    Caller(tmp_path / "there").end()  # anybody else
    assert not store.case(CASE).folder.exists()


def test_all_files_of_a_large_training_are_told(tmp_path):
    """Leave one out: each fold by itself, none left out in silence."""
    for fold in range(1, 4):
        folder = tmp_path / f"fold-{fold}"
        folder.mkdir()
        for name in ("losses.csv", "results.csv", "state.pt"):
            (folder / name).write_text(f"{fold}")
    (tmp_path / "plan.json").write_text("{}")
    assert [file.name for file in trained_files(tmp_path, "")] == ["plan.json"]
    found = [file.name for file in trained_files(tmp_path, "fold-3")]
    assert found == ["fold-3/losses.csv", "fold-3/results.csv"]
    assert frames.List(run="0001-training", part="fold-1999").part
    with pytest.raises(ValueError, match="pattern"):
        frames.List(run="0001-training", part="..")


def test_workers_rest_all_at_once(tmp_path, case, caller, monkeypatch):
    """Each may take half a minute: one after another, who asked would take the line for lost."""
    for number in range(5):
        caller.attach(case, f"{number}" * 32)
    caller.end()
    together = threading.Barrier(5)
    monkeypatch.setattr(FarWorker, "runs", True)
    monkeypatch.setattr(FarWorker, "dismiss", lambda _: together.wait(20))
    other = Caller(tmp_path / "there", client="2" * 32)
    assert other.ask(frames.Rest(), frames.Done).count == 5
    other.end()


@pytest.mark.parametrize("links", [True, False])
def test_deleted_is_deleted(tmp_path, case, caller, monkeypatch, links):
    """Files that were not sent to their end, and those of file systems without links, go too."""
    if not links:
        monkeypatch.setattr("os.link", lambda *_: os.stat("/no such file"))
    blobs = tmp_path / "there" / "blobs"
    other = "b" * 32

    def left():
        parts = (tmp_path / "there" / "cases").glob("*/parts/*")
        return sorted(path.name for path in (*blobs.iterdir(), *parts))

    caller.send_all(case)
    images = sorted(TravellingCase(case).images)
    caller.attach(case, other)  # has the same images, and a model that is on its way
    begun = frames.Blob(sha="c" * 64, offset=0, total=9, packed=False)
    assert caller.ask(begun, frames.Stored, b"part").have == 4
    assert left() == sorted([*images, "c" * 64])
    assert caller.ask(frames.Delete(case=CASE), frames.Done).count == 1
    assert left() == sorted([*images, "c" * 64])
    assert caller.ask(frames.Delete(case=other), frames.Done).count == 1
    assert left() == []
    (blobs / images[0]).write_bytes(b"of a case that is gone")
    caller.attach(case)
    assert caller.ask(frames.Delete(), frames.Done).count == 1
    assert left() == []


def say(command):
    head = f'{{"op": "say", "number": 1, "id": "{ID}", "command": '
    return head.encode() + b"{" + command + b"}}\n"


@pytest.mark.parametrize(
    "model", ["runs/0001-quick", "base/0123456789abcdef.safetensors"], ids=["run", "base"]
)
def test_a_command_about_what_is_of_the_case(tmp_path, case, caller, model):
    caller.attach(case)
    sent = frames.Say(number=1, id=ID, command={"command": "predict", "model": model})
    caller.say(sent)
    assert isinstance(caller.ask(frames.Ping()), frames.Pong)
    fit = {"command": "fit", "config": {}, "base": model, "resume": "runs/0002-quick"}
    caller.say(frames.Say(number=2, id=ID, command=fit))
    assert isinstance(caller.ask(frames.Ping()), frames.Pong)
    told = FarStore(tmp_path / "there").case(CASE).path("commands.jsonl").read_text()
    assert [json.loads(line)["number"] for line in told.splitlines()] == [1, 2]


@pytest.mark.parametrize(
    "line",
    [
        b'{"op": "exec", "command": "touch x"}\n',
        b'{"op": "list", "run": "../../.ssh"}\n',
        b'{"op": "put", "run": "0001-quick", "name": "state.pt", "sha": "' + b"0" * 64 + b'"}\n',
        b'{"op": "put", "run": "0001-quick", "name": "../x.npz", "sha": "' + b"0" * 64 + b'"}\n',
        b'{"op": "blob", "sha": "../../../x", "offset": 0, "total": 1, "packed": false}\n',
        b'{"op": "ready", "bytes": 99999999999}\n',
        b'{"op": "ready", "bytes": 99999999}\n',
        b"\x00" * 100 + b"\n",
        b"[" * 100_000 + b"\n",
        b'{"op": "entry", "number": 9, "source": "hand", "kind": "stroke", "sizes": [0, 0, 0]}\n',
        b'{"op": "say", "number": 1}\n',
        say(b'"command": "fit", "config": {}, "resume": "runs/../../x"'),
        say(b'"command": "fit", "config": {}, "base": "/root/model.safetensors"'),
        say(b'"command": "predict", "model": "base/../../../x.safetensors"'),
        say(b'"command": "refine", "model": "/etc"'),
        say(b'"command": "choose", "model": "base/0123456789abcdef.safetensors", "step": 1'),
        say(b'"command": "exec"'),
    ],
)
def test_what_the_protocol_does_not_know_ends_it(tmp_path, case, caller, line):
    caller.attach(case)
    before = sorted(path for path in tmp_path.rglob("*") if "there" in path.parts)
    caller.raw(line + b'{"op": "ping"}\n')  # is not answered any more
    assert isinstance(caller.answer(), frames.Refused)
    assert caller.status.get(timeout=20) == 1
    caller.status.put(1)
    after = sorted(path for path in tmp_path.rglob("*") if "there" in path.parts)
    assert [path.name for path in before if path not in after] in ([], ["line.json"])
    assert all(path.name.startswith("strokes") for path in after if path not in before)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"images": {"../x.nrrd": "0" * 64}}, "an image that is none"),
        ({"images": {}}, "no image"),
        ({"patient": "x"}, "says more of itself"),
        ({"format": 99}, "format"),
    ],
)
def test_a_card_that_is_none(case, caller, changes, says):
    assert says in caller.attach(case, **changes).text
