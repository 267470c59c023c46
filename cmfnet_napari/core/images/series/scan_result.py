"""What was found in DICOM folders, as the chooser shows it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from cmfnet_napari.core.errors import UserError, list_names
from cmfnet_napari.core.images.series.stacks import Stack

STRUCTURES, SEGMENTATION, REGISTRATION = "RTSTRUCT", "SEG", "REG"


@dataclass(frozen=True)
class Origin:
    """What a series' header says of it.

    Attributes
    ----------
    uid, study_uid, frame_uid : str
        Of series, study and frame of reference.
    modality, description, study, date : str
        For people; the date as YYYY-MM-DD.
    patient, patient_name : str
        What tells patients apart; what the user calls them.
    """

    uid: str
    study_uid: str
    frame_uid: str
    modality: str
    description: str
    study: str
    date: str
    patient: str = field(repr=False)
    patient_name: str = field(repr=False)


@dataclass(frozen=True)
class ImageSeries:
    """An image that can be opened: a series, or one acquisition of it.

    Attributes
    ----------
    key : str
        Series instance UID; ``#2`` and so on follow where the series has more than one image.
    origin : Origin
        Its header.
    stack : Stack
        Its slices.
    """

    key: str
    origin: Origin
    stack: Stack

    @property
    def name(self) -> str:
        """What messages call it, without the patient."""
        what = " ".join(filter(None, (self.origin.modality, self.origin.description)))
        return f"The series {what}" + (f" ({self.stack.name})" if self.stack.name else "")


@dataclass(frozen=True)
class DicomObject:
    """A structure set, segmentation or registration.

    Attributes
    ----------
    path : Path
        Its file.
    uid : str
        SOP instance UID.
    origin : Origin
        Its header; `frame_uid` is the frame of reference its contours are in.
    label : str
        What it calls itself.
    names : tuple of str
        Its structures or segments.
    series : tuple of str
        Series that it says it was drawn on.
    """

    path: Path
    uid: str
    origin: Origin
    label: str
    names: tuple[str, ...] = ()
    series: tuple[str, ...] = ()


@dataclass(frozen=True)
class Scan:
    """What was found.

    Attributes
    ----------
    images : tuple of ImageSeries
        Sorted by patient, study and date.
    objects : tuple of DicomObject
        Everything else that is of use.
    damaged : tuple of str
        Names of DICOM files that could not be read.
    files : int
        How many files were looked at.
    """

    images: tuple[ImageSeries, ...]
    objects: tuple[DicomObject, ...] = ()
    damaged: tuple[str, ...] = ()
    files: int = 0

    def of_kind(self, modality: str) -> list[DicomObject]:
        """Structure sets, segmentations or registrations."""
        return [found for found in self.objects if found.origin.modality == modality]

    def image(self, key: str, modality: str) -> ImageSeries:
        """The image of a key, or of a series UID.

        Raises
        ------
        UserError
            There is none; the message lists those there are.
        """
        for found in self.images:
            if key in (found.key, found.origin.uid):
                return found
        known = list_names(
            f"{i.key} ({i.origin.modality} {i.origin.description})"
            for i in self.images
            if i.origin.modality == modality
        )
        raise UserError(f"No series {key} was found. There are: {known or f'no {modality}'}.")
