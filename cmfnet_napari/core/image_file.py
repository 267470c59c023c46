"""Image files and DICOM series as ITK reads them, judged by their headers first."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from cmfnet_napari.core.dicom_check import check_lengths
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.image_check import check_detached, check_promise
from cmfnet_napari.core.text_headers import check_text_header

DICOM = "GDCMImageIO"
_IMAGE_MODALITIES = {"CT", "MR", "PT", "OT"}
_UNEVEN_SLICES = 0.01  # of the median slice distance


def read_file(path: Path, kind: str) -> sitk.Image:
    """Read one file once its header has been judged.

    Parameters
    ----------
    path : Path
        The file.
    kind : str
        ITK's reader, such as ``"NrrdImageIO"``; no other one is tried.

    Raises
    ------
    UserError
        See `image_check`.
    RuntimeError
        What ITK says of a file that it cannot read.
    """
    check_text_header(path)
    if kind == DICOM:
        check_lengths(path)
    check_detached(path)
    reader = _header(str(path), kind)
    check_promise(reader, path)
    return reader.Execute()


def read_series(folder: Path) -> sitk.Image:
    """Read a folder with one DICOM series; as `read_file`, also for slices that are uneven."""
    for file in sorted(path for path in folder.iterdir() if path.is_file()):
        check_lengths(file)
    reader = sitk.ImageSeriesReader()
    series = {}
    for uid in reader.GetGDCMSeriesIDs(str(folder)):
        files = reader.GetGDCMSeriesFileNames(str(folder), uid)
        if _modality(files[0]) in _IMAGE_MODALITIES:
            series[uid] = files
    if not series:
        raise UserError(f"{folder.name} holds no DICOM image series. Choose the folder itself.")
    if len(series) > 1:
        counts = ", ".join(str(len(files)) for files in series.values())
        raise UserError(
            f"{folder.name} holds {len(series)} DICOM image series ({counts} files). Put each "
            "into a folder of its own and choose one."
        )
    (files,) = series.values()
    if len(files) == 1:
        return read_file(Path(files[0]), DICOM)
    _check_slices(files, folder.name)
    reader.SetFileNames(files)
    return reader.Execute()


def _header(file: str, kind: str = DICOM) -> sitk.ImageFileReader:
    reader = sitk.ImageFileReader()
    reader.SetImageIO(kind)  # ITK would try all its readers in turn
    reader.SetFileName(file)
    reader.ReadImageInformation()
    return reader


def _modality(file: str) -> str:
    try:
        return _header(file).GetMetaData("0008|0060").strip()
    except RuntimeError:  # a structure set or a report has no pixels
        return ""


def _check_slices(files: tuple[str, ...], name: str) -> None:
    """Refuse a series whose slices do not follow each other evenly (missing or doubled)."""
    headers = [_header(file) for file in files]
    for header, file in zip(headers, files, strict=True):
        check_promise(header, Path(file), len(files))
    normal = np.array(headers[0].GetDirection()).reshape(3, 3)[:, 2]
    gaps = np.abs(np.diff([np.dot(h.GetOrigin(), normal) for h in headers]))
    usual = float(np.median(gaps))
    uneven = np.flatnonzero(np.abs(gaps - usual) > _UNEVEN_SLICES * max(usual, 0.01))
    if uneven.size:
        at = int(uneven[0])
        raise UserError(
            f"{name}: slices {at + 1} and {at + 2} are {gaps[at]:.2f} mm apart, the others "
            f"{usual:.2f} mm: a slice is missing or doubled. Export the whole series again."
        )
