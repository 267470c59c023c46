"""NIfTI files that end too early: ITK fills what is missing with zeros and says nothing."""

from __future__ import annotations

import gzip
import zlib
from math import prod
from pathlib import Path

import SimpleITK as sitk

from cmfnet_napari.core.errors import UserError

_CHUNK = 1 << 22  # bytes


def check_complete(path: Path, image: sitk.Image) -> None:
    """Raise UserError when a NIfTI file holds less than its header promises.

    Parameters
    ----------
    path : Path
        The file; anything but ``.nii`` and ``.nii.gz`` passes.
    image : sitk.Image
        What was read from it, with the header's fields.
    """
    name = path.name.lower()
    if not name.endswith((".nii", ".nii.gz")) or not image.HasMetaDataKey("vox_offset"):
        return
    dimensions = int(image.GetMetaData("dim[0]"))
    voxels: int = prod([int(image.GetMetaData(f"dim[{i}]")) for i in range(1, dimensions + 1)])
    promised = int(float(image.GetMetaData("vox_offset")))
    promised += voxels * int(image.GetMetaData("bitpix")) // 8
    held = _unpacked_bytes(path, promised) if name.endswith(".gz") else path.stat().st_size
    if held < promised:
        raise UserError(
            f"{path.name} is cut off: it holds {held} of {promised} bytes. Copy or export it again."
        )


def _unpacked_bytes(path: Path, enough: int) -> int:
    """Bytes that come out of a packed file; counted no further than is asked."""
    held = 0
    try:
        with gzip.open(path) as file:
            while held < enough and (chunk := file.read(_CHUNK)):
                held += len(chunk)
    except (EOFError, OSError, zlib.error):  # cut off within a block, or damaged
        return held
    return held
