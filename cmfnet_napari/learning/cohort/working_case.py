"""A case of a cohort on its working grid: all of it that trainings need, whichever method."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from cmfnet_napari.core.arrays import Codes, Mask
from cmfnet_napari.core.fit.config import Config
from cmfnet_napari.core.images.grid import Grid
from cmfnet_napari.core.images.modality import Modality
from cmfnet_napari.core.strokes.scribbles import IGNORE, to_scribbles
from cmfnet_napari.learning.cohort.cohort_file import Row
from cmfnet_napari.learning.cohort.loaded_cases import LoadedCase
from cmfnet_napari.learning.data.prepare import Inputs, make_frame, make_inputs


class Labels(NamedTuple):
    """What is learnt from one case.

    Attributes
    ----------
    targets : tensor (1, z', y', x'), uint8
        Segmentation codes on the working grid, `scribbles.IGNORE` where there is no label.
    highest : int
        The highest code that the file has.
    data_hash : str
        Of the images, what is learnt from and what is judged by, voxel by voxel.
    """

    targets: Tensor
    highest: int
    data_hash: str


@dataclass(frozen=True)
class WorkingCase:
    """A row of the cohort file, ready for any training on voxels of this size.

    Attributes
    ----------
    row : Row
        Where it comes from.
    grid : Grid
        The Study's.
    kinds : tuple of str
        What the images are.
    content_hash : str
        The Study's.
    body : bool array (z, y, x)
        The patient without the air around, on the Study's Grid.
    inputs : Inputs
        Images on the working grid.
    labels : Labels
        Learnt from.
    dense : bool
        Every voxel has a label.
    contour : Labels or None
        Learnt from by methods that learn from masks.
    reference : uint8 array (z, y, x) or None
        Judged by, on the Study's Grid.
    """

    row: Row
    grid: Grid
    kinds: tuple[Modality, ...]
    content_hash: str
    body: Mask
    inputs: Inputs
    labels: Labels
    dense: bool
    contour: Labels | None
    reference: Codes | None

    def contoured(self) -> WorkingCase:
        """The case learnt from its contours instead of its strokes, where it has them."""
        if self.contour is None:  # then it is not learnt from
            return self
        return replace(self, labels=self.contour, dense=True)


def to_working_grid(case: LoadedCase, config: Config) -> WorkingCase:
    """Normalise a case and bring it to the working grid of a configuration."""
    study = case.study
    inputs = make_inputs(study, make_frame(study.grid, None, config), config)
    contour = None if case.reference is None else _dense(case, case.reference, inputs)
    if case.dense:
        labels = contour or _dense(case, case.targets, inputs)
    else:
        targets = inputs.targets(to_scribbles(case.targets, case.targets != IGNORE))
        labels = _labels(case, case.targets, targets)
    return WorkingCase(
        case.row,
        study.grid,
        study.kinds,
        study.content_hash,
        study.body,
        inputs,
        labels,
        case.dense,
        contour,
        case.reference,
    )


def _dense(case: LoadedCase, codes: Codes, inputs: Inputs) -> Labels:
    return _labels(case, codes, inputs.dense_targets(codes))


def _labels(case: LoadedCase, codes: Codes, targets: Tensor) -> Labels:
    digest = hashlib.sha256(case.study.content_hash.encode())
    for labels in (codes, case.reference):
        if labels is not None:
            digest.update(np.ascontiguousarray(labels).data)
    highest = int(codes[codes != IGNORE].max(initial=1))
    return Labels(targets.to(torch.uint8), highest, digest.hexdigest())
