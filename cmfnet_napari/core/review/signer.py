"""The key that entries of review logs are signed with, and how far each log had come.

Both lie in the user's private folder on this computer (or ``CMFNET_REVIEW``). So a signature says:
written by this account on this computer, or by whoever could read its files. It is no proof of a
person, and whoever holds the key can write another log. That a log was cut off at its end, emptied
or put in the place of another shows on this computer, which remembers the ends of a case's logs,
and against any export.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from platformdirs import user_data_path

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.files import private_folder, read_json, write_json, write_safely

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

REVIEW_VARIABLE = "CMFNET_REVIEW"
_KEY_FILE = "key"
_NAME = r"[0-9a-z]{1,64}"
_SHOWN = 16  # digits of a key that people compare


@dataclass(frozen=True)
class Signer:
    """Signs with a private key (Ed25519, RFC 8032).

    Attributes
    ----------
    key : str
        The public key, 64 hex digits.
    """

    key: str
    _private: Ed25519PrivateKey

    def sign(self, digest: str) -> str:
        """Signature of a hash, 128 hex digits."""
        return self._private.sign(digest.encode()).hex()


@dataclass(frozen=True)
class End:
    """How far a log had come: entries, the hash of the last one, the log's own name."""

    entries: int
    hash: str
    log: str


def own_signer() -> Signer:
    """The signer of this user on this computer; its key is made when it is first asked for.

    Raises
    ------
    UserError
        The key cannot be read or written.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # slow

    file = _folder() / _KEY_FILE
    try:
        if not file.exists():
            private_folder(file.parent)
            made = Ed25519PrivateKey.generate().private_bytes_raw().hex()
            write_safely(file, "", lambda part: part.write_text(made, "ascii"), private=True)
        private = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(file.read_text("ascii")))
    except (OSError, ValueError) as error:
        raise UserError(
            f"The key that reviews are signed with ({file.name} in {file.parent.name}) cannot be "
            "used. Bring it back from a backup, or remove it: the next review makes another one."
        ) from error
    return Signer(private.public_key().public_bytes_raw().hex(), private)


def is_signed(key: str, digest: str, signature: str) -> bool:
    """Whether a signature of a hash is that of a key."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # slow to import

    try:
        public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(key))
        public.verify(bytes.fromhex(signature), digest.encode())
    except (InvalidSignature, ValueError):
        return False
    return True


def short(key: str) -> str:
    """A key as people compare it."""
    return key[:_SHOWN]


def remember_end(case: str, end: End) -> None:
    """Keep how far a log of a case has come, once that is on the disk.

    Parameters
    ----------
    case : str
        `Case.key`.
    end : End
        Of its log.

    Raises
    ------
    UserError
        It cannot be written.
    """
    folder = _ends(case)
    if folder is not None and re.fullmatch(_NAME, end.log):
        try:
            private_folder(folder)
        except OSError as error:
            raise UserError(f"The folder {folder} cannot be made.") from error
        values = {"entries": end.entries, "hash": end.hash}
        write_json(folder / f"{end.log}.json", values, private=True)


def known_ends(case: str) -> list[End]:
    """How far each log of a case had come when this computer wrote it last."""
    folder, found = _ends(case), []
    for file in [] if folder is None else sorted(folder.glob("*.json")):
        with suppress(UserError, KeyError, TypeError, ValueError):
            values = read_json(file)
            found.append(End(max(0, int(values["entries"])), str(values["hash"]), file.stem))
    return found


def _ends(case: str) -> Path | None:
    """Names come from files, which may say anything."""
    return _folder() / "ends" / case if re.fullmatch(_NAME, case) else None


def _folder() -> Path:
    chosen = os.environ.get(REVIEW_VARIABLE)
    return Path(chosen) if chosen else user_data_path("cmfnet-napari", appauthor=False) / "review"
