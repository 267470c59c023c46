"""The images and labels of a cohort, and the checks that need all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cmfnet_napari.core.arrays import Codes, Wholes
from cmfnet_napari.core.errors import UserError, list_names
from cmfnet_napari.core.images.grid import Grid
from cmfnet_napari.core.images.study import Study, load_values, open_study, say_no_units
from cmfnet_napari.core.strokes.scribbles import (
    IGNORE,
    check_classes,
    check_codes,
    to_scribbles,
    to_targets,
)
from cmfnet_napari.core.strokes.taken_for_strokes import say_whole
from cmfnet_napari.learning.cohort.cohort_file import TEST, VAL, Row, raise_problems


@dataclass(frozen=True)
class LoadedCase:
    """A row of the cohort file with its images and labels in memory.

    Attributes
    ----------
    row : Row
        Where it comes from.
    study : Study
        Its images.
    targets : uint8 array (z, y, x)
        Segmentation codes on the Study's Grid to train from, `scribbles.IGNORE` where there is
        no label.
    reference : uint8 array (z, y, x) or None
        Segmentation codes to judge by.
    dense : bool
        Every voxel has a label: the targets are the reference.
    """

    row: Row
    study: Study
    targets: Codes
    reference: Codes | None
    dense: bool


@dataclass(frozen=True)
class CaseFacts:
    """What the checks of a cohort need of a row, without its voxels.

    Attributes
    ----------
    row : Row
        Where it comes from.
    kinds : tuple of str
        What its images are.
    image : str
        Hash of the first.
    codes : tuple of int
        Segmentation codes that it is trained on.
    judged : int
        The highest code of the reference; 0 without one.
    dense : bool
        Every voxel has a label.
    """

    row: Row
    kinds: tuple[str, ...]
    image: str
    codes: tuple[int, ...]
    judged: int
    dense: bool


def facts_of(case: LoadedCase) -> CaseFacts:
    """What the checks of a cohort need of a case."""
    return CaseFacts(
        case.row,
        case.study.kinds,
        replace(case.study, second=None, seen=None).content_hash,
        tuple(int(code) for code in _codes(case.targets)),
        0 if case.reference is None else int(case.reference.max()),
        case.dense,
    )


def check_cohort(facts: Sequence[CaseFacts], problems: Sequence[str] = ()) -> None:
    """Check rows against each other; `problems` are those of rows that could not be read.

    Raises
    ------
    UserError
        As `load_cohort`.
    """
    raise_problems(
        "The cohort",
        [*problems, *_class_problems(facts), *_other_kinds(facts), *_same_images(facts)],
    )


def load_case(row: Row) -> LoadedCase:
    """Read the images and labels of one row.

    Raises
    ------
    UserError
        As `study.open_study` and `study.load_values`, or a label is no code; names the row.
    """
    try:
        study = open_study(row.first, row.second, row.modalities)
        say_no_units(study, row.place)
        reference = None if row.mask is None else _read_mask(row.mask, study.grid)
        if row.scribbles is None:
            if reference is None:
                raise UserError("it has neither scribbles nor a mask.")
            return LoadedCase(row, study, reference, reference, dense=True)
        values = load_values(row.scribbles, study.grid)
        scribbles = check_codes(values, f"the scribbles {row.scribbles.name}")
        say_whole(scribbles, study, row.place)
        return LoadedCase(row, study, to_targets(scribbles), reference, dense=False)
    except UserError as error:
        raise UserError(f"{row.place}: {error}") from error


def load_cohort(
    rows: Sequence[Row], progress: Callable[[int, int], None] = lambda done, total: None
) -> tuple[LoadedCase, ...]:
    """Read all rows into memory, and check them against each other.

    Parameters
    ----------
    rows : sequence of Row
        From `cohort_file.read_cohort`.
    progress : callable
        Gets the rows done and all rows after each row.

    Returns
    -------
    tuple of LoadedCase, one for each row

    Raises
    ------
    UserError
        Names up to ten problems: images or labels that cannot be used, a row to train on without
        a label of a class or of the background, rows with different numbers of classes or other
        kinds of images, one image under two patients.
    """
    cases, problems = [], []
    for done, row in enumerate(rows, start=1):
        try:
            cases.append(load_case(row))
        except UserError as error:
            problems.append(str(error).rstrip("."))
        progress(done, len(rows))
    check_cohort([facts_of(case) for case in cases], problems)
    return tuple(cases)


def _read_mask(path: Path, grid: Grid) -> Codes:
    return check_classes(load_values(path, grid), f"the mask {path.name}")


def _class_problems(cases: Sequence[CaseFacts]) -> Iterator[str]:
    """What keeps the rows from being trained on as one; the others only must fit to them."""
    classes: dict[int, list[str]] = {}
    for case in cases:
        if case.row.split not in (VAL, TEST):
            highest = max(case.codes, default=0)
            yield from _gaps(case, np.setdiff1d(np.arange(max(1, highest) + 1), case.codes))
            if highest:
                classes.setdefault(highest, []).append(case.row.place)
    if len(classes) > 1:
        counts = (f"{n} in {list_names(classes[n])}" for n in sorted(classes))
        yield f"the cases differ in their number of classes: {'; '.join(counts)}"
    if len(classes) == 1:
        yield from _unknown_classes(cases, *classes)


def _gaps(case: CaseFacts, missing: Wholes) -> Iterator[str]:
    """Name segmentation codes without a label, by the codes the file has."""
    codes: Wholes = missing
    what = "the mask has no voxel"
    if not case.dense:
        codes = to_scribbles(missing, np.ones(missing.shape, dtype=bool))
        what = "the scribbles have no stroke"
    for number, code in zip(missing, codes, strict=True):
        name = f"class {number}" if number else "background"
        yield f"{case.row.place}: {what} of {name} (code {code})"


def _unknown_classes(cases: Sequence[CaseFacts], trained: int) -> Iterator[str]:
    for case in cases:
        if case.judged > trained:
            yield (
                f"{case.row.place}: the mask has class {case.judged}, but the cases to "
                f"train on have labels up to class {trained}"
            )


def _other_kinds(cases: Sequence[CaseFacts]) -> Iterator[str]:
    """A network learns what is what from the images' order: all cases must have the same kinds."""
    kinds: dict[tuple[str, ...], list[str]] = {}
    for case in cases:
        kinds.setdefault(case.kinds, []).append(case.row.place)
    if len(kinds) > 1:
        words = (f"{' and '.join(kind)} in {list_names(kinds[kind])}" for kind in sorted(kinds))
        yield f"the cases differ in what their images are: {'; '.join(words)}"


def _same_images(cases: Sequence[CaseFacts]) -> Iterator[str]:
    """One image under two names would be learnt from in one split and judged by in another."""
    owners: dict[str, Row] = {}
    for case in cases:
        owner = owners.setdefault(case.image, case.row)
        if owner.case != case.row.case:
            yield (
                f"{owner.place} and {case.row.place} hold the same {case.kinds[0]}; give all "
                "rows of one patient one case name"
            )


def _codes(targets: Codes) -> Wholes:
    """Segmentation codes that occur."""
    return np.flatnonzero(np.bincount(targets.ravel(), minlength=IGNORE)[:IGNORE])
