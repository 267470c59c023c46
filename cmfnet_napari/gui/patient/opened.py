"""Reading a patient, off the GUI thread: from files, or one of the samples."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from cmfnet_napari.core.arrays import Mask
from cmfnet_napari.core.case.find_case import case_for
from cmfnet_napari.core.case.folder import Case, open_case, read_card
from cmfnet_napari.core.case.lock import CaseInUseError
from cmfnet_napari.core.case.structures import Structure, load_structures, save_structures
from cmfnet_napari.core.dicom.importing.patient import (
    Choice,
    Progress,
    load_images,
    place_structures,
)
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.fit.config import Config
from cmfnet_napari.core.images.hounsfield import OFFSET
from cmfnet_napari.core.images.modality import Modalities
from cmfnet_napari.core.images.normalise import Limits, usual_limits
from cmfnet_napari.core.images.series.scan_result import Scan
from cmfnet_napari.core.images.study import (
    Study,
    check_offset,
    load_labels,
    load_values,
    open_study,
    study_from_images,
    turn,
)
from cmfnet_napari.core.images.volume import Volume, from_image
from cmfnet_napari.core.review.check_log import LogCheck, check_log
from cmfnet_napari.core.strokes.corrections import Corrections
from cmfnet_napari.core.strokes.entries import Correction, difference
from cmfnet_napari.core.strokes.scribbles import MAX_CODE, check_codes, count_codes

_LEAST_RANGE = 1e-6  # from black to white


@dataclass(frozen=True, eq=False)
class Opened:
    """A case that is ready to be shown.

    Attributes
    ----------
    case : Case
        The patient's case folder, its study in memory.
    scribbles : uint8 array (z, y, x)
        The journal's strokes.
    recorded : uint8 array (z, y, x)
        The same once more, for who follows what is drawn.
    counts : int array (MAX_CODE + 1,)
        Voxels of each scribble code.
    entries : int
        Number of the journal's newest entry that is in the scribbles.
    corrections : Corrections
        What was corrected of its contours, as far as that entry.
    limits : tuple of (float, float)
        Values of each image shown black and white at first.
    review : LogCheck or UserError
        Its review log as it is written, or why it cannot be read.
    title : str
        What the window calls it; no patient name.
    credit : str
        Licence and citation of a sample, or empty.
    notice : str
        One sentence for the user, or empty.
    contour : integer array (z, y, x) or None
        A sample's true or published contour, to compare with.
    structures : tuple of Structure
        Structures that came with the patient.
    seen_share : float or None
        Share of the first image's voxels (0 … 1) where the second has data.
    lacks_offset : bool
        Whether the CT seems to be stored without the offset of Hounsfield units.
    folder : str
        Where the first image's DICOM files were read from, or empty; kept in memory only.
    images : Choice or None
        The DICOM series that the images are, whose headers name the patient; in memory only. None
        where they were opened as files.
    """

    case: Case
    scribbles: np.ndarray
    recorded: np.ndarray
    counts: np.ndarray
    entries: int
    corrections: Corrections
    limits: tuple[Limits, ...]
    review: LogCheck | UserError
    title: str = "Patient"
    credit: str = ""
    notice: str = ""
    contour: np.ndarray | None = None
    structures: tuple[Structure, ...] = ()
    seen_share: float | None = None
    lacks_offset: bool = False
    folder: str = ""
    images: Choice | None = field(default=None, repr=False)


def open_files(
    first: str | Path,
    second: str | Path | None = None,
    scribbles: str | Path | None = None,
    modalities: Modalities = ("", ""),
) -> Opened:
    """Read one image or two, and scribbles; what the images are, where the user says it.

    Raises
    ------
    UserError
        As `study.open_study` and `study.load_values`.
    """
    study = open_study(first, second, modalities)
    strokes = None
    if scribbles is not None:
        values = load_values(scribbles, study.grid, study.names[0])
        strokes = check_codes(values, Path(scribbles).name)
    folder = str(first) if Path(first).is_dir() else ""
    return replace(prepare(study, strokes, modalities=modalities), folder=folder)


def open_dicom(choice: Choice, found: Scan, progress: Progress) -> Opened:
    """Read what was chosen of a DICOM folder; its structures are kept with the case.

    What was drawn on the second image goes where that lies in the case, which may have moved it.

    Raises
    ------
    UserError, CancelledError
        As `patient.load_images`.
    """
    loaded = load_images(choice, found, progress)
    notes = loaded.notes
    case = case_for(loaded.study, registration=loaded.registration)
    with _let_go_on_failure(case):
        if not case.read_only:
            _believe_headers(case, loaded.study)
            now = None if choice.second is None else case.registrations.current.array
            structures, more = place_structures(choice, found, case.study, now, progress)
            notes = notes + more
            case.save_notes(loaded.kept + more)
            if structures:
                save_structures(case, structures)
        opened = prepare_case(case)
    notice = " ".join(filter(None, (opened.notice, *notes)))
    folder = str(choice.first.stack.slices[0].path.parent)
    images = Choice(choice.first, choice.second)
    return replace(opened, notice=notice, folder=folder, images=images)


def _believe_headers(case: Case, study: Study) -> None:
    """What a header says goes before a guess of earlier, but not before what a case was told."""
    if not read_card(case.folder).modalities:
        case.call_images(study.modalities, study.units)


def reopen(opened: Opened) -> Opened:
    """Read an open case anew, as after its second image was moved."""
    again = prepare_case(open_case(opened.case.folder), opened.title, opened.credit)
    kept = {"folder": opened.folder, "images": opened.images}
    return replace(again, contour=opened.contour, **kept)


def call_images(opened: Opened, modalities: Modalities) -> Opened:
    """Take the images of the open case for others, and read it anew.

    Raises
    ------
    UserError
        Another window has the case.
    """
    opened.case.call_images(modalities)
    return reopen(opened)


def open_case_again(folder: Path) -> Opened:
    """Read a case of this computer, for looking only where another window has it.

    Raises
    ------
    UserError
        It is damaged, or was made by a newer version.
    """
    try:
        case = open_case(folder)
    except CaseInUseError as error:
        case = open_case(folder, read_only=True)
        case.notice = str(error)
    return prepare_case(case)


def subtract_offset(opened: Opened) -> Opened:
    """Open a patient anew whose CT lacks the offset of Hounsfield units, with it subtracted.

    It has a case of its own; classes, strokes, corrections and structures are taken over where
    there are none.

    Raises
    ------
    UserError
        As `case_for`.
    """
    study = opened.case.study.less(OFFSET)
    case = case_for(study, registration=opened.case.registrations.current)
    with _let_go_on_failure(case):
        left = _take_over(opened.case, case)
        if opened.structures and not case.read_only and not load_structures(case):
            save_structures(case, list(opened.structures))
        again = prepare_case(case, opened.title, opened.credit)
    kept = {"folder": opened.folder, "images": opened.images}
    notice = " ".join(filter(None, (again.notice, left)))
    return replace(again, contour=opened.contour, notice=notice, **kept)


def _take_over(before: Case, case: Case) -> str:
    """Put all that was drawn into a case without anything; what stayed behind, in a sentence."""
    if case.read_only:
        return ""
    if case.journal.last_id():
        return (
            "With the offset subtracted this patient was worked on before: what was drawn then "
            "is shown. What was drawn without it stays in the other case."
        )
    case.save_classes(tuple(replace(entry, number=entry.code) for entry in before.classes))
    strokes = before.scribbles()
    _import_strokes(case, strokes)
    words = before.corrections().words(strokes)
    if words.voxels.size:
        none = np.zeros_like(words.codes)
        case.correct(Correction(words.voxels, none, words.codes, "import"))
    if not before.runs():
        return ""
    return "Strokes and corrections came along; contours and their review stay in the other case."


def open_phantom() -> Opened:
    """The built-in synthetic patient with its scribbles."""
    from cmfnet_napari.core.samples.phantom import make_phantom

    phantom = make_phantom(seed=0)
    study = study_from_images(phantom.ct, phantom.mr)
    strokes = check_codes(from_image(turn(phantom.scribbles)).array)
    contour = from_image(turn(phantom.truth)).array
    return replace(prepare(study, strokes, title="Synthetic patient"), contour=contour)


def open_sample_patient() -> Opened:
    """The real sample patient, downloaded once.

    Raises
    ------
    UserError
        No network and not downloaded before.
    """
    from cmfnet_napari.core.samples.real_patient import fetch_patient

    patient = fetch_patient()
    study = open_study(patient.ct, patient.mr)
    opened = prepare(
        study, title="Real sample patient", credit=f"{patient.licence}. {patient.citation}"
    )
    return replace(opened, contour=load_labels(patient.gtv, study.grid))


def prepare(
    study: Study,
    strokes: np.ndarray | None = None,
    title: str = "Patient",
    credit: str = "",
    modalities: Modalities = ("", ""),
) -> Opened:
    """Find or make the case of a study; strokes are imported only into a case without any.

    What its images are, a case knows, unless the user says something else (`modalities`).
    """
    case = case_for(study)
    with _let_go_on_failure(case):
        if not case.read_only:
            case.call_images(modalities)
        notice = "" if strokes is None else _import_strokes(case, strokes)
        opened = prepare_case(case, title, credit)
    notice = " ".join(filter(None, (notice, opened.notice, *case.notes)))
    return replace(opened, notice=notice)


def prepare_case(case: Case, title: str = "Patient", credit: str = "") -> Opened:
    """Make a case ready to be shown; it is closed when that fails."""
    with _let_go_on_failure(case):
        scribbles = np.zeros(case.study.grid.shape, np.uint8)
        entries = case.journal.fold(scribbles)
        structures, fault = _structures(case)
        return Opened(
            case=case,
            scribbles=scribbles,
            recorded=scribbles.copy(),
            counts=count_codes(scribbles, MAX_CODE + 1),
            entries=entries,
            corrections=case.corrections(),
            limits=_limits(case.study),
            title=title,
            credit=credit,
            notice=" ".join(filter(None, (case.notice, fault))),
            structures=structures,
            seen_share=None if case.study.seen is None else float(case.study.seen.mean()),
            lacks_offset=check_offset(case.study),
            review=_review(case),
        )


def _review(case: Case) -> LogCheck | UserError:
    """Every signature is checked, which takes a second for a long log."""
    try:
        return check_log(case.folder, case.key)
    except UserError as error:
        return error


@contextmanager
def _let_go_on_failure(case: Case) -> Iterator[None]:
    """Others may write a case that cannot be shown here."""
    try:
        yield
    except BaseException:
        case.close()
        raise


def _import_strokes(case: Case, strokes: np.ndarray) -> str:
    """Put strokes into a case without any; else why not, in a sentence."""
    if case.read_only:
        return ""
    stroke = difference(case.scribbles(), strokes, "import")
    if stroke is None:
        return ""
    if case.journal.last_id():
        return (
            "This patient already has strokes, which were kept; the scribbles file was not "
            "loaded. Use Scribble → Load to replace them."
        )
    case.journal.append(stroke)
    return ""


def _structures(case: Case) -> tuple[tuple[Structure, ...], str]:
    """Structures of a case, or none and why: the patient can be worked on without them."""
    try:
        return tuple(load_structures(case)), ""
    except UserError as error:
        return (), f"Opened without its structures. {error}"


def _limits(study: Study) -> tuple[Limits, ...]:
    """What is black and white at first; an image that shows next to nothing has all its values."""
    images = [(study.first, study.first_seen)]
    if study.second is not None:
        images.append((study.second, study.seen))
    return tuple(_shown(volume, seen) for volume, seen in images)


def _shown(volume: Volume, seen: Mask | None) -> Limits:
    config, array = Config(), volume.array
    try:
        return usual_limits(array, volume.modality, config.ct_window, config.mr_percentiles, seen)
    except UserError:
        low = float(array.min())
        return low, max(float(array.max()), low + _LEAST_RANGE)
