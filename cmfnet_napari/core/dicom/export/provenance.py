"""What every DICOM file written here says of the patient, and of who made it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib import metadata
from typing import TYPE_CHECKING, Literal

from pydicom import Dataset
from pydicom.tag import Tag
from pydicom.uid import generate_uid
from pydicom.valuerep import MAX_VALUE_LEN

from cmfnet_napari.core.images.series.frames import frame_number

if TYPE_CHECKING:
    from highdicom import AlgorithmIdentificationSequence

Generation = Literal["AUTOMATIC", "SEMIAUTOMATIC", "MANUAL"]

SOFTWARE = "cmfnet-napari"
CMFNET = "CmFNet"  # the model where nobody knows more
UNICODE = "ISO_IR 192"
# Patient, General Study and Patient Study modules (PS3.3 C.7.1.1, C.7.2.1, C.7.2.2): empty where
# the series does not say them, since they must be there.
_ALWAYS = (
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "ReferringPhysicianName",
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyInstanceUID",
    "StudyID",
)
# Only where the series says them.
_WHERE_KNOWN = (
    "StudyDescription",
    "IssuerOfPatientID",
    "OtherPatientIDs",
    "EthnicGroup",
    "PatientComments",
    "PatientIdentityRemoved",
    "DeidentificationMethod",
    "DeidentificationMethodCodeSequence",
    "PatientAge",
    "PatientSize",
    "PatientWeight",
)


@dataclass(frozen=True)
class Maker:
    """What made the contour.

    Attributes
    ----------
    model : str
        Name of the model, as in `runs.maker_name`.
    how : str
        ``SEMIAUTOMATIC`` where the contour rests on strokes or corrections of its patient,
        ``AUTOMATIC`` where the model saw neither, ``MANUAL`` where there was no model (ROI
        Generation Algorithm, PS3.3 C.8.8.5, and Segment Algorithm Type, C.8.20.2).
    by_hand : bool
        Whether the contour was corrected after the model had made it.
    """

    model: str = CMFNET
    how: Generation = "SEMIAUTOMATIC"
    by_hand: bool = False

    @property
    def version(self) -> str:
        """Version of this software."""
        try:
            return metadata.version(SOFTWARE)
        except metadata.PackageNotFoundError:  # run from a source tree
            return "unknown"

    @property
    def sentence(self) -> str:
        """Model and software, and that nobody has approved it yet."""
        own = self.model.startswith(CMFNET)
        model = self.model if own else f"CmFNet model {self.model}"
        by_hand = ", corrected by hand" if self.by_hand else ""
        return f"{model}{by_hand}, {SOFTWARE} {self.version}. Not approved: check every contour."

    @property
    def algorithm(self) -> AlgorithmIdentificationSequence:
        """Names the model (Algorithm Identification Macro, PS3.3 Table 10-19)."""
        from highdicom import AlgorithmIdentificationSequence  # takes a second
        from pydicom.sr.codedict import codes

        return AlgorithmIdentificationSequence(
            name=self.model[:64],
            version=self.version[:64],
            family=codes.DCM.ArtificialIntelligence,
        )


def fit_values(header: Dataset) -> Dataset:
    """Cut what is longer than DICOM allows (PS3.5 6.2) in what is copied from a series.

    Real series break these rules (a Study ID of 17 letters, say), and what is written may not.
    What cannot be understood at all is taken out.
    """
    for keyword in (*_ALWAYS, *_WHERE_KNOWN):
        if keyword in header:
            try:
                element = header[keyword]
                longest = MAX_VALUE_LEN.get(element.VR)
                if longest and isinstance(element.value, str):
                    element.value = element.value[:longest]
            except (ValueError, OverflowError):  # a weight that is no number
                del header[Tag(keyword)]  # by its name, it would be understood first
    return header


def without_patient(header: Dataset) -> Dataset:
    """A header with patient and study empty, for a library that would stumble over what they say.

    Elements are shared with the header, which stays as it is.
    """
    plain = Dataset()
    plain.update(header)
    for keyword in ("SpecificCharacterSet", *_ALWAYS, *_WHERE_KNOWN):  # a shared one is not changed
        plain.pop(keyword, None)
    plain.SpecificCharacterSet = UNICODE
    for keyword in _ALWAYS:
        setattr(plain, keyword, "")
    plain.StudyInstanceUID = header.StudyInstanceUID
    return plain


def copy_patient(header: Dataset, target: Dataset) -> None:
    """Copy patient and study from the header of an image."""
    target.SpecificCharacterSet = UNICODE
    for keyword in _ALWAYS:
        setattr(target, keyword, header.get(keyword))
    for keyword in _WHERE_KNOWN:
        if keyword in header:
            setattr(target, keyword, header[keyword].value)


def stamp(target: Dataset, sop_class: str, maker: Maker) -> None:
    """Make a dataset an instance of its own, made now and here: SOP Common, Equipment, Series."""
    now = datetime.now()
    target.SOPClassUID = sop_class
    target.SOPInstanceUID = new_uid()
    target.SeriesInstanceUID = new_uid()
    target.InstanceCreationDate = target.SeriesDate = now.strftime("%Y%m%d")
    target.InstanceCreationTime = target.SeriesTime = now.strftime("%H%M%S")
    target.Manufacturer = SOFTWARE
    target.ManufacturerModelName = maker.model[:64]
    target.SoftwareVersions = maker.version[:64]


def new_uid() -> str:
    """A UID that nobody else has, made from a UUID (PS3.5 B.2)."""
    return str(generate_uid(prefix=None))


def reference_items(headers: Sequence[Dataset]) -> list[Dataset]:
    """Items that name slices: class and UID of each, and the frame where there are many in it."""
    items = []
    for header in headers:
        item = Dataset()
        item.ReferencedSOPClassUID = header.SOPClassUID
        item.ReferencedSOPInstanceUID = header.SOPInstanceUID
        if frame_number(header):
            item.ReferencedFrameNumber = frame_number(header)
        items.append(item)
    return items
