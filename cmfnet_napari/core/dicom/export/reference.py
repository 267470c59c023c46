"""The image series that structures are exported for: its headers, in the order of its slices."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from pydicom import Dataset
from pydicom.config import disable_value_validation
from pydicom.errors import InvalidDicomError

from cmfnet_napari.core.arrays import Doubles
from cmfnet_napari.core.dicom.export.provenance import fit_values
from cmfnet_napari.core.errors import UserError, list_names
from cmfnet_napari.core.images.dicom_file import read_dicom
from cmfnet_napari.core.images.grid import Grid
from cmfnet_napari.core.images.series.frames import frame_number, slices_of
from cmfnet_napari.core.images.series.headers import Slice, read_header
from cmfnet_napari.core.images.series.headers import slices_of as images_of
from cmfnet_napari.core.images.series.stacks import Stack, split
from cmfnet_napari.core.images.study import turn

Entry = tuple[Dataset, Path]
Slices = list[Entry]

_IMAGES = {"CT", "MR", "PT"}
_NEEDED = (
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "FrameOfReferenceUID",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "Rows",
    "Columns",
)


@dataclass(frozen=True, repr=False)  # the headers name the patient
class Reference:
    """One image series, slices from the lowest to the highest along their normal.

    Attributes
    ----------
    headers : tuple of Dataset
        A slice each, without its pixels. Slices of one file (enhanced DICOM) as `slices_of`
        gives them.
    files : tuple of Path
        Where they lie.
    stack : Stack
        The same slices, to read their voxels.
    grid : Grid
        The series' Grid: x along the rows, y down the columns, z along the slices' normal (DICOM
        PS3.3 C.7.6.2.1.1). Where a scanner rounded its slices' positions, they lie up to that
        beside the Grid's.
    """

    headers: tuple[Dataset, ...]
    files: tuple[Path, ...]
    stack: Stack
    grid: Grid

    @property
    def first(self) -> Dataset:
        """The header of the first slice; patient, study and series are the same in all."""
        return self.headers[0]

    def to_patient(self, slice_index: int, points: Doubles) -> Doubles:
        """Patient coordinates of points within a slice.

        Parameters
        ----------
        slice_index : int
            Which slice.
        points : array (n, 2)
            Rows and columns, in voxels; fractions allowed, (0, 0) is the first voxel's centre.

        Returns
        -------
        array (n, 3), float64
            (x, y, z) in LPS, mm: DICOM PS3.3 C.7.6.2.1.1 with the slice's own position.
        """
        header = self.headers[slice_index]
        across, down = _cosines(header)
        row_mm, column_mm = (float(v) for v in header.PixelSpacing)
        placed: Doubles = (
            _position(header) + points[:, 1:] * column_mm * across + points[:, :1] * row_mm * down
        )
        return placed

    def place(self, labels: sitk.Image, name: str) -> sitk.Image:
        """Labels of the same geometry with their axes in the series' order.

        Parameters
        ----------
        labels : sitk.Image
            A label map on this series' grid, its axes in any order and direction.
        name : str
            What to call it in the error.

        Returns
        -------
        sitk.Image
            As an array (slices, rows, columns); where it lies is still what the label map says.

        Raises
        ------
        UserError
            It lies elsewhere: contours are not moved to another grid behind the user's back.
        """
        code = sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(self.grid.direction)
        image = turn(labels, code)
        grid = Grid.from_image(image)
        if not grid.same_place(self.grid):
            raise UserError(
                f"{name} ({grid}) is on another grid than the DICOM series ({self.grid}). Choose "
                "the series that it was drawn on, or export it on that series' grid."
            )
        return image


def read_reference(
    folder: str | Path, series: str = "", labels: sitk.Image | None = None
) -> Reference:
    """Read the headers of an image series.

    Parameters
    ----------
    folder : path
        Holds the series' files, also in folders within it; structure sets and others are passed
        over.
    series : str
        Its Series Instance UID, if there are several.
    labels : sitk.Image, optional
        Chooses among several series, and acquisitions of one series: the one on whose grid it
        lies. Of acquisitions on one grid, such as echoes, the first is taken.

    Raises
    ------
    UserError
        None, several, or a series that contours cannot be exported for: attributes missing, a
        fault that it is not read with either (`stacks.split`), a tilted gantry.
    """
    folder = Path(folder).resolve()
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder. Choose the folder with the DICOM series.")
    found = [slices for uid, slices in _series_in(folder).items() if series in ("", uid)]
    if not found:
        raise UserError(f"{folder.name} holds no such DICOM image series. Choose its folder.")
    if len(found) == 1:
        return _of_series(found[0], folder.name, labels)
    if labels is not None:
        fitting = _fitting(found, folder.name, labels)
        if len(fitting) == 1:
            return fitting[0]
    counts = list_names(str(len(slices)) for slices in found)
    raise UserError(
        f"{folder.name} holds {len(found)} DICOM image series ({counts} files). Choose the "
        "folder of the one that was contoured."
    )


def _series_in(folder: Path) -> dict[str, Slices]:
    """Slices of each image series by its UID."""
    found: dict[str, Slices] = {}
    for header, path in _headers(sorted(p for p in folder.rglob("*") if p.is_file())):
        if header.get("Modality") in _IMAGES:
            slices = found.setdefault(str(header.get("SeriesInstanceUID", "")), [])
            slices.extend((one, path) for one in slices_of(header))
    return found


def _fitting(found: list[Slices], name: str, labels: sitk.Image) -> list[Reference]:
    """The series on whose grids labels lie."""
    fitting = []
    for slices in found:
        with suppress(UserError):  # also of series that nothing can be exported for
            reference = _of_series(slices, name, labels)
            reference.place(labels, "")
            fitting.append(reference)
    return fitting


def _of_series(slices: Slices, name: str, labels: sitk.Image | None) -> Reference:
    """The image of a series; of several acquisitions, the first on whose grid labels lie."""
    stacks = _stacks(slices, name)
    if len(stacks) == 1:
        return _reference(stacks[0], slices, name)
    if labels is not None:
        for stack in stacks:
            with suppress(UserError):
                reference = _reference(stack, slices, name)
                reference.place(labels, "")
                return reference
    names = list_names(stack.name for stack in stacks)
    raise UserError(
        f"{name} holds {len(stacks)} images of one series ({names}), and the contour lies on "
        "none of them. Choose the series that it was drawn on."
    )


def _stacks(slices: Slices, name: str) -> list[Stack]:
    """The images of a series as the import reads them."""
    placed = [(header, path) for header, path in slices if "ImagePositionPatient" in header]
    _check_attributes(placed or slices, name)
    whole = dict.fromkeys(path for _, path in placed)
    try:
        return split([one for path in whole for one in _images(path)])
    except (ValueError, TypeError, IndexError) as error:
        raise UserError(
            f"{name} holds an image that does not say where it lies: contours cannot be placed on "
            "it. Export the series again from the scanner or the PACS."
        ) from error


def _images(path: Path) -> list[Slice]:
    header = read_header(path)
    if header is None:
        raise ValueError("no image")
    return images_of(header, path)


def _reference(stack: Stack, slices: Slices, name: str) -> Reference:
    if stack.problem:
        raise UserError(f"{name}: {stack.problem}")
    if len(stack.slices) < 2:
        raise UserError(f"{name} holds one slice only; a series has two at least.")
    if stack.shear != (0.0, 0.0):
        raise UserError(
            f"{name} was taken with a tilted gantry: its slices are shifted against each other. "
            "Contours cannot be exported for it; use a series without tilt."
        )
    entries = {(path, frame_number(header)): header for header, path in slices}
    headers = tuple(entries[one.path, one.frame] for one in stack.slices)
    if len({(header.SOPInstanceUID, frame_number(header)) for header in headers}) < len(headers):
        raise UserError(
            f"{name} has slices that share an identifier: contours could not say which they lie "
            "in. Export the series again from the scanner or the PACS."
        )
    return Reference(headers, tuple(one.path for one in stack.slices), stack, stack.grid)


def _headers(files: Iterable[Path]) -> Iterable[tuple[Dataset, Path]]:
    for path in files:
        try:
            with disable_value_validation():  # real series break rules; they are mended here
                yield fit_values(read_dicom(path, stop_before_pixels=True)), path
        except (InvalidDicomError, EOFError):  # something else lies there too
            continue
        except OSError as error:
            raise UserError(
                f"{path.name} cannot be opened: it may be a slice. Ask for the right to read it, "
                "or take it out of the folder."
            ) from error


def _check_attributes(slices: Slices, name: str) -> None:
    for header, path in slices:
        missing = [keyword for keyword in _NEEDED if not header.get(keyword)]
        if missing:
            raise UserError(
                f"{path.name} in {name} lacks {', '.join(missing)}: contours cannot be placed on "
                "it. Export the series again from the scanner or the PACS."
            )


def _position(header: Dataset) -> Doubles:
    return np.array([float(v) for v in header.ImagePositionPatient])


def _cosines(header: Dataset) -> tuple[Doubles, Doubles]:
    """Patient directions along a row and down a column."""
    cosines = np.array([float(v) for v in header.ImageOrientationPatient])
    return cosines[:3], cosines[3:]
