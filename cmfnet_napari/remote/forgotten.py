"""Cases that are to be deleted elsewhere, and could not be yet: done at the next call there.

A file a case, in the folder ``forgotten`` beside the list of computers; its name is the case's
there, which is chance, and it holds the computer's.
"""

from __future__ import annotations

from pathlib import Path

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.files import private_folder, read_json, write_json
from cmfnet_napari.remote.hosts import hosts_file


def note(host: str, case: str) -> None:
    """Have a case deleted on a host at the next call.

    Raises
    ------
    UserError
        It cannot be noted.
    """
    folder = _folder()
    try:
        private_folder(folder)
    except OSError as error:
        raise UserError(
            f"That this patient is to be deleted on {host} cannot be noted ({error.strerror}). "
            f"'cmfnet on {host} delete' deletes all of your account there."
        ) from error
    write_json(folder / case, {"host": host}, private=True)


def settle(case: str) -> None:
    """It is done."""
    (_folder() / case).unlink(missing_ok=True)


def noted(host: str) -> list[str]:
    """Cases that are to be deleted on a host."""
    folder = _folder()
    paths = sorted(folder.iterdir()) if folder.is_dir() else []
    return [path.name for path in paths if len(path.name) == 32 and _host(path) == host]


def _folder() -> Path:
    return hosts_file().parent / "forgotten"


def _host(path: Path) -> str:
    try:
        return str(read_json(path).get("host"))
    except UserError:
        return ""
