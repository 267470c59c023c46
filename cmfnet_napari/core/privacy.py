"""What may not get out, and what may not get in: paths in texts, names from files as paths."""

from __future__ import annotations

import getpass
import os
import re
import sys
import traceback
from functools import cache
from pathlib import Path
from typing import Any

from cmfnet_napari.core.errors import UserError

PATH = "<path>"
_SHORTEST_NAME = 3  # a user called "a" would take every "a" out of a log

# A folder's name may hold spaces and commas ("Doe, John"), but a text goes on after a colon or a
# semicolon, and where a blank stands before the next path.
_FOLDERS = r"(?:(?:(?![:;] )[^/\\\n\"'])+(?<! )[/\\]+)*"
# The last part ends at a space, unless an ending such as .nii.gz follows further on.
_LAST = r"(?:[^/\\\n\"']*?\.[A-Za-z]\w{0,9}(?:\.gz)?\b|(?:[^\s/\\\"']*[^\s/\\\"'.,:;)])?)"
_POSIX = r"(?<![\w<./~])(?:file:/{2,3}|(?:~\w*|\.{1,2})?/)(?=[^\s/])"
_WINDOWS = r"(?<!\w)(?:[A-Za-z]:[\\/]+|\\{2,4}(?=\w)|%\w+%\\+)"
# What lies in the folder one works in, by its ending; files of a run are called alike in all cases.
_ENDINGS = r"(?i:nii(?:\.gz)?|nrrd|nhdr|mha|mhd|hdr|img|dcm|ima|csv|zip|safetensors)"
_FILES = rf"(?<![^\s\"'])(?!runs/)(?:[^\s/\\\"']+[/\\])*[^\s/\\\"']+\.{_ENDINGS}\b"
# A path in quotes, as errors of the system have it; code keeps its place.
_NO_CODE = r"(?![^\"'\n]*\.py[\"'])(?!runs/)"
_RELATIVE = (
    rf"(?<=[\s(]\"){_NO_CODE}[^\"\n]*[/\\][^\"\n]*(?=\")"
    rf"|(?<=[\s(]'){_NO_CODE}[^'\n]*[/\\][^'\n]*(?=')"
)
_QUOTED = rf"(?<=\")(?:{_POSIX}|{_WINDOWS})[^\"\n]*(?=\")|(?<=')(?:{_POSIX}|{_WINDOWS})[^'\n]*(?=')"
_ANY = re.compile(rf"{_QUOTED}|(?:{_POSIX}|{_WINDOWS}){_FOLDERS}{_LAST}|{_RELATIVE}|{_FILES}")


def redact(text: str) -> str:
    """Take paths, image files' names and the user's name out of a text for a log or a report.

    Rather too much goes than too little. Files of Python code keep their place within the
    package, so that a traceback stays useful.

    Parameters
    ----------
    text : str
        A message or a traceback.

    Returns
    -------
    str
        The same with `PATH` in place of them.
    """
    text = _code_prefixes().sub("", text)
    text = _ANY.sub(PATH, text)
    names = _user_names()
    return names.sub(PATH, text) if names is not None else text


def account() -> str:
    """The name under which one has logged in; empty where the system knows none."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # on Windows, ImportError
        return ""


def printable(text: str) -> str:
    """Text without what steers a terminal, such as escape codes in a file's name."""
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)


def printable_values(value: Any) -> Any:
    """A value of JSON, all texts in it as `printable`."""
    match value:
        case str():
            return printable(value)
        case dict():
            return {printable(str(key)): printable_values(entry) for key, entry in value.items()}
        case list():
            return [printable_values(entry) for entry in value]
    return value


def redacted_traceback(error: BaseException) -> str:
    """The traceback of an error as text for a log."""
    return redact("".join(traceback.format_exception(error)))


def inside(folder: Path, name: str) -> Path:
    """Path of a file that a file or a message names, when it lies within a folder.

    Parameters
    ----------
    folder : Path
        Such as a case folder.
    name : str
        Path relative to it, from a source that may not be trusted.

    Raises
    ------
    UserError
        It leads out of the folder, also through a link.
    """
    try:
        root, path = folder.resolve(), (folder / name).resolve()
        if path.is_relative_to(root) and path != root:
            return path
    except (OSError, ValueError, RuntimeError):  # a null byte; links in a circle
        pass
    raise UserError(
        f"The case {folder.name} names a file outside its folder, which is not opened. Somebody "
        "changed the case by hand; bring it back from a backup."
    )


@cache
def _code_prefixes() -> re.Pattern[str]:
    """Folders of Python code, before the path of a .py file in them."""
    folders = {os.path.abspath(folder) for folder in sys.path if folder and os.path.isdir(folder)}
    folders.add(str(Path(__file__).parents[2]))
    longest_first = sorted(folders, key=len, reverse=True)
    either = "|".join(re.escape(folder + os.sep) for folder in longest_first)
    return re.compile(rf"(?<=\")(?:{either})(?=[^\"\n]*\.py\")")


def _user_names() -> re.Pattern[str] | None:
    """The account's name and the last part of the home folder, as words."""
    names = {os.environ.get(name, "") for name in ("USER", "LOGNAME", "USERNAME")}
    home = os.path.basename(os.path.expanduser("~"))
    names = {name for name in names | {home} if len(name) >= _SHORTEST_NAME}
    if not names:
        return None
    return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, names))})(?!\w)", re.IGNORECASE)
