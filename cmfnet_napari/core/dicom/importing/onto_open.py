"""Contours of a file put on the patient that is open: one rule, whatever they are wanted for."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from cmfnet_napari.core.arrays import Doubles
from cmfnet_napari.core.case.structures import Structure
from cmfnet_napari.core.dicom.importing.patient import (
    Choice,
    check_objects,
    other_frames,
    place_structures,
)
from cmfnet_napari.core.dicom.importing.rasterise import rasterise
from cmfnet_napari.core.dicom.importing.segments import read_segments
from cmfnet_napari.core.dicom.importing.structure_sets import read_structures
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.images.grid import Grid
from cmfnet_napari.core.images.series.scan_result import REGISTRATION, STRUCTURES, DicomObject, Scan
from cmfnet_napari.core.images.study import Study


def place_on_open(
    entry: DicomObject,
    study: Study,
    images: Choice | None,
    matrix: Doubles | None,
    names: Collection[str] = (),
) -> tuple[list[Structure], list[str]]:
    """Put contours of a file on an open patient.

    Parameters
    ----------
    entry : DicomObject
        A structure set or segmentation.
    study : Study
        The patient's, as it is shown.
    images : Choice or None
        The DICOM series that its images are; None where they were opened as files, so that
        nothing is known but where they lie.
    matrix : float array (4, 4) or None
        Where the second image lies now: takes points of the first (LPS, mm) to points of the
        second. What was drawn on the second goes there.
    names : collection of str
        Of the structures, only these; empty: all.

    Returns
    -------
    structures : list of Structure
        On the Study's Grid, at least one.
    notes : list of str
        What was left out or is worth a look, in sentences.

    Raises
    ------
    UserError
        A registration; another patient; a frame of reference of neither image; nothing left.
    """
    if entry.origin.modality == REGISTRATION:
        raise UserError(f"{entry.path.name} is a registration: open the folder with its images.")
    if images is None:
        return _by_position(entry, study.grid, names)
    wanted = frozenset((entry.uid, name) for name in names)
    choice = replace(images, objects=(entry,), names=wanted)
    found = Scan((), (entry,))
    if other_frames(choice, found) and entry.origin.patient == choice.first.origin.patient:
        raise UserError(
            f"{entry.label or entry.path.name} lies in another frame of reference than the "
            "images: its contours may be at the wrong place. Open its folder with 'DICOM folder…' "
            "and choose it there, if it was drawn on these images."
        )
    check_objects(choice, found)
    structures, notes = place_structures(choice, found, study, matrix)
    if not structures:
        raise UserError(" ".join(notes))
    return structures, notes


def _by_position(
    entry: DicomObject, grid: Grid, names: Collection[str]
) -> tuple[list[Structure], list[str]]:
    """Structures on an image of which nothing is known but where it lies."""
    named = zip(entry.names, entry.frames, strict=True)
    frames = {frame for name, frame in named if not names or name in names}
    if len(frames) > 1:
        raise UserError(
            f"{entry.label or entry.path.name} was drawn in {len(frames)} frames of reference. "
            "Open the folder with its images, which says where they lie."
        )
    structures: list[Structure] = []
    notes: list[str] = []
    if entry.origin.modality == STRUCTURES:
        for roi in read_structures(entry.path):
            if not names or roi.name in names:
                mask, note = rasterise(roi.contours, grid, roi.name)
                structures.append(Structure(roi.name, roi.color, mask))
                notes += filter(None, (roi.note, note))
    else:
        structures += [
            Structure(segment.name, segment.color, segment.on(grid))
            for segment in read_segments(entry.path)
            if not names or segment.name in names
        ]
    return structures, [*notes, "Placed by position alone: check that it belongs to this patient."]
