"""Headers of NRRD and MetaImage files, judged as text: ITK's own parsers crash on some of them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from cmfnet_napari.core.errors import UserError

_META_BYTES = 1 << 16
_NRRD_BYTES = 1 << 20  # with all that Slicer writes about segments
_LONGEST_LINE = 500  # ITK writes what it complains of into a buffer of about 1000 characters
_NUMBERS = re.compile(r"[-+.\deE\s]*")
_SEPARATOR = re.compile(r"[=:]")
_COUNTS: dict[str, Callable[[int], int]] = {  # numbers that a field has, for so many dimensions
    "NDims": lambda n: 1,
    "DimSize": lambda n: n,
    "ElementSpacing": lambda n: n,
    "ElementSize": lambda n: n,
    "Offset": lambda n: n,
    "Position": lambda n: n,
    "Origin": lambda n: n,
    "CenterOfRotation": lambda n: n,
    "TransformMatrix": lambda n: n * n,
    "Orientation": lambda n: n * n,
    "Rotation": lambda n: n * n,
    "ElementNumberOfChannels": lambda n: 1,
    "CompressedDataSize": lambda n: 1,
    "HeaderSize": lambda n: 1,
}


def check_text_header(path: Path) -> None:
    """Raise UserError when the header of a NRRD, NHDR, MHA or MHD file is none.

    Parameters
    ----------
    path : Path
        The file; any other ending passes.
    """
    ending = path.suffix.lower()
    if (ending in (".nrrd", ".nhdr") and not _is_nrrd(path)) or (
        ending in (".mha", ".mhd") and not _is_meta(path)
    ):
        raise UserError(
            f"{path.name} cannot be read as an image: its header is damaged. Copy or export it "
            "again."
        )


def _is_nrrd(path: Path) -> bool:
    """Whether no field is too long; comments and a user's own key:=value pairs may be."""
    with open(path, "rb") as file:
        head = file.read(_NRRD_BYTES)
    lines = head.replace(b"\r\n", b"\n").split(b"\n\n")[0].split(b"\n")
    fields = [line for line in lines if not line.startswith(b"#") and b":=" not in line]
    return lines[0].startswith(b"NRRD000") and max(map(len, fields)) <= _LONGEST_LINE


def _is_meta(path: Path) -> bool:
    """Whether every field has as many numbers as the dimensions ask for."""
    fields = _fields(path)
    dimensions = fields.get("NDims", "")
    return dimensions in ("2", "3", "4") and all(
        _fits(key, value, int(dimensions)) for key, value in fields.items()
    )


def _fields(path: Path) -> dict[str, str]:
    """The header's fields, up to the one that begins the voxels; empty when it is none."""
    with open(path, "rb") as file:
        head = file.read(_META_BYTES)
    fields: dict[str, str] = {}
    for line in head.split(b"\n"):
        if not line.strip():
            continue
        key, *after = _SEPARATOR.split(line.decode("latin-1"), maxsplit=1)
        key, value = key.strip(), "".join(after)
        twice = key in fields and key in _COUNTS  # of others, such as comments, there are many
        if not after or len(line) > _LONGEST_LINE or twice or "\0" in key + value:
            return {}
        fields[key] = value.strip()
        if key == "ElementDataFile":
            return fields
    return {}


def _fits(key: str, value: str, dimensions: int) -> bool:
    """Whether a field has the numbers it must have."""
    if key not in _COUNTS:
        return True
    numbers = value.split()
    return len(numbers) == _COUNTS[key](dimensions) and _NUMBERS.fullmatch(value) is not None
