"""To and from a real PACS (Orthanc), over DICOMweb and over DICOM messages."""

from __future__ import annotations

import errno
import socket
import threading

import numpy as np
import pydicom
import pytest
import requests
from pydicom.uid import RLELossless
from pynetdicom import AE

from cmfnet_napari.core.dicom.export.checked_export import export
from cmfnet_napari.core.dicom.export.reference import read_reference
from cmfnet_napari.core.dicom.export.roi import make_rois
from cmfnet_napari.core.dicom.pacs import transfer as pacs
from cmfnet_napari.core.dicom.pacs.nodes import Node, make_node
from cmfnet_napari.core.dicom.pacs.query import Query, name_pattern
from cmfnet_napari.core.errors import CancelledError, UserError
from tests.dicom.conftest import ROOT, write_ct
from tests.dicom.orthanc import free_port


def test_echo(node) -> None:
    pacs.connect(node).echo()


def test_send_find_fetch_and_send_back(node, orthanc, ct_folder, label_map, tmp_path) -> None:
    write_ct(tmp_path / "other", study="2")
    told = []
    assert pacs.send(node, [ct_folder], lambda *numbers: told.append(numbers)) == 9
    assert told[-1] == (9, 9)
    pacs.send(node, [tmp_path / "other"])

    (study,) = pacs.find(node, Query(patient_id="P-1"))
    assert (study.uid, study.patient_name, study.date) == (f"{ROOT}.1", "Müller^Eva", "20200102")
    assert (study.modalities, study.description) == ("CT", "Thigh")
    assert len(pacs.find(node, Query(patient_name="M*", modality="CT"))) == 2
    assert pacs.find(node, Query(date="20210101-")) == []
    (series,) = pacs.find_series(node, study.uid)
    assert (series.modality, series.instances) == ("CT", 9)

    fetched = tmp_path / "fetched"
    assert pacs.fetch(node, study.uid, fetched) == 9
    theirs, ours = read_reference(fetched), read_reference(ct_folder)
    assert [h.SOPInstanceUID for h in theirs.headers] == [h.SOPInstanceUID for h in ours.headers]
    for a, b in zip(theirs.files, ours.files, strict=True):
        assert pydicom.dcmread(a).PixelData == pydicom.dcmread(b).PixelData

    out = tmp_path / "gtv.dcm"
    export(label_map, theirs, make_rois([1], ["Lump"]), "rtstruct", out)
    assert pacs.send(node, [out]) == 1
    served = [i for i in orthanc.rest("/instances?expand") if i["MainDicomTags"]]
    assert len(served) == 9 + 9 + 1
    (found,) = [s for s in pacs.find_series(node, study.uid) if s.modality == "RTSTRUCT"]
    pacs.fetch(node, study.uid, tmp_path / "back", series=found.uid)
    (file,) = (tmp_path / "back").rglob("*.dcm")
    assert pydicom.dcmread(file) == pydicom.dcmread(out)


def test_names_as_people_type_them(node, ct_folder) -> None:
    pacs.send(node, [ct_folder])
    for words, count in {"mül": 1, "Müller, E": 1, "M*^Eva": 1, "Müller, F": 0, "Eva": 0}.items():
        query = Query(patient_name=name_pattern(words))
        assert len(pacs.find(node, query)) == count, words
    assert name_pattern(" ") == ""


def test_a_fetch_that_is_ended_keeps_nothing(node, ct_folder, tmp_path) -> None:
    def end(came: int, of: int) -> None:
        told.append(came)
        if came == 2:
            raise CancelledError

    told: list[int] = []
    pacs.send(node, [ct_folder])
    with pytest.raises(CancelledError):
        pacs.fetch(node, f"{ROOT}.1", tmp_path / "in", progress=end)
    assert told == [1, 2]
    assert list((tmp_path / "in").iterdir()) == []


def test_a_real_study_in_and_out(web, orthanc, test_data, tmp_path) -> None:
    real = test_data / "sts" / "dicom_STS_025"
    pacs.send(web, [real / "CT" / "image", real / "MR_T1" / "image"])
    (study,) = pacs.find(web, Query(patient_id="STS_025"))
    assert (sorted(study.modalities.split("/")), study.instances) == (["CT", "MR"], 47 + 25)
    (ct,) = [s.uid for s in pacs.find_series(web, study.uid) if s.modality == "CT"]
    pacs.fetch(web, study.uid, tmp_path / "in")
    reference = read_reference(tmp_path / "in", series=ct)
    labels = np.zeros(reference.grid.shape, np.uint8)
    labels[10:20, 50:80, 60:100] = 1
    image = reference.grid.to_image(labels)
    for kind in ("rtstruct", "seg"):
        out = tmp_path / f"{kind}.dcm"
        export(image, reference, make_rois([1]), kind, out)
        pacs.send(web, [out])
        uid = pydicom.dcmread(out, stop_before_pixels=True).SOPInstanceUID
        served = orthanc.rest(f"/dicom-web/instances?SOPInstanceUID={uid}")
        assert served[0]["0020000D"]["Value"] == [study.uid]


def test_a_compressed_file_stays_as_it_is(node, tmp_path, ct_folder) -> None:
    dataset = pydicom.dcmread(next(ct_folder.iterdir()))
    dataset.compress(RLELossless, generate_instance_uid=False)
    dataset.save_as(tmp_path / "packed.dcm")
    pacs.send(node, [tmp_path / "packed.dcm"])
    pacs.fetch(node, f"{ROOT}.1", tmp_path / "in")
    (file,) = (tmp_path / "in").rglob("*.dcm")
    assert pydicom.dcmread(file).file_meta.TransferSyntaxUID == RLELossless


