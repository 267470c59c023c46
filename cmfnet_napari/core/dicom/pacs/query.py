"""What is asked of a PACS, and what it says it has."""

from __future__ import annotations

from dataclasses import dataclass

from pydicom import Dataset


@dataclass(frozen=True)
class Query:
    """Which studies are wanted; empty fields match everything (DICOM PS3.4 C.2.2.2).

    Attributes
    ----------
    patient_id, patient_name : str
        With * and ? as in DICOM.
    date : str
        Study date, YYYYMMDD, or a range YYYYMMDD-YYYYMMDD.
    modality : str
        Such as CT: of one of the study's series.
    """

    patient_id: str = ""
    patient_name: str = ""
    date: str = ""
    modality: str = ""

    def keys(self) -> dict[str, str]:
        """Attributes by keyword, the empty ones too: those are asked for."""
        return {
            "PatientID": self.patient_id,
            "PatientName": self.patient_name,
            "StudyDate": self.date,
            "ModalitiesInStudy": self.modality,
        }


def name_pattern(words: str) -> str:
    """A name as people type it, as DICOM looks for it: a comma parts family and given name.

    Unless * or ? say otherwise, it may go on ("Mül" finds Müller; PS3.4 C.2.2.2.4).
    """
    name = "^".join(part.strip() for part in words.split(","))
    return f"{name}*" if name and not set(name) & set("*?") else name


STUDY_FIELDS = ("StudyInstanceUID", "StudyDescription", "NumberOfStudyRelatedInstances")
SERIES_FIELDS = (
    "SeriesInstanceUID",
    "Modality",
    "SeriesDescription",
    "NumberOfSeriesRelatedInstances",
)


@dataclass(frozen=True)
class Study:
    """One study in a PACS."""

    uid: str
    patient_name: str
    patient_id: str
    date: str
    description: str
    modalities: str
    instances: int | None


@dataclass(frozen=True)
class Series:
    """One series of a study in a PACS."""

    uid: str
    modality: str
    description: str
    instances: int | None


def study_of(answer: Dataset) -> Study:
    """Read one answer to a query for studies."""
    modalities = answer.get("ModalitiesInStudy") or ""
    return Study(
        uid=str(answer.get("StudyInstanceUID", "")),
        patient_name=str(answer.get("PatientName", "")),
        patient_id=str(answer.get("PatientID", "")),
        date=str(answer.get("StudyDate", "")),
        description=str(answer.get("StudyDescription", "")),
        modalities=modalities if isinstance(modalities, str) else "/".join(modalities),
        instances=_count(answer, "NumberOfStudyRelatedInstances"),
    )


def series_of(answer: Dataset) -> Series:
    """Read one answer to a query for series."""
    return Series(
        uid=str(answer.get("SeriesInstanceUID", "")),
        modality=str(answer.get("Modality", "")),
        description=str(answer.get("SeriesDescription", "")),
        instances=_count(answer, "NumberOfSeriesRelatedInstances"),
    )


def _count(answer: Dataset, keyword: str) -> int | None:
    value = answer.get(keyword)
    return None if value in (None, "") else int(value)
