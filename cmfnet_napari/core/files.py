"""Files written whole or not at all, JSON objects, and folders that hold nothing yet."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from cmfnet_napari.core.errors import UserError

JsonObject = dict[str, Any]  # as it was read: whoever uses it checks it first

LOCK_FILE = "fit.lock"  # of whoever writes into a folder, see `folder_lock.alone`
_PART = re.compile(r"\.[0-9a-f]{32}(\..+)?")  # a file before it is renamed, see `write_safely`
_PATIENCE_SECONDS = 2.0  # for others to read a file and close it


def check_name(path: Path) -> None:
    """Refuse a name that the libraries take for none, or end the process on.

    On Linux a name may be of any bytes, as from a disk of another system or in another encoding.

    Raises
    ------
    UserError
        It is not written in UTF-8.
    """
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError as error:
        shown = path.name.encode("utf-8", "replace").decode("utf-8")
        raise UserError(
            f"The name of {shown}, or of a folder it is in, is not written in UTF-8. Rename it "
            "first."
        ) from error


def write_safely(
    path: Path, ending: str, write: Callable[[Path], object], private: bool = False
) -> Path:
    """Write through a file beside the target, flush it to disk, then rename it.

    Parameters
    ----------
    path : Path
        The target.
    ending : str
        Ending that the writer needs to see, such as ``".nii.gz"``.
    write : callable
        Writes the whole file at the path it is given.
    private : bool
        Let the user alone read it, wherever it lies.

    Raises
    ------
    UserError
        The folder is missing or read-only, or the disk is full; the name is not UTF-8.
    """
    check_name(path)
    part = path.with_name(f".{uuid.uuid4().hex}{ending}")
    try:
        write(part)
        keep_private(part, private)
        with open(part, "rb+") as file:
            os.fsync(file.fileno())
        replace(part, path)
    except (OSError, RuntimeError) as error:
        raise UserError(f"{path.name} could not be written: {_why_not(path, error)}") from error
    finally:
        with suppress(OSError):  # the error above says it better
            part.unlink(missing_ok=True)
    return path


def keep_private(path: Path, anywhere: bool = False) -> None:
    """Let the user alone read a file in a folder that the user alone can read, whatever the umask.

    On Windows folders hand their rights on by themselves. `anywhere`: in any other folder too.
    """
    if os.name == "posix" and (anywhere or not path.parent.stat().st_mode & 0o077):
        path.chmod(0o600)


def private_folder(path: Path) -> Path:
    """Make a folder that the user alone can read, whatever the umask, and those it is in.

    A folder that is there already stays as it is.

    Raises
    ------
    OSError
        It cannot be made.
    """
    for folder in reversed([path, *path.parents]):
        if not folder.is_dir():
            folder.mkdir(mode=0o700, exist_ok=True)
            folder.chmod(0o700)
    return path


def replace(source: Path, target: Path) -> None:
    """Rename a file or folder over what is there; on Windows, wait until nobody reads that.

    Raises
    ------
    OSError
        It cannot be renamed, or somebody does not let go of it.
    """
    end = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            os.replace(source, target)
            return
        except PermissionError:  # as when the worker writes a preview that the window reads
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


def append_line(path: Path, line: str) -> int:
    """Add a line to a text file, whole or not at all; a half one before it stays by itself.

    Returns
    -------
    int
        Bytes of the file, this line's end included.

    Raises
    ------
    UserError
        It cannot be written, as when the disk is full.
    """
    try:
        # Without a buffer: what is left in one after an error would be written when it is closed.
        with open(path, "ab", buffering=0) as file:
            size = file.tell()
            rest = b"\n" * _is_cut(path) + line.encode() + b"\n"
            whole = size + len(rest)
            keep_private(path)
            try:
                while rest:  # where there is room for a part, the next says why
                    rest = rest[file.write(rest) :]
            except OSError:
                file.truncate(size)
                raise
    except OSError as error:
        raise UserError(f"{path.name} could not be written: {_why_not(path, error)}") from error
    return whole


def _is_cut(path: Path) -> bool:
    """Whether a text file ends in the middle of a line."""
    with open(path, "rb") as file:
        if not file.seek(0, os.SEEK_END):
            return False
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"


def check_outputs(
    outputs: Iterable[tuple[Path | None, Sequence[str]]], inputs: Iterable[Path | None]
) -> None:
    """Refuse outputs that cannot be written or would replace what is read, before any work.

    Parameters
    ----------
    outputs : iterable of (Path or None, sequence of str)
        Files that will be written, each with the endings it may have; None: it was not asked for.
    inputs : iterable of Path or None
        Files that are read, and folders.

    Raises
    ------
    UserError
        Another ending, no such folder, one of the inputs, two outputs of one name; as `check_name`.
    """
    inputs, before = list(inputs), set()
    for out, endings in outputs:
        if out is None:
            continue
        check_name(out)
        if not out.name.lower().endswith(tuple(endings)):
            raise UserError(f"{out.name} must end in {' or '.join(endings)}. Name it so.")
        if not out.parent.is_dir():
            raise UserError(f"{out.name} could not be written: {_why_not(out, OSError())}")
        if source := replaced_by(out, inputs):
            raise UserError(
                f"{out} is read, as {source}, and would be overwritten. Choose another name for "
                "what is written."
            )
        if out.resolve() in before:
            raise UserError(f"{out} was named for two outputs. Choose a name for each.")
        before.add(out.resolve())


def replaced_by(out: Path, inputs: Iterable[Path | None]) -> Path | None:
    """Which input a file at `out` would replace, or lies in as one of its files; None: none."""
    if not out.exists():
        return None
    for source in inputs:
        if source is None or not source.exists():
            continue
        inside = source.is_dir() and out.resolve().is_relative_to(source.resolve())
        if inside or out.samefile(source):
            return source
    return None


def hash_file(path: Path) -> str:
    """SHA-256 of a file's bytes; OSError where it cannot be read."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_json(path: Path) -> JsonObject:
    """Read a JSON object; UserError when it is missing or broken."""
    folder = path.absolute().parent.name  # of a relative path, too
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path.name} in {folder} is missing or damaged.") from error
    if not isinstance(value, dict):
        raise UserError(f"{path.name} in {folder} is damaged.")
    return value


