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
from cmfnet_napari.core.dicom.importing.unused import not_used
from cmfnet_napari.core.errors import UserError, hear
from cmfnet_napari.core.files import JsonObject
from cmfnet_napari.core.images.hounsfield import say_offset
from cmfnet_napari.core.images.series.scan import scan
from cmfnet_napari.core.images.series.scan_result import (
    REGISTRATION,
    DicomObject,
    ImageSeries,
    Scan,
)
from cmfnet_napari.core.images.study import study_from_images
from cmfnet_napari.core.images.volume import is_image_file, read_image
from cmfnet_napari.core.registration.register import register
from cmfnet_napari.core.registration.registrations import Registration, judge


def go_on(_what: str, _share: float) -> bool:
    """Progress that nobody watches."""
    return True


def read_patient(
    paths: Sequence[Path],
    ct: str | None = None,
    mr: str | None = None,
    structures: bool = False,
    automatic: bool = False,
    any_frame: bool = False,
    progress: Progress = go_on,
) -> tuple[Loaded, list[str]]:
    """Read a patient from DICOM folders, or from a CT file and an MR file.

    Parameters
    ----------
    paths : sequence of Path
        Folders and files of DICOM; or one or two files of other formats, CT first.
    ct, mr : str, optional
        Series UID of each; when not given, the proposed pair. ``none`` leaves the MR out.
    structures : bool
        Load structure sets and segmentations of the patient too.
    automatic : bool
        Register the MR by mutual information.
    any_frame : bool
        Take contours of another frame of reference as they are written.

    Returns
    -------
    Loaded
    list of str
        Keys of the series that were taken.

    Raises
    ------
    UserError
        See `patient.load`; also when there is no CT.
    """
    if all(is_image_file(path) for path in paths):
        with hear() as said:
            loaded = _from_files(paths, automatic, progress)
        return replace(loaded, notes=[*loaded.notes, *said]), [path.name for path in paths]
    found = scan(paths, lambda share: progress("Looking through the files", share))
    choice = _choose(found, ct, mr, structures, automatic, any_frame)
    images = [image for image in (choice.first, choice.second) if image is not None]
    loaded = load(choice, found, progress)
    used: list[ImageSeries | DicomObject] = [*images, *choice.objects]
    frames = {image.origin.frame_uid for image in images}
    if len(frames) > 1 or any(frame not in frames for o in choice.objects for frame in o.frames):
        used += found.of_kind(REGISTRATION)
    loaded.notes.extend(not_used(used, found))
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
        Taken from the CT's values first.

    Raises
    ------
    UserError
        The folder already holds a case, or cannot be written.
    """
    loaded = replace(loaded, study=loaded.study.less(subtract))
    with hear() as said:
        say_offset(loaded.study.first.array)
    loaded.notes.extend(said)
    case = create_case(folder, loaded.study, loaded.registration)
    try:
        case.save_notes(loaded.notes)
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
            "mr_within_ct": round(fit.overlap, 3),
            "patient_covered": round(fit.covered, 3),
            "warnings": list(fit.warnings),
        }
    return result


def _choose(
    found: Scan, ct: str | None, mr: str | None, structures: bool, automatic: bool, any_frame: bool
) -> Choice:
    proposed_ct, proposed_mr = propose(found)
    own_ct = found.image(ct, "CT") if ct else proposed_ct
    if own_ct is None:
        raise UserError("No CT was found that can be read. " + _why_none(found))
    own_mr = proposed_mr if ct is None or own_ct is proposed_ct else None
    if mr:
        own_mr = None if mr == "none" else found.image(mr, "MR")
    objects = [
        entry
        for entry in found.objects
        if structures
        and entry.origin.modality != REGISTRATION
        and entry.origin.patient == own_ct.origin.patient
    ]
    return Choice(own_ct, own_mr, tuple(objects), frozenset(), automatic, any_frame)


def _why_none(found: Scan) -> str:
    faults = [f"{i.name}: {i.stack.problem}" for i in found.images if i.stack.problem]
    return faults[0] if faults else "Choose the folder that the CT was exported to."


def _from_files(paths: Sequence[Path], automatic: bool, progress: Progress) -> Loaded:
    if len(paths) > 2:
        raise UserError("Give one CT file and at most one MR file, or folders with DICOM.")
    ct = read_image(paths[0])
    if len(paths) == 1:
        return Loaded(study_from_images(ct), None)
    mr = read_image(paths[1])
    registration: Registration | None = None
    if automatic:
        found = register(ct, mr, np.eye(4), lambda share: progress("Registering the MR", share))
        registration = Registration.of(found, "automatic")
    matrix = None if registration is None else registration.array
    return Loaded(study_from_images(ct, mr, matrix), registration)
