"""A file's bytes, unpacked if it is packed with gzip, whatever its name says."""

from __future__ import annotations

import zlib
from typing import BinaryIO

from cmfnet_napari.core.errors import UserError

_MAGIC = b"\x1f\x8b"
_GZIP = 31  # zlib's word for: a gzip stream, its checksum compared
_CHUNK = 1 << 20  # bytes
_MOST_UNUSED = 1 << 28  # bytes after what was asked for; more of them is a bomb


class Unpacked:
    """Reads a file from its beginning on, through gzip where it begins as such.

    A packed file may be of several streams, as `cat` and parallel packers make them. What follows
    the last of them is no part of it.

    Parameters
    ----------
    file : binary file
        Open for reading, at its beginning.
    name : str
        What messages call it.

    Attributes
    ----------
    packed : bool
        Whether it is packed.
    """

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._name = name
        self._file = file
        self.packed = file.read(len(_MAGIC)) == _MAGIC
        file.seek(0)
        self._stream = zlib.decompressobj(_GZIP)
        self._rest = b""  # read from the file, not unpacked yet
        self._given = 0

    def read_exactly(self, count: int) -> bytearray:
        """The next bytes.

        Raises
        ------
        UserError
            There are fewer, or they were changed on the way.
        """
        held = bytearray()
        while len(held) < count:
            part = self._some(min(_CHUNK, count - len(held)))
            if not part:
                raise UserError(
                    f"{self._name} is cut off: it holds {self._given} of "
                    f"{self._given + count - len(held)} bytes. Copy or export it again."
                )
            held += part
            self._given += len(part)
        return held

    def skip_to(self, position: int) -> None:
        """Go on to a byte, counted from the beginning, that was not read yet."""
        while self._given < position:
            self.read_exactly(min(_CHUNK, position - self._given))

    def check_end(self) -> None:
        """Read on to the end of a packed stream, whose checksum tells whether a bit has changed.

        Raises
        ------
        UserError
            It has, or the end is missing or far away.
        """
        for _ in range(_MOST_UNUSED // _CHUNK):
            if not self.packed or self._stream.eof:
                return
            if not self._some(_CHUNK) and not self._stream.eof:
                raise UserError(
                    f"{self._name} is cut off: the end, which proves that nothing was changed, is "
                    "missing. Copy or export it again."
                )
        raise UserError(
            f"{self._name} is damaged: it goes on long after its last voxel. Export it again."
        )

    def _some(self, most: int) -> bytes:
        """At least one byte, unless the file ends."""
        if not self.packed:
            return self._file.read(most)
        while True:
            if self._stream.eof:
                self._rest = self._stream.unused_data
                if len(self._rest) < len(_MAGIC):
                    self._rest += self._file.read(_CHUNK)
                if not self._rest.startswith(_MAGIC):
                    return b""
                self._stream = zlib.decompressobj(_GZIP)
            source = self._rest or self._file.read(_CHUNK)
            try:
                part = self._stream.decompress(source, most)
            except zlib.error as error:
                raise UserError(
                    f"{self._name} is damaged: what is packed in it was changed. Copy or export it "
                    "again."
                ) from error
            self._rest = self._stream.unconsumed_tail
            if part or (not source and not self._stream.eof):
                return part
