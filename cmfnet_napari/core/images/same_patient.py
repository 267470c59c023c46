"""Whether two images are of one patient and lie in one frame of reference, by their headers."""

from __future__ import annotations

import hashlib
import secrets

import numpy as np
import SimpleITK as sitk

from cmfnet_napari.core.errors import UserError, say

_PATIENT_TAG, _FRAME_TAG = "cmfnet|patient", "cmfnet|frame"
_KEY = secrets.token_bytes(32)


def mark_whose(image: sitk.Image, patient: str, frame_uid: str) -> sitk.Image:
    """Keep with an image whose it is and where, as far as its header says so (else empty).

    Only digests are kept, which this process alone can compare: an image that was written with
    what is kept with it names nobody.
    """
    for tag, words in ((_PATIENT_TAG, patient), (_FRAME_TAG, frame_uid)):
        if words:
            digest = hashlib.blake2b(words.encode(), key=_KEY, digest_size=16)
            image.SetMetaData(tag, digest.hexdigest())
    return image


def check_pair(first: sitk.Image, second: sitk.Image, names: tuple[str, ...]) -> None:
    """Refuse a pair that is no pair, and say where nothing but the position places the second.

    Parameters
    ----------
    first, second : Image
        As they were read.
    names : tuple of str
        What messages call them.

    Raises
    ------
    UserError
        Both are one image, or of two patients.
    """
    one, other = names
    if _differ(first, second, _PATIENT_TAG):
        raise UserError(
            f"{one} and {other} are of two patients, as their headers say. Choose both of one "
            "patient; if it is one under two numbers, have them put right where the images come "
            "from."
        )
    if np.array_equal(sitk.GetArrayViewFromImage(first), sitk.GetArrayViewFromImage(second)):
        raise UserError(
            f"{one} and {other} are one and the same image: every voxel is equal. Choose two "
            "images, or one alone."
        )
    if _differ(first, second, _FRAME_TAG):
        say(
            f"{one} and {other} do not share a frame of reference: the {other} is placed by its "
            f"position alone. Look whether it lies on the {one}; if not, register it, with "
            f"'{other} on the {one}' in the window or with cmfnet import --register."
        )


def _differ(first: sitk.Image, second: sitk.Image, tag: str) -> bool:
    """Whether both headers say something, and not the same."""
    known = first.HasMetaDataKey(tag) and second.HasMetaDataKey(tag)
    return bool(known and first.GetMetaData(tag) != second.GetMetaData(tag))
