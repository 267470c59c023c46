"""What goes over the line: a JSON object a line, and after some of them so many bytes.

Whoever reads trusts nothing: a line that is too long, too many bytes, a message that is unknown or
says what none says end the conversation.
"""

from __future__ import annotations

import json
import re
import threading
import zlib
from typing import IO, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.files import JsonObject
from cmfnet_napari.core.images.modality import Modality
from cmfnet_napari.core.strokes.entries import Source

PROTOCOL = 2
LONGEST_HEADER = 1 << 21  # bytes
MOST_BYTES = 1 << 28  # of one stroke; of a part of a file `PART`
PART = 1 << 20
LARGEST_FILE = 1 << 36

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
CaseId = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
MaybeId = Annotated[str, Field(pattern=r"^([0-9a-f]{32})?$")]
RUN_NAME = r"[0-9]{4}-[A-Za-z0-9_-]{1,40}"
RunName = Annotated[str, Field(pattern=f"^{RUN_NAME}$")]
_PREVIEW, _FILE = r"previews/[0-9]{8}\.(npz|safetensors)", r"[a-z]+(\.[a-z]+){1,2}"
FileName = Annotated[str, Field(pattern=rf"^({_PREVIEW}|(fold-[0-9]{{1,4}}/)?{_FILE})$")]
PartName = Annotated[str, Field(pattern=r"^(fold-[0-9]{1,4})?$")]
Size = Annotated[int, Field(ge=0, le=LARGEST_FILE)]
Number = Annotated[int, Field(ge=0, lt=1 << 53)]
Text = Annotated[str, Field(max_length=4000)]


class LineLostError(Exception):
    """The other side is not heard any more; what was said may not have arrived."""


class BadFrameError(Exception):
    """The other side says what this protocol does not know."""


class HeldError(UserError):
    """Another line has the case there; it may be the one that this window had before."""


class Message(BaseModel):
    """One message; `bytes` is how many follow it."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")

    bytes: int = Field(0, ge=0, le=MOST_BYTES)


class Hello(Message):
    """The first word of who called: versions, who it is, and its clock. Others may say more."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    op: Literal["hello"] = "hello"
    version: Text
    protocol: int
    client: CaseId
    time: float


class Attach(Message):
    """Take a case: what it says of itself, and where its second image lies."""

    op: Literal["attach"] = "attach"
    case: CaseId
    card: JsonObject
    registration: JsonObject | None = None
    days: int = Field(ge=1, le=365)
    minutes: int = Field(ge=1, le=1440)


class CohortRow(BaseModel):
    """A row of a cohort file: a code for the patient's name, files by their hash."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    patient: Annotated[str, Field(pattern=r"^patient-[0-9]{4,6}$")]
    line: Annotated[int, Field(ge=2, lt=1 << 20)]
    split: Annotated[str, Field(pattern=r"^(train|val|test|[1-9][0-9]{0,3})$")]
    modalities: Annotated[list[Modality], Field(min_length=1, max_length=2)]
    first: Digest
    second: Digest | None = None
    scribbles: Digest | None = None
    mask: Digest | None = None


class Cohort(Message):
    """Take a cohort: its rows, and how large each of their files is."""

    op: Literal["cohort"] = "cohort"
    case: CaseId
    rows: Annotated[list[CohortRow], Field(min_length=1)]
    files: dict[Digest, Size]
    days: int = Field(ge=1, le=365)
    minutes: int = Field(ge=1, le=1440)


class Blob(Message):
    """A part of a file that is called by its hash; deflated if `packed`."""

    op: Literal["blob"] = "blob"
    sha: Digest
    offset: Size
    total: Size
    packed: bool


class Want(Message):
    """Tell how much of a file is there."""

    op: Literal["want"] = "want"
    sha: Digest


class Ready(Message):
    """All images are there: begin."""

    op: Literal["ready"] = "ready"


class Entry(Message):
    """An entry of the journal; voxels, old and new codes follow."""

    op: Literal["entry"] = "entry"
    number: Number
    source: Source
    target: Number | None = None
    kind: Text
    classes: Annotated[str, Field(max_length=100_000)] = ""
    sizes: tuple[Size, Size, Size]


class Anew(Message):
    """Forget the journal: it was another."""

    op: Literal["anew"] = "anew"


class RunOf(BaseModel):
    """A run of the case: numbers of its classes, and which command there made it, if one did."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    numbers: list[int]
    made: MaybeId = ""


