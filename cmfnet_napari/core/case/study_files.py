"""The images of a case folder: ``study/*.nrrd``, on the Study's Grid and as the MR was read."""

from __future__ import annotations

import hashlib
from pathlib import Path

from cmfnet_napari.core.case.card import CaseCard
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.files import private_folder
from cmfnet_napari.core.images.study import Study
from cmfnet_napari.core.images.volume import Modality, Volume, from_image, read_image, write_image


def write_study(folder: Path, study: Study) -> dict[str, str]:
    """Write the images of a study into a case folder.

    Returns
    -------
    dict of str to str
        SHA-256 of each file by its name, for `check_images`.
    """
    images = private_folder(folder / "study")
    for name, volume in _volumes(study).items():
        write_image(volume.image(), images / f"{name}.nrrd")
    return {path.name: _digest(path) for path in sorted(images.iterdir())}


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
    if "ct.nrrd" not in there:
        raise UserError(f"The case {folder.name} has lost its CT (study/ct.nrrd).")
    for name in sorted(there | set(card.images)):
        path = folder / "study" / name
        if name not in there or _digest(path) != card.images.get(name):
            raise _others(folder, name)


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _others(folder: Path, name: str) -> UserError:
    return UserError(
        f"The images of the case {folder.name} are not those it was made with (study/{name}), so "
        "its strokes do not belong to them. Bring the folder back from a backup, or open the "
        "images as a new case."
    )


def _volumes(study: Study) -> dict[str, Volume]:
    volumes = {"ct": study.first}
    if study.second is not None and study.seen is not None:
        volumes["mr"] = study.second
        volumes["mr_fov"] = Volume(study.seen, study.grid)
    if study.second_source is not None:
        volumes["mr_source"] = study.second_source
    return volumes


def read_study(folder: Path, card: CaseCard) -> Study:
    """Read them back, as the case was made with; UserError when they do not belong together."""

    def read(name: str, modality: Modality) -> Volume | None:
        path = folder / "study" / f"{name}.nrrd"
        return from_image(read_image(path), modality) if path.exists() else None

    ct, mr, fov = read("ct", "CT"), read("mr", "MR"), read("mr_fov", "")
    if ct is None:
        raise UserError(f"The case {folder.name} has lost its CT (study/ct.nrrd).")
    images = [volume for volume in (ct, mr, fov) if volume is not None]
    together = (mr is None) == (fov is None) and all(v.grid.same_place(ct.grid) for v in images)
    if not together or sorted(card.source_grid.shape) != sorted(ct.grid.shape):
        raise UserError(
            f"The images of the case {folder.name} do not belong together. Bring the folder back "
            "from a backup, or open the images as a new case."
        )
    fov_array = None if fov is None else fov.array.astype(bool)
    study = Study(ct, mr, fov_array, card.source_grid, read("mr_source", "MR"))
    if not card.images and study.content_hash != card.study:
        raise _others(folder, "ct.nrrd" if mr is None else "ct.nrrd or mr.nrrd")
    return study
