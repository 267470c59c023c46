"""Image files and DICOM series as ITK reads them, judged by their headers first."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import SimpleITK as sitk
from pydicom.dataset import FileDataset

from cmfnet_napari.core.errors import UserError, list_names, say
from cmfnet_napari.core.images.detached import detached_files
from cmfnet_napari.core.images.dicom_check import check_lengths
from cmfnet_napari.core.images.header_check import check_promise
from cmfnet_napari.core.images.packed import check_packed
from cmfnet_napari.core.images.same_patient import mark_whose
from cmfnet_napari.core.images.series.headers import read_header, slices_of
from cmfnet_napari.core.images.series.read_stack import read_stack
from cmfnet_napari.core.images.series.scan import origin_of, scan
from cmfnet_napari.core.images.series.scan_result import (
    MAY_BE_SLICES,
    Origin,
    Scan,
    left_out_notes,
)
from cmfnet_napari.core.images.series.stacks import split
from cmfnet_napari.core.images.text_headers import check_text_header

DICOM = "GDCMImageIO"


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
        See `header_check`, `detached` and `packed`.
    RuntimeError
        What ITK says of a file that it cannot read.
    """
    check_text_header(path)
    detached = detached_files(path)
    image: sitk.Image | None
    header = None
    if kind == DICOM:
        check_lengths(path)
        header = read_header(path)
        image = None if header is None else _frames(header, path)
        if image is not None:
            return image
    reader = _header(str(path), kind)
    promised = check_promise(reader, path, detached)
    if kind != DICOM:
        check_packed(path, detached, promised)
    image = reader.Execute()
    return image if header is None else _known(image, _origin(header))


def read_series(folder: Path) -> sitk.Image:
    """Read a folder with one DICOM series; as `read_file`, also for a series with a fault."""
    files = sorted(path for path in folder.iterdir() if path.is_file())
    for file in files:
        with suppress(OSError):  # the scan says it
            check_lengths(file)
    found = scan(files) if files else Scan(())
    images = found.images
    if lost := [entry for entry in found.left_out if entry.why in MAY_BE_SLICES]:
        raise UserError(
            f"{folder.resolve().name} may lack slices. {' '.join(left_out_notes(lost))} Export or "
            "copy them again, or take them out of the folder."
        )
    if not images:
        raise UserError(
            f"{folder.resolve().name} holds no DICOM image series. Choose the folder itself."
        )
    if len(images) > 1:
        counts = list_names(str(len(image.stack.slices)) for image in images)
        raise UserError(
            f"{folder.resolve().name} holds {len(images)} DICOM image series ({counts} files). "
            "Choose one in the window with 'DICOM folder…', or with 'cmfnet import'."
        )
    left_out = (left_out_notes(found.left_out, named) for named in (True, False))
    notes = [(note, note) for note in images[0].stack.notes]
    for note, kept in (*notes, *zip(*left_out, strict=True)):
        say(f"{folder.name}: {note}", kept)
    origin = images[0].origin
    return _known(read_stack(images[0].stack, origin.modality, folder.name), origin)


def _origin(header: FileDataset) -> Origin:
    """What a file's header says of it."""
    try:
        return origin_of(header)
    except Exception as error:  # pydicom raises what it happens to stumble over
        raise ValueError("a damaged DICOM header") from error


def _known(image: sitk.Image, origin: Origin) -> sitk.Image:
    """The image, with whose it is where its header says that."""
    return mark_whose(image, origin.patient if origin.is_named else "", origin.frame_uid)


def _frames(header: FileDataset, path: Path) -> sitk.Image | None:
    """An enhanced DICOM object, whose frames say where they lie; None if it is none."""
    slices = slices_of(header, path)
    if len(slices) < 2:
        return None
    stacks = split(slices)
    if len(stacks) > 1:
        names = list_names(stack.name for stack in stacks)
        raise UserError(
            f"{path.name} holds {len(stacks)} images ({names}). Import it as a DICOM folder and "
            "choose one."
        )
    origin = _origin(header)
    return _known(read_stack(stacks[0], origin.modality, path.name), origin)


def _header(file: str, kind: str) -> sitk.ImageFileReader:
    reader = sitk.ImageFileReader()
    reader.SetImageIO(kind)  # ITK would try all its readers in turn
    reader.SetFileName(file)
    reader.ReadImageInformation()
    return reader
