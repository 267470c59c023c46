"""What kind of image it is: said by its DICOM header, by the user, or guessed from its values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import SimpleITK as sitk

from cmfnet_napari.core.errors import UserError, say
from cmfnet_napari.core.images.hounsfield import lacks_offset

Modality = Literal["CT", "MR", "PT", ""]  # none: labels
MODALITIES: tuple[Modality, ...] = ("CT", "MR", "PT")
Modalities = tuple[Modality, Modality]  # of the first image and the second; empty: not said
USUAL: Modalities = ("CT", "MR")  # of a first and a second image

_TAG, _UNITS_TAG = "0008|0060", "0054|1001"  # keys under which ITK keeps a file's header
_WEIGHTING_TAG = "cmfnet|weighting"
_UNITS = {"BQML": "Bq/ml", "GML": "g/ml", "CNTS": "counts", "CPS": "counts/s"}  # C.8.9.1.1.3
_EVERY = (slice(None, None, 2), slice(None, None, 3), slice(None, None, 3))
_SHARES = 0.005, 0.99  # of the voxels are below what counts as its lowest and its highest value
_LOW_HU = -60.0  # air, lung, foam and fat of a CT are below
_LEAST_HU, _MOST_HU = 20.0, 300.0  # soft tissue alone reaches the one and not the other
# In a CT with 1024 added, 0.75 and more of what is not air is tissue; MR with fat near 1000 have
# 0.53 and less (24 patients).
_NOT_AIR, _TISSUE, _MOSTLY = 150.0, 800.0, 0.65
_DARK = 0.05  # of the highest value: air of an MR, which has no offset


def mark(image: sitk.Image, modality: str, units: str = "", weighting: str = "") -> sitk.Image:
    """Keep with an image what its DICOM header says of it.

    Modality; Units of a PET; and the weighting of an MR (`series.weighting`).
    """
    image.SetMetaData(_TAG, modality)
    if units:
        image.SetMetaData(_UNITS_TAG, units)
    if weighting:
        image.SetMetaData(_WEIGHTING_TAG, weighting)
    return image


def weighting_of(image: sitk.Image) -> str:
    """The weighting that an MR came with, such as ``T1``; empty: it says none."""
    known = image.HasMetaDataKey(_WEIGHTING_TAG)
    return image.GetMetaData(_WEIGHTING_TAG) if known else ""


def marked(image: sitk.Image) -> Modality:
    """The modality that an image came with; empty where it says none of `MODALITIES`."""
    said = image.GetMetaData(_TAG).strip() if image.HasMetaDataKey(_TAG) else ""
    return next((known for known in MODALITIES if known == said), "")


def unit_of(image: sitk.Image, modality: Modality) -> str:
    """What its values are in: HU of a CT, of a PET as its header says; empty: not known."""
    if modality == "CT":
        return "HU"
    said = image.GetMetaData(_UNITS_TAG).strip() if image.HasMetaDataKey(_UNITS_TAG) else ""
    return _UNITS.get(said, "") if modality == "PT" else ""


def guess_modality(image: sitk.Image, usual: Modality, name: str) -> Modality:
    """What kind of image one is whose file does not say so; what surprises is told.

    Parameters
    ----------
    image : Image
        As it was read.
    usual : str
        What nobody is surprised by.
    name : str
        What the image is called.
    """
    guessed = guess(sitk.GetArrayViewFromImage(image)) or usual
    if guessed != usual:
        say(
            f"{name} was taken for {_A[guessed]} by its values. If it is none, say so: with "
            "--modality, or in the window with Open → Patient."
        )
    return guessed


_A = {"CT": "a CT", "MR": "an MR", "PT": "a PET"}


def guess(array: np.ndarray) -> Modality:
    """CT or MR by the values of an image; a PET cannot be told from an MR.

    Parameters
    ----------
    array : array (z, y, x)
        Values as they were read.

    Returns
    -------
    str
        ``"CT"``: fat and air lie well below 0, or it is stored without its offset
        (`lacks_offset`). ``"MR"``: nothing does, and most of it is brighter than tissue in a CT,
        or no number of Hounsfield units, or its air is 0. Empty: soft tissue of a CT, or an MR of
        as small numbers.
    """
    values = array[_EVERY]
    low, high = (float(value) for value in np.quantile(values, _SHARES))
    if low < _LOW_HU or (lacks_offset(array) and _mostly_tissue(values)):
        return "CT"
    if not _LEAST_HU < high < _MOST_HU or 0 <= low < _DARK * high:
        return "MR"
    return ""


def _mostly_tissue(values: np.ndarray) -> bool:
    """Whether what is not air lies where tissue does in a CT without offset, as no MR's does."""
    return bool((values > _TISSUE).sum() > _MOSTLY * (values > _NOT_AIR).sum())


def parse_modalities(said: Sequence[str]) -> Modalities:
    """What the user says of the first image and of the second; empty: nothing.

    Raises
    ------
    UserError
        It is none of `MODALITIES`, or there are more than two.
    """
    found: list[Modality] = []
    for text in said:
        name = {"PET": "PT", "MRI": "MR"}.get(text.strip().upper(), text.strip().upper())
        if name and name not in MODALITIES:
            raise UserError(f"{text!r} is no modality: use {', '.join(MODALITIES)}.")
        found.append(next((known for known in MODALITIES if known == name), ""))
    if len(found) > 2:
        raise UserError(f"{len(found)} modalities were given, for two images at most.")
    first, second = (*found, "", "")[:2]
    return first, second
