"""A DICOMweb service that is faulty, or means harm: one sentence, and nothing goes elsewhere."""

from __future__ import annotations

import gzip
import io
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pydicom
import pytest

from cmfnet_napari.core.dicom.pacs import query, web_line
from cmfnet_napari.core.dicom.pacs import transfer as pacs
from cmfnet_napari.core.dicom.pacs.nodes import make_node
from cmfnet_napari.core.dicom.pacs.query import Query
from cmfnet_napari.core.errors import UserError
from tests.dicom.orthanc import free_port
from tests.dicom_files import CT_GRID, uid, write_slices

STUDY, SERIES = uid("study", "P1"), uid("series", "CT")


class Server:
    """Answers what `routes` says by the end of a path; keeps what it was asked."""

    def __init__(self) -> None:
        self.routes: dict[str, object] = {}
        self.asked: list[tuple[str, str, dict]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.0"

            def do_GET(self) -> None:
                path = self.path.split("?")[0]
                outer.asked.append((self.command, self.path, dict(self.headers)))
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                found = [k for k in outer.routes if path.endswith(k)]
                answer = outer.routes[max(found, key=len)] if found else (404, {}, b"")
                status, headers, body = answer(self.path) if callable(answer) else answer
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
                try:
                    for piece in [body] if isinstance(body, bytes) else body:
                        self.wfile.write(piece)
                except OSError:
                    pass

            do_POST = do_GET  # noqa: N815  as http.server asks for it

            def log_message(self, *words: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.http.server_address[1]
        threading.Thread(target=self.http.serve_forever, daemon=True).start()


def serving():
    """A server for as long as a test takes."""
    made = Server()
    yield made
    made.http.shutdown()
    made.http.server_close()


@pytest.fixture
def server():
    yield from serving()


@pytest.fixture
def other():
    yield from serving()


@pytest.fixture
def node(server):
    return make_node(name="PACS", url=f"http://127.0.0.1:{server.port}/web", timeout_s=5)


def words(answers):
    """DICOM JSON of (keyword, value) answers."""
    body = json.dumps([pydicom.Dataset.to_json_dict(one) for one in answers]).encode()
    return 200, {"Content-Type": "application/dicom+json"}, body


def answer(**values):
    data = pydicom.Dataset()
    for keyword, value in values.items():
        setattr(data, keyword, value)
    return data


def files(contents):
    pieces = [b"\r\n--x\r\nContent-Type: application/dicom\r\n\r\n" + c for c in contents]
    kind = 'multipart/related; type="application/dicom"; boundary=x'
    return 200, {"Content-Type": kind}, [*pieces, b"\r\n--x--\r\n"]


@pytest.fixture
def slices(tmp_path):
    import numpy as np

    array = np.zeros(CT_GRID.shape, np.int16)[:3]
    return write_slices(tmp_path / "stored", array, CT_GRID, series="CT")


@pytest.fixture
def study(server, slices):
    """A study that could be fetched."""
    uids = [pydicom.dcmread(path).SOPInstanceUID for path in slices]
    server.routes["/web/studies"] = words([answer(StudyInstanceUID=STUDY, PatientID="P1")])
    server.routes[f"{STUDY}/series"] = words([answer(SeriesInstanceUID=SERIES)])
    server.routes["/instances"] = words([answer(SOPInstanceUID=one) for one in uids])
    server.routes[f"/series/{SERIES}"] = files([path.read_bytes() for path in slices])
    return uids


def test_a_good_one(node, study, slices, tmp_path):
    assert pacs.fetch(node, STUDY, tmp_path / "out") == 3
    assert len(list((tmp_path / "out").rglob("*.dcm"))) == 3


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("what", ["find", "send"])
def test_nothing_is_sent_on_to_another_host(node, server, other, slices, status, what):
    there = f"http://127.0.0.1:{other.port}/web/studies"
    server.routes["/web/studies"] = (status, {"Location": there}, b"")
    with pytest.raises(UserError, match=f"sends us on to http://127.0.0.1:{other.port}"):
        pacs.find(node, Query()) if what == "find" else pacs.send(node, [slices[0]])
    assert other.asked == []


def test_redirects_on_the_same_host(node, server):
    server.routes["/web/studies"] = (307, {"Location": "/web/studies/"}, b"")
    server.routes["/web/studies/"] = words([answer(StudyInstanceUID=STUDY)])
    assert [one.uid for one in pacs.find(node, Query())] == [STUDY]
    line = web_line.Line("PACS", "")
    for there in ("http://pacs/a", "https://other/a", "https://pacs:99/a", "ftp://pacs/a"):
        with pytest.raises(UserError, match="sends us on"):
            line._check_redirect("https://pacs/dicom-web/studies", there)
    line._check_redirect("http://pacs:8042/studies", "https://pacs/studies")


def test_no_netrc_and_no_proxy_from_the_environment(node, server, other, tmp_path, monkeypatch):
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login eve password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{other.port}")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    server.routes["/web/studies"] = other.routes["/web/studies"] = words([])
    pacs.find(node, Query())
    assert other.asked == []
    assert "Authorization" not in server.asked[0][2]
    pacs.find(node.model_copy(update={"proxy": f"http://127.0.0.1:{other.port}"}), Query())
    assert len(other.asked) == 1


def stored(*uids, failed=()):
    """What a PACS says of files that it was sent (PS3.18 10.5.3)."""
    said = pydicom.Dataset()
    for keyword, named in (("ReferencedSOPSequence", uids), ("FailedSOPSequence", failed)):
        if named:
            setattr(said, keyword, [answer(ReferencedSOPInstanceUID=uid) for uid in named])
    return said.to_json().encode()


@pytest.mark.parametrize("parameters", ["", "; charset=utf-8", ";charset=UTF-8"])
@pytest.mark.parametrize("kind", ["application/dicom+json", "application/json"])
def test_a_file_has_arrived_if_the_answer_names_it(node, server, study, slices, kind, parameters):
    headers = {"Content-Type": kind + parameters}
    server.routes["/web/studies"] = 202, headers, stored(study[0], failed=study[1:])
    with pytest.raises(UserError, match="took 1 of 3 files and refused the next"):
        pacs.send(node, slices)
    server.routes["/web/studies"] = 202, headers, stored(failed=study[:1])
    with pytest.raises(UserError, match="took 0 of 1 files"):
        pacs.send(node, slices[:1])
    elsewhere = pydicom.Dataset()
    elsewhere.OtherFailuresSequence = [answer(FailureReason=0xA700)]
    server.routes["/web/studies"] = 202, headers, elsewhere.to_json().encode()
    with pytest.raises(UserError, match="took 0 of 1 files"):
        pacs.send(node, slices[:1])
    server.routes["/web/studies"] = 200, headers, stored(*study)
    assert pacs.send(node, slices) == 3
    assert not any("/instances" in path for _, path, _ in server.asked)


def test_of_an_answer_that_says_nothing_the_pacs_is_asked(node, server, study, slices):
    login = 200, {"Content-Type": "text/html"}, b"<html>Please log in</html>"
    empty = 200, {"Content-Type": "application/dicom+json"}, b"{}"
    for said in (empty, (200, {}, b""), login):
        server.routes["/web/studies"] = said
        assert pacs.send(node, slices) == 3  # it lists them
        server.routes["/instances"] = words([answer(SOPInstanceUID=study[0])])
        with pytest.raises(UserError, match="took 1 of 3 files"):
            pacs.send(node, slices)
        server.routes["/instances"] = words([answer(SOPInstanceUID=one) for one in study])
    server.routes["/instances"] = login
    with pytest.raises(UserError, match="is no DICOMweb service"):
        pacs.send(node, slices)
    damaged = pydicom.dcmread(slices[0])
    del damaged.StudyInstanceUID
    damaged.save_as(slices[0])
    with pytest.raises(UserError, match=r"0 of 1 files had arrived"):
        pacs.send(node, slices[:1])


def test_what_may_have_arrived_is_not_called_lost(node, server, study, slices):
    over = threading.Event()

    def silent(_path):
        over.wait(5)
        return 200, {}, b""

    server.routes["/web/studies"] = silent
    hasty = node.model_copy(update={"timeout_s": 0.3})
    unsure = r"0 of 3 files had arrived. Whether the next did is not known"
    with pytest.raises(UserError, match=f"did not answer within 0.3 s.*{unsure}"):
        pacs.send(hasty, slices)
    over.set()
    server.routes["/web/studies"] = 504, {}, b""  # a gateway that waited no longer
    with pytest.raises(UserError, match=f"error 504.*{unsure}"):
        pacs.send(node, slices)
    server.routes["/web/studies"] = 200, {}, b""
    server.routes["/instances"] = 503, {}, b""  # nor can it be asked
    with pytest.raises(UserError, match=f"error 503.*{unsure}"):
        pacs.send(node, slices)
    server.routes["/web/studies"] = 409, {}, b""
    away = node.model_copy(update={"url": f"http://127.0.0.1:{free_port()}/web"})
    for there in (node, away):  # refused, or never reached
        with pytest.raises(UserError, match="0 of 3 files had arrived") as error:
            pacs.send(there, slices)
        assert "not known" not in str(error.value)


@pytest.mark.parametrize(
    ("keyword", "value", "said"),
    [
        ("PatientID", "P2", "another patient"),
        ("StudyInstanceUID", "1.2.3", "another study"),
        ("SeriesInstanceUID", "1.2.3", "another series"),
    ],
)
def test_files_of_somebody_else_are_refused(
    node, server, study, slices, tmp_path, keyword, value, said
):
    data = pydicom.dcmread(slices[2])
    setattr(data, keyword, value)
    data.save_as(slices[2])
    server.routes[f"/series/{SERIES}"] = files([path.read_bytes() for path in slices])
    with pytest.raises(UserError, match=f"a file of {said} than was asked for"):
        pacs.fetch(node, STUDY, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_answers_about_somebody_else_are_refused(node, server, study, tmp_path):
    server.routes["/web/studies"] = words([answer(StudyInstanceUID=STUDY, PatientID="P2")])
    with pytest.raises(UserError, match="answers about another patient"):
        pacs.find(node, Query(patient_id="P1"))
    assert len(pacs.find(node, Query(patient_id="P*"))) == 1
    wrong = [answer(SeriesInstanceUID=SERIES, StudyInstanceUID="1.2.3")]
    server.routes[f"{STUDY}/series"] = words(wrong)
    with pytest.raises(UserError, match="answers about something else"):
        pacs.fetch(node, STUDY, tmp_path / "out")


def test_a_second_file_with_one_identifier_is_not_taken(node, server, study, slices, tmp_path):
    first = slices[0].read_bytes()
    second = pydicom.dcmread(slices[0])
    second.PixelData = b"\1" * len(second.PixelData)
    written = io.BytesIO()
    second.save_as(written)
    rest = [path.read_bytes() for path in slices[1:]]
    server.routes[f"/series/{SERIES}"] = files([first, written.getvalue(), *rest])
    assert pacs.fetch(node, STUDY, tmp_path / "out") == 3
    (kept,) = (tmp_path / "out").rglob(f"{study[0]}.dcm")
    assert not any(pydicom.dcmread(kept).PixelData)


def paged(answers, most):
    """No more than so many at a time, whatever is asked for (PS3.18 8.3.4.4)."""

    def page(path):
        start = int(parse_qs(urlsplit(path).query).get("offset", ["0"])[0])
        return words(answers[start : start + most])

    return page


def test_a_service_that_gives_fewer_answers_than_are_asked_for(node, server, study, tmp_path):
    server.routes["/instances"] = paged([answer(SOPInstanceUID=one) for one in study], 2)
    assert pacs.fetch(node, STUDY, tmp_path / "out") == 3
    assert len(list((tmp_path / "out").rglob("*.dcm"))) == 3


def test_a_list_that_is_a_part_is_not_taken_for_the_whole(node, server, study, tmp_path):
    server.routes["/instances"] = words([answer(SOPInstanceUID=one) for one in study[:2]])
    counted = answer(SeriesInstanceUID=SERIES, NumberOfSeriesRelatedInstances=3)
    server.routes[f"{STUDY}/series"] = words([counted])
    for series in ("", SERIES):
        with pytest.raises(UserError, match="lists 2 of the 3 files of a series"):
            pacs.fetch(node, STUDY, tmp_path / "out", series=series)
    server.routes[f"{STUDY}/series"] = words([answer(SeriesInstanceUID=SERIES)])
    with pytest.raises(UserError, match="a file that it had not listed"):  # it sends three
        pacs.fetch(node, STUDY, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def endless(piece):
    while True:
        yield piece


@pytest.mark.parametrize("what", ["files", "part", "pages", "words", "gzip", "deflated"])
def test_what_does_not_end(node, server, study, slices, tmp_path, monkeypatch, what):
    monkeypatch.setattr(web_line, "MOST_WORDS", 1 << 20)
    monkeypatch.setattr(web_line, "MOST_FILE", 1 << 21)
    monkeypatch.setattr(query, "MOST_ANSWERS", 2000)
    monkeypatch.setattr("cmfnet_napari.core.dicom.pacs.dicomweb.MOST_ANSWERS", 2000)
    monkeypatch.setattr("cmfnet_napari.core.images.dicom_file.MOST_UNPACKED", 1 << 20)
    head = b"\r\n--x\r\n\r\n"
    kind = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=x'}
    json_kind = {"Content-Type": "application/dicom+json"}
    count = iter(range(10**9))
    if what == "files":
        one = head + slices[0].read_bytes()
        server.routes[f"/series/{SERIES}"] = (200, kind, endless(one))
    elif what == "part":
        server.routes[f"/series/{SERIES}"] = (200, kind, endless(head[:0] + bytes(1 << 16)))
    elif what == "pages":
        server.routes["/web/studies"] = lambda _path: words(
            [answer(StudyInstanceUID=f"1.2.{next(count)}") for _ in range(500)]
        )
    elif what == "words":
        server.routes["/web/studies"] = (200, json_kind, endless(b" " * (1 << 16)))
    elif what == "gzip":
        body = gzip.compress(bytes(1 << 24))
        server.routes["/web/studies"] = (200, {**json_kind, "Content-Encoding": "gzip"}, body)
    else:
        data = pydicom.dcmread(slices[0])
        data.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1.99"
        data.PixelData = bytes(1 << 22)
        written = io.BytesIO()
        data.save_as(written)
        server.routes[f"/series/{SERIES}"] = files([written.getvalue()])
    with pytest.raises(UserError, match=r"more than|does not stop") as error:
        pacs.fetch(node, STUDY, tmp_path / "out")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "body",
    [
        b"nothing of the kind",
        b"{}",
        b'{"a": 1}',
        b"[1, 2]",
        b'[{"0020000D": 7}]',
        b'[{"0020000D": {"vr": "UI"}}]',
        b'[{"0020000D": {"vr": "SQ", "Value": ["x"]}}]',
        b'[{"zzzz": {"vr": "UI", "Value": ["1.2"]}}]',
        b"[" * 100_000,
        b"\xff\xfe",
        b"",
    ],
)
def test_faulty_answers_are_one_sentence(node, server, study, tmp_path, body):
    for route in ("/web/studies", f"{STUDY}/series", "/instances"):
        kept = server.routes[route]
        server.routes[route] = (200, {"Content-Type": "application/dicom+json"}, body)
        with pytest.raises(UserError) as error:
            pacs.fetch(node, STUDY, tmp_path / "out")
        assert len(str(error.value).splitlines()) == 1
        server.routes[route] = kept
    server.routes[f"/series/{SERIES}"] = (200, {"Content-Type": "text/html"}, body)
    with pytest.raises(UserError):
        pacs.fetch(node, STUDY, tmp_path / "out")
