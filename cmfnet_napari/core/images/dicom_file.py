"""DICOM files opened: regular files only, with or without preamble, unpacked within a budget."""

from __future__ import annotations

import os
import stat
import struct
import zlib
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import pydicom
from pydicom import FileDataset
from pydicom.errors import InvalidDicomError
from pydicom.tag import BaseTag
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pydicom.valuerep import VR

from cmfnet_napari.core.errors import UserError

PREAMBLE = 128
DEFLATED = b"1.2.840.10008.1.2.1.99"
MOST_UNPACKED = 256 << 20  # bytes of a deflated file; pydicom and GDCM hold all of them in memory
_CHUNK, _STEP = 1 << 16, 1 << 20
_LONG = (b"OB", b"UN")  # in group 2: have a length of 4 bytes, all others one of 2
_TYPES = {str(kind).encode() for kind in VR}
_MOST_FIRST = 1024  # bytes of a file's first element, a UID or a name of letters


def read_dicom(
    path: str | Path,
    stop_before_pixels: bool = False,
    specific_tags: Sequence[BaseTag] | None = None,
) -> FileDataset:
    """Read a DICOM file, also one without preamble or without file meta information.

    Parameters
    ----------
    path : path
        The file.
    stop_before_pixels : bool
        Leave the voxels out.
    specific_tags : sequence of BaseTag, optional
        Only these elements.

    Raises
    ------
    InvalidDicomError
        It is no DICOM, or no file: a pipe would be waited at for ever.
    UserError
        It unpacks to more than `MOST_UNPACKED`.
    OSError
        It cannot be opened.
    """
    check_unpacked(Path(path))
    return _read(path, stop_before_pixels, specific_tags)


def read_dicom_bytes(content: bytes, name: str) -> FileDataset:
    """The same for a file that is in memory; see `read_dicom`."""
    file = BytesIO(content)
    if start_of(file) is None:
        raise InvalidDicomError(f"{name} is no DICOM file")
    _check_budget(file, name, len(content))
    file.seek(0)
    return _read(file, False, None)


def _read(
    source: str | Path | BinaryIO, stop_before_pixels: bool, specific_tags: Sequence[BaseTag] | None
) -> FileDataset:
    tags = None if specific_tags is None else list(specific_tags)
    data: FileDataset = pydicom.dcmread(
        source, stop_before_pixels=stop_before_pixels, specific_tags=tags, force=True
    )
    if not data.file_meta.get("TransferSyntaxUID"):
        implicit, little = data.original_encoding
        explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        data.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit
    return data


def is_dicom(path: Path) -> bool:
    """Whether a file begins like DICOM; OSError when it cannot be opened."""
    if not stat.S_ISREG(os.stat(path).st_mode):
        return False
    with open(path, "rb") as file:
        return start_of(file) is not None


def start_of(file: BinaryIO) -> int | None:
    """Where the elements of an open file begin: 132, 0 without preamble, None: it is no DICOM.

    Without preamble, the first element is of group 2 or 8 (PS3.10 7.1, PS3.6), and has a type or
    a length that these have.
    """
    file.seek(0)
    head = file.read(PREAMBLE + 4)
    if head[PREAMBLE:] == b"DICM":
        return PREAMBLE + 4
    if len(head) < 8:
        return None
    for order in "<>":
        group, element, length = struct.unpack(f"{order}HHI", head[:8])
        if group in (2, 8) and element < 0x0100:
            return 0 if head[4:6] in _TYPES or length <= _MOST_FIRST else None
    return None


def check_unpacked(path: Path) -> None:
    """Raise UserError when a deflated file unpacks to more than `MOST_UNPACKED` bytes.

    Raises
    ------
    InvalidDicomError, OSError
        See `read_dicom`.
    """
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise InvalidDicomError(f"{path.name} is no DICOM file")
    with open(path, "rb") as file:
        if start_of(file) is None:
            raise InvalidDicomError(f"{path.name} is no DICOM file")
        _check_budget(file, path.name, os.fstat(file.fileno()).st_size)


def _check_budget(file: BinaryIO, name: str, length: int) -> None:
    if _syntax(file) != DEFLATED:
        return
    unpack, size = zlib.decompressobj(-zlib.MAX_WBITS), 0
    while chunk := file.read(_CHUNK):
        while chunk and not unpack.eof:
            size += len(unpack.decompress(chunk, _STEP))
            chunk = unpack.unconsumed_tail
            if size > MOST_UNPACKED:
                raise UserError(
                    f"{name} ({length} bytes) unpacks to more than {MOST_UNPACKED >> 20} MiB. "
                    "Export it again, without compression."
                )


def _syntax(file: BinaryIO) -> bytes:
    """Transfer syntax of an open file, which then is at the end of group 2; empty: none is said."""
    syntax = b""
    file.seek(start_of(file) or 0)
    while len(head := file.read(8)) == 8 and head[:2] == b"\x02\x00":
        length = struct.unpack("<H", head[6:])[0]
        if head[4:6] in _LONG:
            length = struct.unpack("<I", file.read(4).ljust(4, b"\0"))[0]
        if head[2:4] == b"\x10\x00":
            syntax = file.read(min(length, 64)).rstrip(b"\0 ")
            file.seek(-min(length, 64), os.SEEK_CUR)
        file.seek(length, os.SEEK_CUR)
    file.seek(-len(head), os.SEEK_CUR)
    return syntax
