"""What a clinician would use instead: methods that need strokes and no training set.

Each takes a study and its strokes and returns a bool mask on the Study's Grid. All work on the
region around the strokes, on voxels of about `VOXEL_MM`, as the presets do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from scipy import ndimage
from skimage.feature import multiscale_basic_features
from skimage.segmentation import random_walker
from sklearn.ensemble import RandomForestClassifier

from cmfnet_napari.core.clues.chances import find_clues
from cmfnet_napari.core.clues.features import Scene, Weights
from cmfnet_napari.core.clues.race import race as minimum_costs
from cmfnet_napari.core.clues.race import with_air
from cmfnet_napari.core.contours.components import drop_unmarked
from cmfnet_napari.core.fit.config import make_config
from cmfnet_napari.core.images.study import Study
from cmfnet_napari.core.strokes.scribbles import IGNORE
from cmfnet_napari.learning.data.prepare import Inputs, make_frame, make_inputs

VOXEL_MM = 2.0
MARGIN_MM = 30.0
BOTH = slice(None)  # of CT and MR, in this order
_CONFIG = make_config("quick", spacing=VOXEL_MM, region_margin=MARGIN_MM)


def race(study: Study, scribbles: np.ndarray) -> np.ndarray:
    """Minimum cost paths from both stroke sets over the gradients of CT and MR; air is outside."""
    inputs, targets = _prepare(study, scribbles)
    starts = with_air(targets[0].numpy(), _body(inputs, study))
    costs = minimum_costs(_images(inputs), starts, 2, inputs.frame.spacing(study.grid))
    return _finish(inputs, scribbles, costs[0] - costs[1])


def clues(
    study: Study,
    scribbles: np.ndarray,
    weights: tuple[Weights, Weights] | None = None,
    images: slice = BOTH,
) -> np.ndarray:
    """Where the guide of the presets says tumour, on the voxels of `quick` (core/clues)."""
    return marked(clue_score(study, scribbles, weights, images) > 0, scribbles)


def clue_score(
    study: Study,
    scribbles: np.ndarray,
    weights: tuple[Weights, Weights] | None = None,
    images: slice = BOTH,
) -> np.ndarray:
    """Chance of tumour less that of background, -1 … 1, on the Study's Grid."""
    inputs, seen = scene(study, scribbles, images=images)
    found = find_clues(seen, 2, weights).chances
    return inputs.frame.paste(fine_score(inputs, found[1] - found[0]), -1)


def scene(
    study: Study,
    scribbles: np.ndarray,
    begin: Sequence[int] = (0, 0, 0),
    images: slice = BOTH,
) -> tuple[Inputs, Scene]:
    """What `quick` sees, and what the clues are made from.

    Blocks of voxels that are averaged begin so many voxels (z, y, x) later, less than a block.
    """
    config = make_config("quick")
    frame = make_frame(study.grid, scribbles, config)
    later = (b % f for b, f in zip(begin, frame.factors, strict=True))
    region = tuple(slice(s.start + b, s.stop) for s, b in zip(frame.region, later, strict=True))
    inputs = make_inputs(study, replace(frame, region=region), config)
    strokes, spacing = inputs.targets(scribbles)[0].numpy(), inputs.frame.spacing(study.grid)
    return inputs, Scene(_images(inputs)[images], strokes, _body(inputs, study), spacing)


def walker(study: Study, scribbles: np.ndarray) -> np.ndarray:
    """Random walker on CT and MR as two channels (Grady, 2006)."""
    inputs, targets = _prepare(study, scribbles)
    images = np.stack([inputs.ct[0, 0].numpy(), inputs.mr[0, 0].numpy()], axis=-1)
    labels = np.where(targets[0].numpy() == IGNORE, 0, targets[0].numpy() + 1)
    found = random_walker(
        images,
        labels,
        beta=130,
        mode="cg_j",
        channel_axis=-1,
        spacing=inputs.frame.spacing(study.grid),
        return_full_prob=True,
    )
    return _finish(inputs, scribbles, found[1] - found[0])


def forest(study: Study, scribbles: np.ndarray) -> np.ndarray:
    """Random forest on multi-scale intensity, edges and texture of CT and MR, voxel by voxel."""
    inputs, targets = _prepare(study, scribbles)
    features = np.concatenate(
        [
            multiscale_basic_features(image[0, 0].numpy(), sigma_min=1, sigma_max=8)
            for image in (inputs.ct, inputs.mr)
        ],
        axis=-1,
    )
    labels = targets[0].numpy()
    drawn = labels != IGNORE
    trees = RandomForestClassifier(
        100, class_weight="balanced", min_samples_leaf=2, n_jobs=2, random_state=0
    ).fit(features[drawn], labels[drawn])
    chance = trees.predict_proba(features.reshape(-1, features.shape[-1]))[:, 1]
    return _finish(inputs, scribbles, chance.reshape(labels.shape) - 0.5)


METHODS: dict[str, Callable[[Study, np.ndarray], np.ndarray]] = {
    "race": race,
    "clues": clues,
    "walker": walker,
    "forest": forest,
}


def _prepare(study: Study, scribbles: np.ndarray) -> tuple[Inputs, object]:
    inputs = make_inputs(study, make_frame(study.grid, scribbles, _CONFIG), _CONFIG)
    return inputs, inputs.targets(scribbles)


def _images(inputs: Inputs) -> list[np.ndarray]:
    return [image[0, 0].numpy() for image in (inputs.ct, inputs.mr)]


def _body(inputs: Inputs, study: Study) -> np.ndarray:
    return inputs.frame.coarsen(study.body)[0, 0].numpy() >= 0.5


def _finish(inputs: Inputs, scribbles: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Tumour where the score is above 0, on all voxels, parts without a stroke dropped."""
    return marked(inputs.frame.paste(fine_score(inputs, score) > 0), scribbles)


def marked(mask: np.ndarray, scribbles: np.ndarray) -> np.ndarray:
    """Its parts that hold a stroke."""
    return drop_unmarked(mask.astype(np.uint8), scribbles) > 0


def fine_score(inputs: Inputs, score: np.ndarray) -> np.ndarray:
    """On all voxels of the region."""
    fine = ndimage.zoom(score, inputs.frame.factors, order=1, grid_mode=True, mode="nearest")
    size = tuple(s.stop - s.start for s in inputs.frame.region)
    return fine[: size[0], : size[1], : size[2]]
