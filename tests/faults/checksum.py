"""What a window saw, as one number, for those who look whether it is still there."""

from __future__ import annotations

import zlib

from cmfnet_napari.core.strokes.corrections import Words


def checksum(words: Words) -> int:
    """Names what the user says of the voxels that are corrected."""
    return zlib.crc32(words.codes.tobytes(), zlib.crc32(words.voxels.astype("<i8").tobytes()))
