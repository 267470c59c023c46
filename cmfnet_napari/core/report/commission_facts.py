"""What a commissioning found: means with intervals, against the model's card."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, fields

from cmfnet_napari.core.contours.mean_interval import MeanInterval, score_interval
from cmfnet_napari.core.contours.metrics import LOWER_IS_BETTER, TITLES, Scores
from cmfnet_napari.core.errors import list_names
from cmfnet_napari.core.fit.card_sections import FullCard, Performance

SHOWN = ("dsc", "surface_dsc", "hd95_mm", "path_mm", "path_share")
_HIGHER_IS_BETTER = ("dsc", "surface_dsc")
_LEAST = 5  # patients, for an interval that says something


@dataclass(frozen=True)
class PatientFacts:
    """A patient that was contoured by hand, without whose it is.

    Attributes
    ----------
    number : int
        From 1 on.
    key : str
        16 digits of a hash of the voxels.
    kinds : str
        What the images are.
    outside : tuple of str
        Where the patient is outside of the model's card, in sentences.
    known : bool
        The model was made with this patient, whose figures are no test of it.
    """

    number: int
    key: str
    kinds: str
    outside: tuple[str, ...] = ()
    known: bool = False


@dataclass(frozen=True)
class Score:
    """A contour against the one by hand.

    Attributes
    ----------
    patient : int
        Its number.
    users : str
        Who drew the strokes: a simulated user's name.
    method : str
        The model, or a preset from strokes alone.
    scores : Scores
        Against the contour by hand.
    seconds : float
        What it took, s.
    slice_ : int
        Axial slice on which most is wrong, from 0 on.
    place : float
        Where that is in the structure: 0 its first slice, 1 its last; outside of them below or
        above.
    """

    patient: int
    users: str
    method: str
    scores: Scores
    seconds: float
    slice_: int
    place: float


@dataclass(frozen=True)
class Commissioning:
    """All that a commissioning found.

    Attributes
    ----------
    card : FullCard
        The model's.
    structure : str
        What was contoured.
    patients : tuple of PatientFacts
        Those that were contoured.
    scores : tuple of Score
        Of every patient, user and method.
    left_out : tuple of str
        Who could not be taken, in sentences without names.
    model_hash : str
        SHA-256 of the model's file.
    """

    card: FullCard
    structure: str
    patients: tuple[PatientFacts, ...]
    scores: tuple[Score, ...]
    left_out: tuple[str, ...] = field(default=())
    model_hash: str = ""

    @property
    def methods(self) -> list[str]:
        """The model first."""
        return list(dict.fromkeys(one.method for one in self.scores))

    @property
    def users(self) -> list[str]:
        """In the order they drew."""
        return list(dict.fromkeys(one.users for one in self.scores))

    @property
    def known(self) -> list[int]:
        """Numbers of the patients that the model was made with."""
        return [one.number for one in self.patients if one.known]

    @property
    def tested(self) -> list[PatientFacts]:
        """Patients that the model does not know; all, where it knows every one."""
        return [one for one in self.patients if not one.known] or list(self.patients)

    @property
    def test_scores(self) -> list[Score]:
        """Of the patients that are `tested`: means, comparison and advice are of these."""
        left_out = set(self.known) if len(self.known) < len(self.patients) else set()
        return [one for one in self.scores if one.patient not in left_out]

    def of(self, method: str, users: str) -> list[Score]:
        """Scores of a method with the strokes of a user, by patient that is tested."""
        return [one for one in self.test_scores if (one.method, one.users) == (method, users)]

    def mean(self, method: str, users: str, measure: str) -> MeanInterval | None:
        """A measure over the tested patients that have it; None: none has."""
        values = (getattr(one.scores, measure) for one in self.of(method, users))
        known = [value for value in values if value is not None]
        return score_interval(measure, known) if known else None


def count_patients(count: int) -> str:
    """So many patients, in words."""
    return "1 patient" if count == 1 else f"{count} patients"


def known_patients(found: Commissioning) -> Iterator[str]:
    """Which patients the model was made with, and what that means for the figures."""
    if not found.known:
        return
    model, numbers = found.card.name, list_names(map(str, found.known), 20)
    if len(found.known) == len(found.patients):
        yield (
            f"{model} was made with every one of these patients: all figures flatter, and are no "
            "test of it. Take patients that it does not know."
        )
        return
    yield (
        f"{model} was made with {len(found.known)} of these patients ({numbers}): their figures "
        "flatter, are marked * under Every contour, and count for nothing else on this page."
    )


def against_card(found: Commissioning) -> Iterator[str]:
    """Every measure that the card has for the same users, in a sentence."""
    rows = [row for row in found.card.sections.performance if row.users in found.users]
    if not rows:
        yield (
            f"The card of {found.card.name} has no figures of these users: nothing can be "
            "compared with it."
        )
        return
    if len(found.tested) < _LEAST:
        yield (
            f"{count_patients(len(found.tested))}: too few to be compared with the card; {_LEAST} "
            "at least are needed."
        )
        return
    known = {one.name for one in fields(Scores)}
    for row in rows:
        if row.measure not in known:
            yield (
                f"The card of {found.card.name} has {row.measure} of {row.users} strokes, which is "
                f"not measured here. Measured are {list_names(sorted(known), len(known))}."
            )
            continue
        here = found.mean(found.card.name, row.users, row.measure)
        if here is not None:
            yield _compared(row, here)


def _compared(row: Performance, here: MeanInterval) -> str:
    title = TITLES.get(row.measure, row.measure)
    ours = f"{here.mean:.3g} ({here.low:.3g} to {here.high:.3g}) here"
    theirs = f"{row.mean:.3g} ({row.low:.3g} to {row.high:.3g}) on the card"
    said = f"{title}, {row.users} strokes: {ours}, {theirs}: "
    if here.low <= row.high and row.low <= here.high:
        return said + "alike."
    if row.measure not in (*_HIGHER_IS_BETTER, *LOWER_IS_BETTER):
        return said + "OTHER than the card says. Find out why before the model is used."
    better = (here.mean > row.mean) == (row.measure in _HIGHER_IS_BETTER)
    if better:
        return said + "BETTER than the card says. Make sure that these patients are not easier."
    return said + "WORSE than the card says. Find out why before the model is used."


def card_gaps(found: Commissioning) -> list[str]:
    """What the card says nothing of, and sentences about patients that are outside of it."""
    counted = Counter(sentence for one in found.patients for sentence in one.outside)
    told = [
        f"{count} of {len(found.patients)} patients: {sentence}"
        for sentence, count in counted.most_common()
    ]
    return [*filter(None, [found.card.gap]), *told]
