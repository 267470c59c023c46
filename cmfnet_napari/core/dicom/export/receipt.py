"""The receipt of an export: what a reader finds in the file, against what was meant.

It shares nothing with the writers: it reads with pydicom, places points by the label map's own
Grid, fills polygons row by row, and measures volumes by the polygons' areas, as planning systems
do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pydicom
import SimpleITK as sitk
from pydicom import Dataset

from cmfnet_napari.core.arrays import Doubles, Mask, Wholes
from cmfnet_napari.core.dicom.export.checker import CHECKER, broken_rules
from cmfnet_napari.core.dicom.export.roi import Roi
from cmfnet_napari.core.files import JsonObject
from cmfnet_napari.core.images.grid import Grid, Triple

MIN_DICE = 0.99  # of structures larger than a millilitre
SMALL_ML = 1.0
MAX_VOLUME_CHANGE = 0.01
MAX_SHIFT_MM = 0.1
NO_ERRORS = "no errors"
NOT_CHECKED = f"not checked: {CHECKER} is not installed"
NOT_DICOM = "not a DICOM file"
_OFF_GRID = 0.01  # of a voxel


class Place(NamedTuple):
    """One slice: SOP instance UID, frame (0 of a single one), its first voxel's place (LPS, mm)."""

    uid: str
    frame: int
    position: Triple


@dataclass(frozen=True)
class Line:
    """One structure, read back.

    Attributes
    ----------
    name : str
        The structure.
    dice : float
        Overlap of the voxels read back with those meant, 0 … 1.
    volume_ml, written_ml : float
        Volume meant, and as it is read back.
    shift_mm : float
        Distance of the two centroids; infinite when nothing was read back.
    """

    name: str
    dice: float
    volume_ml: float
    written_ml: float
    shift_mm: float

    @property
    def volume_change(self) -> float:
        """(written − meant) / meant."""
        return (self.written_ml - self.volume_ml) / self.volume_ml

    @property
    def ok(self) -> bool:
        """Whether the limits of this module hold."""
        return (
            (self.dice >= MIN_DICE or self.volume_ml <= SMALL_ML)
            and abs(self.volume_change) <= MAX_VOLUME_CHANGE
            and self.shift_mm <= MAX_SHIFT_MM
        )


@dataclass(frozen=True)
class Receipt:
    """What was found in the file.

    Attributes
    ----------
    lines : tuple of Line
        One a structure.
    errors : tuple of str
        Rules of DICOM that are broken, and contours that lie nowhere.
    dicom : str
        What became of the check of the DICOM rules, for people.
    sha256 : str
        Of the file's bytes, once it is in place.
    """

    lines: tuple[Line, ...]
    errors: tuple[str, ...] = ()
    dicom: str = NO_ERRORS
    sha256: str = ""

    @property
    def ok(self) -> bool:
        """Whether the file may go out."""
        return not self.errors and all(line.ok for line in self.lines)

    def why_not(self) -> str:
        """What is wrong, in words."""
        wrong = [
            f"{line.name}: Dice {line.dice:.3f}, volume {100 * line.volume_change:+.1f} %, shift "
            f"{line.shift_mm:.2f} mm"
            for line in self.lines
            if not line.ok
        ]
        return "; ".join([*wrong, *self.errors])

    def as_dict(self) -> JsonObject:
        """The same for JSON."""
        lines = [
            {**asdict(line), "volume_change": line.volume_change, "ok": line.ok}
            for line in self.lines
        ]
        return {"ok": self.ok, "structures": lines, "dicom": self.dicom, "errors": self.errors}


