"""One process at a time writes into a folder that a fit or a training fills."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.files import (
    LOCK_FILE,
    JsonObject,
    keep_private,
    new_folder,
    read_json,
    write_json,
)


class InUseError(UserError):
    """Somebody else writes into the folder."""


@contextmanager
def alone(folder: Path, patience_s: float = 0.0) -> Iterator[None]:
    """Nobody else writes into a folder while this is open; it ends with the process.

    Parameters
    ----------
    folder : Path
        It must be there.
    patience_s : float
        Seconds to wait for somebody else.

    Raises
    ------
    InUseError
        Somebody does, and goes on.
    UserError
        The folder cannot be written.
    """
    lock = FileLock(folder / LOCK_FILE, timeout=patience_s)
    try:
        lock.acquire()
        keep_private(folder / LOCK_FILE)
    except Timeout:
        raise InUseError(
            f"Another process is writing into {folder.name}. Wait until it ends, or choose a new "
            "folder."
        ) from None
    except (OSError, NotImplementedError) as error:
        raise UserError(
            f"The folder {folder.name} cannot be written ({lock_failure(error)})."
        ) from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def begun(folder: Path, marker: str, private: bool = False) -> Iterator[None]:
    """As `alone`, of a folder that this process makes, or that was begun before.

    Parameters
    ----------
    folder : Path
        A new one, unless the marker lies in it; what another wrote gets no lock.
    marker : str
        Name of the file that says what was begun there.
    private : bool
        As in `files.new_folder`.

    Raises
    ------
    UserError
        As `files.new_folder` and `alone`.
    """
    if not (folder / marker).exists():
        new_folder(folder, private=private)
    with alone(folder):
        yield


def changed_since(file: Path, plan: JsonObject) -> list[str]:
    """Write what is begun; where that was done before, the names whose values were others.

    Raises
    ------
    UserError
        The file cannot be written, or not read.
    """
    if not file.exists():
        write_json(file, plan)
        return []
    before = read_json(file)
    return [name for name, value in plan.items() if before.get(name) != value]


def lock_failure(error: OSError | NotImplementedError) -> str:
    """Why a file could not be locked, without its path."""
    return getattr(error, "strerror", None) or "its file system knows no locks"