class Runs(Message):
    """The runs of the case, so that both sides count alike; one that is another's there goes."""

    op: Literal["runs"] = "runs"
    runs: dict[RunName, RunOf]


class Put(Message):
    """A file of a run is the one of that hash."""

    op: Literal["put"] = "put"
    run: RunName
    name: FileName
    sha: Digest


class Base(Message):
    """A model to start from is the file of that hash."""

    op: Literal["base"] = "base"
    sha: Digest


class Say(Message):
    """A command for the worker; one that is told again has the same id, and is not done again."""

    op: Literal["say"] = "say"
    number: Number
    id: CaseId
    command: JsonObject


class Follow(Message):
    """Tell what the worker said from a place in its record on."""

    op: Literal["follow"] = "follow"
    position: Size


class List(Message):
    """Tell what files a run has, or one of its folds alone."""

    op: Literal["list"] = "list"
    run: RunName
    part: PartName = ""


class Get(Message):
    """Send a file of a run, so many bytes of it."""

    op: Literal["get"] = "get"
    run: RunName
    name: FileName
    offset: Size
    count: Annotated[int, Field(ge=1, le=1 << 24)]


class Recover(Message):
    """Is there a state of a run to go on from? Else the run goes, if it is to be dropped."""

    op: Literal["recover"] = "recover"
    run: RunName
    drop: bool


class Dismiss(Message):
    """End the worker, its state saved."""

    op: Literal["dismiss"] = "dismiss"


class Delete(Message):
    """Delete a case; without one, all of this account."""

    op: Literal["delete"] = "delete"
    case: CaseId | None = None


class Rest(Message):
    """End all workers of this account that nobody is on the line of, their states saved."""

    op: Literal["rest"] = "rest"


class Doctor(Message):
    """Tell what the computer can do."""

    op: Literal["doctor"] = "doctor"


class Ping(Message):
    """Still here."""

    op: Literal["ping"] = "ping"


class Bye(Message):
    """Done."""

    op: Literal["bye"] = "bye"


class Welcome(Message):
    """The answer to hello: versions, clock, free bytes of memory and disk."""

    op: Literal["welcome"] = "welcome"
    version: Text
    protocol: int
    time: float
    python: Text
    memory: Number
    disk: Number
    cases: Number = 0


class Attached(Message):
    """The answer to attach: what is there already.

    `missing` are the images that are not there, by hash, and how much of each is; `last` and
    `digest` the journal's; `said` the number of the last command of this client, `life` names the
    worker's record, which begins anew with the case.
    """

    op: Literal["attached"] = "attached"
    missing: dict[Digest, Size]
    last: Number
    digest: Text
    said: Number
    life: CaseId
    length: Size
    busy: bool


class Stored(Message):
    """So much of a file is there; `whole`: all of it, and it was proved."""

    op: Literal["stored"] = "stored"
    sha: Digest
    have: Size
    whole: bool = False


class Done(Message):
    """That was done."""

    op: Literal["done"] = "done"
    yes: bool = True
    count: Number = 0


