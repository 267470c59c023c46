"""Encrypted, both ways, with certificates of a made-up authority."""

from __future__ import annotations

import contextlib
import shutil
import socket
import socketserver
import ssl
import subprocess
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from cmfnet_napari.core.dicom.pacs import transfer as pacs
from cmfnet_napari.core.dicom.pacs.nodes import make_node
from cmfnet_napari.core.errors import UserError
from tests.dicom.conftest import ROOT
from tests.dicom.orthanc import OUR_TITLE, PASSWORD, USER, running

OPENSSL = (
    "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 "
    "-addext subjectAltName=IP:127.0.0.1 -keyout key.pem -out cert.pem"
)


def certificate(folder: Path) -> SimpleNamespace:
    folder.mkdir()
    subprocess.run(OPENSSL.split(), cwd=folder, check=True, capture_output=True)
    return SimpleNamespace(cert=folder / "cert.pem", key=folder / "key.pem")


class Tunnel(socketserver.BaseRequestHandler):
    """Passes bytes on, both ways."""

    def handle(self) -> None:
        with socket.create_connection(("127.0.0.1", self.server.target)) as inner:
            back = threading.Thread(target=self._pass_on, args=(inner, self.request))
            back.start()
            self._pass_on(self.request, inner)
            with contextlib.suppress(OSError):
                inner.shutdown(socket.SHUT_WR)
            back.join()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                target.sendall(data)


class Tunnels(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def handle_error(self, *words) -> None:
        """A client that does not trust us hangs up."""


@contextlib.contextmanager
def encrypted(target: int, certificate: SimpleNamespace):
    """A port that speaks TLS for one that does not: Debian's Orthanc 1.10 crashes with https."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate.cert, certificate.key)
    with Tunnels(("127.0.0.1", 0), Tunnel) as server:
        server.target = target
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@pytest.fixture(scope="module")
def secure(tmp_path_factory):
    """A PACS that speaks only encrypted, and knows our certificate."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make certificates with")
    folder = tmp_path_factory.mktemp("tls")
    theirs, ours = certificate(folder / "theirs"), certificate(folder / "ours")
    settings = {
        "DicomTlsEnabled": True,
        "DicomTlsCertificate": str(theirs.cert),
        "DicomTlsPrivateKey": str(theirs.key),
        "DicomTlsTrustedCertificates": str(ours.cert),
    }
    with running(folder, settings) as server, encrypted(server.http_port, theirs) as port:
        url = f"https://127.0.0.1:{port}/dicom-web"
        web = {"name": "web", "url": url, "user": USER, "ca_file": str(theirs.cert)}
        dimse = {
            "name": "dimse",
            "host": "127.0.0.1",
            "port": server.dicom_port,
            "title": "ORTHANC",
            "our_title": OUR_TITLE,
            "our_port": server.our_port,
            "tls": True,
            "ca_file": str(theirs.cert),
            "cert_file": str(ours.cert),
            "key_file": str(ours.key),
        }
        yield {"web": web, "dimse": dimse}


@pytest.fixture(autouse=True)
def password(monkeypatch) -> None:
    monkeypatch.setenv("CMFNET_PACS_PASSWORD", PASSWORD)


@pytest.mark.parametrize("kind", ["web", "dimse"])
def test_encrypted(secure, kind, ct_folder, tmp_path) -> None:
    """By C-MOVE what was asked for comes encrypted too, with certificates on both sides."""
    node = make_node(**secure[kind], timeout_s=10)
    pacs.connect(node).echo()
    assert pacs.send(node, [ct_folder]) == 9
    if kind == "dimse":  # over the web it comes on the same line; our tunnel is not made for it
        assert pacs.fetch(node, f"{ROOT}.1", tmp_path / "in") == 9


def test_a_certificate_nobody_knows_is_refused(secure) -> None:
    node = make_node(**{**secure["web"], "ca_file": ""}, timeout_s=10)
    with pytest.raises(UserError, match="does not prove that it is who it says"):
        pacs.connect(node).echo()
    node = make_node(**{**secure["dimse"], "ca_file": ""}, timeout_s=5)
    with pytest.raises(UserError, match="are address, port and TLS right"):
        pacs.connect(node).echo()


def test_certificates_that_are_not_there(secure) -> None:
    for kind in ("web", "dimse"):
        node = make_node(**{**secure[kind], "ca_file": "/nowhere.pem"}, timeout_s=5)
        with pytest.raises(UserError, match=r"certificates .* cannot be read"):
            pacs.connect(node).echo()
