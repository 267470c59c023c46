"""What the worker there has said, told to whoever is on the line; of previews what changed."""

from __future__ import annotations

import json
import zlib
from contextlib import suppress

import numpy as np

from cmfnet_napari.core.arrays import Codes
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.files import JsonObject
from cmfnet_napari.core.fit.preview_file import read_preview
from cmfnet_napari.remote.far_store import SAID_FILE, FarCase
from cmfnet_napari.remote.line_messages import Said, Sender

_AT_ONCE = 1 << 22  # bytes


class Telling:
    """Follows the record of a case's worker.

    Parameters
    ----------
    case : FarCase
        Whose.
    shape : tuple of int, or None
        Of its labels, z y x; None where there are no previews.
    sender : Sender
        Tells.
    position : int
        From where on, in bytes.

    Attributes
    ----------
    code : int
        How the worker ended the last time.
    """

    def __init__(
        self, case: FarCase, shape: tuple[int, int, int] | None, sender: Sender, position: int
    ) -> None:
        self._case, self._shape, self._sender = case, shape, sender
        self._position = min(position, self.length)
        self._preview: Codes | None = None
        self.code = 0

    @property
    def length(self) -> int:
        """Bytes of the record."""
        return self._case.path(SAID_FILE).stat().st_size

    def tell_all(self) -> None:
        """Tell all that was said so far."""
        length = self.length
        while self._position < length:
            before = self._position
            self.tell()
            if self._position == before:
                break

    def tell(self) -> None:
        """Tell what is new."""
        with open(self._case.path(SAID_FILE), "rb") as file:
            file.seek(self._position)
            data = file.read(_AT_ONCE)
        *lines, _ = data.split(b"\n")
        for line in lines:
            self._position += len(line) + 1
            try:
                value = json.loads(line)
            except ValueError:
                continue
            if isinstance(value, dict) and "keeper" in value:
                self.code = int(value.get("code") or 0)
            elif isinstance(value, dict):
                self._tell(value)

    def _tell(self, value: JsonObject) -> None:
        box, payload, whole = None, b"", False
        of = str(value.pop("of", ""))
        if value.get("event") == "preview" and self._shape is not None:
            with suppress(UserError):
                labels = read_preview(self._case.case / str(value.get("labels")), self._shape)
                whole = self._preview is None
                box, payload = changed(self._preview, labels)
                self._preview = labels
        said = Said(position=self._position, of=of, line=value, box=box, whole=whole)
        self._sender.send(said, payload)


def changed(before: Codes | None, after: Codes) -> tuple[list[int], bytes]:
    """Where labels (uint8, z y x) have changed: the box's starts and stops, and what is in it."""
    if before is None or before.shape != after.shape:
        box = [0, after.shape[0], 0, after.shape[1], 0, after.shape[2]]
    else:
        where = np.nonzero(before != after)
        if not where[0].size:
            return [0, 0, 0, 0, 0, 0], b""
        box = [int(n) for axis in where for n in (axis.min(), axis.max() + 1)]
    part = after[box[0] : box[1], box[2] : box[3], box[4] : box[5]]
    return box, zlib.compress(np.ascontiguousarray(part).tobytes(), 1)
