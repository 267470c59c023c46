"""What is asked of a PACS, and what it says it has."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from pydicom import Dataset

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.words import clean


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
    study : str
        Its instance UID.
    """

    patient_id: str = ""
    patient_name: str = ""
    date: str = ""
    modality: str = ""
    study: str = ""

    def keys(self) -> dict[str, str]:
        """Attributes by keyword, the empty ones too: those are asked for."""
        return {
            "PatientID": self.patient_id,
            "PatientName": self.patient_name,
            "StudyDate": self.date,
            "ModalitiesInStudy": self.modality,
            "StudyInstanceUID": self.study,
        }


def name_pattern(words: str) -> str:
    """A name as people type it, as DICOM looks for it: a comma parts family and given name.

    Unless * or ? say otherwise, it may go on ("Mül" finds Müller; PS3.4 C.2.2.2.4).
    """
    name = "^".join(part.strip() for part in words.split(","))
    return f"{name}*" if name and not set(name) & set("*?") else name


def check_answers(answers: Iterable[Dataset], name: str, **asked: str) -> None:
    """Refuse answers about something else than what was asked for.

    Parameters
    ----------
    answers : iterable of Dataset
        Of a PACS.
    name : str
        The PACS.
    **asked : str
        Keyword and value; ``*`` and ``?`` as in DICOM. What an answer does not say is not asked.

    Raises
    ------
    UserError
        An answer says something else.
    """
    for answer in answers:
        for keyword, wanted in asked.items():
            said = str(answer.get(keyword) or "").strip()
            if wanted and said and not fnmatchcase(said.casefold(), wanted.strip().casefold()):
                what = "another patient" if keyword == "PatientID" else "something else"
                raise UserError(
                    f"{name} answers about {what} than what was asked for. Nothing was taken. Ask "
                    "those who look after it."
                )


def identifier(answer: Dataset, keyword: str, name: str) -> str:
    """A UID that an answer must hold; UserError when it does not."""
    found = str(answer.get(keyword) or "")
    if not found:
        raise UserError(f"{name} gives an answer without {keyword}. Ask those who look after it.")
    return found


def too_many(name: str) -> str:
    """What to say of a PACS that does not come to an end."""
    return f"{name} gives more than {MOST_ANSWERS} answers. Ask for less."


MOST_ANSWERS = 20_000
NOT_KNOWN = "Whether the next did is not known: look there before you send it again."
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
        patient_name=clean(str(answer.get("PatientName", ""))),
        patient_id=clean(str(answer.get("PatientID", ""))),
        date=str(answer.get("StudyDate", "")),
        description=clean(str(answer.get("StudyDescription", ""))),
        modalities=modalities if isinstance(modalities, str) else "/".join(modalities),
        instances=_count(answer, "NumberOfStudyRelatedInstances"),
    )


def series_of(answer: Dataset) -> Series:
    """Read one answer to a query for series."""
    return Series(
        uid=str(answer.get("SeriesInstanceUID", "")),
        modality=str(answer.get("Modality", "")),
        description=clean(str(answer.get("SeriesDescription", ""))),
        instances=_count(answer, "NumberOfSeriesRelatedInstances"),
    )


def _count(answer: Dataset, keyword: str) -> int | None:
    value = answer.get(keyword)
    try:
        return None if value in (None, "") else int(value)
    except (TypeError, ValueError):  # only shown
        return None
