"""A PACS over DICOM messages (DIMSE, DICOM PS3.7), through pynetdicom."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pydicom import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.tag import Tag
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian
from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, StoragePresentationContexts, evt
from pynetdicom.association import Association
from pynetdicom.pdu_primitives import UserIdentityNegotiation

from cmfnet_napari.core.dicom.pacs.nodes import Node, password_of
from cmfnet_napari.core.dicom.pacs.query import (
    MOST_ANSWERS,
    NOT_KNOWN,
    SERIES_FIELDS,
    STUDY_FIELDS,
    Query,
    check_answers,
    identifier,
    too_many,
)
from cmfnet_napari.core.errors import CancelledError, UserError
from cmfnet_napari.core.images.dicom_file import read_dicom

# SOP classes (PS3.4 B.5, C.6), by number: pynetdicom makes its names for them as it starts.
_VERIFICATION = UID("1.2.840.10008.1.1")
_FIND = UID("1.2.840.10008.5.1.4.1.2.2.1")  # Study Root Query/Retrieve, as the next
_MOVE = UID("1.2.840.10008.5.1.4.1.2.2.2")
_PENDING = (0xFF00, 0xFF01)  # PS3.4 C.4.1.1.4
_NOT_KNOWN_THERE = 0xA801  # Move Destination unknown, PS3.4 C.4.2.1.5
_OUT_OF_RESOURCES = 0xA700  # PS3.4 B.2.3
_TWICE = 0x0111  # Duplicate SOP Instance, PS3.7 C.5.4
# One that unpacks to anything is not offered: every PACS can send it otherwise.
_SYNTAXES = [s for s in ALL_TRANSFER_SYNTAXES if s != DeflatedExplicitVRLittleEndian]
_USER_AND_PASSWORD = 2  # PS3.7 D.3.3.7.1


class DimsePacs:
    """One PACS over DICOM messages; see `transfer.Pacs` for what its methods do."""

    def __init__(self, node: Node) -> None:
        self.node = node

    def echo(self) -> None:
        """C-ECHO."""
        with self._associated([_VERIFICATION]) as association:
            self._check(association.send_c_echo(), "does not answer an echo")

    def find(self, query: Query) -> list[Dataset]:
        """C-FIND for studies."""
        return self._find("STUDY", {**dict.fromkeys(STUDY_FIELDS, ""), **query.keys()})

    def find_series(self, study: str) -> list[Dataset]:
        """C-FIND for the series of a study."""
        fields = dict.fromkeys(SERIES_FIELDS, "")
        found = self._find("SERIES", fields | {"StudyInstanceUID": study})
        check_answers(found, self.node.name, StudyInstanceUID=study)
        return found

    def instances(self, study: str, series: str) -> set[str]:
        """C-FIND for the instances of a series."""
        keys = {"StudyInstanceUID": study, "SeriesInstanceUID": series, "SOPInstanceUID": ""}
        found = self._find("IMAGE", keys)
        check_answers(found, self.node.name, StudyInstanceUID=study, SeriesInstanceUID=series)
        return {identifier(answer, "SOPInstanceUID", self.node.name) for answer in found}

    def retrieve(self, study: str, series: str, keep: Callable[[Dataset], bool]) -> None:
        """C-MOVE to ourselves: the PACS sends what we asked for to our port."""
        identifier = _identifier("SERIES", {"StudyInstanceUID": study, "SeriesInstanceUID": series})
        with self._receiving(keep) as failures, self._associated([_MOVE]) as association:
            responses = association.send_c_move(identifier, self.node.our_title, _MOVE)
            status = _last(responses)
        if failures:
            raise failures[0]
        if status.get("Status") == _NOT_KNOWN_THERE:
            raise UserError(
                f"{self.node.name} does not know this computer as {self.node.our_title}. Ask those "
                f"who look after it to add it, with port {self.node.our_port}."
            )
        self._check(status, "did not send what was asked for")

    def send(self, files: Sequence[Path], sent: Callable[[int], None]) -> None:
        """C-STORE, one file after the other."""
        kinds = {_kind(file) for file in files}
        with self._associated(sorted(kinds)) as association:
            for done, file in enumerate(files):
                arrived = f"{done} of {len(files)} files had arrived"
                try:
                    status = association.send_c_store(file)
                except ValueError as error:  # no presentation context was accepted
                    raise UserError(
                        f"{self.node.name} does not take files of this kind; {arrived}."
                    ) from error
                except RuntimeError as error:  # the association ended after the file before
                    raise UserError(f"{self._broken} {arrived}, the rest was not sent.") from error
                if "Status" not in status:
                    raise UserError(
                        f"{self.node.name} ({self.node.address}) did not say whether it took the "
                        f"next file: {self._silent}. {arrived}. {NOT_KNOWN}"
                    )
                self._check(status, f"did not take the next file; {arrived}")
                sent(1)

    def _find(self, level: str, keys: dict[str, str]) -> list[Dataset]:
        answers = []
        with self._associated([_FIND]) as association:
            status = Dataset()
            for status, answer in association.send_c_find(_identifier(level, keys), _FIND):
                if status.get("Status") in _PENDING and answer is not None:
                    answers.append(answer)
                if len(answers) > MOST_ANSWERS:
                    association.abort()
                    raise UserError(too_many(self.node.name))
        self._check(status, "does not answer the query")
        return answers

    @contextmanager
    def _associated(self, contexts: Sequence[UID | tuple[UID, UID]]) -> Iterator[Association]:
        """An association that asks for SOP classes, or pairs of class and transfer syntax."""
        node = self.node
        entity = _entity(node)
        for context in contexts:
            entity.add_requested_context(*((context,) if isinstance(context, UID) else context))
        connected: list[evt.Event] = []
        begin = time.monotonic()
        association = entity.associate(
            node.host,
            node.port,
            ae_title=node.title,
            ext_neg=[*_identity(node)],
            tls_args=_tls(node),
            evt_handlers=[(evt.EVT_CONN_OPEN, connected.append)],
        )
        if not association.is_established:
            raise UserError(_why_not(node, bool(connected), time.monotonic() - begin))
        try:
            yield association
        except RuntimeError as error:  # pynetdicom's: the association has ended meanwhile
            raise UserError(self._broken) from error
        finally:
            if association.is_established:
                association.release()

    @contextmanager
    def _receiving(self, keep: Callable[[Dataset], bool]) -> Iterator[list[Exception]]:
        """Wait for files on our port; why one was not kept is in the list afterwards.

        None is taken after it; the PACS may offer the rest. We listen only where the PACS is
        reached, take calls only from its address and title, and encrypted if it is spoken to so.
        """
        failures: list[Exception] = []

        def store(event: evt.Event) -> int:
            if failures:
                return _OUT_OF_RESOURCES
            try:
                dataset = event.dataset
                dataset.file_meta = event.file_meta
                return 0x0000 if keep(dataset) else _TWICE
            except (UserError, CancelledError) as error:
                failures.append(error)
            except Exception:  # pydicom raises what it happens to stumble over
                failures.append(UserError(f"{self.node.name} sends a file that is damaged."))
            return _OUT_OF_RESOURCES

        entity = _entity(self.node)
        entity.require_called_aet = True
        entity.require_calling_aet = [self.node.title]
        for kind in filter(None, (c.abstract_syntax for c in StoragePresentationContexts)):
            entity.add_supported_context(kind, _SYNTAXES)
        encryption = _our_tls(self.node)
        try:
            theirs, ours = _addresses(self.node)
        except OSError as error:
            raise UserError(
                f"There is no way to {self.node.host}, where {self.node.name} is said to be. Check "
                "its address and the network."
            ) from error
        try:
            server = entity.start_server(
                (ours, self.node.our_port),
                block=False,
                ssl_context=encryption,
                evt_handlers=[(evt.EVT_C_STORE, store)],
            )
            if server is not None:
                vars(server)["verify_request"] = lambda _request, address: address[0] in theirs
        except OSError as error:
            raise UserError(
                f"Port {self.node.our_port}, where {self.node.name} is to send to, is in use on "
                "this computer. End the other program, or choose another port there and here."
            ) from error
        try:
            yield failures
        finally:
            if server is not None:
                server.shutdown()

    @property
    def _silent(self) -> str:
        return f"the line broke, or there was no answer within {self.node.timeout_s:g} s"

    @property
    def _broken(self) -> str:
        return f"{self.node.name} ({self.node.address}) broke the line off. Try again later."

    def _check(self, status: Dataset, words: str) -> None:
        """Raise UserError unless a status says success, or a warning (PS3.7 C)."""
        code = status.get("Status")
        if code is None:
            raise UserError(f"{self.node.name} ({self.node.address}) {words}: {self._silent}.")
        if code != 0 and not 0xB000 <= code <= 0xBFFF:
            comment = f" ({status.ErrorComment})" if status.get("ErrorComment") else ""
            raise UserError(
                f"{self.node.name} ({self.node.address}) {words}: error {code:04X}{comment}."
            )


def _entity(node: Node) -> AE:
    entity = AE(ae_title=node.our_title)
    entity.acse_timeout = entity.dimse_timeout = node.timeout_s
    entity.network_timeout = entity.connection_timeout = node.timeout_s
    return entity


def _tls(node: Node) -> tuple[ssl.SSLContext, str] | None:
    if not node.tls:
        return None
    try:
        context = ssl.create_default_context(cafile=node.ca_file or None)
        if node.cert_file:
            context.load_cert_chain(node.cert_file, node.key_file or None)
    except OSError as error:
        raise UserError(
            f"The certificates of {node.name} cannot be read. Check its files."
        ) from error
    return context, node.host


def _our_tls(node: Node) -> ssl.SSLContext | None:
    """How files come in from a PACS that is spoken to encrypted; None: it is not."""
    if not node.tls:
        return None
    if not node.cert_file:
        raise UserError(
            f"{node.name} is spoken to encrypted, and so has to send encrypted: that needs a "
            "certificate of this computer. Add the PACS again with one."
        )
    try:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=node.ca_file or None)
        context.load_cert_chain(node.cert_file, node.key_file or None)
        if node.ca_file:
            context.verify_mode = ssl.CERT_REQUIRED
    except OSError as error:
        raise UserError(
            f"The certificates of {node.name} cannot be read. Check its files."
        ) from error
    return context


def _addresses(node: Node) -> tuple[set[str], str]:
    """Addresses of the PACS, and ours on the way to it; OSError when there is no way."""
    found = socket.getaddrinfo(node.host, node.port, type=socket.SOCK_DGRAM)
    theirs = {str(where[0]) for *_, where in found}
    family, kind, protocol, _, where = found[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.connect(where)  # sends nothing
        ours = str(probe.getsockname()[0])
    return theirs | {f"::ffff:{address}" for address in theirs}, ours


def _identity(node: Node) -> list[UserIdentityNegotiation]:
    if not node.user:
        return []
    item = UserIdentityNegotiation()
    item.user_identity_type = _USER_AND_PASSWORD
    item.primary_field = node.user.encode()
    item.secondary_field = password_of(node).encode()
    return [item]


def _why_not(node: Node, connected: bool, seconds: float) -> str:
    """Why there is no association, after so many seconds.

    A refusal may be lost when the PACS hangs up right behind it; so whoever hangs up refuses.
    """
    where = f"{node.name} ({node.address})"
    if not connected:
        return f"{where} cannot be reached. Is it on, and are address, port and TLS right?"
    if seconds >= node.timeout_s:
        return f"{where} did not answer within {node.timeout_s:g} s. Try again later."
    return (
        f"{where} refuses this computer, which calls itself {node.our_title}. Ask those who look "
        "after it to add that title, and check theirs."
    )


def _identifier(level: str, keys: dict[str, str]) -> Dataset:
    identifier = Dataset()
    identifier.QueryRetrieveLevel = level
    for keyword, value in keys.items():
        setattr(identifier, keyword, value)
    return identifier


def _last(responses: Iterator[tuple[Dataset, Dataset | None]]) -> Dataset:
    statuses = [status for status, _ in responses]
    return statuses[-1] if statuses else Dataset()


def _kind(file: Path) -> tuple[UID, UID]:
    """SOP class and transfer syntax of a file."""
    try:
        meta = read_dicom(file, stop_before_pixels=True, specific_tags=[Tag("SOPClassUID")])
        return meta.SOPClassUID, meta.file_meta.TransferSyntaxUID
    except (InvalidDicomError, OSError, AttributeError) as error:
        raise UserError(f"{file.name} is no DICOM file and cannot be sent.") from error
