"""Headers of MHA and MHD files, judged as text: ITK's own parser crashes on some of them."""

from __future__ import annotations

import re
from pathlib import Path

from cmfnet_napari.core.errors import UserError

_HEADER_BYTES = 1 << 16
_LONGEST_LINE = 1000  # ITK keeps names of 255 characters
_NUMBERS = re.compile(r"[-+.\deE\s]*")
_COUNTS = {  # numbers that a field has, for so many dimensions
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


def check_meta_header(path: Path) -> None:
    """Raise UserError when the header of a MHA or MHD file is none.

    Parameters
    ----------
    path : Path
        The file; any other ending passes.
    """
    if path.suffix.lower() not in (".mha", ".mhd"):
        return
    fields = _fields(path)
    dimensions = fields.get("NDims", "")
    good = dimensions in ("2", "3", "4") and "ElementDataFile" in fields
    if not good or not all(_fits(key, value, int(dimensions)) for key, value in fields.items()):
        raise UserError(
            f"{path.name} cannot be read as an image: its header is damaged. Copy or export it "
            "again."
        )


def _fields(path: Path) -> dict[str, str]:
    """The header's fields, up to the one that begins the voxels; empty when it is none."""
    with open(path, "rb") as file:
        head = file.read(_HEADER_BYTES)
    fields: dict[str, str] = {}
    for line in head.split(b"\n"):
        key, equals, value = line.decode("latin-1").partition("=")
        key = key.strip()
        if not equals or len(line) > _LONGEST_LINE or key in fields or "\0" in key + value:
            return {}
        fields[key] = value.strip()
        if key == "ElementDataFile":
            break
    return fields


def _fits(key: str, value: str, dimensions: int) -> bool:
    """Whether a field has the numbers it must have."""
    if key not in _COUNTS:
        return True
    numbers = value.split()
    return len(numbers) == _COUNTS[key](dimensions) and _NUMBERS.fullmatch(value) is not None
