"""The image series that structures are exported for: its headers, in the order of its slices."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK as sitk
from pydicom import Dataset
from pydicom.config import disable_value_validation
from pydicom.errors import InvalidDicomError

from cmfnet_napari.core.dicom.common import fit_values
from cmfnet_napari.core.dicom.frames import frame_number, slices_of
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.grid import Grid
from cmfnet_napari.core.study import turn

Slices = list[tuple[Dataset, Path]]

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
_COSINES = 1e-4  # difference at which two slices have another orientation
_APART = 0.01  # of the slice distance, that slices may be unevenly spaced
_TILT_MM = 0.1  # that the first and the last slice may be shifted within their planes


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
    """

    headers: tuple[Dataset, ...]
    files: tuple[Path, ...]

    @property
    def first(self) -> Dataset:
        """The header of the first slice; patient, study and series are the same in all."""
        return self.headers[0]

    @cached_property
    def grid(self) -> Grid:
        """The series' Grid: x along the rows, y down the columns, z along the slices' normal.

        DICOM PS3.3 C.7.6.2.1.1.
        """
        first = self.first
        across, down = _cosines(first)
        row_mm, column_mm = (float(v) for v in first.PixelSpacing)
        distance = float(np.linalg.norm(_position(self.headers[-1]) - _position(first)))
        return Grid(
            shape=(len(self.headers), int(first.Rows), int(first.Columns)),
            spacing=(distance / (len(self.headers) - 1), row_mm, column_mm),
            origin=tuple(float(v) for v in _position(first)),
            direction=tuple(np.stack([across, down, np.cross(across, down)], axis=1).ravel()),
        )

    def to_patient(self, slice_index: int, points: np.ndarray) -> np.ndarray:
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
        return (
            _position(header)
            + points[:, 1:] * column_mm * across
            + points[:, :1] * row_mm * down
        )  # fmt: skip

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
        Chooses among several series: the one on whose grid it lies.

    Raises
    ------
    UserError
        None, several, or a series that contours cannot be exported for: attributes missing,
        doubled or missing slices, several orientations, a tilted gantry.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder. Choose the folder with the DICOM series.")
    found = [slices for uid, slices in _series_in(folder).items() if series in ("", uid)]
    if not found:
        raise UserError(f"{folder.name} holds no such DICOM image series. Choose its folder.")
    if len(found) == 1:
        return _stacked(found[0], folder.name)
    if labels is not None:
        fitting = _fitting(found, folder.name, labels)
        if len(fitting) == 1:
            return fitting[0]
    counts = ", ".join(str(len(slices)) for slices in found)
    raise UserError(
        f"{folder.name} holds {len(found)} DICOM image series ({counts} files). Choose the "
        "folder of the one that was contoured."
    )


def _series_in(folder: Path) -> dict[str, Slices]:
    """Slices of each image series by its UID; copies of a slice once."""
    found: dict[str, dict[str, tuple[Dataset, Path]]] = {}
    for header, path in _headers(sorted(p for p in folder.rglob("*") if p.is_file())):
        if header.get("Modality") in _IMAGES:
            slices = found.setdefault(str(header.get("SeriesInstanceUID", "")), {})
            for one in slices_of(header):
                uid = f"{header.get('SOPInstanceUID', path)} {frame_number(one)}"
                slices.setdefault(uid, (one, path))
    return {uid: list(slices.values()) for uid, slices in found.items()}


def _fitting(found: list[Slices], name: str, labels: sitk.Image) -> list[Reference]:
    """The series on whose grids labels lie."""
    fitting = []
    for slices in found:
        with suppress(UserError):  # also of series that nothing can be exported for
            reference = _stacked(slices, name)
            reference.place(labels, "")
            fitting.append(reference)
    return fitting


def _stacked(slices: Slices, name: str) -> Reference:
    _check_attributes(slices, name)
    across, down = _cosines(slices[0][0])
    ordered = sorted(slices, key=lambda item: float(_position(item[0]) @ np.cross(across, down)))
    headers, files = zip(*ordered, strict=True)
    _check_stack(headers, name)
    return Reference(headers, files)


def _headers(files: Iterable[Path]) -> Iterable[tuple[Dataset, Path]]:
    for path in files:
        try:
            with disable_value_validation():  # real series break rules; they are mended here
                yield fit_values(pydicom.dcmread(path, stop_before_pixels=True)), path
        except (InvalidDicomError, OSError, EOFError):  # something else lies there too
            continue


def _check_attributes(slices: Slices, name: str) -> None:
    for header, path in slices:
        missing = [keyword for keyword in _NEEDED if not header.get(keyword)]
        if missing:
            raise UserError(
                f"{path.name} in {name} lacks {', '.join(missing)}: contours cannot be placed on "
                "it. Export the series again from the scanner or the PACS."
            )


def _check_stack(headers: tuple[Dataset, ...], name: str) -> None:
    """Refuse what is no even stack of parallel slices of one size."""
    if len(headers) < 2:
        raise UserError(f"{name} holds one slice only; a series has two at least.")
    first = headers[0]
    for header in headers:
        same = np.abs(np.subtract(_cosines(header), _cosines(first))).max() < _COSINES
        if not same or any(header[k].value != first[k].value for k in ("Rows", "Columns")):
            raise UserError(f"{name} holds slices of several orientations or sizes.")
    positions = np.array([_position(header) for header in headers])
    normal = np.cross(*_cosines(first))
    gaps = np.diff(positions @ normal)
    usual = float(np.median(gaps))
    uneven = np.flatnonzero(np.abs(gaps - usual) > _APART * max(usual, _APART))
    if uneven.size:
        at = int(uneven[0])
        raise UserError(
            f"{name}: slices {at + 1} and {at + 2} are {gaps[at]:.2f} mm apart, the others "
            f"{usual:.2f} mm: a slice is missing or doubled. Export the whole series again."
        )
    along = positions[-1] - positions[0]
    if np.linalg.norm(along - (along @ normal) * normal) > _TILT_MM:
        raise UserError(
            f"{name} was taken with a tilted gantry: its slices are shifted against each other. "
            "Contours cannot be exported for it; use a series without tilt."
        )


def _position(header: Dataset) -> np.ndarray:
    return np.array([float(v) for v in header.ImagePositionPatient])


def _cosines(header: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Patient directions along a row and down a column."""
    cosines = np.array([float(v) for v in header.ImageOrientationPatient])
    return cosines[:3], cosines[3:]
