"""How well the preflight tells an MR that does not lie on its CT, on real patients.

``python benchmarks/registration.py [CASES]``: each pair as it is, with the MR moved along each
axis, flipped along each, and replaced by another patient's. Patients go to two columns in turn.
"""

from __future__ import annotations

import os
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from cmfnet_napari.core.images.study import Study, open_study
from cmfnet_napari.core.images.volume import Volume
from cmfnet_napari.core.registration.likeness import Likeness, doubts, likeness

DATA = Path(os.environ.get("CMFNET_TEST_DATA", "../shared/data")) / "sts" / "cases"
DISTANCES_MM = 10, 20, 30, 40
OTHERS = 1, 5, 9  # how many patients further on


def with_mr(study: Study, mr: np.ndarray, fov: np.ndarray) -> Study:
    """The study with another MR."""
    return replace(study, second=Volume(mr, study.grid, "MR"), seen=fov)


def placed(array: np.ndarray, shape: tuple[int, ...], start: tuple[int, ...]) -> np.ndarray:
    """An array in one of zeros, its first voxel at `start`."""
    result = np.zeros(shape, array.dtype)
    pairs = list(zip(start, array.shape, shape, strict=True))
    to = tuple(slice(max(s, 0), max(min(s + n, size), 0)) for s, n, size in pairs)
    source = tuple(slice(max(-s, 0), max(min(n, size - s), 0)) for s, n, size in pairs)
    result[to] = array[source]
    return result


def moved(study: Study, axis: int, mm: float) -> Study:
    """The MR moved along an axis, its field of view with it."""
    start = [0, 0, 0]
    start[axis] = round(mm / study.grid.spacing[axis])
    arrays = study.second.array, study.seen
    return with_mr(study, *(placed(a, study.grid.shape, tuple(start)) for a in arrays))


def swapped(study: Study, other: Study) -> Study:
    """Another patient's MR, middle on middle."""
    shape = study.grid.shape
    start = tuple((n - m) // 2 for n, m in zip(shape, other.grid.shape, strict=True))
    return with_mr(study, *(placed(a, shape, start) for a in (other.second.array, other.seen)))


def faults(studies: list[Study], number: int) -> Iterator[tuple[str, Study]]:
    """Names and studies: as it is, and with every fault."""
    study = studies[number]
    yield "registered", study
    for mm in DISTANCES_MM:
        for axis, name in enumerate(("head–foot", "front–back", "left–right")):
            for sign in (1, -1):
                if mm < study.grid.shape[axis] * study.grid.spacing[axis] / 2:
                    yield f"{mm} mm {name}", moved(study, axis, sign * mm)
    for axis, name in enumerate(("head–foot", "front–back", "left–right")):
        arrays = (np.flip(a, axis) for a in (study.second.array, study.seen))
        yield f"flipped {name}", with_mr(study, *arrays)
    for step in OTHERS:
        yield "another patient's", swapped(study, studies[(number + step) % len(studies)])


def main() -> None:
    """Print alarms and values as a table."""
    cases = sorted(Path(sys.argv[1] if len(sys.argv) > 1 else DATA).iterdir())
    studies = [open_study(case / "ct.nii.gz", case / "mr.nii.gz") for case in cases]
    found: dict[str, tuple[list, list]] = defaultdict(lambda: ([], []))
    for number, case in enumerate(cases):
        for name, study in faults(studies, number):
            value = likeness(study)
            found[name][number % 2].append(value)
            if name == "registered" and bool(doubts(value)):
                print(f"{case.name}, as it is: {value}")
    print(
        "| MR | alarms, every second patient | alarms, the others | here | here / best | move, mm |"
    )
    print("|---|---|---|---|---|---|")
    for name, halves in found.items():
        counts = " | ".join(alarms(half) for half in halves)
        print(f"| {name} | {counts} | {spread([*halves[0], *halves[1]])} |")


def alarms(values: list[Likeness | None]) -> str:
    """How many are taken for not registered."""
    return f"{sum(bool(doubts(value)) for value in values)} of {len(values)}"


def spread(values: list[Likeness | None]) -> str:
    """Lowest, median and highest of each measure."""
    known = [value for value in values if value is not None]
    measures = (
        [v.here for v in known],
        [v.here / v.best for v in known],
        [v.distance for v in known],
    )
    digits = (3, 2, 0)
    return " | ".join(
        " … ".join(f"{n:.{d}f}" for n in (min(m), float(np.median(m)), max(m)))
        for m, d in zip(measures, digits, strict=True)
    )


if __name__ == "__main__":
    main()
