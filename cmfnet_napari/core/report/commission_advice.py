"""What to tell the users, from what a commissioning found."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from cmfnet_napari.core.contours.mean_interval import mean_interval
from cmfnet_napari.core.report.commission_facts import Commissioning, count_patients

PATIENTS = 10  # a commissioning is of so many
_END = 0.15  # of a structure's slices, at each end
_BIAS, _BETWEEN = 0.05, 0.03  # of a volume; of DSC: less is not worth a sentence


def advice(found: Commissioning) -> Iterator[str]:
    """What to tell the users, from what was found."""
    model = found.card.name
    count = 0 if len(found.known) == len(found.patients) else len(found.tested)
    if count < PATIENTS:
        unknown = " that the model does not know" if found.known else ""
        yield (
            f"Contoured were {count} of {PATIENTS} patients{unknown}: too few for a decision. Add "
            "patients and give the same command again."
        )
    yield from _users(found, model)
    yield from _worst_places(found, model)
    yield from _volumes(found, model)
    yield from _paths(found, model)
    yield from _others(found, model)
    outside = sum(bool(patient.outside) for patient in found.patients)
    if outside:
        yield f"Outside of what the card says: {outside} of {count_patients(len(found.patients))}."


def _users(found: Commissioning, model: str) -> Iterator[str]:
    means = {users: found.mean(model, users, "dsc") for users in found.users}
    known = {users: mean.mean for users, mean in means.items() if mean is not None}
    if len(known) < 2:
        return
    best, worst = max(known, key=known.__getitem__), min(known, key=known.__getitem__)
    if known[best] - known[worst] > _BETWEEN:
        yield (
            f"How one draws counts: mean DSC {known[best]:.2f} with {best} strokes, "
            f"{known[worst]:.2f} with {worst} ones. Draw as the former (docs/clinic/validation.md)."
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
            here = mean_interval([float(np.mean(of)) for of in gains.values()], -1, 1)
            interval = f"{here.low:+.3f} to {here.high:+.3f}, " if here.patients > 1 else ""
            yield (
                f"{model} less {method}: mean DSC {here.mean:+.3f} ({interval}"
                f"{count_patients(here.patients)})."
            )
