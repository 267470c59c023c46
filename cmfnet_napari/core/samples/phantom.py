"""A built-in synthetic patient: CT and MR of a thigh with a sarcoma, truth and scribbles.

Everything is computed: no patient's data is in it. The tumour is nearly as dense as muscle on
CT and only partly apart on MR, so that no threshold finds it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from scipy import ndimage
from scipy.spatial.transform import Rotation

from cmfnet_napari.core.arrays import Codes, Doubles, Floats, Mask, Reals, Shorts, three
from cmfnet_napari.core.files import new_folder, write_safely
from cmfnet_napari.core.geometry.distance import distance_to
from cmfnet_napari.core.images.grid import Grid
from cmfnet_napari.core.images.volume import write_image
from cmfnet_napari.core.samples.anatomy import Anatomy, Noise, describe
from cmfnet_napari.core.strokes.imitated import draw_strokes
from cmfnet_napari.core.strokes.scribbles import BACKGROUND, FIRST_CLASS, UNLABELLED

MARK_FILE = "made-up-patient.txt"  # tells the patient's folder from that of a real one
_MARK = "The patient in this folder is made up. cmfnet writes over the files.\n"
_PLACE = np.array([-92.0, 18.5, -614.0])  # of the thigh's centre in the scanner, LPS, mm
_BLUR = 0.7  # mm over which one tissue becomes the other
_CT_NOISE, _MR_NOISE = 13.0, 30.0  # HU, signal
_SCRIBBLED = (0.14, 0.32, 0.5, 0.68, 0.86)  # of the tumour's height


@dataclass(frozen=True)
class Phantom:
    """The synthetic patient.

    Attributes
    ----------
    ct : sitk.Image
        int16, HU.
    mr : sitk.Image
        int16, on an oblique grid of its own that holds part of the CT only.
    truth : sitk.Image
        uint8 segmentation on the CT's grid: 1 tumour.
    scribbles : sitk.Image
        uint8 scribbles on the CT's grid: 1 background, 2 tumour.
    """

    ct: sitk.Image
    mr: sitk.Image
    truth: sitk.Image
    scribbles: sitk.Image


def make_phantom(seed: int = 0) -> Phantom:
    """Compute the synthetic patient; the same seed gives the same one."""
    noise, rng = Noise(seed), np.random.default_rng(seed)
    ct_grid, mr_grid = _ct_grid(), _mr_grid()
    ct_points, mr_points = _points(ct_grid), _points(mr_grid)
    anatomy = describe(ct_points, noise)
    truth = anatomy.tumour < 0
    ct = _ct(anatomy, ct_points, noise, rng)
    mr = _mr(describe(mr_points, noise), mr_points, noise, rng)
    return Phantom(
        ct_grid.to_image(ct),
        mr_grid.to_image(mr),
        ct_grid.to_image(truth),
        ct_grid.to_image(_scribble(truth, anatomy.skin < -1.0, ct_grid, rng)),
    )


def sample_folder(path: Path) -> Path:
    """Make a folder for the patient; one that it was written into before does as well.

    Raises
    ------
    UserError
        It holds other files, which may be a patient's of the same names, or cannot be made.
    """
    mark = path / MARK_FILE
    if not mark.is_file():
        new_folder(path)
        write_safely(mark, mark.suffix, lambda part: part.write_text(_MARK, encoding="utf-8"))
    return path


def write_phantom(folder: str | Path, seed: int = 0) -> dict[str, Path]:
    """Write ``ct``, ``mr``, ``truth`` and ``scribbles`` as NIfTI; return their paths by name.

    Raises
    ------
    UserError
        The folder is missing or cannot be written; see `volume.write_image`.
    """
    phantom = make_phantom(seed)
    images = {name: getattr(phantom, name) for name in ("ct", "mr", "truth", "scribbles")}
    return {
        name: write_image(image, Path(folder) / f"{name}.nii.gz") for name, image in images.items()
    }


def _ct_grid() -> Grid:
    shape, spacing = (48, 112, 128), (3.0, 1.5, 1.5)
    centre = np.array([0.0, 2.0, 0.0])
    half = (np.array(shape) - 1)[::-1] * np.array(spacing)[::-1] / 2
    return Grid(shape, spacing, three(_PLACE + centre - half))


def _mr_grid() -> Grid:
    """Tilted, with thick slices, around the tumour."""
    shape, spacing = (26, 104, 116), (4.4, 1.1, 1.1)
    turn = Rotation.from_euler("xyz", (9.0, -5.0, 6.0), degrees=True).as_matrix()
    half = (np.array(shape) - 1)[::-1] * np.array(spacing)[::-1] / 2
    origin = _PLACE + np.array([14.0, 6.0, -3.0]) - turn @ half
    return Grid(shape, spacing, three(origin), tuple(turn.ravel()))


def _points(grid: Grid) -> Reals:
    """Place of every voxel in the anatomy, (z, y, x, 3) mm."""
    points: Doubles = grid.to_patient(np.moveaxis(np.indices(grid.shape), 0, -1)) - _PLACE
    return points.astype(np.float32)


def _over(image: Floats, distance: Floats, value: Floats | float) -> Floats:
    """Lay a tissue over what is there, with a soft border."""
    share = 1 / (1 + np.exp(np.clip(4 * distance / (2 * _BLUR), -50, 50)))
    laid: Floats = image + share * (value - image)
    return laid


def _ct(a: Anatomy, points: Reals, noise: Noise, rng: np.random.Generator) -> Shorts:
    fibre = noise(points, 5.0, 20, 3)  # fat streaks run along the thigh
    muscles = np.random.default_rng(5).normal(0, 2.5, 13)[a.muscle_index]
    muscle = 55 + muscles + 3 * noise(points, 20.0, 21) - 14 * np.clip(fibre - 1.1, 0, None)
    necrosis = np.clip(noise(points, 16.0, 8) - 0.5, 0, 1.5)
    tumour = 45 + 5 * noise(points, 9.0, 22) - 10 * necrosis
    image: Floats = np.full(a.skin.shape, -1000.0)
    image = _over(image, a.couch, -880.0)
    image = _over(image, np.abs(a.couch) - 1.1, 40.0)
    image = _over(image, a.skin, 5.0)
    image = _over(image, a.skin + 1.8, -102 + 5 * noise(points, 12.0, 23))
    image = _over(image, np.abs(a.muscle) - 0.4, 20.0)
    image = _over(image, a.muscle, muscle)
    image = _over(image, np.maximum(a.septa, a.muscle), -80.0)
    image = _over(image, a.bundle, -85.0)
    image = _over(image, np.minimum(a.vessels, a.nerve), 44.0)
    image = _over(image, a.tumour, tumour)
    image = _over(image, a.bone, 1150 + 90 * noise(points, 8.0, 24))
    image = _over(image, a.marrow, -40 + 45 * noise(points, 6.0, 25))
    return np.rint(image + _CT_NOISE * _grain(image.shape, rng)).clip(-1024, 3071).astype(np.int16)


def _mr(a: Anatomy, points: Reals, noise: Noise, rng: np.random.Generator) -> Shorts:
    """T1 weighted: bright fat and marrow, dark cortex and vessels, a coil's uneven sensitivity."""
    fibre = noise(points, 5.0, 20, 3)
    muscles = np.random.default_rng(6).normal(0, 9.0, 13)[a.muscle_index]
    oedema = 45 * np.exp(-np.clip(a.tumour, 0, None) / 5.0) * (noise(points, 18.0, 9) > 0)
    muscle = 300 + muscles + 14 * noise(points, 20.0, 31) + 70 * np.clip(fibre - 1.1, 0, None)
    necrosis = np.clip(noise(points, 16.0, 8) - 0.5, 0, 1.5)
    tumour = 385 + 32 * noise(points, 9.0, 32) - 55 * necrosis
    image: Floats = np.full(a.skin.shape, 4.0)
    image = _over(image, a.skin, 330.0)
    image = _over(image, a.skin + 1.8, 880 + 25 * noise(points, 12.0, 33))
    image = _over(image, np.abs(a.muscle) - 0.4, 300.0)
    image = _over(image, a.muscle, muscle + oedema)
    image = _over(image, np.maximum(a.septa, a.muscle), 700.0)
    image = _over(image, a.bundle, 760.0)
    image = _over(image, a.nerve, 360.0)
    image = _over(image, a.vessels, 60.0)
    image = _over(image, a.tumour, tumour)
    image = _over(image, a.bone, 45.0)
    image = _over(image, a.marrow, 800 + 40 * noise(points, 6.0, 34))
    image *= 1 + 0.13 * np.sin(points[..., 0] / 55 + 0.6) - 0.1 * points[..., 1] / 80
    real, imaginary = rng.normal(0, _MR_NOISE, (2, *image.shape))
    signal: Floats = np.hypot(image + real, imaginary)
    return np.rint(signal).astype(np.int16)


