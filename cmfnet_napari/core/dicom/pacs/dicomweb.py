"""A PACS over DICOMweb (DICOM PS3.18), through dicomweb-client."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

import requests
from dicomweb_client.session_utils import create_session, create_session_from_user_pass
from dicomweb_client.web import DICOMwebClient
from pydicom import Dataset
from pydicom.config import disable_value_validation

from cmfnet_napari.core.dicom.pacs.nodes import Node, password_of
from cmfnet_napari.core.dicom.pacs.query import (
    MOST_ANSWERS,
    NOT_KNOWN,
    STUDY_FIELDS,
    Query,
    check_answers,
    identifier,
    too_many,
)
from cmfnet_napari.core.dicom.pacs.web_line import Line, parts
from cmfnet_napari.core.errors import CancelledError, UserError
from cmfnet_napari.core.files import JsonObject
from cmfnet_napari.core.images.dicom_file import read_dicom, read_dicom_bytes

_PAGE = 500  # answers asked for at a time
_BATCH = 8  # files sent at a time
_NEEDS_CODE = re.compile(r"[^A-Za-z0-9._~*?-]")  # what RFC 3986 has percent-encoded
_NO_ENTRY = (401, 403)
_THEIR_FAULT = 500  # and above: a server, or a gateway before it, failed half way (RFC 9110 15.6)
_TELLING = ("ReferencedSOPSequence", "FailedSOPSequence", "OtherFailuresSequence")


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
            session.mount(scheme, Line(node.name, node.ca_file))
        session.trust_env = False  # no ~/.netrc, no proxy but the one that is set for this PACS
        if node.proxy:
            session.proxies = dict.fromkeys(("http", "https"), node.proxy)
        self._session = session
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
        found = self._all(lambda **page: self._client.search_for_series(study, **page))
        check_answers(found, self.node.name, StudyInstanceUID=study)
        return found

    def instances(self, study: str, series: str) -> set[str]:
        """SOP Instance UIDs of a series."""
        found = self._all(lambda **page: self._client.search_for_instances(study, series, **page))
        check_answers(found, self.node.name, StudyInstanceUID=study, SeriesInstanceUID=series)
        return {identifier(answer, "SOPInstanceUID", self.node.name) for answer in found}

    def retrieve(self, study: str, series: str, keep: Callable[[Dataset], bool]) -> None:
        """Fetch the files of a series as they are stored."""
        kind = 'multipart/related; type="application/dicom"; transfer-syntax=*'  # as it is stored
        address = f"{self._client.base_url}/studies/{study}/series/{series}"
        node = self.node
        with (
            self._said(),
            self._session.get(
                address, headers={"Accept": kind}, stream=True, timeout=node.timeout_s
            ) as response,
        ):
            response.raise_for_status()
            for number, content in enumerate(parts(response, node.name), start=1):
                keep(read_dicom_bytes(content, f"File {number} of {node.name}"))

    def send(self, files: Sequence[Path], sent: Callable[[int], None]) -> None:
        """Send files, some at a time."""
        done = 0
        for start in range(0, len(files), _BATCH):
            batch = files[start : start + _BATCH]
            so_far = f" {done} of {len(files)} files had arrived."
            with self._said(so_far, f" {NOT_KNOWN}"):
                datasets = [read_dicom(file) for file in batch]
                answer = self._client.store_instances(datasets)
            try:
                arrived = self._arrived(datasets, answer)
            except UserError as error:  # it was asked what it has
                raise UserError(f"{error}{so_far} {NOT_KNOWN}") from error
            done += arrived
            if arrived < len(batch):
                raise UserError(
                    f"{self.node.name} took {done} of {len(files)} files and refused the next. Ask "
                    "those who look after it."
                )
            sent(len(batch))

    def _arrived(self, datasets: Sequence[Dataset], answer: Dataset) -> int:
        """How many files a PACS has by its answer; where that says nothing, by what it has now.

        Only files that the answer names are stored (PS3.18 10.5.3). Some services answer nothing,
        and a page to log in is none either.
        """
        if any(keyword in answer for keyword in _TELLING):
            stored = answer.get("ReferencedSOPSequence") or []
            there = {str(item.get("ReferencedSOPInstanceUID")) for item in stored}
        else:
            series = {(_uid(d, "StudyInstanceUID"), _uid(d, "SeriesInstanceUID")) for d in datasets}
            there = set().union(*(self.instances(*uids) for uids in series))
        return sum(_uid(dataset, "SOPInstanceUID") in there for dataset in datasets)

    def _all(self, search: Callable[..., list[JsonObject]]) -> list[Dataset]:
        """Every page of the answers, up to one with nothing new.

        A page may be shorter than was asked for, and more follow (PS3.18 8.3.4.4); a service that
        knows no pages says all of it again.
        """
        answers: dict[str, Dataset] = {}
        with self._said(), disable_value_validation():
            while page := search(limit=_PAGE, offset=len(answers)):
                if len(answers) > MOST_ANSWERS:
                    raise UserError(too_many(self.node.name))
                new = {json.dumps(one, sort_keys=True): one for one in page}
                new = {said: one for said, one in new.items() if said not in answers}
                if not new:
                    break
                answers |= {said: Dataset.from_json(one) for said, one in new.items()}
        return [*answers.values()]

    @contextmanager
    def _said(self, more: str = "", unsure: str = "") -> Iterator[None]:
        """What goes wrong on the line, in one sentence.

        Parameters
        ----------
        more : str
            Said besides.
        unsure : str
            Said besides where what was sent may have arrived.
        """
        name, address = self.node.name, self.node.address
        try:
            yield
        except requests.exceptions.SSLError as error:
            raise UserError(
                f"{name} ({address}) does not prove that it is who it says (TLS certificate). Ask "
                f"for its certificate and name it as its CA file.{more}"
            ) from error
        except requests.Timeout as error:
            raise self._too_slow(more + unsure * _may_have_arrived(error)) from error
        except requests.HTTPError as error:
            more += unsure * _may_have_arrived(error)
            raise UserError(f"{name} ({address}) {_refusal(error)}{more}") from error
        except (requests.RequestException, OSError, ValueError) as error:
            more += unsure * _may_have_arrived(error)
            if "Read timed out" in str(error):  # in the middle of an answer
                raise self._too_slow(more) from error
            raise UserError(
                f"{name} ({address}) cannot be reached, or is no DICOMweb service. Is it on, and "
                f"is the address right?{more}"
            ) from error
        except (UserError, CancelledError):
            raise
        except Exception as error:  # its answers are converted by what stumbles over them
            raise UserError(
                f"{name} ({address}) answers in a way that is no DICOMweb. Ask those who look "
                f"after it.{more}"
            ) from error

    def _too_slow(self, more: str) -> UserError:
        node = self.node
        return UserError(
            f"{node.name} ({node.address}) did not answer within {node.timeout_s:g} s. Try again "
            f"later.{more}"
        )


def _uid(dataset: Dataset, keyword: str) -> str:
    """A UID of a file; empty where a damaged one has none."""
    return str(dataset.get(keyword) or "")


def _may_have_arrived(error: Exception) -> bool:
    """Whether a PACS may have taken what was sent although there was no good answer."""
    if isinstance(error, requests.HTTPError):
        return error.response is not None and error.response.status_code >= _THEIR_FAULT
    reason = getattr(error.args[0], "reason", None) if error.args else None  # urllib3's
    never_there = type(reason).__name__ == "NewConnectionError"
    return not never_there and not isinstance(error, requests.ConnectTimeout)


def _refusal(error: requests.HTTPError) -> str:
    status = None if error.response is None else error.response.status_code
    if status in _NO_ENTRY:
        return "does not let us in: user or password are wrong, or not given."
    if status == requests.codes.not_found:
        return "does not have it, or is no DICOMweb service."
    return f"refuses with error {status}. Ask those who look after it."
