"""A patient small enough to train on in seconds: a bright ball in a grey box."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import SimpleITK as sitk

from cmfnet_napari.core.config import Config, make_config
from cmfnet_napari.core.study import Study, study_from_images


@dataclass
class Ball:
    study: Study
    truth: np.ndarray
    scribbles: np.ndarray
    config: Config


@pytest.fixture
def ball() -> Ball:
    """18×34×38 voxels of 3×1.5×1 mm; the ball is 40 HU above muscle and bright on MR."""
    shape = (18, 34, 38)
    z, y, x = np.meshgrid(*[np.arange(n) for n in shape], indexing="ij")
    distance = np.sqrt((3 * (z - 9)) ** 2 + (1.5 * (y - 17)) ** 2 + (x - 19.0) ** 2)
    truth = distance < 11
    rng = np.random.default_rng(0)
    images = []
    for inside, outside in ((90, 40), (700, 300)):
        array = np.where(truth, inside, outside) + rng.normal(0, 8, shape)
        image = sitk.GetImageFromArray(array.astype(np.float32))
        image.SetSpacing((1, 1.5, 3))
        images.append(image)
    scribbles = np.zeros(shape, dtype=np.uint8)
    scribbles[9, 15:19, 19] = 2
    scribbles[7, 17, 16:22] = 2
    scribbles[9, 8, 5:33] = scribbles[9, 26, 5:33] = scribbles[7, 5:30, 5] = 1
    scribbles[9, 8:27, 33] = scribbles[4, 17, 10:28] = scribbles[14, 17, 10:28] = 1
    config = make_config(
        "quick",
        width=4,
        patch=(16, 32, 32),
        spacing=None,
        region_margin=None,
        steps=60,
        minutes=None,
        crf_radius=2,
        precision="float32",
        preview_seconds=0.5,
    )
    return Ball(study_from_images(*images), truth, scribbles, config)


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * float((a & b).sum()) / float(a.sum() + b.sum())
