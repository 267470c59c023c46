"""Prediction through y_mm, on volumes of any shape."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import psutil
import torch
from monai.inferers import sliding_window_inference
from torch import Tensor

from cmfnet_napari.core.components import drop_unmarked
from cmfnet_napari.core.config import Config
from cmfnet_napari.core.study import Study
from cmfnet_napari.learning.checkpoint import Card
from cmfnet_napari.learning.cmfnet import CmFNet
from cmfnet_napari.learning.device import pick_precision
from cmfnet_napari.learning.prepare import Inputs, card_frame, make_inputs

# Floats alive a voxel and unit of width at the widest place, the joined finest decoder stage
# with the buffers of its convolution; measured on the CPU, rounded up.
_FLOATS_A_VOXEL = 20
_MEMORY_SHARE = 0.5
_TILE = (48, 160, 160)
_OVERLAP = 0.5


@dataclass(frozen=True)
class Prediction:
    """What the network says about a study.

    Attributes
    ----------
    labels : uint8 array (z, y, x) on the Study's Grid
        Segmentation codes; background outside the region worked on.
    probability : float32 array (z, y, x) on the Study's Grid
        That the voxel is not background.
    """

    labels: np.ndarray
    probability: np.ndarray


@torch.inference_mode()
def predict(
    model: CmFNet,
    inputs: Inputs,
    config: Config,
    precision: torch.dtype = torch.float32,
    scribbles: np.ndarray | None = None,
) -> Prediction:
    """Predict a study.

    Parameters
    ----------
    model : CmFNet
        On its device.
    inputs : Inputs
        The study's images on the working grid.
    config : Config
        How the model was trained.
    precision : torch.dtype
        float32, or bfloat16 for autocast.
    scribbles : uint8 array (z, y, x) on the Study's Grid, optional
        When given, components of a class without a stroke of that class are dropped.
    """
    model.eval()
    device = next(model.parameters()).device
    images = torch.cat([inputs.ct, inputs.mr], dim=1)

    def scores(pair: Tensor) -> Tensor:
        pair = pair.to(device)
        with torch.autocast(device.type, precision, enabled=precision != torch.float32):
            return model.fused(pair[:, :1], pair[:, 1:]).float().cpu()

    tile = _tile(images.shape[2:], config, device)
    if tile is None:
        whole = scores(images)
    else:
        whole = sliding_window_inference(
            images, tile, 1, scores, overlap=_OVERLAP, mode="gaussian", device="cpu"
        )
    return _finish(whole, inputs, scribbles)


def predict_study(model: CmFNet, card: Card, study: Study) -> Prediction:
    """Predict a study with a loaded model, on the model's working grid.

    On the study it was fitted to, the model works on its own region; on another one, on all.
    """
    frame = card_frame(card.config, study, card.study, card.region)
    inputs = make_inputs(study, frame, card.config)
    device = next(model.parameters()).device
    return predict(model, inputs, card.config, pick_precision(card.config.precision, device))


def _finish(scores: Tensor, inputs: Inputs, scribbles: np.ndarray | None) -> Prediction:
    frame = inputs.frame
    probabilities = frame.refine(scores.softmax(dim=1))
    labels = frame.paste(probabilities.argmax(dim=0).to(torch.uint8).numpy())
    if scribbles is not None:
        labels = drop_unmarked(labels, scribbles)
    return Prediction(labels, frame.paste((1 - probabilities[0]).numpy()))


def _tile(size: torch.Size, config: Config, device: torch.device) -> tuple[int, ...] | None:
    """Tile to predict in; None for the whole volume at once.

    Instance normalisation takes its statistics from what it is given: a network trained on
    patches is right on tiles of that size only.
    """
    if config.normalisation == "instance":
        return tuple(min(p, n) for p, n in zip(config.patch, size, strict=True))
    return None if _fits(size.numel(), config.width, device) else _TILE


def _fits(voxels: int, width: int, device: torch.device) -> bool:
    """Whether the whole volume can go through the network at once in free memory."""
    if device.type == "cuda":
        free = torch.cuda.mem_get_info(device)[0]
    else:
        free = psutil.virtual_memory().available
    return voxels * width * _FLOATS_A_VOXEL * 4 < _MEMORY_SHARE * free
