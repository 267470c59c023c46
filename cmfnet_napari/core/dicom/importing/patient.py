"""From what was chosen in a scan to a study with its structures: for the window and the command.

Steps are named; each is asked whether to go on, and says how far it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import NamedTuple

import numpy as np
import SimpleITK as sitk

from cmfnet_napari.core.arrays import Doubles, Mask
from cmfnet_napari.core.case.structures import Structure
from cmfnet_napari.core.dicom.importing.pair import same_frame
from cmfnet_napari.core.dicom.importing.rasterise import rasterise
from cmfnet_napari.core.dicom.importing.registration_object import read_registration
from cmfnet_napari.core.dicom.importing.segments import Segment, read_segments
from cmfnet_napari.core.dicom.importing.structure_sets import Roi as Contoured
from cmfnet_napari.core.dicom.importing.structure_sets import read_structures
from cmfnet_napari.core.dicom.importing.unused import check_readable, missing_slices
from cmfnet_napari.core.errors import UserError, list_names
from cmfnet_napari.core.images.grid import Grid
from cmfnet_napari.core.images.modality import marked
from cmfnet_napari.core.images.series.read_stack import read_stack
from cmfnet_napari.core.images.series.scan_result import (
    REGISTRATION,
    STRUCTURES,
    DicomObject,
    ImageSeries,
    Scan,
    left_out_notes,
)
from cmfnet_napari.core.images.series.stacks import Stack
from cmfnet_napari.core.images.study import Study, study_from_images
from cmfnet_napari.core.registration.register import register
from cmfnet_napari.core.registration.registrations import Registration

Progress = Callable[[str, float], bool]  # what goes on, share done 0 … 1; whether to go on


@dataclass(frozen=True)
class Choice:
    """What is to be opened.

    Attributes
    ----------
    first, second : ImageSeries
        The second may be missing.
    objects : tuple of DicomObject
        Structure sets and segmentations to load.
    names : frozenset of (str, str)
        Of them, only these: (object's UID, structure's name); empty: all.
    register : bool
        Register by mutual information, whatever the frames of reference say.
    any_frame : bool
        The user said that contours of another frame of reference lie as they are written.
    """

    first: ImageSeries
    second: ImageSeries | None = None
    objects: tuple[DicomObject, ...] = ()
    names: frozenset[tuple[str, str]] = frozenset()
    register: bool = False
    any_frame: bool = False


@dataclass(frozen=True, eq=False)
class Loaded:
    """A patient, read.

    Attributes
    ----------
    study : Study
        Its images.
    registration : Registration or None
        How the second image was placed.
    structures : list of Structure
        On the Study's Grid.
    notes : list of str
        What was left out or is worth a look, in sentences to be shown.
    kept : list of str
        The same with counts in place of what files, series and structure sets are called, which
        may be a patient: what is kept in the case.
    """

    study: Study
    registration: Registration | None
    structures: list[Structure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)


def load(choice: Choice, found: Scan, progress: Progress = lambda _what, _share: True) -> Loaded:
    """Read what was chosen, images and structures.

    Raises
    ------
    UserError, CancelledError
        As `load_images`.
    """
    loaded = load_images(choice, found, progress)
    matrix = None if loaded.registration is None else loaded.registration.array
    structures, more = place_structures(choice, found, loaded.study, matrix, progress)
    notes, kept = loaded.notes + more, loaded.kept + more
    return replace(loaded, structures=structures, notes=notes, kept=kept)


def load_images(
    choice: Choice, found: Scan, progress: Progress = lambda _what, _share: True
) -> Loaded:
    """Read the images that were chosen; `place_structures` does the rest, wherever they lie now.

    Raises
    ------
    UserError
        Two patients, of images or structures; a fault of a series; no way to place the second
        image.
    CancelledError
        `progress` answered False.
    """
    check_objects(choice, found)
    images = [image for image in (choice.first, choice.second) if image is not None]
    check_readable(images, found)
    first = _read(choice.first, progress)
    second, registration = None, None
    if choice.second is not None:
        second = _read(choice.second, progress)
        registration = place(choice, found, first, second, progress)
    matrix = None if registration is None else registration.array
    notes, kept = (
        [*_image_notes(images, found, named), *_whose(images)] for named in (True, False)
    )
    study = study_from_images(first, second, matrix)
    return Loaded(study, registration, notes=notes, kept=kept)


def _image_notes(images: Sequence[ImageSeries], found: Scan, named: bool) -> Iterator[str]:
    """What was left out of images, and what of them is not there."""
    for image in images:
        name = image.name if named else f"The {image.origin.modality}"
        yield from (f"{name}: {note}" for note in image.stack.notes)
    for image in images:
        yield from missing_slices(image, found, named)
    yield from left_out_notes(found.left_out, named)


def _whose(images: Sequence[ImageSeries]) -> Iterator[str]:
    """That only the user knows whether two images are of one patient."""
    if len({image.origin.patient for image in images}) > 1:
        yield (
            f"{both(*images)} have neither Patient ID nor name, and share neither a study nor a "
            "frame of reference. Make sure that they are of one patient."
        )


def place_structures(
    choice: Choice,
    found: Scan,
    study: Study,
    matrix: Doubles | None,
    progress: Progress = lambda _what, _share: True,
) -> tuple[list[Structure], list[str]]:
    """Put the chosen structures on the Study's Grid.

    Parameters
    ----------
    choice : Choice
        The images of the study, and what is to be placed.
    found : Scan
        Holds registrations, which may say where other frames of reference lie.
    study : Study
        Where it is placed.
    matrix : float array (4, 4) or None
        Takes points of the first image (LPS, mm) to points of the second: what is drawn in the
        second's frame of reference goes where that image went.
    progress : callable
        Told how far it is.

    Returns
    -------
    structures : list of Structure
    notes : list of str
        What was left out, in sentences.
    """
    notes: list[str] = []
    structures = list(_structures(choice, found, study, matrix, notes, progress))
    return structures, notes


def other_frames(choice: Choice, found: Scan) -> list[str]:
    """Chosen structures whose frame of reference nothing relates to the first: the user is asked.

    Returns
    -------
    list of str
        What messages call each: its name, and its structure set.
    """
    known = {image.origin.frame_uid for image in (choice.first, choice.second) if image}
    to_first = cache(
        partial(_to_first, choice, found)
    )  # objects are read once, not for each structure
    asked = []
    for entry in choice.objects:
        for name, frame in zip(entry.names, entry.frames, strict=True):
            chosen = not choice.names or (entry.uid, name) in choice.names
            if chosen and frame not in known and to_first(frame) is None:
                asked.append(f"{name} of {entry.label or entry.path.name}")
    return asked


def frame_question(structures: Sequence[str]) -> str:
    """What to ask the user about them."""
    names = list_names(structures)
    lie = "lies" if len(structures) == 1 else "lie"
    return (
        f"{names} {lie} in another frame of reference than the images, and may come "
        "out at the wrong place. Was it drawn on these images, and shall it be placed as written?"
    )


def place(
    choice: Choice, found: Scan, first: sitk.Image, second: sitk.Image, progress: Progress
) -> Registration:
    """How the second lies to the first: one frame of reference, a registration object, or found.

    Raises
    ------
    UserError
        Two frames of reference, and neither an object nor `Choice.register`.
    """
    shared = choice.second is not None and same_frame(choice.first, choice.second)
    kinds = marked(first), marked(second)
    given: Doubles | None = np.eye(4) if shared else _from_object(choice, found)
    if choice.register:
        what = f"Registering the {kinds[1]}"
        matrix = register(first, second, given, lambda share: progress(what, share), kinds)
        return Registration.of(matrix, "automatic")
    if given is not None:
        return Registration.of(given, "frame of reference" if shared else "registration object")
    raise UserError(
        f"{' and '.join(kinds)} do not share a frame of reference, and no registration (REG) of "
        "them was found. Open it with 'DICOM folder…' and tick 'Register', or import it with "
        "--register."
    )


def needs_registration(first: ImageSeries, second: ImageSeries, found: Scan) -> bool:
    """Whether nothing says how the second image lies to the first."""
    try:
        return not same_frame(first, second) and _from_object(Choice(first, second), found) is None
    except UserError:  # an object that cannot be used
        return True


def both(first: ImageSeries, second: ImageSeries) -> str:
    """Two images, as a message calls them."""
    one, other = first.origin.modality, second.origin.modality
    return f"{one} and {other}" if one != other else f"The two {one}"


def _from_object(choice: Choice, found: Scan) -> Doubles | None:
    """The matrix from the first's points to the second's in a REG object of the patient."""
    if choice.second is None:
        return None
    return _related(choice, found, choice.first.origin.frame_uid, choice.second.origin.frame_uid)


def _to_first(choice: Choice, found: Scan, frame: str) -> Doubles | None:
    """The matrix from the first's points to a frame's, where a REG object knows it."""
    try:
        return _related(choice, found, choice.first.origin.frame_uid, frame)
    except UserError:  # deformable, or damaged
        return None


def _related(choice: Choice, found: Scan, first: str, second: str) -> Doubles | None:
    """The matrix from points of one frame to those of another in a REG object of the patient."""
    frames = {s.uid: i.origin.frame_uid for i in found.images for s in i.stack.slices}
    for entry in found.of_kind(REGISTRATION):
        if entry.origin.patient != choice.first.origin.patient:
            continue
        matrices = read_registration(entry.path, frames)
        matrix = matrices.between(first, second)
        if matrix is not None:
            return matrix
    return None


def check_objects(choice: Choice, found: Scan) -> None:
    """Refuse images and structures of two patients, and a frame of reference that is neither's.

    Raises
    ------
    UserError
        Says which.
    """
    own = choice.first.origin
    if choice.second is not None and not own.may_be_of(choice.second.origin):
        names = both(choice.first, choice.second)
        raise UserError(f"{names} are of two patients. Choose both of one patient.")
    for entry in choice.objects:
        if not own.may_be_of(entry.origin):
            raise UserError(
                f"The structure set {entry.label or entry.path.name} is of another patient than "
                f"the {choice.first.origin.modality}. Choose one of this patient."
            )
    asked = [] if choice.any_frame else other_frames(choice, found)
    if asked:
        raise UserError(f"{frame_question(asked)} If so, import it with --any-frame.")


def _read(image: ImageSeries, progress: Progress) -> sitk.Image:
    what = f"Reading the {image.origin.modality}"
    return read_stack(
        image.stack, image.origin.modality, image.name, lambda share: progress(what, share)
    )


class _Place(NamedTuple):
    """Takes points of the first image to those of what was drawn (None: the same)."""

    matrix: Doubles | None
    on_second: bool = False


def _structures(
    choice: Choice,
    found: Scan,
    study: Study,
    matrix: Doubles | None,
    notes: list[str],
    progress: Progress,
) -> Iterator[Structure]:
    """On the Study's Grid; what is drawn in the second's frame goes where that image went."""
    taken: set[str] = set()
    to_first = cache(partial(_to_first, choice, found))
    for number, entry in enumerate(choice.objects):
        progress("Placing the structures", number / len(choice.objects))

        def find(frame: str, entry: DicomObject = entry) -> _Place:
            frame = frame or entry.origin.frame_uid
            if choice.second is not None and _of_second(frame, entry, choice.first, choice.second):
                return _Place(matrix, on_second=True)
            if frame == choice.first.origin.frame_uid:
                return _Place(None)
            return _Place(to_first(frame))

        for name, color, mask, place in _masks(entry, choice, study.grid, find, notes):
            label = name if name not in taken else f"{name} ({entry.label or number + 1})"
            while label in taken:
                label += "+"
            taken.add(label)
            yield Structure(label, color, mask, matrix if place.on_second else None)


def _of_second(frame: str, entry: DicomObject, first: ImageSeries, second: ImageSeries) -> bool:
    """Whether it is drawn in the second's frame; in one that both share, on its series alone."""
    if frame != second.origin.frame_uid:
        return False
    named = second.origin.uid in entry.series and first.origin.uid not in entry.series
    return named or not same_frame(first, second)


