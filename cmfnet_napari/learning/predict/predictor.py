"""Prediction through y_mm, on volumes of any shape, within a budget of memory.

The other two branches are computed only when it is asked how far the three are apart.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from math import prod

import numpy as np
import psutil
import torch
from torch import Tensor

from cmfnet_napari.core.arrays import Codes, Reals, three
from cmfnet_napari.core.contours.components import drop_unmarked
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.fit.config import Config
from cmfnet_napari.core.fit.model_card import Card
from cmfnet_napari.core.images.study import Study
from cmfnet_napari.core.strokes.scribbles import check_trainable
from cmfnet_napari.learning.data.prepare import Inputs, card_frame, make_inputs
from cmfnet_napari.learning.data.volumes import Surroundings
from cmfnet_napari.learning.engine.device import pick_precision
from cmfnet_napari.learning.model.cmfnet import CmFNet
from cmfnet_napari.learning.model.network import Network
from cmfnet_napari.learning.predict.any_structure import read_strokes
from cmfnet_napari.learning.predict.blended_windows import blended
from cmfnet_napari.learning.predict.memory import Room
from cmfnet_napari.learning.predict.prediction import Prediction
from cmfnet_napari.learning.predict.tiles import make_tiles, smallest_tile

_SHARE = 0.7  # of the free memory, when no budget is given
# Of windows. With a quarter, a patient of 48×112×128 took 2.4 s for 3.9 s, but DSC fell from 0.78
# to 0.69 (quick preset, on the whole synthetic patient).
_OVERLAP = 0.5
_SLAB = 16  # slices of the working grid that are refined at once


@torch.inference_mode()
def class_probabilities(
    model: Network, inputs: Inputs, config: Config, precision: torch.dtype = torch.float32
) -> Tensor:
    """Probabilities (1, classes, z', y', x') on the working grid, on the CPU; as `predict`."""
    model.eval()
    return _answers(model, inputs, config, precision, None, branches=False)[0]


@torch.inference_mode()
def predict(
    model: Network,
    inputs: Inputs,
    config: Config,
    precision: torch.dtype = torch.float32,
    scribbles: Codes | None = None,
    memory: float | None = None,
    *,
    branches: bool = False,
) -> Prediction:
    """Predict a study: the whole volume at once, or in tiles where memory does not allow that.

    Parameters
    ----------
    model : Network
        On its device.
    inputs : Inputs
        The study's images on the working grid.
    config : Config
        How the model was trained.
    precision : torch.dtype
        float32, or bfloat16 for autocast.
    scribbles : uint8 array (z, y, x) on the Study's Grid, optional
        When given, components of a class without a stroke of that class are dropped.
    memory : float, optional
        Bytes that may be used beyond model and inputs: of the processor's memory, or of the
        GPU's when the model is on one. None: a share of what is free.
    branches : bool
        Compute y_ct and y_mr of a CmFNet too, for the disagreement. Labels and probability stay
        the same.

    Raises
    ------
    UserError
        Not even the smallest tile fits.
    """
    model.eval()
    answers, classes = _answers(model, inputs, config, precision, memory, branches)
    prediction = _finish(answers, inputs, classes)
    if scribbles is not None:
        return replace(prediction, labels=drop_unmarked(prediction.labels, scribbles))
    return prediction


def predict_study(
    model: CmFNet,
    card: Card,
    study: Study,
    memory: float | None = None,
    scribbles: Codes | None = None,
    *,
    branches: bool = False,
) -> Prediction:
    """Predict a study with a loaded model, on the model's working grid.

    On the study it was fitted to, the model works on its own region; on another one, on the
    box around the patient's body. `memory` is as in `predict`, with the inputs included, and
    `branches` too.
    `scribbles` (uint8, Study's Grid) are needed by a model that reads maps of the strokes, which
    then keeps only parts that hold one.

    Raises
    ------
    UserError
        The model reads strokes, and there are none; as `predict`.
    """
    scribbles = _check_strokes(card, scribbles) if card.config.stroke_maps else None
    if card.reads_anywhere and scribbles is not None:
        return read_strokes(model, card.config, study, scribbles, branches=branches)
    frame = card_frame(card.config, study, card.study, card.region, scribbles)
    inputs = make_inputs(study, frame, card.config)
    device = next(model.parameters()).device
    precision = pick_precision(card.config.precision, device)
    if scribbles is not None:
        around = Surroundings(study, inputs, card.config)
        inputs = around.with_maps(inputs.targets(scribbles), card.classes)
    if memory is not None and device.type == "cpu":
        memory -= inputs.ct.nbytes + inputs.mr.nbytes + inputs.fov.nbytes
    return predict(model, inputs, card.config, precision, scribbles, memory, branches=branches)


def _check_strokes(card: Card, scribbles: Codes | None) -> Codes:
    if scribbles is None or (
        check_trainable(scribbles) != card.classes and not card.reads_anywhere
    ):
        kinds = "the class" if card.classes == 2 else f"{card.classes - 1} classes"
        raise UserError(
            f"This model reads strokes: it needs some of {kinds} and some of the background on "
            "this patient. Draw them, or give their file with --scribbles."
        )
    return scribbles


def _answers(
    model: Network,
    inputs: Inputs,
    config: Config,
    precision: torch.dtype,
    memory: float | None,
    branches: bool,
) -> tuple[Tensor, int]:
    """Probabilities and, if asked for, disagreement (1, C, z', y', x'), and how many classes."""
    room = _find_room(model, inputs, config, precision, memory, branches)
    ask = partial(_ask, model, config, precision, branches)
    if config.normalisation == "instance":
        return _slide(ask, inputs, config, room), room.classes
    return _paste_tiles(ask, inputs, room), room.classes


def _find_room(
    model: Network,
    inputs: Inputs,
    config: Config,
    precision: torch.dtype,
    memory: float | None,
    branches: bool,
) -> Room:
    """What is left for the network beside the results, which lie in the processor's memory."""
    device, classes = next(model.parameters()).device, model.classes
    if memory is None:
        memory = usable_memory(device)
    kept = 0
    if device.type == "cpu":
        coarse, fine = inputs.ct.numel(), prod(inputs.frame.shape)
        answers = classes + branches  # probabilities, and how far the branches are apart
        kept = 4 * answers * coarse + (5 + 4 * branches) * fine  # these, and the prediction
        if config.normalisation == "instance":
            kept += 4 * (2 * answers + 3) * coarse  # blended scores, weights, both images
    return Room(memory, kept, config.width, classes, precision)


def usable_memory(device: torch.device) -> float:
    """Of what is free, the part that prediction takes where it is given no budget, bytes."""
    return _SHARE * free_memory(device)


def free_memory(device: torch.device) -> int:
    """Memory that is free where a network on this device runs, bytes."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return int(psutil.virtual_memory().available)


def _ask(
    model: Network, config: Config, precision: torch.dtype, branches: bool, images: Tensor
) -> Tensor:
    """CT, MR and maps (1, 2 + M, z, y, x) → the network's answers, float32, on its device.

    Answers (1, classes, z, y, x) are y_mm's calibrated scores; with `branches` one channel more
    holds the branches' disagreement (`Prediction`), from probabilities calibrated like y_mm's.
    """
    device = next(model.parameters()).device
    ct, mr, maps = (part.to(device) for part in images.tensor_split((1, 2), dim=1))
    if device.type == "cpu" and precision == torch.bfloat16:
        ct, mr, maps = _channels_last(ct), _channels_last(mr), _channels_last(maps)
    with torch.autocast(device.type, precision, enabled=precision != torch.float32):
        if not branches:
            return config.confidence * model.fused(ct, mr, maps).float()
        outputs = model(ct, mr, maps)
    scores = [config.confidence * branch.float() for branch in outputs]
    classes = torch.cat([1 - branch.softmax(dim=1)[:, :1] for branch in scores], dim=1)
    return torch.cat([scores[-1], classes.amax(1, True) - classes.amin(1, True)], dim=1)


def _softmax(answers: Tensor, classes: int) -> Tensor:
    """Answers with probabilities in place of the scores."""
    probabilities = answers[:, :classes].softmax(dim=1)
    return torch.cat([probabilities, answers[:, classes:]], dim=1)


def _images(inputs: Inputs) -> Tensor:
    """CT, MR and maps (1, 2 + M, z, y, x)."""
    parts = [inputs.ct, inputs.mr, *([] if inputs.maps is None else [inputs.maps])]
    return torch.cat(parts, dim=1)


def _channels_last(image: Tensor) -> Tensor:
    """Lay out one image (1, C, z, y, x) so that all features come out in channels_last_3d.

    In bfloat16 on a CPU that took 7.3 s for 9.6 s (width 16) and 3.0 s for 3.8 s (width 8) on
    192×192×64. In float32 it helps only if the weights are turned too, which copies them.
    `Tensor.to` leaves an image of one channel as it is: to it, both layouts are the same.
    """
    _, channels, z, y, x = image.shape
    if channels != 1:
        return image.contiguous(memory_format=torch.channels_last_3d)
    return image.contiguous().as_strided(image.shape, (z * y * x, 1, y * x, x, 1))


def _paste_tiles(ask: Callable[[Tensor], Tensor], inputs: Inputs, room: Room) -> Tensor:
    """Probabilities and, if asked for, disagreement (1, C, z', y', x') on the CPU, by tiles."""
    size = three(inputs.ct.shape[2:])
    tiles = make_tiles(size, room.fits)
    if not tiles:
        room.require(smallest_tile(size))
    result, images = torch.empty(0), _images(inputs)
    for number, tile in enumerate(tiles):
        answers = _softmax(ask(images[(..., *tile.cut)])[(..., *tile.inner)], room.classes)
        if not number:
            result = torch.empty(1, answers.shape[1], *size)
        result[(..., *tile.core)] = answers.cpu()
    return result


def _slide(ask: Callable[[Tensor], Tensor], inputs: Inputs, config: Config, room: Room) -> Tensor:
    """The same through a window of the training patch.

    Instance normalisation takes its statistics from what it is given: a network trained on
    patches is right on windows of that size only.
    """
    images = _images(inputs)
    window = three(min(p, n) for p, n in zip(config.patch, images.shape[2:], strict=True))
    room.require(window)

    def answers(window: Tensor) -> Tensor:
        return ask(window).cpu()

    return _softmax(blended(answers, images, window, _OVERLAP), room.classes)


def _finish(answers: Tensor, inputs: Inputs, classes: int) -> Prediction:
    """Answers on the Study's Grid, refined a slab at a time."""
    frame = inputs.frame
    labels = np.zeros(frame.shape, dtype=np.uint8)
    extra = answers.shape[1] - classes  # the disagreement, if it was asked for
    shares: Reals = np.zeros((1 + extra, *frame.shape), dtype=np.float32)
    here: list[np.ndarray] = [labels[frame.region], *(share[frame.region] for share in shares)]
    for first in range(0, answers.shape[2], _SLAB):
        # One slice more on either side: what is interpolated depends on the neighbours.
        low, factor = max(first - 1, 0), frame.factors[0]
        slab = frame.refine(answers[:, :, low : first + _SLAB + 1])
        rows = slice(first * factor, (first + _SLAB) * factor)
        part = slab[:, rows.start - low * factor : rows.stop - low * factor]
        found = part[:classes].argmax(dim=0), 1 - part[0], *part[classes:]
        for array, values in zip(here, found, strict=True):
            array[rows] = values.numpy()[: len(array[rows])]
    return Prediction(labels, *shares)
