"""``cmfnet import``: a case folder from DICOM or from image files, without a window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from cmfnet_napari.core.case.folder import create_case
from cmfnet_napari.core.case.structures import save_structures
from cmfnet_napari.core.dicom.importing.pair import propose
from cmfnet_napari.core.dicom.importing.patient import Choice, Loaded, Progress, load
from cmfnet_napari.core.dicom.importing.unused import check_used, not_used
from cmfnet_napari.core.errors import UserError, hear
from cmfnet_napari.core.files import JsonObject
from cmfnet_napari.core.images.modality import Modalities
from cmfnet_napari.core.images.same_patient import check_pair
from cmfnet_napari.core.images.series.scan import scan
from cmfnet_napari.core.images.series.scan_result import (
    REGISTRATION,
    DicomObject,
    ImageSeries,
    Scan,
)
from cmfnet_napari.core.images.study import (
    check_offset,
    find_modalities,
    name_images,
    study_from_images,
)
from cmfnet_napari.core.images.volume import is_image_file, read_image
from cmfnet_napari.core.registration.register import register
from cmfnet_napari.core.registration.registrations import Registration, judge


def go_on(_what: str, _share: float) -> bool:
    """Progress that nobody watches."""
    return True


def read_patient(
    paths: Sequence[Path],
    first: str | None = None,
    second: str | None = None,
    structures: bool = False,
    automatic: bool = False,
    any_frame: bool = False,
    progress: Progress = go_on,
    modalities: Modalities = ("", ""),
) -> tuple[Loaded, list[str]]:
    """Read a patient from DICOM folders, or from one or two image files.

    Parameters
    ----------
    paths : sequence of Path
        Folders and files of DICOM; or one or two files of other formats; the contour is
        drawn on the first.
    first, second : str, optional
        Series UID of each; when not given, the proposed pair. ``none`` leaves the second out.
    structures : bool
        Load structure sets and segmentations of the patient too.
    automatic : bool
        Register the second image by mutual information.
    any_frame : bool
        Take contours of another frame of reference as they are written.
    modalities : tuple of str
        What files are; where it is empty, their values tell. DICOM says it itself.

    Returns
    -------
    Loaded
    list of str
        Keys of the series that were taken.

    Raises
    ------
    UserError
        See `patient.load`; also when there is no image, or a path holds no DICOM beside others
        that do; what is for DICOM is asked of files, or modalities are not what DICOM says.
    """
    if all(is_image_file(path) for path in paths):
        _check_for_files(first, second, structures, any_frame)
        with hear() as said:
            loaded = _from_files(paths, automatic, progress, modalities)
        loaded.notes.extend(map(str, said))
        loaded.kept.extend(one.kept for one in said)
        return loaded, [path.name for path in paths]
    found = scan(paths, lambda share: progress("Looking through the files", share))
    check_used(found)
    choice = choose(found, first, second, structures, automatic, any_frame)
    images = [image for image in (choice.first, choice.second) if image is not None]
    loaded = load(choice, found, progress)
    _check_said(modalities, loaded.study.kinds)
    used: list[ImageSeries | DicomObject] = [*images, *choice.objects]
    frames = {image.origin.frame_uid for image in images}
    if len(frames) > 1 or any(frame not in frames for o in choice.objects for frame in o.frames):
        used += found.of_kind(REGISTRATION)
    loaded.notes.extend(not_used(used, found))
    loaded.kept.extend(not_used(used, found, named=False))
    return loaded, [image.key for image in images]


def import_patient(loaded: Loaded, folder: Path, subtract: float = 0.0) -> JsonObject:
    """Write a patient into a new case folder, and say what is in it.

    Parameters
    ----------
    loaded : Loaded
        The patient.
    folder : Path
        The new case.
    subtract : float
        Taken from the first image's values before.

    Raises
    ------
    UserError
        The folder already holds a case, or cannot be written.
    """
    loaded = replace(loaded, study=loaded.study.less(subtract))
    with hear() as said:
        check_offset(loaded.study)
    loaded.notes.extend(map(str, said))
    loaded.kept.extend(one.kept for one in said)
    case = create_case(folder, loaded.study, loaded.registration)
    try:
        case.save_notes(loaded.kept)
        if loaded.structures:
            save_structures(case, loaded.structures)
    finally:
        case.close()
    study = loaded.study
    result: JsonObject = {
        "case": str(folder),
        "grid": str(study.grid),
        "structures_ml": {
            s.name: round(float(s.mask.sum() * study.grid.voxel_ml), 3) for s in loaded.structures
        },
        "notes": loaded.notes,
    }
    if loaded.registration is not None:
        fit = judge(study, loaded.registration)
        result["registration"] = {
            "how": loaded.registration.how,
            "matrix": list(loaded.registration.matrix),
            "mr_within_ct": round(fit.overlap, 3),  # the name that scripts know
            "patient_covered": round(fit.covered, 3),
            "warnings": list(fit.warnings),
        }
    return result


def choose(
    found: Scan,
    first: str | None,
    second: str | None,
    structures: bool,
    automatic: bool,
    any_frame: bool,
) -> Choice:
    """Which images and structures of a scan are taken, where nobody chooses in a window.

    Parameters are those of `read_patient`.

    Raises
    ------
    UserError
        There is no image, no series of that key, or one is named twice.
    """
    proposed, with_it = propose(found)
    one = found.image(first) if first else proposed
    if one is None:
        raise UserError("No CT, MR or PET was found that can be read. " + _why_none(found))
    other = with_it if first is None or one is proposed else None
    if second:
        other = None if second == "none" else found.image(second)
    if other is one:
        raise UserError(f"{one.name} was chosen twice. Choose two images, or one alone.")
    objects = [
        entry
        for entry in found.objects
        if structures
        and entry.origin.modality != REGISTRATION
        and entry.origin.patient == one.origin.patient
    ]
    return Choice(one, other, tuple(objects), frozenset(), automatic, any_frame)


def _why_none(found: Scan) -> str:
    faults = [f"{i.name}: {i.stack.problem}" for i in found.images if i.stack.problem]
    return faults[0] if faults else "Choose the folder that the images were exported to."


def _check_for_files(
    first: str | None, second: str | None, structures: bool, any_frame: bool
) -> None:
    """Refuse what only DICOM has, where files were given: it would be left out."""
    asked = {
        "--first": first,
        "--second (--mr)": second,
        "--structures": structures,
        "--any-frame": any_frame,
    }
    if given := [option for option, value in asked.items() if value]:
        raise UserError(
            f"{', '.join(given)}: for DICOM alone, and image files were given. Leave it out; name "
            "a second image behind the first: cmfnet import ct.nii.gz mr.nii.gz."
        )


def _check_said(said: Modalities, kinds: Sequence[str]) -> None:
    """Refuse modalities that DICOM says otherwise."""
    for name, kind in zip(said, kinds, strict=False):
        if name and name != kind:
            raise UserError(
                f"--modality says {name}, and DICOM that the image is {kind}. Leave --modality out "
                "for DICOM, or choose another series with --first or --second."
            )


def _from_files(
    paths: Sequence[Path], automatic: bool, progress: Progress, modalities: Modalities
) -> Loaded:
    if len(paths) > 2:
        raise UserError("Give one image file or two, or folders with DICOM.")
    first = read_image(paths[0])
    if len(paths) == 1:
        return Loaded(study_from_images(first, modalities=modalities), None)
    second = read_image(paths[1])
    kinds = find_modalities(first, second, modalities)
    check_pair(first, second, name_images(kinds))
    if not automatic:
        return Loaded(study_from_images(first, second, modalities=kinds), None)
    what = f"Registering the {kinds[1]}"
    matrix = register(first, second, np.eye(4), lambda share: progress(what, share), kinds)
    registration = Registration.of(matrix, "automatic")
    return Loaded(study_from_images(first, second, matrix, kinds), registration)