def _masks(
    entry: DicomObject,
    choice: Choice,
    grid: Grid,
    find: Callable[[str], _Place],
    notes: list[str],
) -> Iterator[tuple[str, str, Mask, _Place]]:
    """Name, colour, mask and place of what was chosen of an object; the others are noted."""
    stack = _drawn_on(entry, choice)
    drawn: Sequence[Contoured | Segment] = (
        read_structures(entry.path)
        if entry.origin.modality == STRUCTURES
        else read_segments(entry.path, stack)
    )
    for part in drawn:
        if choice.names and (entry.uid, part.name) not in choice.names:
            if part.name not in entry.names:  # the headers do not name it, so nobody could choose
                notes.append(f"{part.name}, which the header does not name, was not loaded.")
            continue
        try:
            if isinstance(part, Contoured):
                notes += [part.note] if part.note else []
                even = [c if stack is None else stack.put_even(c) for c in part.contours]
                place = find(part.frame_uid)
                moved = _moved(even, place.matrix)
                mask, note = rasterise(moved, grid, part.name)
                notes += [note] if note else []
            else:
                place = find("")
                mask = part.on(grid, place.matrix)
        except UserError as error:  # one structure that cannot be had does not stop the others
            notes.append(f"Not loaded. {error}")
            continue
        yield part.name, part.color, mask, place


def _drawn_on(entry: DicomObject, choice: Choice) -> Stack | None:
    """The slices that an object says it was drawn on, if they are open."""
    images = (image for image in (choice.first, choice.second) if image is not None)
    return next((image.stack for image in images if image.origin.uid in entry.series), None)


def _moved(contours: Sequence[Doubles], matrix: Doubles | None) -> list[Doubles]:
    """Contours in the second's frame, taken to the first image."""
    if matrix is None:
        return list(contours)
    back = np.linalg.inv(matrix)
    return [points @ back[:3, :3].T + back[:3, 3] for points in contours]