def write_json(path: Path, value: JsonObject, private: bool = False) -> Path:
    """Write a JSON object so that a half-written file never replaces a good one.

    `private` is as in `write_safely`.
    """
    text = json.dumps(value, indent=1)

    def write(part: Path) -> None:
        part.write_text(text, encoding="utf-8")

    return write_safely(path, path.suffix, write, private)


def new_folder(path: Path, but: Collection[str] = (), private: bool = False) -> Path:
    """Make a folder for a run or a training; what an earlier one wrote is never overwritten.

    Files that `write_safely` is at, or was at when its process was killed, do not count.

    Parameters
    ----------
    path : Path
        The folder, which may be there and empty.
    but : collection of str
        Names of files that do not count, beside the folder's lock.
    private : bool
        Let the user alone read it, also where it is there.

    Raises
    ------
    UserError
        It holds something, or cannot be made.
    """
    check_name(path)
    allowed = {*but, LOCK_FILE}
    if path.exists() and (
        not path.is_dir() or any(_counts(p.name, allowed) for p in path.iterdir())
    ):
        raise UserError(f"{path} already holds something. Choose a new folder.")
    try:
        if private:
            private_folder(path).chmod(0o700)
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"The folder {path} cannot be made ({error.strerror}).") from error
    return path


def _counts(name: str, allowed: Collection[str]) -> bool:
    return name not in allowed and not _PART.fullmatch(name)


def _reason(error: Exception) -> str:
    """Last line of an ITK message, without the source file it names."""
    lines = [line for line in str(error).strip().splitlines() if line.strip()]
    return lines[-1].split("ERROR: ")[-1].split("): ")[-1].strip(" .") if lines else "unknown"


def _why_not(path: Path, error: Exception) -> str:
    code = getattr(error, "errno", None)
    if not path.parent.is_dir():
        return f"the folder {path.parent} does not exist."
    if code == errno.ENOSPC or shutil.disk_usage(path.parent).free < 1_000_000:
        return "the disk is full. Free some space and save again."
    if not os.access(path.parent, os.W_OK) or code in (errno.EACCES, errno.EPERM, errno.EROFS):
        if code == errno.EACCES and path.exists() and os.access(path.parent, os.W_OK):
            return "it is open in another program. Close it there, or choose another name."
        return f"the folder {path.parent} is read-only. Choose another one."
    return f"{_reason(error)}."
