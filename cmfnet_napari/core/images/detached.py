"""Headers whose voxels lie in files beside them: MHD, and NRRD with a data file (also .nhdr)."""

from __future__ import annotations

import os
import re
from pathlib import Path

from cmfnet_napari.core.errors import UserError

_META, _NRRD = (".mha", ".mhd"), (".nrrd", ".nhdr")
_HEADER_BYTES = 1 << 20  # a list of slices has a line for each
_MOST_FILES = 10_000
_DATA_FILE = re.compile(rb"^(?:data file|datafile|ElementDataFile)\s*[:=]\s*(.*?)\s*$", re.M | re.I)


def detached_files(path: Path) -> list[Path]:
    """The files that hold the voxels of a header; none where it holds them itself.

    They may be named one by one (``LIST``) or by a pattern (``slice%03d.raw 1 40 1``), and must
    lie in the header's folder or below it: a header must not open what it likes.

    Parameters
    ----------
    path : Path
        An image file; any ending but those of MetaImage and NRRD has none.

    Raises
    ------
    UserError
        It names anything but a file there.
    """
    files = []
    for name in _names(path):
        inside = os.path.normpath(name)
        beside = path.parent / inside
        outside = os.path.isabs(name) or inside.startswith("..") or "\\" in name or "\0" in name
        if outside or not beside.is_file():
            shown = f" ({name[:80]})" if name.isprintable() else ""
            raise UserError(
                f"{path.name} says that its voxels are in another file{shown}, which is not beside "
                "it. Put both into one folder, or save it as one file."
            )
        files.append(beside)
    return files


def _names(path: Path) -> list[str]:
    ending = path.suffix.lower()
    if ending not in _META + _NRRD:
        return []
    with open(path, "rb") as file:
        head = file.read(_HEADER_BYTES)
    if ending in _NRRD:
        head = re.split(rb"\r?\n\r?\n", head, maxsplit=1)[0]
    found = _DATA_FILE.search(head)
    if found is None:
        return []
    value = found[1].decode("utf-8", "replace")
    if value.upper() == "LOCAL" and ending in _META:
        return []
    words = value.split()
    if words and words[0].upper() == "LIST":
        lines = head[found.end() :].decode("utf-8", "replace").splitlines()
        return [line.strip() for line in lines if line.strip()][:_MOST_FILES]
    if "%" in value:
        return _counted(words, path.name)
    return [value]


def _counted(words: list[str], name: str) -> list[str]:
    """``slice%03d.raw 1 40 1``: the names of a pattern, its first and last number and the step."""
    pattern, *numbers = words
    one = re.fullmatch(r"([^%]*)%(0?)(\d{0,2})d([^%]*)", pattern)
    limits = [int(n) if re.fullmatch(r"-?\d{1,6}", n) else 0 for n in numbers[:3]]
    if one is None or len(limits) < 2 or limits[2:3] == [0]:
        raise UserError(
            f"{name} names the files with its voxels by a pattern that is not understood "
            f"({pattern[:40]}). Save it as one file."
        )
    first, last, step = (*limits, 1)[:3]
    before, zero, width, after = one.groups()
    numbered = range(first, last + (1 if step > 0 else -1), step)[:_MOST_FILES]
    return [f"{before}{n:{zero}{width}d}{after}" for n in numbered]
