"""What comes in by C-MOVE: from the PACS that was asked, what was asked for, once, encrypted."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
import time
from contextlib import contextmanager

import numpy as np
import pydicom
import pytest
from pynetdicom import AE, StoragePresentationContexts, evt

from cmfnet_napari.core.dicom.pacs import dimse
from cmfnet_napari.core.dicom.pacs import transfer as pacs
from cmfnet_napari.core.dicom.pacs.nodes import make_node
from cmfnet_napari.core.errors import UserError
from tests.dicom.orthanc import free_port
from tests.dicom_files import CT_GRID, uid, write_slices

STUDY, SERIES = uid("study", "P1"), uid("series", "CT")
FIND, MOVE = "1.2.840.10008.5.1.4.1.2.2.1", "1.2.840.10008.5.1.4.1.2.2.2"


@pytest.fixture
def slices(tmp_path):
    array = np.zeros(CT_GRID.shape, np.int16)[:3]
    return write_slices(tmp_path / "stored", array, CT_GRID, series="CT")


class Pacs:
    """A PACS of three slices that sends what `files` holds, under a title, from an address."""

    def __init__(self, files, our_port) -> None:
        self.files, self.our_port, self.title = files, our_port, "PACS"
        self.source = ("127.0.0.1", 0)
        self.listed, self.counted = 3, None  # files it answers with, and says that there are
        self.statuses: list[int] = []
        self.refused = False
        entity = AE(ae_title="PACS")
        entity.add_supported_context(FIND)
        entity.add_supported_context(MOVE)
        handlers = [(evt.EVT_C_FIND, self.find), (evt.EVT_C_MOVE, self.move)]
        self.port = free_port()
        self.server = entity.start_server(("127.0.0.1", self.port), False, evt_handlers=handlers)

    def find(self, event):
        level = event.identifier.QueryRetrieveLevel
        for path in self.files[: self.listed] if level == "IMAGE" else self.files[:1]:
            data = pydicom.dcmread(path)
            found = pydicom.Dataset()
            found.StudyInstanceUID, found.PatientID = STUDY, "P1"
            if level != "STUDY":
                found.SeriesInstanceUID = SERIES
            if level == "SERIES":
                found.NumberOfSeriesRelatedInstances = self.counted
            if level == "IMAGE":
                found.SOPInstanceUID = data.SOPInstanceUID
            yield 0xFF00, found

    def move(self, event):
        yield None, None  # we open the line ourselves, with the title and address that a test wants
        yield 0, None

    def send(self):
        entity = AE(ae_title=self.title)
        entity.requested_contexts = StoragePresentationContexts[:60]
        line = entity.associate(
            "127.0.0.1", self.our_port, ae_title="CMFNET", bind_address=self.source
        )
        self.refused = not line.is_established
        if line.is_established:
            for path in self.files:
                self.statuses.append(line.send_c_store(pydicom.dcmread(path)).get("Status"))
            line.release()


@contextmanager
def receiving(pacs_, node):
    """A fetch whose C-MOVE makes the PACS send; the C-MOVE itself is answered as done."""
    real = dimse.DimsePacs._receiving

    @contextmanager
    def noted(self, keep):
        with real(self, keep) as failures:
            pacs_.send()
            yield failures

    dimse.DimsePacs._receiving = noted
    try:
        yield
    finally:
        dimse.DimsePacs._receiving = real


@pytest.fixture
def there(slices):
    made = Pacs(slices, free_port())
    yield made
    made.server.shutdown()


@pytest.fixture
def node(there, monkeypatch):
    class Line:
        def send_c_move(self, *words):
            status = pydicom.Dataset()
            status.Status = 0
            return iter([(status, None)])

    real = dimse.DimsePacs._associated

    @contextmanager
    def associated(self, contexts):
        if contexts == [MOVE]:
            yield Line()
        else:
            with real(self, contexts) as line:
                yield line

    monkeypatch.setattr(dimse.DimsePacs, "_associated", associated)
    return make_node(
        name="PACS", host="127.0.0.1", port=there.port, title="PACS", our_port=there.our_port,
        timeout_s=5,
    )  # fmt: skip


def fetch(there, node, folder):
    with receiving(there, node):
        return pacs.fetch(node, STUDY, folder)


@contextmanager
def storing(answer):
    """A PACS that takes CTs; `answer` is told the event and how many came, and gives a status."""
    came = []

    def store(event):
        came.append(event.request.AffectedSOPInstanceUID)
        return answer(event, len(came))

    entity = AE(ae_title="PACS")
    entity.add_supported_context("1.2.840.10008.5.1.4.1.1.2")
    port = free_port()
    server = entity.start_server(
        ("127.0.0.1", port), False, evt_handlers=[(evt.EVT_C_STORE, store)]
    )
    try:
        yield make_node(name="PACS", host="127.0.0.1", port=port, title="PACS", timeout_s=1), came
    finally:
        server.shutdown()


def test_a_line_that_breaks_between_two_files(slices):
    broken = threading.Event()

    def hang_up(event):
        event.assoc.abort()
        broken.set()

    def answer(event, _count):
        threading.Timer(0.2, hang_up, [event]).start()
        return 0

    def wait(_done, _of):
        assert broken.wait(5)
        time.sleep(0.3)  # until we have heard of it

    with (
        storing(answer) as (node, came),
        pytest.raises(UserError, match=r"broke the line off.*1 of 3 files had arrived") as error,
    ):
        pacs.send(node, slices, wait)
    assert "not known" not in str(error.value)
    assert len(came) == 1


def test_a_file_that_nobody_answered_for_may_have_arrived(slices):
    over = threading.Event()

    def answer(_event, count):
        if count == 2:
            over.wait(5)
        return 0

    said = "1 of 3 files had arrived. Whether the next did is not known"
    with storing(answer) as (node, came):
        with pytest.raises(UserError, match=said):
            pacs.send(node, slices)
        over.set()
    assert len(came) == 2


def test_a_list_that_is_a_part_is_not_taken_for_the_whole(there, node, tmp_path):
    there.listed, there.counted = 2, 3
    with pytest.raises(UserError, match="lists 2 of the 3 files of a series"):
        fetch(there, node, tmp_path / "out")
    there.counted = None  # it does not say
    with pytest.raises(UserError, match="a file that it had not listed"):
        fetch(there, node, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []
    there.listed, there.counted = 3, 3
    assert fetch(there, node, tmp_path / "out") == 3


def test_what_was_asked_for_comes_for_the_user_alone(there, node, tmp_path):
    before = os.umask(0)
    try:
        assert fetch(there, node, tmp_path / "out") == 3
    finally:
        os.umask(before)
    assert there.statuses == [0, 0, 0]
    made = [tmp_path / "out", *(tmp_path / "out").rglob("*")]
    assert len(made) == 5  # a folder for the series, and three files
    if os.name == "posix":
        assert {oct(path.stat().st_mode & 0o777) for path in made} == {"0o700", "0o600"}


def test_another_title_is_not_let_in(there, node, tmp_path):
    there.title = "STRANGER"
    with pytest.raises(UserError, match="Only 0 of 3 files came"):
        fetch(there, node, tmp_path / "out")
    assert there.refused


def test_another_address_is_not_let_in(there, node, tmp_path):
    there.source = ("127.0.0.2", 0)
    with pytest.raises(UserError, match="Only 0 of 3 files came"):
        fetch(there, node, tmp_path / "out")
    assert there.refused


def test_it_listens_only_where_the_pacs_is_reached(there, node):
    with dimse.DimsePacs(node)._receiving(lambda _data: True):
        for address, open_ in (("127.0.0.1", True), ("127.0.0.2", False)):
            with socket.socket() as probe:
                assert (probe.connect_ex((address, there.our_port)) == 0) == open_


@pytest.mark.parametrize(
    ("keyword", "value", "said"),
    [
        ("PatientID", "P2", "another patient"),
        ("StudyInstanceUID", "1.2.3", "another study"),
        ("SeriesInstanceUID", "1.2.3", "another series"),
    ],
)
def test_an_instance_of_somebody_else(there, node, slices, tmp_path, keyword, value, said):
    data = pydicom.dcmread(slices[1])
    setattr(data, keyword, value)
    data.save_as(slices[1])
    with pytest.raises(UserError, match=f"a file of {said} than was asked for"):
        fetch(there, node, tmp_path / "out")
    assert there.statuses[0] == 0
    assert 0 not in there.statuses[1:]


def test_a_second_instance_with_one_identifier(there, node, slices, tmp_path):
    data = pydicom.dcmread(slices[0])
    data.PixelData = b"\1" * len(data.PixelData)
    data.save_as(tmp_path / "again")
    there.files = [*slices, tmp_path / "again"]
    assert fetch(there, node, tmp_path / "out") == 3
    assert there.statuses == [0, 0, 0, 0x0111]
    (kept,) = (tmp_path / "out").rglob(f"{data.SOPInstanceUID}.dcm")
    assert not any(pydicom.dcmread(kept).PixelData)


def test_encrypted_when_the_pacs_is_spoken_to_so(there, node, tmp_path):
    secret = node.model_copy(update={"tls": True})
    with (
        pytest.raises(UserError, match="needs a certificate of this computer"),
        dimse.DimsePacs(secret)._receiving(lambda _data: True),
    ):
        pass
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make certificates with")
    cert, key = str(tmp_path / "cert.pem"), str(tmp_path / "key.pem")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1"]
    command += ["-subj", "/CN=127.0.0.1", "-keyout", key, "-out", cert]
    subprocess.run(command, check=True, capture_output=True)
    secret = secret.model_copy(update={"cert_file": cert, "key_file": key, "ca_file": cert})
    with dimse.DimsePacs(secret)._receiving(lambda _data: True):
        there.send()  # in clear
        assert there.refused
