"""Our end on the other computer takes only what its protocol knows, and only into its folder."""

from __future__ import annotations

import hashlib
import os
import queue
import threading
from contextlib import suppress

import pytest

from cmfnet_napari.core.case.folder import create_case, open_case
from cmfnet_napari.core.files import read_json, write_json
from cmfnet_napari.core.strokes.entries import Stroke
from cmfnet_napari.remote import line_messages as frames
from cmfnet_napari.remote.agent import Agent
from cmfnet_napari.remote.far_store import FarStore
from cmfnet_napari.remote.journal_digest import digest_of, travelling
from cmfnet_napari.remote.sending import SentJournal
from cmfnet_napari.remote.travelling_case import TravellingCase

CLIENT, CASE = "1" * 32, "a" * 32


class Caller:
    """Speaks with an agent in a thread as `Line` does, without ssh and without a keeper."""

    def __init__(self, root, client=CLIENT):
        there, here = os.pipe(), os.pipe()
        self.out = os.fdopen(there[1], "wb")
        self.source = os.fdopen(here[0], "rb")
        ends = os.fdopen(there[0], "rb"), os.fdopen(here[1], "wb")
        self.agent = Agent(root, *ends)
        self.agent._start = lambda *_: None
        self.sender = frames.Sender(self.out)
        self.status = queue.Queue()
        threading.Thread(target=self.serve, args=(ends[1],), daemon=True).start()
        self.say(frames.Hello(version="1", protocol=1, client=client, time=0.0))
        assert isinstance(self.answer(), frames.Welcome)

    def serve(self, sink):
        self.status.put(self.agent.serve())
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
        self.source.close()
        return status


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


def test_images_go_on_where_they_stopped(tmp_path, case, caller):
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
    ],
)
def test_what_the_protocol_does_not_know_ends_it(tmp_path, case, caller, line):
    caller.attach(case)
    before = sorted(path for path in tmp_path.rglob("*") if "there" in path.parts)
    caller.raw(line)
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
