"""The classes of a case: names and colours in its card, which are left in its journal."""

from __future__ import annotations

from pathlib import Path

from cmfnet_napari.core.arrays import Codes
from cmfnet_napari.core.case.card import CaseCard
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.files import read_json, write_json
from cmfnet_napari.core.strokes.class_order import ClassOrder, ClassStep, order_of
from cmfnet_napari.core.strokes.scribbles import (
    BACKGROUND,
    MAX_CODE,
    ScribbleClass,
    class_color,
)

RUN_CLASSES = "classes.json"  # numbers of the classes that a run's labels speak of
OTHER_CLASSES = (
    "The classes are others now than those that this contour was trained with. Make the contour "
    "anew, and it follows your strokes again."
)


def case_order(card: CaseCard, steps: list[ClassStep]) -> ClassOrder:
    """Which classes are left of those that a card names."""
    return order_of(steps, [entry.code for entry in card.classes])


def case_classes(card: CaseCard, steps: list[ClassStep]) -> tuple[ScribbleClass, ...]:
    """Background and the classes that are left, in order of their codes."""
    known = {entry.code: entry for entry in card.classes}
    if not steps:
        return tuple(ScribbleClass(n, entry.name, entry.color, n) for n, entry in known.items())
    return tuple(
        _named(code, number, known.get(number))
        for code, number in enumerate(case_order(card, steps).numbers, BACKGROUND)
    )


def with_classes(
    card: CaseCard, steps: list[ClassStep], classes: tuple[ScribbleClass, ...]
) -> CaseCard:
    """A card with names and colours of classes; those without a number are given one."""
    known = {entry.code: entry for entry in card.classes}
    numbers = case_order(card, steps).numbers
    for entry in classes:
        here = numbers[entry.code - 1] if entry.code <= len(numbers) else 1 + max(known)
        number = entry.number or here
        known[number] = ScribbleClass(number, entry.name, entry.color, number)
    return card.model_copy(update={"classes": tuple(known[number] for number in sorted(known))})


def check_removable(order: ClassOrder, code: int, into: int = 0) -> ClassStep:
    """The step that removes a class (scribble code), or merges it into another.

    Raises
    ------
    UserError
        The background, or the only class.
    """
    if code <= BACKGROUND or code > len(order.numbers):
        raise UserError("The background stays. Choose another class.")
    if into == code:
        raise UserError("A class cannot be merged into itself. Choose another one.")
    if len(order.numbers) <= BACKGROUND + 1:
        raise UserError("This is the only class. Double-click its name to call it otherwise.")
    return ClassStep(order.numbers, order.numbers[code - 1], order.numbers[into - 1] if into else 0)


def note_classes(run: Path, order: ClassOrder) -> None:
    """Write into a run's folder which classes its labels speak of."""
    write_json(run / RUN_CLASSES, {"numbers": list(order.numbers)})


def run_table(run: Path, card: CaseCard, steps: list[ClassStep]) -> Codes | None:
    """Labels as they are now of those that a run has written.

    Parameters
    ----------
    run : Path
        Its folder. One that does not say which classes it had was made before any went.
    card, steps
        The case's.

    Returns
    -------
    uint8 array (256,) or None
        By label; None: they are the same.

    Raises
    ------
    UserError
        What the run says of its classes is damaged.
    """
    return case_order(card, steps).labels(run_numbers(run, card))


def translated(labels: Codes, table: Codes | None) -> Codes:
    """Labels through a table of `run_table`."""
    return labels if table is None else table[labels]


def run_numbers(run: Path, card: CaseCard) -> tuple[int, ...]:
    """Numbers of the classes that a run's labels speak of; as `run_table`."""
    if not (run / RUN_CLASSES).is_file():
        return tuple(entry.code for entry in card.classes)
    numbers = read_json(run / RUN_CLASSES).get("numbers")
    if (
        not isinstance(numbers, list)
        or not all(isinstance(number, int) for number in numbers)
        or not len(set(numbers)) == len(numbers) <= MAX_CODE
    ):
        raise UserError(f"{RUN_CLASSES} in {run.name} is damaged. Make the contour anew.")
    return tuple(numbers)


def _named(code: int, number: int, entry: ScribbleClass | None) -> ScribbleClass:
    """A class; one that an older card does not know is called by its number."""
    if entry is None:
        return ScribbleClass(code, f"Class {number - BACKGROUND}", class_color(number), number)
    return ScribbleClass(code, entry.name, entry.color, number)
