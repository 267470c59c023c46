"""What a commissioning found: means with intervals, against the model's card, and what to say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, fields

import numpy as np

from cmfnet_napari.core.contours.mean_interval import MeanInterval, mean_interval
from cmfnet_napari.core.contours.metrics import LOWER_IS_BETTER, TITLES, Scores
from cmfnet_napari.core.errors import list_names
from cmfnet_napari.core.fit.card_sections import FullCard, Performance

PATIENTS = 10  # a commissioning is of so many
SHOWN = ("dsc", "surface_dsc", "hd95_mm", "path_mm", "path_share")
_HIGHER_IS_BETTER = ("dsc", "surface_dsc")
_LEAST = 5  # patients, for an interval that says something
_END = 0.15  # of a structure's slices, at each end
_BIAS, _BETWEEN = 0.05, 0.03  # of a volume; of DSC: less is not worth a sentence


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
        Who could not be taken, and why, in sentences.
    """

    card: FullCard
    structure: str
    patients: tuple[PatientFacts, ...]
    scores: tuple[Score, ...]
    left_out: tuple[str, ...] = field(default=())

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
        return mean_interval(known) if known else None


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
    if here.patients < _LEAST:
        return said + "too few patients to say more."
    if here.low <= row.high and row.low <= here.high:
        return said + "they agree, as far as that many patients can tell."
    if row.measure not in (*_HIGHER_IS_BETTER, *LOWER_IS_BETTER):
        return said + "OTHER than the card says. Find out why before the model is used."
    better = (here.mean > row.mean) == (row.measure in _HIGHER_IS_BETTER)
    if better:
        return said + "BETTER than the card says. Make sure that these patients are not easier."
    return said + "WORSE than the card says. Find out why before the model is used."


def advice(found: Commissioning) -> Iterator[str]:
    """What to tell the users, from what was found."""
    model = found.card.name
    count = 0 if len(found.known) == len(found.patients) else len(found.tested)
    if count < PATIENTS:
        unknown = " that the model does not know" if found.known else ""
        yield (
            f"{count} of {PATIENTS} patients{unknown} were contoured: too few for a decision. Add "
            "patients and give the same command again."
        )
    yield from _users(found, model)
    yield from _worst_places(found, model)
    yield from _volumes(found, model)
    yield from _paths(found, model)
    yield from _others(found, model)
    outside = sum(bool(patient.outside) for patient in found.patients)
    if outside:
        yield f"{outside} of {len(found.patients)} patients are outside of what the card says."


def _users(found: Commissioning, model: str) -> Iterator[str]:
    means = {users: found.mean(model, users, "dsc") for users in found.users}
    known = {users: mean.mean for users, mean in means.items() if mean is not None}
    if len(known) < 2:
        return
    best, worst = max(known, key=known.__getitem__), min(known, key=known.__getitem__)
    if known[best] - known[worst] > _BETWEEN:
        yield (
            f"How one draws counts: mean DSC {known[best]:.2f} with {best} strokes, "
            f"{known[worst]:.2f} with {worst} ones. Draw as the former: see the protocol."
        )


def _worst_places(found: Commissioning, model: str) -> Iterator[str]:
    places = [one.place for one in found.test_scores if one.method == model]
    ends = sum(place <= _END or place >= 1 - _END for place in places)
    if places and ends > len(places) / 2:
        yield (
            f"The worst slice lies at an end of the structure in {ends} of {len(places)} contours: "
            "draw on the last slices, mark the ends, and look there first."
        )
    elif places and ends < len(places) / 2:
        yield (
            f"The worst slice lies between the ends of the structure in {len(places) - ends} of "
            f"{len(places)} contours: look at the slices without strokes first."
        )


def _volumes(found: Commissioning, model: str) -> Iterator[str]:
    apart = [
        one.scores.volume_difference
        for one in found.test_scores
        if one.method == model and one.scores.volume_difference is not None
    ]
    if apart and abs(median := float(np.median(apart))) > _BIAS:
        way = "larger" if median > 0 else "smaller"
        yield f"Contours are {way} than those by hand: {100 * median:+.0f} % in the median."


def _paths(found: Commissioning, model: str) -> Iterator[str]:
    lengths = [one.scores.path_mm / 10 for one in found.test_scores if one.method == model]
    if lengths:
        low, median, high = np.percentile(lengths, [25, 50, 75])
        yield (
            f"Expect to draw {median:.0f} cm of contour by hand on a patient (middle half: "
            f"{low:.0f} to {high:.0f} cm). With much more than that, contour by hand instead."
        )


def _others(found: Commissioning, model: str) -> Iterator[str]:
    for method in found.methods:
        if method == model:
            continue
        theirs = {(one.patient, one.users): one.scores.dsc for one in found.test_scores
                  if one.method == method}  # fmt: skip
        gains: dict[int, list[float]] = {}  # users of one patient say the same of it: one value
        for one in found.test_scores:
            other = theirs.get((one.patient, one.users))
            if one.method == model and other is not None:
                gains.setdefault(one.patient, []).append(one.scores.dsc - other)
        if gains:
            here = mean_interval([float(np.mean(of)) for of in gains.values()])
            yield (
                f"{model} less {method}: mean DSC {here.mean:+.3f} ({here.low:+.3f} to "
                f"{here.high:+.3f}, {here.patients} patients)."
            )


def card_gaps(found: Commissioning) -> list[str]:
    """What the card says nothing of, and sentences about patients that are outside of it."""
    counted = Counter(sentence for one in found.patients for sentence in one.outside)
    told = [
        f"{count} of {len(found.patients)} patients: {sentence}"
        for sentence, count in counted.most_common()
    ]
    return [*filter(None, [found.card.gap]), *told]