def _grain(shape: tuple[int, ...], rng: np.random.Generator) -> Doubles:
    """Noise as a CT's filtered back projection leaves it: fine grains, nothing coarse."""
    white = rng.normal(size=shape)
    grain: Doubles = ndimage.gaussian_filter(white, (0.3, 0.6, 0.6))
    grain -= 0.7 * ndimage.gaussian_filter(white, (0.3, 1.8, 1.8))
    deviation: float = grain.std()
    return grain / deviation


def _scribble(truth: Mask, body: Mask, grid: Grid, rng: np.random.Generator) -> Codes:
    """A careful clinician's few strokes: five slices through the tumour, one beyond either end.

    What lies between a tumour stroke and the next background stroke is left to the image; both
    keep about the same distance from the border, as one does who sees it.
    """
    _, outside = distance_to(truth, grid, np.inf)
    _, inside = distance_to(~truth, grid, np.inf)
    height = np.flatnonzero(truth.any(axis=(1, 2)))
    slices = [round(height[0] + share * (height[-1] - height[0])) for share in _SCRIBBLED]
    here = np.zeros(grid.shape[0], dtype=bool)
    here[slices] = True
    beyond = np.zeros_like(here)
    beyond[[height[0] - 2, height[-1] + 2]] = True
    shadow = truth.any(axis=0)  # above and below the tumour
    strokes = (  # code, where, how many voxels, how long a stroke
        (FIRST_CLASS, _on(here) & (inside > 2.0), 275, 18),
        (BACKGROUND, _on(here) & body & (outside > 2.0) & (outside < 6.0), 600, 28),
        (BACKGROUND, _on(beyond) & body & shadow, 200, 22),
        (BACKGROUND, _on(here) & body & (outside > 14.0), 400, 28),
    )
    scribbles = np.full(grid.shape, UNLABELLED, dtype=np.uint8)
    for code, where, voxels, length in strokes:
        scribbles[draw_strokes(where, voxels, length, rng)] = code
    return scribbles


def _on(slices: Mask) -> Mask:
    return slices[:, None, None]
