"""A segmentation out of the door: written elsewhere, read back, and moved into place if right."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import SimpleITK as sitk

from cmfnet_napari.core.dicom.export.formats import FORMATS, Meant
from cmfnet_napari.core.dicom.export.provenance import Maker
from cmfnet_napari.core.dicom.export.receipt import Receipt
from cmfnet_napari.core.dicom.export.reference import Reference
from cmfnet_napari.core.dicom.export.roi import Roi, check_rois
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.files import hash_file, replaced_by, write_safely


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
    sources: Sequence[Path] = (),
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
        A name of `FORMATS`.
    out : path
        The file.
    maker : Maker, optional
        The model that made it.
    add_to : path, optional
        A structure set whose structures the new file takes over; it stays as it is.
    overwrite : bool
        Whether `out` may be there already.
    sources : sequence of Path
        Files and folders beside the series that were read: what lies there is never replaced.

    Returns
    -------
    Receipt
        Of a file that is now in place.

    Raises
    ------
    UserError
        Wrong use, another grid, a structure without a voxel, or a receipt that is not right; then
        nothing was written.
    """
    out, add_to = Path(out), None if add_to is None else Path(add_to)
    check_rois(rois)
    added = () if add_to is None else (add_to,)
    _check_target(out, kind, (*reference.files, *added, *sources), add_to, overwrite)
    chosen = FORMATS[kind]
    labels = reference.place(labels, "The segmentation")
    _check_drawn(labels, rois)
    with TemporaryDirectory(prefix="cmfnet-") as folder:
        draft = Path(folder) / f"draft{chosen.ending}"
        receipt = chosen.write(Meant(labels, reference, rois, maker or Maker(), add_to), draft)
        if not receipt.ok:
            raise UserError(
                f"{out.name} was not written, because it reads back differently "
                f"({receipt.why_not()}). Please report it."
            )
        written = hash_file(draft)
        write_safely(out, chosen.ending, lambda part: shutil.copyfile(draft, part))
    return replace(receipt, sha256=written)


def _check_drawn(labels: sitk.Image, rois: Sequence[Roi]) -> None:
    there = classes_in(labels)
    if empty := [roi.name for roi in rois if roi.code not in there]:
        raise UserError(
            f"Without a voxel: {', '.join(empty)}. Leave it out of the export, or contour it first."
        )


def _check_target(
    out: Path, kind: str, sources: Sequence[Path], add_to: Path | None, overwrite: bool
) -> None:
    if kind not in FORMATS:
        raise UserError(f"{kind} is no format: {', '.join(FORMATS)}.")
    ending = FORMATS[kind].ending
    if not out.name.lower().endswith(ending):
        raise UserError(f"{out.name} must end in {ending}.")
    if add_to is not None and not FORMATS[kind].adds:
        adding = ", ".join(name for name, row in FORMATS.items() if row.adds)
        raise UserError(f"Only structures ({adding}) can be added to a structure set.")
    if replaced_by(out, sources):
        raise UserError(f"{out.name} is what is exported from, which is never overwritten.")
    if out.exists() and not overwrite:
        raise UserError(f"{out.name} is there already. Choose another name, or say overwrite.")
