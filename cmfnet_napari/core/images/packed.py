"""Packed voxels of NRRD and MetaImage, proved whole before ITK reads them.

Of a stream that is cut off or was changed, ITK takes what it gets, and leaves the rest of the image
to chance: other values at every reading, without a word.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from cmfnet_napari.core.errors import UserError

_HEAD_BYTES = 1 << 20
_CHUNK = 1 << 20
_ZLIB_OR_GZIP = 47  # zlib's word for: either, its checksum compared
_MOST_UNUSED = 1 << 28  # bytes after the last voxel; more of them is a bomb
_LOCAL = re.compile(rb"^ElementDataFile\s*[=:]\s*(\S*)[^\n]*\n", re.M)
_IS_PACKED = re.compile(rb"^CompressedData\s*[=:]\s*(true|1)\s*$", re.M | re.I)
_PACKED_BYTES = re.compile(rb"^CompressedDataSize\s*[=:]\s*(\d+)\s*$", re.M)
_GZIP = re.compile(rb"^encoding\s*:\s*(gz|gzip)\s*$", re.M | re.I)
_SKIPS = re.compile(rb"^(line|byte) ?skip\s*:\s*[^0\s]", re.M | re.I)
_END = re.compile(rb"\r?\n\r?\n")


class _Stream(NamedTuple):
    """Where a packed stream lies: file, first byte, bytes; 0: to the end."""

    file: Path
    start: int
    size: int


def check_packed(path: Path, detached: Sequence[Path], promised: int) -> None:
    """Unpack an image's voxels, and throw them away: only whether they are whole counts.

    Parameters
    ----------
    path : Path
        NRRD or MetaImage; what is not packed passes, and so does what begins elsewhere than ITK
        says it does.
    detached : sequence of Path
        Files that hold its voxels, if it does not hold them itself.
    promised : int
        Bytes of all voxels, as the header says.

    Raises
    ------
    UserError
        The stream is cut off, was changed, or holds fewer bytes.
    """
    stream = _stream(path, detached)
    if stream is None:
        return
    try:
        held = _unpacked(stream, promised + _MOST_UNUSED)
    except zlib.error:
        held = -1
    if held < promised:
        raise UserError(
            f"{path.name} is damaged: what is packed in it was changed, or is cut off. Copy or "
            "export it again."
        )


def _stream(path: Path, detached: Sequence[Path]) -> _Stream | None:
    with open(path, "rb") as file:
        head = file.read(_HEAD_BYTES)
    if path.suffix.lower() in (".mha", ".mhd"):
        found = _LOCAL.search(head)
        fields = head[: found.start()] if found else b""
        size = _PACKED_BYTES.search(fields)
        packed, start = _IS_PACKED.search(fields), found.end() if found else 0
    else:
        end = _END.search(head)
        fields, size = head[: end.start()] if end else head, None
        packed, start = _GZIP.search(fields), end.end() if end else 0
        packed = None if _SKIPS.search(fields) else packed
    if packed is None or len(detached) > 1:
        return None
    length = int(size[1]) if size else 0
    return _Stream(detached[0], 0, length) if detached else _Stream(path, start, length)


def _unpacked(stream: _Stream, most: int) -> int:
    """How many bytes a whole stream holds; -1: it is cut off, or does not end."""
    held, unpacker = 0, zlib.decompressobj(_ZLIB_OR_GZIP)
    left = stream.size or stream.file.stat().st_size
    with open(stream.file, "rb") as file:
        file.seek(stream.start)
        while not unpacker.eof and held <= most:
            source = unpacker.unconsumed_tail
            if not source:
                source = file.read(min(_CHUNK, left))
                left -= len(source)
            if not source:
                return -1
            held += len(unpacker.decompress(source, _CHUNK))
    return held if unpacker.eof else -1