def test_what_is_not_there_or_not_whole_is_not_kept(node, ct_folder, tmp_path, monkeypatch) -> None:
    with pytest.raises(UserError, match="has no such study"):
        pacs.fetch(node, "1.2.3", tmp_path / "none")
    pacs.send(node, [ct_folder])
    kind = type(pacs.connect(node))
    more = kind.instances
    monkeypatch.setattr(kind, "instances", lambda *words: more(*words) | {"1.2.3.4"})
    with pytest.raises(UserError, match=r"Only 9 of 10 files came from .* none were kept"):
        pacs.fetch(node, f"{ROOT}.1", tmp_path / "part")
    assert list((tmp_path / "part").iterdir()) == []
    assert not list(tmp_path.glob(".cmfnet-*"))


def test_a_full_disk(node, ct_folder, tmp_path, monkeypatch) -> None:
    def full(*words, **options) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    pacs.send(node, [ct_folder])
    monkeypatch.setattr(pacs.pydicom, "dcmwrite", full)
    with pytest.raises(UserError, match=r"could not be written .No space left on device."):
        pacs.fetch(node, f"{ROOT}.1", tmp_path / "in")


def test_a_folder_with_something_in_it_is_not_fetched_into(node, ct_folder) -> None:
    with pytest.raises(UserError, match="already holds something"):
        pacs.fetch(node, f"{ROOT}.1", ct_folder)


def test_what_is_no_dicom_is_not_sent(node, tmp_path) -> None:
    (tmp_path / "a.txt").write_text("hello")
    with pytest.raises(UserError, match=r"a.txt is no DICOM file"):
        pacs.send(node, [tmp_path / "a.txt"])
    with pytest.raises(UserError, match="no DICOM file to send"):
        pacs.send(node, [tmp_path])
    with pytest.raises(UserError, match="does not exist"):
        pacs.send(node, [tmp_path / "b.dcm"])


def test_a_wrong_password(web, passwords, monkeypatch) -> None:
    monkeypatch.setenv("CMFNET_PACS_PASSWORD", "guess")
    with pytest.raises(UserError, match="does not let us in: user or password"):
        pacs.connect(web).echo()


def test_a_title_that_the_pacs_does_not_know(dimse, ct_folder, tmp_path) -> None:
    with pytest.raises(UserError, match=r"refuses this computer, which calls itself CMFNET"):
        pacs.connect(dimse.model_copy(update={"title": "SOMEONE"})).echo()
    pacs.send(dimse, [ct_folder])
    stranger = dimse.model_copy(update={"our_title": "STRANGER"})
    with pytest.raises(UserError, match="STRANGER"):
        pacs.fetch(stranger, f"{ROOT}.1", tmp_path / "in")


def test_a_port_in_use(dimse, ct_folder, tmp_path) -> None:
    pacs.send(dimse, [ct_folder])
    busy = pytest.raises(UserError, match=f"Port {dimse.our_port}.* in use")
    with socket.create_server(("", dimse.our_port)), busy:
        pacs.fetch(dimse, f"{ROOT}.1", tmp_path / "in")


@pytest.mark.parametrize("kind", ["web", "dimse"])
def test_away(kind, passwords, ct_folder) -> None:
    node = nodes_at(free_port())[kind]
    for action in (lambda: pacs.connect(node).echo(), lambda: pacs.send(node, [ct_folder])):
        with pytest.raises(UserError, match=r"cannot be reached"):
            action()


@pytest.mark.parametrize("kind", ["web", "dimse"])
def test_too_slow(kind, passwords, monkeypatch) -> None:
    waits, send, associate = [], requests.Session.send, AE.associate

    def noted_send(self, *args, **options):
        waits.append(options["timeout"])
        return send(self, *args, **options)

    def noted_associate(self, *args, **options):
        waits.append(self.connection_timeout)
        assert {self.acse_timeout, self.dimse_timeout, self.network_timeout} == {waits[-1]}
        return associate(self, *args, **options)

    monkeypatch.setattr(requests.Session, "send", noted_send)
    monkeypatch.setattr(AE, "associate", noted_associate)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        node = nodes_at(silent.getsockname()[1])[kind]
        with pytest.raises(UserError, match=r"did not answer within 0.5 s"):
            pacs.connect(node).find(Query())
    assert waits == [0.5]  # asked once, and waited no longer


@pytest.mark.parametrize(
    ("length", "said"), [(5, "is no DICOMweb service"), (50, r"did not answer within 0.5 s")]
)
def test_no_dicom_service_and_one_that_stops_in_the_middle(passwords, length, said) -> None:
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            line, _ = server.accept()
            line.recv(4096)
            line.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\nhello" % length)
            over.wait(10)
            line.close()

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(UserError, match=said):
            pacs.connect(nodes_at(server.getsockname()[1])["web"]).echo()
        over.set()
        thread.join()


def nodes_at(port: int) -> dict[str, Node]:
    return {
        "web": make_node(name="web", url=f"http://127.0.0.1:{port}/dicom-web", timeout_s=0.5),
        "dimse": make_node(name="d", host="127.0.0.1", port=port, title="X", timeout_s=0.5),
    }