def structure_set_receipt(
    path: Path,
    labels: sitk.Image,
    rois: Sequence[Roi],
    slices: Sequence[Place],
    sources: Sequence[Path] = (),
) -> Receipt:
    """Read a structure set back.

    Parameters
    ----------
    path : Path
        The file written.
    labels : sitk.Image
        What was meant: segmentation codes, array (slices, rows, columns) in the series' planes.
    rois : sequence of Roi
        The structures that were written.
    slices : sequence of Place
        The series' slices, in order.
    sources : sequence of Path
        Files that values were taken over from, such as a slice or the set they were added to: the
        rules of DICOM that these break already are not held against the new file.
    """
    dataset = pydicom.dcmread(path)
    numbers = {i.get("ROIName"): i.get("ROINumber") for i in dataset.StructureSetROISequence}
    items = {i.get("ReferencedROINumber"): i for i in dataset.ROIContourSequence}
    grid, meant = Grid.from_image(labels), sitk.GetArrayFromImage(labels)
    lines, problems = [], []
    for roi in rois:
        contours = items[numbers[roi.name]].ContourSequence
        found = np.zeros(grid.shape, dtype=bool)
        area = 0.0
        for contour in contours:
            where, points, problem = _placed(contour, grid, slices)
            if problem:
                problems.append(f"{roi.name}: {problem}")
                continue
            found[where] ^= _filled(points, grid.shape[1:])
            area += _area(points)
        lines.append(_line(roi.name, meant == roi.code, found, area * grid.voxel_ml, grid))
    return _receipt(lines, problems, path, sources)


def segmentation_receipt(
    path: Path,
    labels: sitk.Image,
    rois: Sequence[Roi],
    slices: Sequence[Place],
    sources: Sequence[Path] = (),
) -> Receipt:
    """Read a DICOM SEG back; parameters as `structure_set_receipt`."""
    dataset = pydicom.dcmread(path)
    numbers = {str(s.SegmentLabel): int(s.SegmentNumber) for s in dataset.SegmentSequence}
    grid, meant = Grid.from_image(labels), sitk.GetArrayFromImage(labels)
    found = {number: np.zeros(grid.shape, dtype=bool) for number in numbers.values()}
    shared = dataset.SharedFunctionalGroupsSequence[0]
    frames = np.atleast_3d(dataset.pixel_array).reshape(-1, dataset.Rows, dataset.Columns)
    problems = []
    for frame, group in zip(frames, dataset.PerFrameFunctionalGroupsSequence, strict=True):
        segment = _macro(group, shared, "SegmentIdentificationSequence")
        number = int(segment.ReferencedSegmentNumber)
        corners = _corners(group, shared)
        where, in_plane, beside = _in_slice(corners, grid, slices)
        expected = np.array([[0, 0], [0, 1], [1, 0]])
        if max(beside, np.abs(in_plane - expected).max()) > _OFF_GRID:
            problems.append("a frame lies beside the series' slices")
            continue
        found[number][where] |= frame.astype(bool)
    lines = [_counted(roi, meant, found[numbers[roi.name]], grid) for roi in rois]
    return _receipt(lines, problems, path, sources)


def image_receipt(image: sitk.Image, labels: sitk.Image, rois: Sequence[Roi]) -> Receipt:
    """Compare a label map that was read back; parameters as `structure_set_receipt`."""
    grid, meant = Grid.from_image(labels), sitk.GetArrayFromImage(labels)
    if not Grid.from_image(image).same_place(grid):
        return Receipt((), ("it lies elsewhere",), NOT_DICOM)
    found = sitk.GetArrayFromImage(image)
    lines = [_counted(roi, meant, found == roi.code, grid) for roi in rois]
    return Receipt(tuple(lines), dicom=NOT_DICOM)


def _placed(
    contour: Dataset, grid: Grid, slices: Sequence[Place]
) -> tuple[int, Doubles, str]:  # slice, points (n, 2) in voxels, what is wrong
    points = np.array(contour.ContourData, dtype=float).reshape(-1, 3)
    where, in_plane, beside = _in_slice(points, grid, slices)
    if len(points) < 3 or len(points) != contour.NumberOfContourPoints:
        return where, in_plane, "a contour has fewer than 3 points, or not as many as it says"
    if beside > _OFF_GRID:
        return where, in_plane, "a contour does not lie in a slice"
    named = contour.ContourImageSequence[0]
    frame = int(named.get("ReferencedFrameNumber", 0))
    if (named.ReferencedSOPInstanceUID, frame) != slices[where][:2]:
        return where, in_plane, "a contour names another slice than it lies in"
    return where, in_plane, ""


