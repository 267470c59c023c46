"""Whether a contour was drawn on the series it is exported for: voxels tell, a grid does not.

Two patients who were scanned with one protocol have the same grid.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from cmfnet_napari.core.case.folder import CARD_FILE, read_registrations
from cmfnet_napari.core.case.study_files import SOURCES
from cmfnet_napari.core.dicom.export.reference import Reference
from cmfnet_napari.core.errors import UserError, say
from cmfnet_napari.core.images.series.read_stack import read_stack
from cmfnet_napari.core.images.study import Study, to_source_image
from cmfnet_napari.core.images.volume import read_image

_SAME = 0.99  # of the voxels: padding may have been read otherwise by an earlier version
_ROUNDED = 1.0  # HU, or whatever an MR is in …
_ROUNDED_SHARE = 0.005  # … but no more than this of its range: there are MR from 0 to 1
_REREAD = 1e-4  # of its range: what an image that was not moved differs by, read from a case
_NOT_MOVED = 1e-6  # mm, or a cosine


def check_same_image(reference: Reference, study: Study) -> None:
    """Refuse a series whose voxels are those of neither image of the study.

    An image whose offset was subtracted when it was opened counts as the same.

    Raises
    ------
    UserError
        It is another image, and so perhaps another patient; or the second image, which was moved.
    """
    first = to_source_image(study.first.array, study)
    second = None if study.second_source is None else study.second_source.image()
    _check_pair(reference, first, second, partial(_second_moved, study))


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
        _check(_shares(reference, _voxels(reference), read_image(image)))
    elif study is not None:
        check_same_image(reference, study)
    elif case is not None:
        placed = read_registrations(case).current.array
        moved = not np.allclose(placed, np.eye(4), atol=_NOT_MOVED)
        first, second = _read(case, SOURCES[::2]), _read(case, SOURCES[1::2])
        _check_pair(reference, first, second, lambda: moved)
    else:
        say(
            "Only the grid was compared with the DICOM series, which another patient's scan may "
            "share. Give the image that was contoured (--image), and its voxels are compared too."
        )


def _case_of(path: Path) -> Path | None:
    """The case folder that a file lies in, such as a prediction of a run."""
    return next((p for p in path.resolve().parents if (p / CARD_FILE).is_file()), None)


def _read(case: Path, names: Sequence[str]) -> sitk.Image | None:
    """One image of a case, whatever it is called there."""
    files = (case / "study" / name for name in names)
    return next((read_image(file) for file in files if file.is_file()), None)


def _second_moved(study: Study) -> bool:
    """Whether the second image lies elsewhere than its file says."""
    if study.second is None or study.second_source is None:
        return False
    with suppress(UserError):  # it meets the first only where it was moved to
        there = study.moved(np.eye(4)).second
        if there is not None:
            apart = float(np.abs(there.array - study.second.array).max())
            return apart > _REREAD * float(np.ptp(study.second_source.array))
    return True


def _check_pair(
    reference: Reference,
    first: sitk.Image | None,
    second: sitk.Image | None,
    moved: Callable[[], bool],
) -> None:
    """Of the second image's series a contour is only where that image was never moved.

    That is asked only where the first image does not do: it places the second one anew.
    """
    voxels = _voxels(reference)
    firsts = _shares(reference, voxels, first)
    if _enough(firsts):
        return
    seconds = _shares(reference, voxels, second)
    if not moved():
        _check(firsts + seconds)
    elif _enough(seconds):
        raise UserError(
            "The DICOM series is the second image, which was moved to lie on the first: the "
            "contour would lie elsewhere in it. Choose the series of the image that was drawn on."
        )
    else:
        _check(firsts)


def _check(shares: list[float]) -> None:
    """Refuse a series that is none of the images whose shares these are."""
    if not shares:
        raise UserError(
            "The image that was contoured is on another grid than the DICOM series. Choose the "
            "series that was contoured."
        )
    if not _enough(shares):
        raise UserError(
            f"The DICOM series has the grid of the image that was contoured, but other voxels: "
            f"{100 * (1 - max(shares)):.0f} % of them differ. It may be of another patient, phase "
            "or reconstruction. Choose the series that was contoured."
        )


def _enough(shares: list[float]) -> bool:
    return max(shares, default=0.0) >= _SAME


def _voxels(reference: Reference) -> np.ndarray:
    """What the series holds, (z, y, x), as its files lie."""
    modality = str(reference.first.get("Modality", ""))
    return sitk.GetArrayFromImage(read_stack(reference.stack, modality, "The DICOM series"))


def _shares(reference: Reference, voxels: np.ndarray, image: sitk.Image | None) -> list[float]:
    """Share of the series' voxels that an image has; nothing where it is not on their grid."""
    if image is not None:
        with suppress(UserError):  # on another grid
            placed = sitk.GetArrayFromImage(reference.place(image, "The image"))
            return [_share(voxels, placed)]
    return []


def _share(one: np.ndarray, other: np.ndarray) -> float:
    """Share of voxels that are alike, but for an offset that is the same in all."""
    apart = one.astype(np.float32) - other.astype(np.float32)
    rounded = min(_ROUNDED, _ROUNDED_SHARE * float(np.ptp(other)))
    return float((np.abs(apart - np.median(apart)) <= rounded).mean())
