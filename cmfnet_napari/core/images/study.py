"""Study: one or two images of one patient on one Grid."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from cmfnet_napari.core.arrays import Codes, Doubles, Mask, Reals
from cmfnet_napari.core.errors import UserError, say
from cmfnet_napari.core.images.body import AIR_HU, body_mask
from cmfnet_napari.core.images.grid import Grid
from cmfnet_napari.core.images.hounsfield import (
    OFFSET,
    lacks_offset,
    say_offset,
    subtract,
)
from cmfnet_napari.core.images.label_map import to_labels
from cmfnet_napari.core.images.modality import (
    USUAL,
    Modalities,
    Modality,
    guess_modality,
    marked,
    unit_of,
    weighting_of,
)
from cmfnet_napari.core.images.normalise import Limits, to_unit, usual_limits
from cmfnet_napari.core.images.padding import has_data
from cmfnet_napari.core.images.same_patient import check_pair
from cmfnet_napari.core.images.volume import (
    Volume,
    check_values,
    from_image,
    read_image,
    write_image,
)

ORIENTATION = "LPS"  # array axes z, y, x run to the head, the back and the patient's left
_MIN_OVERLAP = 0.001  # of the first image's voxels
_MOST_OFFSET = 10_000.0
_NO_LENGTH = 1e-9  # mm, or a cosine


@dataclass(frozen=True)
class Study:
    """One or two images of one patient on the first one's Grid, axes turned to `ORIENTATION`.

    Any pair will do: CT and MR, two MR sequences, CT and PET, or one image alone. The contour is
    drawn on the first.

    Attributes
    ----------
    first : Volume
        (z, y, x); HU if it is a CT.
    second : Volume or None
        Resampled onto the first one's Grid, float32; 0 (a CT: air) where it has no data.
    seen : bool array (z, y, x) or None
        Where the second image has data.
    source_grid : Grid
        The first one's Grid as it lies in its file: what is saved is saved on it.
    second_source : Volume or None
        The second as it was read, on its own Grid, so that it can be registered anew; None also in
        a case of an earlier version.
    """

    first: Volume
    second: Volume | None
    seen: Mask | None
    source_grid: Grid
    second_source: Volume | None = None

    @property
    def grid(self) -> Grid:
        """The Grid all arrays of the study share."""
        return self.first.grid

    @property
    def volumes(self) -> tuple[Volume, ...]:
        """The images there are: one or two."""
        return (self.first,) if self.second is None else (self.first, self.second)

    @property
    def modalities(self) -> Modalities:
        """What kinds of images they are; the second is empty when there is none."""
        return self.first.modality, "" if self.second is None else self.second.modality

    @property
    def kinds(self) -> tuple[Modality, ...]:
        """What kinds of images there are: one or two."""
        return self.modalities[: 1 if self.second is None else 2]

    @property
    def names(self) -> tuple[str, ...]:
        """What people call the images: by their modality, counted where both have the same."""
        return name_images(self.kinds)

    @cached_property
    def first_seen(self) -> Mask | None:
        """Where the first image has data, bool (z, y, x); None: everywhere."""
        return has_data(self.first.array) if self.first.modality == "MR" else None

    @cached_property
    def body(self) -> Mask:
        """The patient without the air around, bool (z, y, x): of the CT, if there is one."""
        body = body_mask(self.first)
        if self.second is None or self.seen is None or self.first.modality == "CT":
            return body
        if self.second.modality != "CT":
            return body
        return np.where(self.seen, body_mask(self.second), body)

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 of voxels, geometry and modalities: names the study, not the patient."""
        grid = self.grid
        numbers = np.array([*grid.shape, *grid.spacing, *grid.origin, *grid.direction])
        # A file gives a cosine back with another last bit; float32 does not see it.
        numbers[np.abs(numbers) < _NO_LENGTH] = 0.0
        digest = hashlib.sha256(numbers.astype("<f4").tobytes())
        for volume in self.volumes:
            digest.update(np.ascontiguousarray(volume.array).data)
        if self.kinds not in (USUAL, USUAL[:1]):  # another kind is shown otherwise
            digest.update(" ".join(self.modalities).encode())
        return digest.hexdigest()

    @cached_property
    def voxel_hash(self) -> str:
        """SHA-256 of the voxels of both images as they were read, axes turned to the patient's.

        Whatever format they came in: only their values count, as float32, not where they lie.
        """
        return self._as_read[0]

    @cached_property
    def first_hash(self) -> str:
        """The same of the first image alone."""
        return replace(self, second=None, seen=None, second_source=None).voxel_hash

    @property
    def second_grid(self) -> Grid | None:
        """Where the second image lay as it was read, axes turned to the patient's."""
        return self._as_read[1]

    @cached_property
    def _as_read(self) -> tuple[str, Grid | None]:
        """Hash of the voxels, and the second's Grid; the turned image is not kept."""
        second = self.second
        if self.second_source is not None:
            second = from_image(turn(self.second_source.image()))
        digest = hashlib.sha256()
        for volume in (self.first, second):
            if volume is not None:
                digest.update(np.array(volume.array.shape, "<i8").tobytes())
                for plane in volume.array:
                    digest.update((plane.astype("<f4") + np.float32(0)).tobytes())  # −0 is 0
        return digest.hexdigest(), None if second is None else second.grid

    def less(self, offset: float) -> Study:
        """The same study with a number subtracted from the values of its first image, a CT.

        Raises
        ------
        UserError
            The number is no offset of a CT, or the first image is none.
        """
        if not offset:
            return self
        if not abs(offset) <= _MOST_OFFSET:  # NaN is no number of that range either
            raise UserError(
                f"{offset:g} cannot be subtracted: the values of a CT are off by "
                f"{_MOST_OFFSET:g} at most, most often by {OFFSET}. Subtract that."
            )
        if self.first.modality != "CT":
            raise UserError(
                f"A number is subtracted from a CT alone, and the first image is "
                f"{self.first.modality}. Leave --subtract out, or say that it is a CT with "
                "--modality CT."
            )
        return replace(self, first=replace(self.first, array=subtract(self.first.array, offset)))

    @property
    def units(self) -> tuple[str, str]:
        """What the values of both are in; see `Volume.unit`."""
        return self.first.unit, "" if self.second is None else self.second.unit

    @property
    def weightings(self) -> tuple[str, str]:
        """What weighting the images are; see `Volume.weighting`."""
        return self.first.weighting, "" if self.second is None else self.second.weighting

    def weighted(self, first: str, second: str) -> Study:
        """The same study with its images of these weightings."""
        again = replace(self, first=replace(self.first, weighting=first))
        if self.second is None:
            return again
        source = self.second_source and replace(self.second_source, weighting=second)
        return replace(again, second=replace(self.second, weighting=second), second_source=source)

    def known_as(
        self, first: Modality, second: Modality = "", units: Sequence[str] = ("", "")
    ) -> Study:
        """The same study with its images taken for others, and their values for others' units."""
        again = replace(self, first=_taken_for(self.first, first, units[0]))
        if self.second is None:
            return again
        source = self.second_source and _taken_for(self.second_source, second, units[1])
        taken = _taken_for(self.second, second, units[1])
        return replace(again, second=taken, second_source=source)

    def moved(self, matrix: Doubles) -> Study:
        """The same study with its second image elsewhere, resampled from it as it was read.

        Parameters
        ----------
        matrix : float array (4, 4)
            Takes points of the first image (LPS, mm) to points of the second.

        Raises
        ------
        UserError
            There is none as it was read, or it does not meet the first there.
        """
        if self.second_source is None:
            raise UserError(
                "This case keeps no second image on its own grid. Open both images anew to "
                "register them."
            )
        second, seen = _resample(self.second_source, self.first, matrix)
        return replace(self, second=second, seen=seen)


