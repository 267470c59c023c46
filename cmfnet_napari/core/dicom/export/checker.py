"""The rules of DICOM, checked by dciodvfy of David Clunie's dicom3tools, where it is installed."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from cmfnet_napari.core.isolation import find_program

CHECKER = "dciodvfy"
_SECONDS = 120
_VALUE = re.compile(r" (?:= )?<[^<>\n]*>(?= - |$)", re.MULTILINE)


def broken_rules(path: Path, sources: Sequence[Path] = ()) -> tuple[str, ...] | None:
    """Rules that a file breaks.

    Parameters
    ----------
    path : Path
        The file.
    sources : sequence of Path
        Files that values were taken over from: what these break already does not count.

    Returns
    -------
    tuple of str, or None
        None: the checker is not installed.
    """
    checker = find_program(CHECKER)
    if checker is None:
        return None
    known = {error for source in sources for error in _errors(checker, source)}
    return tuple(error for error in _errors(checker, path) if error not in known)


def _errors(checker: str, path: Path) -> list[str]:
    """What the checker finds, without the values, which may name the patient."""
    command = [checker, str(path)]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return [f"{CHECKER} did not end within {_SECONDS} s"]
    lines = _VALUE.sub("", done.stderr.decode("utf-8", "replace")).splitlines()
    return [line.removeprefix("Error - ") for line in lines if line.startswith("Error")]
