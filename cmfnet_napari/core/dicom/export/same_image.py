"""Whether a contour was drawn on the series it is exported for: voxels tell, a grid does not.

Two patients who were scanned with one protocol have the same grid.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from cmfnet_napari.core.case.folder import CARD_FILE
from cmfnet_napari.core.case.study_files import SOURCES
from cmfnet_napari.core.dicom.export.reference import Reference
from cmfnet_napari.core.errors import UserError, say
from cmfnet_napari.core.images.series.read_stack import read_stack
from cmfnet_napari.core.images.study import Study, to_source_image
from cmfnet_napari.core.images.volume import read_image

_SAME = 0.99  # of the voxels: padding may have been read otherwise by an earlier version
_ROUNDED = 1.0  # HU, or whatever an MR is in …
_ROUNDED_SHARE = 0.005  # … but no more than this of its range: there are MR from 0 to 1


def check_same_image(reference: Reference, study: Study) -> None:
    """Refuse a series whose voxels are those of neither image of the study.

    An image whose offset was subtracted when it was opened counts as the same.

    Raises
    ------
    UserError
        It is another image, and so perhaps another patient.
    """
    drawn_on = [to_source_image(study.first.array, study)]
    if study.second_source is not None:
        drawn_on.append(study.second_source.image())
    _check(reference, drawn_on)


def check_drawn_on(
    reference: Reference, study: Study | None, image: str | Path | None, labels: object
) -> None:
    """The same with what there is: a study, an image's file, or the case that a label map lies in.

    Where there is none of them, it is said that only the grid was compared.

    Raises
    ------
    UserError
        Another image; a file that cannot be read.
    """
    path = labels if isinstance(labels, str | Path) else None
    case = None if path is None else _case_of(Path(path))
    if image is not None:
        _check(reference, [read_image(image)])
    elif study is not None:
        check_same_image(reference, study)
    elif case is not None:
        drawn_on = [case / "study" / name for name in SOURCES]
        _check(reference, [read_image(file) for file in drawn_on if file.is_file()])
    else:
        say(
            "Only the grid was compared with the DICOM series, which another patient's scan may "
            "share. Give the image that was contoured (--image), and its voxels are compared too."
        )


def _case_of(path: Path) -> Path | None:
    """The case folder that a file lies in, such as a prediction of a run."""
    return next((p for p in path.resolve().parents if (p / CARD_FILE).is_file()), None)


def _check(reference: Reference, drawn_on: list[sitk.Image]) -> None:
    modality = str(reference.first.get("Modality", ""))
    voxels = sitk.GetArrayFromImage(read_stack(reference.stack, modality, "The DICOM series"))
    shares: list[float] = []
    for image in drawn_on:
        with suppress(UserError):  # on another grid
            placed = sitk.GetArrayFromImage(reference.place(image, "The image"))
            shares.append(_share(voxels, placed))
    if not shares:
        raise UserError(
            "The image that was contoured is on another grid than the DICOM series. Choose the "
            "series that was contoured."
        )
    if max(shares) < _SAME:
        raise UserError(
            f"The DICOM series has the grid of the image that was contoured, but other voxels: "
            f"{100 * (1 - max(shares)):.0f} % of them differ. It may be of another patient, phase "
            "or reconstruction. Choose the series that was contoured."
        )


def _share(one: np.ndarray, other: np.ndarray) -> float:
    """Share of voxels that are alike, but for an offset that is the same in all."""
    apart = one.astype(np.float32) - other.astype(np.float32)
    rounded = min(_ROUNDED, _ROUNDED_SHARE * float(np.ptp(other)))
    return float((np.abs(apart - np.median(apart)) <= rounded).mean())
