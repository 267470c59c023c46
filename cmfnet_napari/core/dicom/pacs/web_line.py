"""What goes over the line to a DICOMweb service: to nobody else, and no more than fits."""

from __future__ import annotations

import os
from collections.abc import Iterator
from email.message import Message
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter

from cmfnet_napari.core.errors import UserError

MOST_WORDS = 64 << 20  # bytes of an answer that is no file, unpacked
MOST_FILE = 1 << 29  # bytes of one DICOM file
_CHUNK = 1 << 20
_WORDS = ("application/dicom+json", "application/json", "application/dicom+xml", "application/xml")


class Line(HTTPAdapter):
    """How requests go out, and answers come in.

    The PACS' own CA file counts, also where the variable REQUESTS_CA_BUNDLE names another one,
    which requests would prefer. * and ? of a query stay as they are, which RFC 3986 allows:
    Orthanc takes %2A literally. A redirect is followed on the same host only, and never to http:
    what is sent is a patient's. An answer has a budget, whatever it is packed with. The type of one
    in words has no parameters, such as a charset: dicomweb-client passes over what has some.
    """

    def __init__(self, name: str, ca_file: str) -> None:
        self._name = name
        self._ca_file = ca_file or os.environ.get("REQUESTS_CA_BUNDLE", "")
        super().__init__()

    def send(
        self, request: requests.PreparedRequest, *more: Any, **options: Any
    ) -> requests.Response:
        """As `HTTPAdapter.send`; UserError for a redirect to somebody else."""
        if request.url is not None:
            request.url = request.url.replace("%2A", "*").replace("%3F", "?")
        if self._ca_file:
            options["verify"] = self._ca_file
        response = super().send(request, *more, **options)
        if response.is_redirect:
            self._check_redirect(request.url or "", response.headers["location"])
        kind = response.headers.get("Content-Type", "").partition(";")[0].strip().casefold()
        if kind in _WORDS:
            response.headers["Content-Type"] = kind
        if not options.get("stream"):
            response.raw = _Counted(response.raw, self._name)
        return response

    def _check_redirect(self, url: str, location: str) -> None:
        here, there = urlsplit(url), urlsplit(urljoin(url, location))
        same = here.hostname == there.hostname
        if not same or (there.scheme, there.port) not in {
            (here.scheme, here.port),
            ("https", here.port),
            ("https", None),
        }:
            raise UserError(
                f"{self._name} sends us on to {there.scheme}://{there.netloc}, which is not the "
                "PACS that was asked. Nothing was sent there. Ask those who look after it."
            )


class _Counted:
    """An answer's bytes, counted as they are unpacked."""

    def __init__(self, raw: Any, name: str) -> None:
        self._raw, self._name = raw, name

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)

    def stream(self, *more: Any, **options: Any) -> Iterator[bytes]:
        """As urllib3's; UserError when it is too much."""
        count = 0
        for chunk in self._raw.stream(*more, **options):
            count += len(chunk)
            if count > MOST_WORDS:
                raise UserError(
                    f"{self._name} answers with more than {MOST_WORDS >> 20} MiB. Ask for less, or "
                    "ask those who look after it."
                )
            yield chunk


def parts(response: requests.Response, name: str) -> Iterator[bytes]:
    """Files of a multipart answer (PS3.18 8.6.1.2), or the one of an answer that is no multipart.

    Raises
    ------
    UserError
        A file is longer than `MOST_FILE`.
    ValueError
        It is no such answer.
    """
    header = Message()
    header["Content-Type"] = response.headers.get("Content-Type", "")
    boundary = header.get_param("boundary")
    mark = f"--{boundary}".encode() if boundary else None
    if mark is None and header.get_content_type() != "application/dicom":
        raise ValueError("neither files nor one file")
    held, searched = bytearray(), 0
    for chunk in response.iter_content(_CHUNK):
        held += chunk
        while mark and (at := held.find(mark, max(0, searched - len(mark)))) >= 0:
            _, _, content = bytes(held[:at]).partition(b"\r\n\r\n")
            del held[: at + len(mark)]
            searched = 0
            if content:
                yield content.removesuffix(b"\r\n")
        searched = len(held)
        if searched > MOST_FILE:
            raise UserError(
                f"{name} sends a file of more than {MOST_FILE >> 20} MiB, which is not taken. Ask "
                "those who look after it."
            )
    if mark is None:
        yield bytes(held)
