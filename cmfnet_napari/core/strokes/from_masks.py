"""Automatic scribbles from mask files: the headless twin of the window's erosion."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import numpy as np

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.images.grid import Grid
from cmfnet_napari.core.images.modality import Modality
from cmfnet_napari.core.images.study import Study, load_values, save_labels, study_from_images, turn
from cmfnet_napari.core.images.volume import Volume, read_image
from cmfnet_napari.core.strokes.erode import propose_background, propose_foreground
from cmfnet_napari.core.strokes.scribbles import BACKGROUND, check_classes, coverage


@dataclass(frozen=True)
class Erosion:
    """How a region becomes strokes: margin in mm, share of all voxels, all of it, and chance."""

    margin_mm: float
    coverage: float
    whole: bool = False
    seed: int = 0


class ScribbledFile(TypedDict):
    """What was written: the file, and the coverage of each scribble code, percent."""

    scribbles: str
    coverage_percent: dict[str, float]


def scribble_masks(
    mask: Path,
    out: Path,
    image: Path | None,
    classes: list[int] | None,
    background: Erosion,
    foreground: Erosion,
    kind: Modality = "",
) -> ScribbledFile:
    """Erode a mask file into a scribble file on the same grid.

    Parameters
    ----------
    mask : Path
        Segmentation codes.
    out : Path
        Scribbles to write.
    image : Path or None
        Image on the mask's grid that tells body from air; without it all counts as body.
    classes : list of int or None
        Segmentation codes that get strokes too; None for all that occur.
    background, foreground : Erosion
        How to erode.
    kind : str
        What `image` is; where it is empty, its header or its values tell.

    Returns
    -------
    dict
        The file and the coverage of each scribble code, percent.

    Raises
    ------
    UserError
        An unreadable file, grids that differ, a class that does not occur, or nothing left.
    """
    study = _study(mask, image, kind)
    labels = load_values(mask, study.grid)
    scribbles = scribble_labels(labels, study, classes, background, foreground, mask.name)
    save_labels(scribbles, study, out)
    shares = {str(code): 100 * share for code, (_, share) in coverage(scribbles).items()}
    return {"scribbles": str(out), "coverage_percent": shares}


def scribble_labels(
    labels: np.ndarray,
    study: Study,
    classes: list[int] | None,
    background: Erosion,
    foreground: Erosion,
    name: str,
) -> np.ndarray:
    """Erode a contour on a study into scribbles.

    Parameters
    ----------
    labels : integer or bool array (z, y, x) on the Study's Grid
        Segmentation codes.
    study : Study
        It tells body from air.
    classes : list of int or None
        Segmentation codes that get strokes too; None for all that occur.
    background, foreground : Erosion
        How to erode.
    name : str
        What the contour is called in an error.

    Returns
    -------
    uint8 array (z, y, x)
        Scribble codes.

    Raises
    ------
    UserError
        A value is no code, a class does not occur, or nothing is left.
    """
    labels = check_classes(labels, name)
    present = [int(code) for code in np.unique(labels) if code]
    wanted = present if classes is None else classes
    if missing := [code for code in wanted if code not in present]:
        raise UserError(f"{name} has no class {missing[0]}; it has {present or 'none'}.")
    scribbles = np.zeros(labels.shape, dtype=np.uint8)
    for code in wanted:
        scribbles |= propose_foreground(
            scribbles, labels == code, code + BACKGROUND, study, **vars(foreground)
        )
    scribbles |= propose_background(scribbles, [labels > 0], study, **vars(background))
    return scribbles


def _study(mask: Path, file: Path | None, kind: Modality) -> Study:
    if file is not None:
        return study_from_images(read_image(file), modalities=(kind, ""))
    image = read_image(mask)
    grid = Grid.from_image(turn(image))
    # Water everywhere: without an image every voxel counts as body.
    water = Volume(np.zeros(grid.shape, dtype=np.int16), grid, "CT")
    return Study(water, None, None, Grid.from_image(image))
