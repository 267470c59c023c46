"""The contour as each reader signed it off, and how two of them differ."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cmfnet_napari.core.arrays import Codes, Labels
from cmfnet_napari.core.case.case_classes import note_classes, translated
from cmfnet_napari.core.case.folder import Case
from cmfnet_napari.core.contours.components import class_name
from cmfnet_napari.core.contours.hand_work import class_count, hand_work
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.files import JsonObject, private_folder
from cmfnet_napari.core.images.grid import Grid
from cmfnet_napari.core.images.study import Study, load_labels, save_labels
from cmfnet_napari.core.privacy import inside
from cmfnet_napari.core.review.log_entry import Entry
from cmfnet_napari.core.review.record import digest
from cmfnet_napari.core.strokes.class_order import ClassOrder

READINGS = "readings"
CONTOUR_FILE = "contour.nii.gz"


def save_reading(folder: Path, study: Study, order: ClassOrder, labels: Labels) -> str:
    """Keep the contour of a reader with the case; return its folder within the case.

    Parameters
    ----------
    folder : Path
        Of the case.
    study : Study
        Its images.
    order : ClassOrder
        Its classes.
    labels : integer array (z, y, x)
        The contour of record.

    Raises
    ------
    UserError
        It cannot be written.
    """
    readings = folder / READINGS
    try:
        private_folder(readings)
        number = 1 + max((int(p.name) for p in readings.glob("[0-9]" * 4)), default=0)
        own = readings / f"{number:04d}"
        own.mkdir(mode=0o700)
    except OSError as error:
        raise UserError("The contour could not be kept with the case.") from error
    note_classes(own, order)
    save_labels(labels, study, own / CONTOUR_FILE)
    return f"{READINGS}/{own.name}"


def reading_file(case: Path, mark: Entry) -> Path:
    """The contour that an entry of the log speaks of.

    Raises
    ------
    UserError
        It names none, or one outside the case.
    """
    name = str(mark.detail.get("reading", ""))
    if not name:
        raise UserError(f"Entry {mark.n} of the review log kept no contour.")
    return inside(case, f"{name}/{CONTOUR_FILE}")


def load_reading(case: Case, mark: Entry, order: ClassOrder) -> Codes:
    """The contour as a reader signed it off, uint8 (z, y, x).

    It reads files alone, so that any thread may ask.

    Parameters
    ----------
    case : Case
        Open.
    mark : Entry
        Of its log.
    order : ClassOrder
        The classes there are now, which the contour is read in.

    Raises
    ------
    UserError
        It is missing or damaged, or another one than was signed off.
    """
    path = reading_file(case.folder, mark)
    labels = load_labels(path, case.study.grid)
    if digest(labels) != mark.contour:
        raise UserError(
            f"{path.parent.name}/{path.name} of the case is not the contour that {mark.who} signed "
            f"off on {mark.moment}: it was changed since."
        )
    return translated(labels, order.labels(case.run_numbers(path.parent)))


def reader_difference(
    first: Labels, second: Labels, grid: Grid, names: Sequence[str]
) -> JsonObject:
    """How the contour of a second reader differs from the first one's.

    Parameters
    ----------
    first, second : integer array (z, y, x)
        Segmentation codes.
    grid : Grid
        Where they lie.
    names : sequence of str
        Of the classes 1, 2, ….

    Returns
    -------
    dict
        ``slices``: axial ones on which they differ; ``difference``: by class Dice, ml added and
        ml removed by the second reader.
    """
    work = hand_work(first, second, grid, names)
    found: JsonObject = {}
    for code in range(1, 1 + class_count(first, second, names)):
        one, other = first == code, second == code
        size = int(one.sum()) + int(other.sum())
        if size:
            name = class_name(code, names)
            found[name] = {
                "dice": round(2 * int((one & other).sum()) / size, 4),
                "added_ml": round(work.added_ml.get(name, 0.0), 3),
                "removed_ml": round(work.removed_ml.get(name, 0.0), 3),
            }
    return {"slices": work.slices, "difference": found}
