"""What other programs read from a file that ours has read: voxels, place and labels.

nibabel for NIfTI, SimpleITK for NRRD, MetaImage and each slice of a series, pydicom for contours
and segments. Where they cannot read a file, nothing is compared; where something was said of it,
as of bits that were masked, the values may differ.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import suppress
from itertools import product
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import SimpleITK as sitk

_TENTH = 0.1  # of a voxel
_METRE, _MICRON = 1, 3  # codes of NIfTI's units


def differences(kind: str, path: Path, image: sitk.Image) -> Iterator[str]:
    """In what an image differs from what others read."""
    if kind == "NIfTI":
        yield from _nifti(path, image)
    elif kind in ("NRRD", "MHA"):
        yield from _itk(path, image)
    elif kind == "DICOM":
        yield from _slices(path, image)


def _nifti(path: Path, image: sitk.Image) -> Iterator[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            theirs = nibabel.load(path)
            values = np.asanyarray(theirs.dataobj).squeeze()
            affine = theirs.affine.copy()
        except Exception:  # it raises what it likes
            return
    if values.ndim != 3:
        return
    unit = int(theirs.header["xyzt_units"]) % 8
    affine[:3] *= {_METRE: 1000.0, _MICRON: 0.001}.get(unit, 1.0)
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    yield from _compared(image, values.T, lambda index: (affine @ [*index, 1.0])[:3])


def _itk(path: Path, image: sitk.Image) -> Iterator[str]:
    try:
        theirs = sitk.ReadImage(str(path))
    except RuntimeError:
        return
    if theirs.GetDimension() == 4:
        theirs = theirs[:, :, :, 0]
    values = sitk.GetArrayFromImage(theirs)
    yield from _compared(image, values, lambda index: theirs.TransformIndexToPhysicalPoint(index))


def _compared(image: sitk.Image, values: np.ndarray, place: object) -> Iterator[str]:
    ours = sitk.GetArrayFromImage(image)
    if ours.shape != values.shape:
        yield f"shape {ours.shape}, others {values.shape}"
        return
    if not np.allclose(ours, values.astype(np.float64), rtol=1e-5, atol=1e-4, equal_nan=True):
        yield f"{(ours != values).sum()} voxels"
    apart = max(
        float(np.linalg.norm(np.subtract(image.TransformIndexToPhysicalPoint(index), place(index))))
        for index in product(*((0, n - 1) for n in image.GetSize()))
    )
    if not apart <= 2 * _TENTH * min(image.GetSpacing()):
        yield f"place, {apart:.3g} mm"


def _slices(folder: Path, image: sitk.Image) -> Iterator[str]:
    """Every slice that ITK reads by itself lies in the volume, with the same values."""
    ours = sitk.GetArrayFromImage(image).astype(np.float64)
    found = 0
    for path in sorted(folder.iterdir()):
        with suppress(RuntimeError, ValueError):
            theirs = sitk.ReadImage(str(path), imageIO="GDCMImageIO")
            plane = sitk.GetArrayFromImage(theirs)[0].astype(np.float64)
            index = image.TransformPhysicalPointToContinuousIndex(theirs.GetOrigin())
            k = round(index[2])
            if np.abs(np.subtract(index, (0, 0, k))).max() > _TENTH or not 0 <= k < len(ours):
                yield f"{path.name} lies elsewhere, at {index}"
            elif plane.shape != ours[k].shape or np.abs(plane - ours[k]).max() > 1:
                yield f"the values of {path.name}"
            else:
                found += 1
    if found > len(ours):
        yield f"{found} slices, {len(ours)} in the volume"


def contours(path: Path) -> dict[int, list[np.ndarray]]:
    """Closed contours of a structure set by the number of their structure, as pydicom reads it."""
    drawn: dict[int, list[np.ndarray]] = {}
    for item in pydicom.dcmread(path).get("ROIContourSequence") or []:
        for contour in item.get("ContourSequence") or []:
            points = np.array(contour.get("ContourData") or [], float).reshape(-1, 3)
            kind = contour.get("ContourGeometricType")
            closed = kind in ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
            if closed and len(np.unique(points, axis=0)) >= 3:
                drawn.setdefault(int(item.ReferencedROINumber), []).append(points)
    return drawn


def segment_places(path: Path) -> dict[int, np.ndarray] | None:
    """Patient points (n, 3) of the voxels of each segment of a binary SEG, as pydicom reads it.

    None: it does not.
    """
    data = pydicom.dcmread(path)
    try:
        frames = data.pixel_array.reshape(-1, data.Rows, data.Columns)
    except Exception:  # it raises what it likes
        return None
    shared = data.SharedFunctionalGroupsSequence[0]
    cosines = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float)
    down_mm, across_mm = map(float, shared.PixelMeasuresSequence[0].PixelSpacing)
    places: dict[int, list[np.ndarray]] = {}
    for frame, item in zip(frames, data.PerFrameFunctionalGroupsSequence, strict=True):
        number = int(item.SegmentIdentificationSequence[0].ReferencedSegmentNumber)
        first = np.array(item.PlanePositionSequence[0].ImagePositionPatient, float)
        rows, columns = np.nonzero(frame)
        points = first + np.outer(columns * across_mm, cosines[:3])
        places.setdefault(number, []).append(points + np.outer(rows * down_mm, cosines[3:]))
    return {number: np.concatenate(parts) for number, parts in places.items()}
