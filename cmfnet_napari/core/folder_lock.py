"""One process at a time writes into a folder that a fit or a training fills."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.files import LOCK_FILE, keep_private


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


def lock_failure(error: OSError | NotImplementedError) -> str:
    """Why a file could not be locked, without its path."""
    return getattr(error, "strerror", None) or "its file system knows no locks"
