"""The formats of an export: one row each, which commands, scripts and the window look up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from cmfnet_napari.core.arrays import Wholes, three
from cmfnet_napari.core.dicom.export.provenance import Maker
from cmfnet_napari.core.dicom.export.receipt import (
    Place,
    Receipt,
    image_receipt,
    segmentation_receipt,
    structure_set_receipt,
)
from cmfnet_napari.core.dicom.export.reference import Reference
from cmfnet_napari.core.dicom.export.roi import Roi
from cmfnet_napari.core.dicom.export.rtstruct import (
    add_to_structure_set,
    new_structure_set,
    write_structure_set,
)
from cmfnet_napari.core.images.series.frames import frame_number
from cmfnet_napari.core.images.volume import read_image, write_image


@dataclass(frozen=True)
class Meant:
    """What is to be exported.

    Attributes
    ----------
    labels : sitk.Image
        Segmentation codes on the series' grid, in its slices' order.
    reference : Reference
        The series.
    rois : sequence of Roi
        The structures.
    maker : Maker
        What made them.
    add_to : Path, optional
        A structure set whose structures the new file takes over.
    """

    labels: sitk.Image
    reference: Reference
    rois: Sequence[Roi]
    maker: Maker
    add_to: Path | None = None

    @property
    def array(self) -> Wholes:
        """The codes (slices, rows, columns)."""
        array: Wholes = sitk.GetArrayFromImage(self.labels)
        return array

    @property
    def places(self) -> list[Place]:
        """Where the slices of the series lie."""
        return [
            Place(
                str(header.SOPInstanceUID),
                frame_number(header),
                three(float(v) for v in header.ImagePositionPatient),
            )
            for header in self.reference.headers
        ]

    @property
    def sources(self) -> list[Path]:
        """The files that values are taken over from."""
        return [self.reference.files[0], *([] if self.add_to is None else [self.add_to])]


@dataclass(frozen=True)
class Format:
    """A kind of file.

    Attributes
    ----------
    title : str
        What the window calls it.
    ending : str
        Of its files' names.
    write : callable
        Writes what is meant into a draft, reads the draft back and returns the receipt.
    dicom : bool
        Whether it goes to the clinic: the window offers it, a PACS takes it.
    adds : bool
        Whether it can take over the structures of another file.
    """

    title: str
    ending: str
    write: Callable[[Meant, Path], Receipt]
    dicom: bool = True
    adds: bool = False


def _structure_set(meant: Meant, draft: Path) -> Receipt:
    what = meant.reference, meant.array, meant.rois, meant.maker
    if meant.add_to is None:
        structure_set = new_structure_set(*what)
    else:
        structure_set = add_to_structure_set(meant.add_to, *what)
    write_structure_set(structure_set, draft)
    return structure_set_receipt(draft, meant.labels, meant.rois, meant.places, meant.sources)


def _segmentation(meant: Meant, draft: Path) -> Receipt:
    # It imports highdicom, which takes a second: the window starts without it.
    from cmfnet_napari.core.dicom.export.seg import new_segmentation, write_segmentation

    segmentation = new_segmentation(meant.reference, meant.array, meant.rois, meant.maker)
    write_segmentation(segmentation, draft)
    return segmentation_receipt(draft, meant.labels, meant.rois, meant.places, meant.sources)


def _label_map(meant: Meant, draft: Path) -> Receipt:
    chosen = np.where(np.isin(meant.array, [roi.code for roi in meant.rois]), meant.array, 0)
    write_image(meant.reference.grid.to_image(chosen.astype(np.uint8)), draft)
    return image_receipt(read_image(draft), meant.labels, meant.rois)


FORMATS = {
    "rtstruct": Format("Structure set (RTSTRUCT)", ".dcm", _structure_set, adds=True),
    "seg": Format("Segmentation (DICOM SEG)", ".dcm", _segmentation),
    "nifti": Format("Label map (NIfTI)", ".nii.gz", _label_map, dicom=False),
}
