"""A segmentation out of the door: written elsewhere, read back, and moved into place if right."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import SimpleITK as sitk
from pydicom import Dataset

from cmfnet_napari.core.arrays import three
from cmfnet_napari.core.dicom.export.provenance import Maker
from cmfnet_napari.core.dicom.export.receipt import (
    Place,
    Receipt,
    image_receipt,
    segmentation_receipt,
    structure_set_receipt,
)
from cmfnet_napari.core.dicom.export.reference import Reference
from cmfnet_napari.core.dicom.export.roi import Roi, check_rois
from cmfnet_napari.core.dicom.export.rtstruct import (
    add_to_structure_set,
    new_structure_set,
    write_structure_set,
)
from cmfnet_napari.core.dicom.export.seg import new_segmentation, write_segmentation
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.files import write_safely
from cmfnet_napari.core.images.series.frames import frame_number
from cmfnet_napari.core.images.volume import read_image, write_image

ENDINGS = {"rtstruct": ".dcm", "seg": ".dcm", "nifti": ".nii.gz"}


def classes_in(labels: sitk.Image) -> list[int]:
    """Segmentation codes that occur, without the background.

    Raises
    ------
    UserError
        A value is no whole number or below 0.
    """
    values = np.unique(sitk.GetArrayViewFromImage(labels))
    wrong = [v for v in values if not np.isfinite(v) or v != int(v) or v < 0]
    if wrong:
        raise UserError(
            f"The segmentation has the value {wrong[0]:g}, which is no class: 0 is background, 1, "
            "2, 3, … the classes."
        )
    return [int(v) for v in values if v]


def export(
    labels: sitk.Image,
    reference: Reference,
    rois: Sequence[Roi],
    kind: str,
    out: str | Path,
    maker: Maker | None = None,
    add_to: str | Path | None = None,
    overwrite: bool = False,
) -> Receipt:
    """Write a segmentation for a DICOM series, unless what was written reads back differently.

    Parameters
    ----------
    labels : sitk.Image
        Segmentation codes on the series' grid, axes in any order and direction.
    reference : Reference
        The series.
    rois : sequence of Roi
        The classes to write, with names and types.
    kind : str
        ``rtstruct``, ``seg`` or ``nifti``.
    out : path
        The file.
    maker : Maker, optional
        The model that made it.
    add_to : path, optional
        A structure set whose structures the new file takes over; it stays as it is.
    overwrite : bool
        Whether `out` may be there already.

    Returns
    -------
    Receipt
        Of a file that is now in place.

    Raises
    ------
    UserError
        Wrong use, another grid, or a receipt that is not right; then nothing was written.
    """
    out = Path(out)
    check_rois(rois)
    _check_target(out, kind, reference, add_to, overwrite)
    labels = reference.place(labels, "The segmentation")
    with TemporaryDirectory(prefix="cmfnet-") as folder:
        draft = Path(folder) / f"draft{ENDINGS[kind]}"
        receipt = _write(draft, labels, reference, rois, kind, maker or Maker(), add_to)
        if not receipt.ok:
            raise UserError(
                f"{out.name} was not written, because it reads back differently "
                f"({receipt.why_not()}). Please report it."
            )
        write_safely(out, ENDINGS[kind], lambda part: shutil.copyfile(draft, part))
    return receipt


def _check_target(
    out: Path, kind: str, reference: Reference, add_to: str | Path | None, overwrite: bool
) -> None:
    if kind not in ENDINGS:
        raise UserError(f"{kind} is no format: {', '.join(ENDINGS)}.")
    if not out.name.lower().endswith(ENDINGS[kind]):
        raise UserError(f"{out.name} must end in {ENDINGS[kind]}.")
    if add_to is not None and kind != "rtstruct":
        raise UserError("Only structures (rtstruct) can be added to a structure set.")
    sources = [*reference.files, *([] if add_to is None else [Path(add_to)])]
    if out.exists() and any(out.samefile(source) for source in sources if source.exists()):
        raise UserError(f"{out.name} is what is exported from, which is never overwritten.")
    if out.exists() and not overwrite:
        raise UserError(f"{out.name} is there already. Choose another name, or say overwrite.")


def _write(
    draft: Path,
    labels: sitk.Image,
    reference: Reference,
    rois: Sequence[Roi],
    kind: str,
    maker: Maker,
    add_to: str | Path | None,
) -> Receipt:
    """Write the draft and read it back."""
    array = sitk.GetArrayFromImage(labels)
    sources = [reference.files[0], *([] if add_to is None else [Path(add_to)])]
    slices = [_place(header) for header in reference.headers]
    if kind == "nifti":
        chosen = np.where(np.isin(array, [roi.code for roi in rois]), array, 0).astype(np.uint8)
        write_image(reference.grid.to_image(chosen), draft)
        return image_receipt(read_image(draft), labels, rois)
    if kind == "seg":
        write_segmentation(new_segmentation(reference, array, rois, maker), draft)
        return segmentation_receipt(draft, labels, rois, slices, sources)
    if add_to is None:
        structure_set = new_structure_set(reference, array, rois, maker)
    else:
        structure_set = add_to_structure_set(add_to, reference, array, rois, maker)
    write_structure_set(structure_set, draft)
    return structure_set_receipt(draft, labels, rois, slices, sources)


def _place(header: Dataset) -> Place:
    position = three(float(v) for v in header.ImagePositionPatient)
    return Place(str(header.SOPInstanceUID), frame_number(header), position)
