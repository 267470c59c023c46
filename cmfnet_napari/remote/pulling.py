"""What comes back: files of a run, proved before they count."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.files import (
    hash_file,
    keep_private,
    private_folder,
    replace,
)
from cmfnet_napari.core.privacy import inside
from cmfnet_napari.remote import line_messages as frames
from cmfnet_napari.remote.line import Line
from cmfnet_napari.remote.line_messages import BadFrameError, FileOf, LineLostError
from cmfnet_napari.remote.run_files import CaseFiles, CohortFiles, has_weights

_AT_ONCE = 1 << 23  # bytes that are asked for together
_LIST_S = 300.0  # for files to be hashed there
_TRIES = 4  # the other side may write a file anew while it is read


class NotTakenError(UserError):
    """What came is not what it is called: it would not be at another try."""


class Pulling:
    """Brings files of runs into a case here.

    Parameters
    ----------
    case : Path
        The case folder.
    kind : CaseFiles or CohortFiles
        What may come, and how it is proved.
    meanwhile : callable
        Called between parts, so that strokes go out while a model comes in.
    """

    def __init__(
        self, case: Path, kind: CaseFiles | CohortFiles, meanwhile: Callable[[], None]
    ) -> None:
        self._case, self._kind, self._meanwhile = case, kind, meanwhile
        self.models: list[Path] = []  # files here whose weights may be those of a model there

    def files(self, line: Line, run: str, part: str = "") -> list[FileOf]:
        """Files of a run there, or of a part of it, that may come."""
        found = line.ask(frames.List(run=run, part=part), frames.Files, patience=_LIST_S).files
        for file in found:
            if file.size > self._kind.largest(file.name):
                raise NotTakenError(
                    f"{line.host.name} offers a file that is none of a training's, or of "
                    f"{file.size >> 20} MB ({file.name[:40]}). Nothing was taken."
                )
        return found

    def pull(self, line: Line, run: str, file: FileOf) -> None:
        """Bring one file, unless it is here; NotTakenError when it is not what it is called."""
        target = inside(self._case, f"runs/{run}/{file.name}")
        for _ in range(_TRIES):
            same = target.is_file() and target.stat().st_size == file.size
            if same and hash_file(target) == file.sha:
                return
            private_folder(target.parent)
            part = target.with_name(f".{file.sha[:16]}.{target.name}")
            self._receive(line, run, file, part, target)
            if hash_file(part) == file.sha:
                keep_private(part)
                try:
                    self._kind.check(part, file.name)
                except UserError as error:
                    part.unlink()
                    raise NotTakenError(str(error)) from error
                replace(part, target)
                return
            part.unlink()
            offered = self.files(line, run, self._kind.part_of(file.name))
            found = [one for one in offered if one.name == file.name]
            if not found:
                return
            file = found[0]
        raise LineLostError(f"{file.name} changed again and again")

    def _receive(self, line: Line, run: str, file: FileOf, part: Path, target: Path) -> None:
        """Bring a file into `part`, from where that ends."""
        at = part.stat().st_size if part.exists() else 0
        if at > file.size:
            part.unlink()
            at = 0
        source, head = self._same_weights(file, target)
        with open(part, "ab") as out:
            os.chmod(part, 0o600)
            end = file.head if source is not None else file.size
            while at < end:
                get = frames.Get(run=run, name=file.name, offset=at, count=min(_AT_ONCE, end - at))
                line.send(get)
                got = self._parts(line, out.write, at, at + get.count)
                if got == at:
                    break
                at = got
                self._meanwhile()
            if source is not None and at == end:
                with open(source, "rb") as weights:
                    weights.seek(head)
                    shutil.copyfileobj(weights, out)

    def _same_weights(self, file: FileOf, target: Path) -> tuple[Path | None, int]:
        """A file here with the same weights and another card, and where they begin in it."""
        for path in (target, *self.models):
            if head := has_weights(path, file.tail):
                return path, head
        return None, 0

    def _parts(self, line: Line, write: Callable[[bytes], object], at: int, end: int) -> int:
        """Take parts from `at` on, up to `end` and no further."""
        while True:
            message, payload = line.part()
            if isinstance(message, frames.Done):
                return at
            if message.offset != at:
                raise LineLostError("a part of a file is missing")
            try:
                data = frames.unpack(payload, message.packed, min(frames.PART, end - at))
            except BadFrameError as error:
                raise LineLostError(str(error)) from error
            write(data)
            at += len(data)