def name_images(kinds: Sequence[Modality]) -> tuple[str, ...]:
    """Names of images of these modalities; see `Study.names`."""
    if len(set(kinds)) == len(kinds):
        return tuple(kinds)
    return tuple(f"{kind} {number}" for number, kind in enumerate(kinds, start=1))


def _taken_for(volume: Volume, modality: Modality, unit: str) -> Volume:
    kept = unit if modality == "PT" and unit != "HU" else ""
    return replace(volume, modality=modality, unit="HU" if modality == "CT" else kept)


def unit_pair(study: Study, ct_window: Limits, mr_percentiles: Limits) -> tuple[Reals, Reals, Mask]:
    """Both images in [0, 1], as a network sees them, and where the second has data.

    Parameters
    ----------
    study : Study
        Without a second image the first is given twice, as the paper does for CT alone.
    ct_window, mr_percentiles : tuple of float
        As in `normalise.usual_limits`, whose errors are raised.

    Returns
    -------
    float32, float32 and bool arrays (z, y, x)
    """
    return to_units(study, limits_of(study, ct_window, mr_percentiles))


def to_units(study: Study, limits: tuple[Limits, ...]) -> tuple[Reals, Reals, Mask]:
    """As `unit_pair`, by values of each image that become 0 and 1."""
    first = to_unit(study.first.array, limits[0], study.first_seen)
    if study.second is None or study.seen is None:
        return first, first, np.ones(first.shape, dtype=bool)
    return first, to_unit(study.second.array, limits[1], study.seen), study.seen


