"""Lengths in DICOM files: GDCM sets memory aside for what a file says, whatever its size."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from pydicom.errors import InvalidDicomError

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.images.dicom_file import DEFLATED, check_unpacked, start_of

_IMPLICIT, _BIG = b"1.2.840.10008.1.2", b"1.2.840.10008.1.2.2"
# Have a length of 2 bytes; all others, also those not yet thought of, one of 4.
_SHORT = (b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US").split()
_META_LONG = (b"OB", b"UN")
_SYNTAX, _PIXELS, _ITEMS = (0x0002, 0x0010), (0x7FE0, 0x0010), 0xFFFE
_UNDEFINED = 0xFFFFFFFF
_MOST_ELEMENTS = 20_000  # a slice has some hundred; a check must not last


def check_lengths(path: Path) -> None:
    """Raise UserError when an element of a DICOM file is longer than what is left of the file.

    Elements within sequences count too; so does what a deflated file unpacks to. What is no DICOM
    file of part 10, or encoded as no standard says, passes: pydicom and GDCM judge it.

    Parameters
    ----------
    path : Path
        The file. DICOM PS3.5, chapter 7, tells how it is built.
    """
    try:
        check_unpacked(path)
    except (InvalidDicomError, zlib.error):
        return
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        file.seek(start_of(file) or 0)
        for length, entered in islice(_elements(file), _MOST_ELEMENTS):
            if length is None:
                raise UserError(
                    f"{path.name} is damaged: its header has an element of no known type. Export "
                    "it again, or take it out of the folder."
                )
            if length > size - file.tell():
                raise UserError(
                    f"{path.name} is damaged or cut off: it has {size} bytes and promises "
                    f"{file.tell() + length}. Export it again, or take it out of the folder."
                )
            if not entered:
                file.seek(length, os.SEEK_CUR)


def _elements(file: BinaryIO) -> Iterator[tuple[int | None, bool]]:
    """Length of each element, the file at its value; whether what comes next is part of it.

    The length is None where group 2, which every standard defines alike, has another type: what
    GDCM takes for a length then is not known.
    """
    syntax, meta = _unsaid(file), True  # those of group 2 are explicit and little endian
    while len(head := file.read(8)) == 8:
        meta = meta and head[:2] == b"\x02\x00"
        if syntax == DEFLATED and not meta:
            return
        if meta and head[4:6] not in (*_SHORT, *_META_LONG):
            yield None, False
        order = ">" if syntax == _BIG and not meta else "<"
        tag, kind = struct.unpack(f"{order}HH", head[:4]), head[4:6]
        if tag[0] == _ITEMS or (syntax == _IMPLICIT and not meta):
            (length,) = struct.unpack(f"{order}I", head[4:])
        elif kind in _SHORT:
            (length,) = struct.unpack(f"{order}H", head[6:])
        elif kind.isupper():
            (length,) = struct.unpack(f"{order}I", file.read(4).ljust(4, b"\0"))
        else:
            return
        if length == _UNDEFINED and (kind == b"UN" or tag == _PIXELS):
            return  # encoded otherwise inside
        if tag == _SYNTAX and meta:
            syntax = file.read(min(length, 64)).rstrip(b"\0 ")
            file.seek(-min(length, 64), os.SEEK_CUR)
        undefined = length == _UNDEFINED
        yield 0 if undefined else length, undefined or kind == b"SQ" or tag[0] == _ITEMS
        if tag == _PIXELS:
            return


def _unsaid(file: BinaryIO) -> bytes:
    """The encoding of a file without file meta information, guessed; the file stays where it is."""
    start = file.tell()
    head = file.read(8).ljust(8, b"\0")
    file.seek(start)
    if not (head[4:6].isalpha() and head[4:6].isupper()):
        return _IMPLICIT
    return _BIG if head[:1] == b"\0" else b""