class FileOf(BaseModel):
    """A file of a run: its size and hash; of a model also where its weights begin, and theirs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: FileName
    size: Size
    sha: Digest
    head: Size = 0
    tail: Text = ""


class Files(Message):
    """The answer to list."""

    op: Literal["files"] = "files"
    files: Annotated[list[FileOf], Field(max_length=1000)]


class Part(Message):
    """Bytes of a file, deflated if `packed`."""

    op: Literal["part"] = "part"
    offset: Size
    packed: bool


class Said(Message):
    """A line that the worker said at the command `of`.

    `box` is where a preview has changed: its labels follow.
    """

    op: Literal["said"] = "said"
    of: MaybeId = ""
    position: Size
    line: JsonObject
    box: Annotated[list[int], Field(min_length=6, max_length=6)] | None = None
    whole: bool = False


class Lost(Message):
    """The worker is gone in the middle of its work; `log` is the end of what it wrote."""

    op: Literal["lost"] = "lost"
    log: Text = ""
    code: int = 0


class Facts(Message):
    """The answer to doctor."""

    op: Literal["facts"] = "facts"
    facts: JsonObject


class Refused(Message):
    """That was not done, and why; `held`: as another line has the case."""

    op: Literal["refused"] = "refused"
    text: Text
    held: bool = False


class Pong(Message):
    """Still here, too."""

    op: Literal["pong"] = "pong"


ToThere = Annotated[
    Hello
    | Attach
    | Cohort
    | Blob
    | Want
    | Ready
    | Entry
    | Anew
    | Runs
    | Put
    | Base
    | Say
    | Follow
    | List
    | Get
    | Recover
    | Dismiss
    | Delete
    | Rest
    | Doctor
    | Ping
    | Bye,
    Field(discriminator="op"),
]
FromThere = Annotated[
    Welcome | Attached | Stored | Done | Files | Part | Said | Lost | Facts | Refused | Pong,
    Field(discriminator="op"),
]
TO_THERE: TypeAdapter[ToThere] = TypeAdapter(ToThere)
FROM_THERE: TypeAdapter[FromThere] = TypeAdapter(FromThere)
_LARGE = ("entry", "said")  # may be as large as a stroke or an image; others as a part


class Sender:
    """Writes messages; from any thread."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream, self._lock = stream, threading.Lock()

    def send(self, message: Message, payload: bytes = b"") -> None:
        """Send one.

        Raises
        ------
        LineLostError
            Nobody takes it any more.
        """
        header = message.model_copy(update={"bytes": len(payload)}).model_dump_json()
        try:
            with self._lock:
                self._stream.write(header.encode() + b"\n" + payload)
                self._stream.flush()
        except (OSError, ValueError) as error:
            raise LineLostError(str(error)) from error


def is_run_name(name: str) -> bool:
    """Whether a run may be called that."""
    return re.fullmatch(RUN_NAME, name) is not None


def receive(
    stream: IO[bytes], kinds: TypeAdapter[ToThere] | TypeAdapter[FromThere]
) -> tuple[Message, bytes]:
    """The next message and its bytes.

    Raises
    ------
    LineLostError
        The line ends.
    BadFrameError
        It is no message of ours.
    """
    line = stream.readline(LONGEST_HEADER)
    if not line.endswith(b"\n"):
        if len(line) == LONGEST_HEADER:
            raise BadFrameError(f"a line of {LONGEST_HEADER >> 20} MB or more")
        raise LineLostError("the line ended")
    try:
        message: Message = kinds.validate_json(line)
    except ValidationError as error:
        raise BadFrameError(f"no message: {_shown(line)}") from error
    op = str(getattr(message, "op", ""))
    if message.bytes > (MOST_BYTES if op in _LARGE else PART + 1024):
        raise BadFrameError(f"{message.bytes} bytes with {op}")
    payload = stream.read(message.bytes) if message.bytes else b""
    if len(payload) != message.bytes:
        raise LineLostError("the line ended")
    return message, payload


def _shown(line: bytes) -> str:
    try:
        value = json.loads(line)
        return str(value.get("op"))[:40] if isinstance(value, dict) else "no object"
    except (ValueError, RecursionError):
        return line[:40].decode("ascii", "replace")


def pack(data: bytes) -> tuple[bytes, bool]:
    """Deflated, if that is less."""
    packed = zlib.compress(data, 1)
    return (packed, True) if len(packed) < 0.9 * len(data) else (data, False)


def unpack(data: bytes, packed: bool, most: int) -> bytes:
    """What `pack` has packed, `most` bytes of it at most.

    Raises
    ------
    BadFrameError
        It is more, or damaged.
    """
    if not packed:
        if len(data) > most:
            raise BadFrameError(f"{len(data)} bytes where {most} were awaited")
        return data
    unpacker = zlib.decompressobj()
    try:
        found = unpacker.decompress(data, most + 1)
    except zlib.error as error:
        raise BadFrameError(f"bytes that are damaged ({error})") from error
    if len(found) > most or not unpacker.eof:
        raise BadFrameError(f"more than {most} bytes, or cut off")
    return found
