"""What a department asks of a model before it uses it: the sections of a model card, by people.

Six sections, as model cards in radiotherapy have them (AID-RT): intended use and population,
training data, performance by subgroup, limits and risks, how to monitor, version and licence. They
lie in a JSON file beside the model, ``NAME.card.json``, which whoever trained it writes. What the
model's own header tells (`model_card.Card`) fills in what the file leaves out.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cmfnet_napari.core.errors import UserError, list_names
from cmfnet_napari.core.files import write_json
from cmfnet_napari.core.fit.model_card import LICENCE, Card, model_name, model_path, read_card

SECTIONS_ENDING = ".card.json"
Range = tuple[float, float]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class TrainingData(_Part):
    """What a model was taught on.

    Attributes
    ----------
    patients : int
        How many; 0: not said.
    images, scanner, anatomy, drawn_by, source : str
        Kinds and sequences; machines; which part of the body; who drew the contours; whence the
        data.
    patient_digests : tuple of str
        How the patients are known again: 16 digits of `Study.voxel_hash`, which is the same
        whatever format the images come in; and, of a **public** collection alone, `patient_digest`,
        for images that were prepared otherwise. A hospital's numbers can be guessed from theirs.
    """

    patients: int = Field(0, ge=0)
    images: str = ""
    scanner: str = ""
    anatomy: str = ""
    drawn_by: str = ""
    source: str = ""
    patient_digests: tuple[str, ...] = ()


class Performance(_Part):
    """A measure over the patients of a subgroup.

    Attributes
    ----------
    group : str
        Which patients or users.
    measure : str
        Field of `metrics.Scores`, such as ``dsc``.
    mean : float
        Over the patients.
    low, high : float
        95 % interval of the mean.
    patients : int
        How many.
    users : str
        Simulated users of `cmfnet commission` whose strokes it was measured with, such as
        ``careful``; empty: others. All patients, not a part of them.
    """

    group: str = Field(min_length=1)
    measure: str = "dsc"
    mean: float
    low: float
    high: float
    patients: int = Field(ge=1)
    users: str = ""


class Scope(_Part):
    """What images the card speaks of; an empty or missing field says nothing.

    Attributes
    ----------
    weightings : tuple of str
        Of the MR, as `series.weighting` calls them.
    in_plane_mm, slice_mm : (float, float)
        Least and largest voxel within slices and distance of slices, mm.
    field_mm, length_mm : (float, float)
        Least and largest field of view within slices, and from the first slice to the last, mm.
    """

    weightings: tuple[str, ...] = ()
    in_plane_mm: Range | None = None
    slice_mm: Range | None = None
    field_mm: Range | None = None
    length_mm: Range | None = None


class Sections(_Part):
    """The card's sections; one that is empty is missing."""

    intended_use: str = ""
    population: str = ""
    training: TrainingData = TrainingData()
    performance: tuple[Performance, ...] = ()
    performance_notes: str = ""
    limits: tuple[str, ...] = ()
    monitoring: tuple[str, ...] = ()
    version: str = ""
    licence: str = ""
    scope: Scope = Scope()


class FullCard(BaseModel):
    """All that is known of a model.

    Attributes
    ----------
    name : str
        What people call it.
    card : Card
        Its header.
    sections : Sections
        Written by people, filled in from the header.
    missing : tuple of str
        Sections, in words, of which nothing is known.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    card: Card
    sections: Sections
    missing: tuple[str, ...] = ()

    @property
    def gap(self) -> str:
        """What is missing, in a sentence; empty where nothing is."""
        if not self.missing:
            return ""
        return (
            f"The card of {self.name} says nothing of {list_names(self.missing, 9)}. Ask whoever "
            "trained it before you rely on it."
        )


def patient_digest(number: str) -> str:
    """How a card names a patient of a public collection: by 16 digits of its Patient ID's hash."""
    return hashlib.sha256(number.strip().casefold().encode()).hexdigest()[:16]


def sections_file(run_or_model: str | Path) -> Path:
    """Where the sections of a model lie, or would."""
    path = model_path(run_or_model)
    return path.with_name(f"{path.stem}{SECTIONS_ENDING}")


def begin_card(run_or_model: str | Path, performance: Sequence[Performance]) -> Path:
    """Write the sections that are known beside a new model, for people to go on with.

    What lies there already stays as it is.

    Raises
    ------
    UserError
        The model is not there, or the file cannot be written.
    """
    file = sections_file(run_or_model)
    if not file.exists():
        write_json(file, Sections(performance=tuple(performance)).model_dump(mode="json"))
    return file


def read_full_card(run_or_model: str | Path) -> FullCard:
    """Read a model's header and its sections, without its weights and without torch.

    Raises
    ------
    UserError
        As `read_card`; the file of the sections is damaged.
    """
    card, file = read_card(run_or_model), sections_file(run_or_model)
    written = _read(file) if file.is_file() else Sections()
    found = filled_in(written, card)
    return FullCard(
        name=model_name(run_or_model), card=card, sections=found, missing=_missing(found)
    )


def filled_in(sections: Sections, card: Card) -> Sections:
    """Sections with what a model's header tells where people left something out."""
    training = sections.training
    facts = {
        "patients": training.patients or len(card.data),
        "images": training.images or " and ".join(card.modalities),
    }
    version = card.software.get("cmfnet-napari", "")
    made = f"made on {card.created}" if card.created else ""
    maker = f"with cmfnet-napari {version}" if version else ""
    return sections.model_copy(
        update={
            "training": training.model_copy(update=facts),
            "version": sections.version or " ".join(filter(None, (made, maker))),
            "licence": sections.licence or card.licence or LICENCE,
        }
    )


def _missing(sections: Sections) -> tuple[str, ...]:
    training = sections.training
    told = {
        "intended use": sections.intended_use,
        "the patients it is meant for": sections.population,
        "the images it learnt from": training.images,
        "the scanners": training.scanner,
        "the part of the body": training.anatomy,
        "who drew the contours": training.drawn_by,
        "how well it does": sections.performance,
        "limits and risks": sections.limits,
        "how to watch it": sections.monitoring,
        "its version": sections.version,
    }
    return tuple(what for what, said in told.items() if not said)


def _read(path: Path) -> Sections:
    try:
        return Sections.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise UserError(
            f"The card {path.name} cannot be read ({field}: {first['msg']}). The model itself is "
            "as it was; bring the card back from whoever trained it."
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(
            f"The card {path.name} is damaged. The model itself is as it was; bring the card back "
            "from whoever trained it."
        ) from error
