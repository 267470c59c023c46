"""A PACS over DICOMweb (DICOM PS3.18), through dicomweb-client."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pydicom
import requests
from dicomweb_client.session_utils import create_session, create_session_from_user_pass
from dicomweb_client.web import DICOMwebClient
from pydicom import Dataset
from pydicom.config import disable_value_validation
from requests.adapters import HTTPAdapter

from cmfnet_napari.core.dicom.pacs.nodes import Node, password_of
from cmfnet_napari.core.dicom.pacs.query import STUDY_FIELDS, Query
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.files import JsonObject

_PAGE = 500  # answers asked for at a time
_BATCH = 8  # files sent at a time
_NEEDS_CODE = re.compile(r"[^A-Za-z0-9._~*?-]")  # what RFC 3986 has percent-encoded
_NO_ENTRY = (401, 403)


class _Line(HTTPAdapter):
    """How requests go out.

    The PACS' own CA file counts, also where the variable REQUESTS_CA_BUNDLE names another one,
    which requests would prefer. And * and ? of a query stay as they are, which RFC 3986 allows:
    Orthanc takes %2A literally.
    """

    def __init__(self, ca_file: str) -> None:
        self._ca_file = ca_file
        super().__init__()

    def send(
        self, request: requests.PreparedRequest, *more: Any, **options: Any
    ) -> requests.Response:
        if request.url is not None:
            request.url = request.url.replace("%2A", "*").replace("%3F", "?")
        if self._ca_file:
            options["verify"] = self._ca_file
        return super().send(request, *more, **options)


class WebPacs:
    """One PACS over DICOMweb; see `transfer.Pacs` for what its methods do."""

    def __init__(self, node: Node) -> None:
        self.node = node
        session = create_session()
        if node.user:
            session = create_session_from_user_pass(node.user, password_of(node))
        for file in (node.ca_file, node.cert_file, node.key_file):
            if file and not Path(file).is_file():
                raise UserError(f"The certificates of {node.name} cannot be read. Check its files.")
        if node.cert_file:
            session.cert = (node.cert_file, node.key_file or node.cert_file)
        for scheme in ("http://", "https://"):
            session.mount(scheme, _Line(node.ca_file))
        self._client = DICOMwebClient(node.url, session, timeout=node.timeout_s)
        self._client.set_http_retry_params(retry=False)

    def echo(self) -> None:
        """Ask for one study."""
        with self._said():
            self._client.search_for_studies(limit=1)

    def find(self, query: Query) -> list[Dataset]:
        """Studies that match.

        Orthanc 1.10 does not decode what it is asked, and so knows no name with ^, a space or an
        umlaut. When nothing is found, * stands for such letters, and the answers are gone through.
        """
        plainer = replace(query, patient_name=_NEEDS_CODE.sub("*", query.patient_name))
        found = self._studies(query)
        if found or plainer == query:
            return found
        name = query.patient_name.casefold()
        more = self._studies(plainer)
        return [one for one in more if fnmatchcase(str(one.get("PatientName")).casefold(), name)]

    def _studies(self, query: Query) -> list[Dataset]:
        filters = {key: value for key, value in query.keys().items() if value}
        return self._all(
            lambda **page: self._client.search_for_studies(
                search_filters=filters, fields=[*query.keys(), *STUDY_FIELDS], **page
            )
        )

    def find_series(self, study: str) -> list[Dataset]:
        """Series of a study."""
        return self._all(lambda **page: self._client.search_for_series(study, **page))

    def instances(self, study: str, series: str) -> set[str]:
        """SOP Instance UIDs of a series."""
        found = self._all(lambda **page: self._client.search_for_instances(study, series, **page))
        return {str(answer.SOPInstanceUID) for answer in found}

    def retrieve(self, study: str, series: str, keep: Callable[[Dataset], None]) -> None:
        """Fetch the files of a series as they are stored."""
        with self._said():
            stored = (("application/dicom", "*"),)  # no other transfer syntax than its own
            for dataset in self._client.iter_series(study, series, media_types=stored):
                keep(dataset)

    def send(self, files: Sequence[Path], sent: Callable[[int], None]) -> None:
        """Send files, some at a time."""
        done = 0
        for start in range(0, len(files), _BATCH):
            batch = files[start : start + _BATCH]
            with self._said(f" {done} of {len(files)} files had arrived."):
                answer = self._client.store_instances([pydicom.dcmread(file) for file in batch])
            refused = len(answer.get("FailedSOPSequence", []))
            done += len(batch) - refused
            if refused:
                raise UserError(
                    f"{self.node.name} took {done} of {len(files)} files and refused the next. Ask "
                    "those who look after it."
                )
            sent(len(batch))

    def _all(self, search: Callable[..., list[JsonObject]]) -> list[Dataset]:
        """Every page of the answers."""
        answers: list[Dataset] = []
        with self._said(), disable_value_validation():
            while page := search(limit=_PAGE, offset=len(answers)):
                new = [Dataset.from_json(answer) for answer in page]
                if answers and new[0] == answers[0]:  # it knows no pages, and said all at once
                    break
                answers += new
                if len(page) < _PAGE:
                    break
        return answers

    @contextmanager
    def _said(self, more: str = "") -> Iterator[None]:
        """What goes wrong on the line, in one sentence."""
        name, address = self.node.name, self.node.address
        try:
            yield
        except requests.exceptions.SSLError as error:
            raise UserError(
                f"{name} ({address}) does not prove that it is who it says (TLS certificate). Ask "
                f"for its certificate and name it as its CA file.{more}"
            ) from error
        except requests.Timeout as error:
            raise UserError(
                f"{name} ({address}) did not answer within {self.node.timeout_s:g} s. Try again "
                f"later.{more}"
            ) from error
        except requests.HTTPError as error:
            raise UserError(f"{name} ({address}) {_refusal(error)}{more}") from error
        except (requests.RequestException, OSError, ValueError) as error:
            raise UserError(
                f"{name} ({address}) cannot be reached, or is no DICOMweb service. Is it on, and "
                f"is the address right?{more}"
            ) from error


def _refusal(error: requests.HTTPError) -> str:
    status = None if error.response is None else error.response.status_code
    if status in _NO_ENTRY:
        return "does not let us in: user or password are wrong, or not given."
    if status == requests.codes.not_found:
        return "does not have it, or is no DICOMweb service."
    return f"refuses with error {status}. Ask those who look after it."
