"""The images of a case folder: ``study/*.nrrd``, on the Study's Grid and as the second was read.

A CT, or a CT and an MR, are called so, as in cases of earlier versions; others by their place.
"""

from __future__ import annotations

from pathlib import Path

from cmfnet_napari.core.case.card import CaseCard
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.files import hash_file, private_folder
from cmfnet_napari.core.images.modality import USUAL
from cmfnet_napari.core.images.study import Study
from cmfnet_napari.core.images.volume import Volume, from_image, read_image, write_image

# Names of the first image, the second, where it has data, and the second as it was read.
_CT_AND_MR = ("ct", "mr", "mr_fov", "mr_source")
_ANY = ("first", "second", "seen", "second_source")
SOURCES = tuple(f"{names[n]}.nrrd" for names in (_CT_AND_MR, _ANY) for n in (0, 3))  # drawn on


def write_study(folder: Path, study: Study) -> dict[str, str]:
    """Write the images of a study into a case folder.

    Returns
    -------
    dict of str to str
        SHA-256 of each file by its name, for `check_images`.
    """
    images = private_folder(folder / "study")
    names = _CT_AND_MR if usual(study) else _ANY
    for name, volume in _volumes(study, names).items():
        write_image(volume.image(), images / f"{name}.nrrd")
    return {path.name: hash_file(path) for path in sorted(images.iterdir())}


def usual(study: Study) -> bool:
    """Whether it is a CT, or a CT and an MR: what all cases of earlier versions hold."""
    return study.kinds in (USUAL, USUAL[:1])


def _names(folder: Path) -> tuple[str, str, str, str]:
    """What the images of a case are called."""
    other = (folder / "study" / f"{_ANY[0]}.nrrd").exists()
    return _ANY if other else _CT_AND_MR


def has_second(folder: Path) -> bool:
    """Whether a case has a second image."""
    return (folder / "study" / f"{_names(folder)[1]}.nrrd").exists()


def check_images(folder: Path, card: CaseCard) -> None:
    """Check that the images of a case are those it was made with, to the bit.

    Raises
    ------
    UserError
        One was changed, is missing, or is not the case's. Of a case of an earlier version, which
        kept no hashes of its files, `read_study` says so.
    """
    if not card.images:
        return
    # What a file manager leaves beside them is none of the images.
    there = {path.name for path in (folder / "study").glob("*.nrrd") if path.name[0] != "."}
    first = f"{_ANY[0]}.nrrd" if f"{_ANY[0]}.nrrd" in card.images else f"{_CT_AND_MR[0]}.nrrd"
    if first not in there:
        raise _lost(folder, first)
    for name in sorted(there | set(card.images)):
        path = folder / "study" / name
        if name not in there or hash_file(path) != card.images.get(name):
            raise _others(folder, name)


def _lost(folder: Path, name: str) -> UserError:
    what = "CT" if name == f"{_CT_AND_MR[0]}.nrrd" else "first image"
    return UserError(f"The case {folder.name} has lost its {what} (study/{name}).")


def _others(folder: Path, name: str) -> UserError:
    return UserError(
        f"The images of the case {folder.name} are not those it was made with (study/{name}), so "
        "its strokes do not belong to them. Bring the folder back from a backup, or open the "
        "images as a new case."
    )


def _volumes(study: Study, names: tuple[str, str, str, str]) -> dict[str, Volume]:
    first, second, seen, source = names
    volumes = {first: study.first}
    if study.second is not None and study.seen is not None:
        volumes[second] = study.second
        volumes[seen] = Volume(study.seen, study.grid)
    if study.second_source is not None:
        volumes[source] = study.second_source
    return volumes


def read_study(folder: Path, card: CaseCard) -> Study:
    """Read them back, as the case was made with; UserError when they do not belong together."""

    def read(name: str) -> Volume | None:
        path = folder / "study" / f"{name}.nrrd"
        return from_image(read_image(path)) if path.exists() else None

    names = _names(folder)
    first, second, seen, source = (read(name) for name in names)
    if first is None:
        raise _lost(folder, f"{names[0]}.nrrd")
    images = [volume for volume in (first, second, seen) if volume is not None]
    together = (second is None) == (seen is None)
    together &= all(volume.grid.same_place(first.grid) for volume in images)
    if not together or sorted(card.source_grid.shape) != sorted(first.grid.shape):
        raise UserError(
            f"The images of the case {folder.name} do not belong together. Bring the folder back "
            "from a backup, or open the images as a new case."
        )
    mask = None if seen is None else seen.array.astype(bool)
    study = Study(first, second, mask, card.source_grid, source).known_as(*USUAL)
    if not card.images and study.content_hash != card.study:
        raise _others(folder, "ct.nrrd" if second is None else "ct.nrrd or mr.nrrd")
    return as_called(study, card, folder.name)


def as_called(study: Study, card: CaseCard, case: str) -> Study:
    """The study of a case with its images taken for what the case says they are.

    Raises
    ------
    UserError
        It says that of another number of images.
    """
    if any(card.weightings):
        study = study.weighted(*(*card.weightings, "", "")[:2])
    if not card.modalities:
        return study
    if len(card.modalities) != len(study.kinds):
        raise UserError(
            f"case.json in {case} is damaged (modalities). Bring it back from a backup, or open "
            "the images as a new case."
        )
    first, second = (*card.modalities, "")[:2]
    return study.known_as(first, second, (*card.units, "", "")[:2])