def _in_slice(
    points: Doubles, grid: Grid, slices: Sequence[Place]
) -> tuple[int, Doubles, float]:  # nearest slice, (n, 2) in voxels, voxels beside it at most
    """Points (n, 3), LPS, mm, in the slice that they lie in: its own position counts."""
    normal = grid.matrix[:, 2]
    places = np.array([place.position for place in slices])
    where = int(np.abs(places @ normal - points.mean(axis=0) @ normal).argmin())
    steps = (points - places[where]) @ grid.matrix / np.array(grid.spacing[::-1])
    return where, steps[:, 1::-1], float(np.abs(steps[:, 2]).max())


def _filled(points: Doubles, shape: tuple[int, int]) -> Mask:
    """Voxels whose centres a polygon (n, 2) encloses, by the even-odd rule, row by row."""
    y0, x0 = points.T
    y1, x1 = np.roll(points, -1, axis=0).T
    first = np.ceil(np.minimum(y0, y1)).astype(int)
    rows_crossed = np.ceil(np.maximum(y0, y1)).astype(int) - first
    edge = np.repeat(np.arange(len(points)), rows_crossed)
    starts = np.cumsum(rows_crossed) - rows_crossed
    row = first[edge] + np.arange(len(edge)) - starts[edge]
    column = x0[edge] + (row - y0[edge]) / (y1[edge] - y0[edge]) * (x1[edge] - x0[edge])
    within = (row >= 0) & (row < shape[0])
    crossings = np.zeros((shape[0], shape[1] + 1), dtype=int)
    at = np.clip(np.ceil(column[within]), 0, shape[1]).astype(int)
    np.add.at(crossings, (row[within], at), 1)
    passed: Wholes = crossings.cumsum(axis=1)[:, :-1]
    inside: Mask = passed % 2 == 1
    return inside


def _area(points: Doubles) -> float:
    """Area of a polygon (n, 2), in voxels (shoelace formula)."""
    y, x = (points - points.mean(axis=0)).T
    return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2


def _macro(group: Dataset, shared: Dataset, sequence: str) -> Dataset:
    """What a frame says, or all frames together (PS3.3 C.7.6.16)."""
    macro: Dataset = (group if sequence in group else shared)[sequence][0]
    return macro


def _corners(group: Dataset, shared: Dataset) -> Doubles:
    """Patient positions (3, 3) of a frame's first voxel, the next in its row and in its column."""
    position, cosines = (
        np.array(_macro(group, shared, sequence)[keyword].value, dtype=float)
        for sequence, keyword in (
            ("PlanePositionSequence", "ImagePositionPatient"),
            ("PlaneOrientationSequence", "ImageOrientationPatient"),
        )
    )
    measures = _macro(group, shared, "PixelMeasuresSequence")
    row_mm, column_mm = (float(v) for v in measures.PixelSpacing)
    return np.stack([position, position + column_mm * cosines[:3], position + row_mm * cosines[3:]])


def _counted(roi: Roi, meant: Wholes, found: Mask, grid: Grid) -> Line:
    return _line(roi.name, meant == roi.code, found, int(found.sum()) * grid.voxel_ml, grid)


def _line(name: str, meant: Mask, found: Mask, written_ml: float, grid: Grid) -> Line:
    n_meant, n_found = int(meant.sum()), int(found.sum())
    dice = 2 * int((meant & found).sum()) / (n_meant + n_found)
    shift = np.inf
    if n_found:
        shift = float(np.linalg.norm(_centroid(meant, grid) - _centroid(found, grid)))
    return Line(name, dice, n_meant * grid.voxel_ml, written_ml, shift)


def _centroid(mask: Mask, grid: Grid) -> Doubles:
    return grid.to_patient(np.argwhere(mask).mean(axis=0))


def _receipt(
    lines: Sequence[Line], problems: Sequence[str], path: Path, sources: Sequence[Path]
) -> Receipt:
    """Add the check of the DICOM rules."""
    errors = broken_rules(path, sources)
    words = NOT_CHECKED if errors is None else "; ".join(errors) or NO_ERRORS
    return Receipt(tuple(lines), (*dict.fromkeys(problems), *(errors or ())), words)
