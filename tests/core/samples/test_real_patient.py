"""The real patient is downloaded once, checked, and kept. No test leaves this machine."""

import functools
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.images.study import load_labels, open_study
from cmfnet_napari.core.samples import real_patient
from cmfnet_napari.core.samples.real_patient import fetch_patient

NOBODY = "http://127.0.0.1:9/"  # the discard port: nobody answers


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def serve():
    """Serve a folder on this machine; return its address and what ends it."""
    servers = []

    def start(folder):
        handler = functools.partial(Quiet, directory=str(folder))
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}/"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_downloaded_then_kept(test_data, tmp_path, serve):
    address = serve(test_data / "sample_STS_042")

    patient = fetch_patient(tmp_path, address)
    again = fetch_patient(tmp_path, NOBODY)

    assert again == patient
    assert (
        patient.ct.read_bytes() == (test_data / "sample_STS_042" / "CT_image.nii.gz").read_bytes()
    )
    study = open_study(patient.ct, patient.mr)
    tumour = load_labels(patient.gtv, study.grid) > 0
    assert 10 < tumour.sum() * study.grid.voxel_ml < 200


def test_kept_where_the_variable_says(test_data, tmp_path, serve, monkeypatch):
    monkeypatch.setenv("CMFNET_CACHE", str(tmp_path / "kept"))
    patient = fetch_patient(base_url=serve(test_data / "sample_STS_042"))
    assert patient.ct.parent == tmp_path / "kept"


def test_licence_and_citation_are_told():
    patient = real_patient.SamplePatient(None, None, None)
    assert "Attribution 3.0" in patient.licence
    assert "10.7937/K9/TCIA.2015.7GO2GSKS" in patient.citation
    assert "6da96021bc91faf4c0cb7fd7fa56a4225d2064a8" in real_patient.SOURCE


def test_no_network(tmp_path):
    with pytest.raises(UserError, match=r"no connection to github\.com") as caught:
        fetch_patient(tmp_path, NOBODY)
    assert "\n" not in str(caught.value)


def test_server_without_the_file(tmp_path, serve):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="the server answered 404"):
        fetch_patient(tmp_path / "kept", serve(tmp_path / "empty"))


def test_another_file_is_not_taken(tmp_path, serve):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "CT_image.nii.gz").write_bytes(b"not the published file")
    with pytest.raises(UserError, match="is not the published file"):
        fetch_patient(tmp_path / "kept", serve(tmp_path / "other"))
    assert list((tmp_path / "kept").glob("*")) == []


def test_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be kept in"):
        fetch_patient(tmp_path / "file", NOBODY)
