"""What was found in DICOM folders, as the chooser shows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from cmfnet_napari.core.errors import UserError, list_names
from cmfnet_napari.core.images.dicom_file import MOST_UNPACKED
from cmfnet_napari.core.images.series.stacks import Stack

STRUCTURES, SEGMENTATION, REGISTRATION = "RTSTRUCT", "SEG", "REG"
NOBODY = "||"  # begins `Origin.patient` of those of whom no number and no name is known

_NAMED = 3  # names in a sentence; of more, the count


class Why(Enum):
    """Why something was left out; the value goes on from "3 files were left out, since"."""

    CLOSED = "the right to read is missing"
    DAMAGED = "damaged"
    EMPTY = "empty"
    OTHER = "no DICOM, though beside DICOM images"
    NOWHERE = "no place in space is said"
    PACKED = "packed (zip, gz …)"
    LINK = "neither file nor folder but a link, a pipe or a device"
    BOMB = f"more than {MOST_UNPACKED >> 20} MiB when unpacked"


MAY_BE_SLICES = Why.CLOSED, Why.DAMAGED, Why.EMPTY, Why.BOMB


@dataclass(frozen=True)
class LeftOut:
    """A file or folder that was found and not looked at, or could not be read."""

    path: Path
    why: Why


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

    @property
    def is_named(self) -> bool:
        """Whether the header says whose it is."""
        return not self.patient.startswith(NOBODY)

    @property
    def number(self) -> str:
        """The patient's number (Patient ID); empty where none is known."""
        return self.patient.partition("|")[0]

    def may_be_of(self, other: Origin) -> bool:
        """Whether both are of one patient, or of nobody, so that only a person can tell."""
        return self.patient == other.patient or not (self.is_named or other.is_named)


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
        SOP instance UID; ``#2`` and so on follow where other objects found have the same one.
    origin : Origin
        Its header; `frame_uid` is the frame of reference of its first contours.
    label : str
        What it calls itself.
    names : tuple of str
        Its structures or segments.
    series : tuple of str
        Series that it says it was drawn on.
    frames : tuple of str
        Frame of reference of each of `names`; empty where it says none.
    slices : frozenset of (str, str)
        Series and SOP instance UIDs of the slices that it says it was drawn on.
    empty : frozenset of str
        Of `names`, those without any contour.
    """

    path: Path
    uid: str
    origin: Origin
    label: str
    names: tuple[str, ...] = ()
    series: tuple[str, ...] = ()
    frames: tuple[str, ...] = ()
    slices: frozenset[tuple[str, str]] = field(default=frozenset(), repr=False)
    empty: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Scan:
    """What was found.

    Attributes
    ----------
    images : tuple of ImageSeries
        Sorted by patient, study and date.
    objects : tuple of DicomObject
        Everything else that is of use.
    left_out : tuple of LeftOut
        What may hold more, and was not or could not be read.
    others : mapping of str to int
        How many objects of other kinds there are, by modality, such as RTDOSE.
    files : int
        How many files were looked at.
    barren : tuple of Path
        Of the files and folders that were given, those in which nothing was found.
    """

    images: tuple[ImageSeries, ...]
    objects: tuple[DicomObject, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    others: Mapping[str, int] = field(default_factory=dict)
    files: int = 0
    barren: tuple[Path, ...] = ()

    def of_kind(self, modality: str) -> list[DicomObject]:
        """Structure sets, segmentations or registrations."""
        return [found for found in self.objects if found.origin.modality == modality]

    def image(self, key: str) -> ImageSeries:
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
            f"{i.key} ({i.origin.modality} {i.origin.description})" for i in self.images
        )
        raise UserError(f"No series {key} was found. There are: {known or 'no images'}.")


def left_out_notes(left_out: Sequence[LeftOut], named: bool = True) -> list[str]:
    """What was left out, a sentence for every reason; without names of files where it is kept."""
    reasons = dict.fromkeys(entry.why for entry in left_out)
    return [_note([e for e in left_out if e.why is why], named) for why in reasons]


def _note(left_out: Sequence[LeftOut], named: bool) -> str:
    count = "1 file was" if len(left_out) == 1 else f"{len(left_out)} files were"
    names = list_names((entry.path.name for entry in left_out), _NAMED)
    which = f": {names}" if named else ""
    return f"{count} left out, since {left_out[0].why.value}{which}."
