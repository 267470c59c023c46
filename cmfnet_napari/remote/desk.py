"""What our end there does for the case or the cohort that a window has attached."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.remote import line_messages as frames
from cmfnet_napari.remote.far_store import FarStore
from cmfnet_napari.remote.far_worker import FarWorker, check_command
from cmfnet_napari.remote.holder import Holder
from cmfnet_napari.remote.line_messages import BadFrameError, FileOf, Message, Sender
from cmfnet_napari.remote.telling import Telling

_CHECK_S, _TOUCH_S = 0.5, 2.0


class Desk(ABC):
    """Answers what is said of one case.

    Parameters
    ----------
    store : FarStore
        Where it lies.
    holder : Holder
        Who has its line.
    sender : Sender
        Takes answers.
    client : str
        Who asks.
    message : Attach or Cohort
        What the case is.

    Attributes
    ----------
    case, worker
        Its files, and who works on it.
    """

    is_cohort = False

    def __init__(
        self,
        store: FarStore,
        holder: Holder,
        sender: Sender,
        client: str,
        message: frames.Attach | frames.Cohort,
    ) -> None:
        self._store, self._holder, self._sender, self._client = store, holder, sender, client
        self._days, self._minutes = message.days, message.minutes
        self.case = store.case(message.case)
        self.worker = FarWorker(self.case)
        self._shape: tuple[int, int, int] | None = None  # of labels, z y x
        self._telling: Telling | None = None
        self._next_touch = self._next_check = time.monotonic()

    @property
    @abstractmethod
    def _files(self) -> Mapping[str, int]:
        """The files that it is made of, by their hash, and their bytes where these were said."""

    @abstractmethod
    def _take(self, message: Message, payload: bytes) -> None:
        """Do what only one kind of case knows."""

    @abstractmethod
    def _offered(self, run: str, part: str) -> list[FileOf]:
        """Files of a run, or of a part of it, that may come back."""

    @abstractmethod
    def _may_go(self, name: str) -> bool:
        """Whether a file of a run may come back."""

    def _journal_known(self) -> tuple[int, str]:
        """Number of the last entry of its journal, and the journal's digest."""
        return 0, ""

    def open(self) -> frames.Attached:
        """Be the one who speaks for the case; what is there already.

        Raises
        ------
        HeldError
            Another window does.
        UserError
            There is no room for it.
        """
        case, worker = self.case, self.worker
        case.begin(self._files, self._days, self._minutes)
        self._holder.take(case, self._client)
        worker.wait_for_keeper()
        said = worker.last_said(self._client)
        if said is None:
            worker.dismiss()  # it works for a window that is gone
        there = {sha: case.have(sha) for sha in self._files}
        missing = {sha: have for sha, have in there.items() if have is not None}
        if missing:
            need = sum(max(0, self._files[sha] - have) for sha, have in missing.items())
            self._store.check_room(need)
        last, digest = self._journal_known()
        return frames.Attached(
            missing=missing,
            last=last,
            digest=digest,
            said=said or 0,
            life=str(case.kept["life"]),
            length=Telling(case, None, self._sender, 0).length,
            busy=worker.busy,
        )

    def close(self) -> None:
        """Let go of the case; its worker stays."""
        self._holder.leave(self.case)

    # --- what was heard

    def take(self, message: Message, payload: bytes) -> None:
        """Do what was said; what a line says that was followed by another one comes too late."""
        if not self._holder.has(self.case):
            raise SystemExit
        match message:
            case frames.Blob():
                self._store_part(message, payload)
            case frames.Want():
                self.case.note(message.sha)
                there = self.case.have(message.sha)
                whole = there is None
                self._sender.send(frames.Stored(sha=message.sha, have=there or 0, whole=whole))
            case frames.Say():
                self._say(message)
            case frames.Follow():
                self._telling = Telling(self.case, self._shape, self._sender, message.position)
                self._telling.tell_all()  # before the answer, so that whoever asks has it all
                self._done()
            case frames.List():
                self._sender.send(frames.Files(files=self._offered(message.run, message.part)))
            case frames.Get():
                self._get(message)
            case frames.Dismiss():
                self.worker.dismiss()
                self._done()
            case _:
                self._take(message, payload)

    def _done(self, yes: bool = True, count: int = 0) -> None:
        self._sender.send(frames.Done(yes=yes, count=count))

    def _store_part(self, message: frames.Blob, payload: bytes) -> None:
        data = frames.unpack(payload, message.packed, frames.PART)
        self.case.note(message.sha)
        if message.offset == 0:
            self._store.check_room(message.total)
        have = self.case.take(message.sha, message.offset, message.total, data)
        self._sender.send(frames.Stored(sha=message.sha, have=have))

    def _say(self, message: frames.Say) -> None:
        """Tell the worker, once; start it if it is not there."""
        check_command(message.command, self.is_cohort)
        with self._holder.alone(self.case) as has_it:
            if not has_it:
                raise SystemExit
            if message.number <= (self.worker.last_said(self._client) or 0):
                return
            end = self.worker.write(message, self._client)
        if message.command.get("command") != "quit":
            self.worker.start(end)

    def _get(self, message: frames.Get) -> None:
        """Send a piece of a file in parts."""
        if not self._may_go(message.name):
            raise BadFrameError("a file that stays where it is")
        path = self.case.run(message.run) / message.name
        try:
            with open(path, "rb") as file:
                file.seek(message.offset)
                left, at = message.count, message.offset
                while left and (data := file.read(min(left, frames.PART))):
                    payload, packed = frames.pack(data)
                    self._sender.send(frames.Part(offset=at, packed=packed), payload)
                    left, at = left - len(data), at + len(data)
        except OSError:
            raise UserError("A file of the run is not there any more. Try again.") from None
        self._done(count=at)

    # --- what is told by itself

    def look(self) -> None:
        """Tell what the worker has said, and that it is gone."""
        now = time.monotonic()
        if now > self._next_touch:
            self._next_touch = now + _TOUCH_S
            if not self._holder.has(self.case):
                raise SystemExit
            self._holder.stay(self.case)
        if self._telling is None:
            return
        self._telling.tell()
        if now > self._next_check:
            self._next_check = now + _CHECK_S
            worker = self.worker
            if worker.was_kept and not worker.runs:
                self._telling.tell()
                worker.was_kept = False
                code = self._telling.code
                self._sender.send(frames.Lost(log=worker.last_words, code=code))
