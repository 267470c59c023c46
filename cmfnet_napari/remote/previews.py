"""Previews of a fit elsewhere: what has changed since the last one comes, all of it is written."""

from __future__ import annotations

import zlib
from math import prod
from pathlib import Path

import numpy as np

from cmfnet_napari.core.arrays import Codes
from cmfnet_napari.core.files import private_folder, write_safely
from cmfnet_napari.core.fit.runs import PREVIEW_FILE
from cmfnet_napari.core.privacy import inside
from cmfnet_napari.remote import line_messages as frames
from cmfnet_napari.remote.pulling import NotTakenError


class Previews:
    """Takes previews of a case.

    Parameters
    ----------
    case : Path
        The case folder.
    shape : tuple of int
        Of its labels, z y x.
    """

    def __init__(self, case: Path, shape: tuple[int, ...]) -> None:
        self._case, self._shape = case, shape
        self._last: Codes | None = None

    def begin_anew(self) -> None:
        """The next one is whole."""
        self._last = None

    def take(self, message: frames.Said, payload: bytes, run: str) -> None:
        """Write a preview here: what has changed of the last one, or all of it.

        Without a run it is only noted, for the next one to build on.

        Raises
        ------
        NotTakenError
            It is none of this study.
        """
        if message.box is None:
            return
        shape = self._shape
        box = message.box
        size = [box[2 * n + 1] - box[2 * n] for n in range(3)]
        within = all(0 <= box[2 * n] <= box[2 * n + 1] <= shape[n] for n in range(3))
        if not within or (message.whole and tuple(size) != shape):
            raise NotTakenError("A preview came that is of other images. It was not taken.")
        if message.whole or self._last is None:
            self._last = np.zeros(shape, np.uint8)
        if prod(size):
            unpacker = zlib.decompressobj()
            try:
                data = unpacker.decompress(payload, prod(size) + 1)
            except zlib.error as error:
                raise NotTakenError("A preview arrived damaged. It was not taken.") from error
            if len(data) != prod(size):
                raise NotTakenError("A preview came that has another size. It was not taken.")
            part = np.frombuffer(data, np.uint8).reshape(size)
            self._last[box[0] : box[1], box[2] : box[3], box[4] : box[5]] = part
        if not run:
            return
        labels, path = self._last, inside(self._case, f"runs/{run}/{PREVIEW_FILE}")
        private_folder(path.parent)
        write_safely(path, ".npy", lambda target: np.save(target, labels))