def limits_of(study: Study, ct_window: Limits, mr_percentiles: Limits) -> tuple[Limits, ...]:
    """Values of each image that become 0 and 1; see `normalise.usual_limits`."""
    images = [(study.first, study.first_seen)]
    if study.second is not None:
        images.append((study.second, study.seen))
    return tuple(
        usual_limits(volume.array, volume.modality, ct_window, mr_percentiles, seen)
        for volume, seen in images
    )


def check_offset(study: Study) -> bool:
    """Warn of a CT that is drawn on and has no Hounsfield units; whether there is one."""
    return study.first.modality == "CT" and say_offset(study.first.array)


def say_no_units(study: Study, where: str = "") -> None:
    """The same of a file that is read among many, with no option to subtract; `where` names it."""
    if study.first.modality == "CT" and lacks_offset(study.first.array):
        words = f"CT has no Hounsfield units; subtract {OFFSET} and save it again."
        say(f"{where}: the {words}" if where else f"The {words}")


def open_study(
    first: str | Path, second: str | Path | None = None, modalities: Modalities = ("", "")
) -> Study:
    """Read an image and, if given, a second one, and put both on the first one's Grid.

    Raises
    ------
    UserError
        As `volume.read_image` and `same_patient.check_pair`, or when the second does not overlap
        the first.
    """
    one = read_image(first)
    if second is None:
        return study_from_images(one, modalities=modalities)
    other = read_image(second)
    kinds = find_modalities(one, other, modalities)
    check_pair(one, other, name_images(kinds))
    return study_from_images(one, other, modalities=kinds)


def study_from_images(
    first: sitk.Image,
    second: sitk.Image | None = None,
    matrix: Doubles | None = None,
    modalities: Modalities = ("", ""),
) -> Study:
    """Put two images on one Grid; see `open_study`.

    Parameters
    ----------
    first, second : Image
        In their own places.
    matrix : float array (4, 4), optional
        Takes points of the first (LPS, mm) to points of the second; when not given, both share
        them.
    modalities : tuple of str
        What they are; see `find_modalities`.
    """
    one, other = find_modalities(first, second, modalities)
    unit, weighting = unit_of(first, one), weighting_of(first)
    volume = replace(from_image(turn(first), one), unit=unit, weighting=weighting)
    if second is None:
        return Study(volume, None, None, Grid.from_image(first))
    source = from_image(second, other)
    resampled, seen = _resample(source, volume, matrix)
    return Study(volume, resampled, seen, Grid.from_image(first), source)


def find_modalities(
    first: sitk.Image, second: sitk.Image | None, said: Modalities = ("", "")
) -> Modalities:
    """What images are: as is said, else as their headers say, else guessed from their values.

    Raises
    ------
    UserError
        As `volume.check_values`.
    """
    one = _checked(first, said[0], USUAL[0], "first")
    return one, "" if second is None else _checked(second, said[1], USUAL[1], "second")


def _checked(image: sitk.Image, said: Modality, usual: Modality, place: str) -> Modality:
    """What an image is, once its values are known to be some."""
    known = said or marked(image)
    name = f"The {known}" if known else f"The {place} image"
    check_values(sitk.GetArrayViewFromImage(image), name)
    return known or guess_modality(image, usual, name)


def turn(image: sitk.Image, orientation: str = ORIENTATION) -> sitk.Image:
    """Permute and flip the axes to the nearest patient axes: exact, no voxel is interpolated."""
    turned: sitk.Image = sitk.DICOMOrient(image, orientation)
    return turned


def load_values(path: str | Path, grid: Grid, onto: str = "CT") -> np.ndarray:
    """Read an image on the first image's grid, such as probabilities or scribbles.

    Parameters
    ----------
    path : path
        Image on the first image's original grid, axes in any order.
    grid : Grid
        The Study's Grid.
    onto : str
        Name of the study's first image, for a message.

    Returns
    -------
    array (z, y, x) on the Study's Grid, in the file's dtype

    Raises
    ------
    UserError
        Unreadable, or on another grid than that image.
    """
    volume = from_image(turn(read_image(path)))
    if not volume.grid.same_place(grid):
        raise UserError(
            f"{Path(path).name} is on another grid than the {onto}: "
            f"{volume.grid.difference(grid)}. Draw or export it on the {onto}."
        )
    return volume.array


