"""One row of a cohort file contoured by a model: files, and what is said of it.

::

    FOLDER/contour.nii.gz     segmentation codes on the first image's own grid
    FOLDER/picture.png        the contour on slices of each image; the reference dashed
    FOLDER/result.json        volumes, scores, what to check; it is written last
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import nan, prod
from pathlib import Path

from cmfnet_napari.core.arrays import Codes
from cmfnet_napari.core.contours.metrics import MEASURES, evaluate
from cmfnet_napari.core.errors import DataWarning, UserError, hear
from cmfnet_napari.core.files import (
    JsonObject,
    hash_file,
    private_folder,
    read_json,
    write_json,
)
from cmfnet_napari.core.fit.card_scope import outside_card
from cmfnet_napari.core.fit.card_sections import read_full_card
from cmfnet_napari.core.fit.cost_estimate import PATIENT
from cmfnet_napari.core.fit.model_card import Card
from cmfnet_napari.core.folder_lock import alone
from cmfnet_napari.core.images.study import (
    Study,
    load_values,
    open_study,
    save_labels,
    say_no_units,
)
from cmfnet_napari.core.report.figures import save_contours
from cmfnet_napari.core.strokes.scribbles import check_classes, check_codes
from cmfnet_napari.core.strokes.taken_for_strokes import say_whole
from cmfnet_napari.learning.cohort.cohort_file import Row
from cmfnet_napari.learning.cohort.results import Result
from cmfnet_napari.learning.cohort.split import Hooks
from cmfnet_napari.learning.engine.device import pick_device
from cmfnet_napari.learning.model.checkpoint import load_model
from cmfnet_napari.learning.model.cmfnet import CmFNet
from cmfnet_napari.learning.predict.memory import whole_memory
from cmfnet_napari.learning.predict.predictor import predict_study, usable_memory

CONTOUR, PICTURE, _RESULT = "contour.nii.gz", "picture.png", "result.json"
_RESULT_BYTES = 20  # at most, a class and voxel, see `predictor._find_room`


def contour_row(
    model: Path, digest: str, row: Row, folder: Path, device: str, hooks: Hooks
) -> bool:
    """Contour a row and write its folder; what is complete is not done again.

    `digest` is the SHA-256 of the model's file when the batch was begun.

    Returns
    -------
    bool
        Whether it is complete; else it was stopped.

    Raises
    ------
    UserError
        The model is another now; as `study.open_study`, `predictor.predict_study`; names the row.
    """
    if is_complete(folder):
        return True
    if hooks.stop():
        return False
    private_folder(folder)
    with alone(folder):
        if is_complete(folder):
            return True
        hooks.show(0.0, "reading")
        try:
            with hear() as notes:
                _contour(model, digest, row, folder, device, hooks, notes)
        except UserError as error:
            raise UserError(f"{row.place}: {error}") from error
    return True


def is_complete(folder: Path) -> bool:
    """Whether a row was contoured there."""
    return (folder / _RESULT).exists()


def read_row(row: Row, folder: Path) -> tuple[list[Result], list[str]]:
    """What was found of a row, class by class, and what to check."""
    known = read_json(folder / _RESULT)
    results = [
        Result(row.case, row.split, number, tuple(_value(scores, m.name) for m in MEASURES))
        for number, scores in enumerate(known["classes"], start=1)
    ]
    return results, [str(note) for note in known["notes"]]


def _value(scores: JsonObject, name: str) -> float:
    value = scores.get(name)
    return nan if value is None else float(value)


def _contour(
    model: Path,
    digest: str,
    row: Row,
    folder: Path,
    device: str,
    hooks: Hooks,
    notes: Sequence[DataWarning],
) -> None:
    network, card = _loaded(model, digest, device)
    study = open_study(row.first, row.second, row.modalities)
    say_no_units(study)
    reference = None if row.mask is None else _reference(row.mask, study)
    hooks.show(0.2, "contouring")
    strokes, budget = _strokes(row, card, study), _budget(network, card, study)
    labels = predict_study(network, card, study, budget, strokes).labels
    save_labels(labels, study, folder / CONTOUR)
    save_contours(study, labels, folder / PICTURE, reference)
    classes = [_scores(labels, reference, code, study) for code in range(1, card.classes)]
    outside = outside_card(read_full_card(model), study)
    said = [*outside, *(note.kept for note in notes)]
    write_json(folder / _RESULT, {"classes": classes, "notes": said}, private=True)


@lru_cache(maxsize=1)  # a process contours many; a worker outlives the batch, and the model
def _loaded(model: Path, digest: str, device: str) -> tuple[CmFNet, Card]:
    loaded = load_model(model, pick_device(device))
    if hash_file(model) != digest:
        raise UserError(
            f"the model {model.name} is another than when the batch was begun. Put the first one "
            "back, or choose a new folder."
        )
    return loaded


def _budget(network: CmFNet, card: Card, study: Study) -> float:
    """For one of usual size as much as the batch plans with: others are contoured beside it."""
    device = next(network.parameters()).device
    free = usable_memory(device)
    if device.type != "cpu":
        return free
    results = _RESULT_BYTES * (card.classes + 1) * prod(study.grid.shape)
    return min(free, whole_memory(card.config, card.classes, PATIENT) + results)


def _strokes(row: Row, card: Card, study: Study) -> Codes | None:
    if not card.config.stroke_maps or row.scribbles is None:
        return None
    values = load_values(row.scribbles, study.grid, study.names[0])
    strokes = check_codes(values, f"the scribbles {row.scribbles.name}")
    say_whole(strokes, study)
    return strokes


def _reference(path: Path, study: Study) -> Codes:
    labels = load_values(path, study.grid, study.names[0])
    return check_classes(labels, f"the mask {path.name}")


def _scores(labels: Codes, reference: Codes | None, code: int, study: Study) -> JsonObject:
    """Of one class; its volume alone where there is nothing to judge by."""
    found = labels == code
    if reference is None:
        return {"volume_ml": float(found.sum() * study.grid.voxel_ml)}
    scores = evaluate(found, reference == code, study.grid).mean
    return {measure.name: getattr(scores, measure.name) for measure in MEASURES}