def load_labels(path: str | Path, grid: Grid, onto: str = "CT") -> Codes:
    """Read a contour that was drawn on the first image, uint8 (z, y, x) on the Study's Grid.

    Raises
    ------
    UserError
        As `load_values` and `label_map.to_labels`.
    """
    return to_labels(load_values(path, grid, onto), Path(path).name)


def label_image(path: str | Path) -> sitk.Image:
    """Read a contour as it lies in its file, uint8.

    Raises
    ------
    UserError
        As `volume.read_image` and `label_map.to_labels`.
    """
    image = read_image(path)
    labels = to_labels(sitk.GetArrayViewFromImage(image), Path(path).name)
    return Grid.from_image(image).to_image(labels)


def save_labels(labels: np.ndarray, study: Study, path: str | Path) -> Path:
    """Write an array of the Study's Grid on the first image's original grid.

    Parameters
    ----------
    labels : array (z, y, x)
        Labels (any integer dtype, bool) or probabilities (float).
    study : Study
        The study they belong to.
    path : path
        Ends in ``.nii``, ``.nii.gz``, ``.nrrd`` or ``.mha``.

    Raises
    ------
    UserError
        See `volume.write_image`.
    """
    return write_image(to_source_image(labels, study), path)


def to_source_image(labels: np.ndarray, study: Study) -> sitk.Image:
    """Turn an array of the Study's Grid back to the original axes, geometry to the bit."""
    source = study.source_grid
    code = sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(source.direction)
    image = turn(study.grid.to_image(labels), code)
    return source.to_image(sitk.GetArrayFromImage(image))


def rigid(matrix: Doubles | None) -> sitk.Transform:
    """A homogeneous matrix (4, 4) of points in mm as ITK's transform; None is the identity."""
    transform = sitk.AffineTransform(3)
    if matrix is not None:
        transform.SetMatrix(np.asarray(matrix)[:3, :3].ravel().tolist())
        transform.SetTranslation(np.asarray(matrix)[:3, 3].tolist())
    return transform


def mask_on(mask: Mask, own: Grid, grid: Grid, matrix: Doubles | None = None) -> Mask:
    """A mask on another Grid, by the nearest voxel.

    Parameters
    ----------
    mask : bool array (z, y, x)
        On `own`.
    own, grid : Grid
        Where it lies, and where it is wanted.
    matrix : float array (4, 4), optional
        Takes points of `grid` to points of `own`, both LPS, mm.
    """
    target = sitk.Image(grid.shape[::-1], sitk.sitkUInt8)
    target.SetOrigin(grid.origin)
    target.SetSpacing(grid.spacing[::-1])
    target.SetDirection(grid.direction)
    image = sitk.Resample(own.to_image(mask), target, rigid(matrix), sitk.sitkNearestNeighbor, 0)
    there: Mask = sitk.GetArrayFromImage(image).astype(bool)
    return there


def _resample(source: Volume, first: Volume, matrix: Doubles | None = None) -> tuple[Volume, Mask]:
    """A second image on the first one's Grid, and where it has data."""
    target, move = first.image(), rigid(matrix)
    image = sitk.Cast(source.image(), sitk.sitkFloat32)
    # What is 0 around an MR is no data; in a PET it is no uptake, in a CT -1024 is air.
    own = has_data(source.array) if source.modality == "MR" else np.ones(source.grid.shape, bool)
    known = source.grid.to_image(own)
    seen: Mask = sitk.GetArrayFromImage(
        sitk.Resample(known, target, move, sitk.sitkNearestNeighbor, 0)
    ).astype(bool)
    if seen.mean() < _MIN_OVERLAP:
        one, other = name_images((first.modality, source.modality))
        raise UserError(
            f"The {other} covers {100 * seen.mean():.2g} % of the {one} ({one} {first.grid}; "
            f"{other} {source.grid}). Check that both are of one patient and registered."
        )
    array = sitk.GetArrayFromImage(sitk.Resample(image, target, move, sitk.sitkLinear, 0))
    nothing = np.float32(AIR_HU if source.modality == "CT" else 0)
    return replace(source, array=np.where(seen, array, nothing), grid=first.grid), seen
