"""Case folder: a patient's study, strokes and runs, in one place on disk.

::

    case.json            format, classes, hash of the study, the first image's original grid
    study/ct.nrrd        on the Study's Grid; mr.nrrd and mr_fov.nrrd beside it when there is one,
                         mr_source.nrrd as it was read. Other pairs: first.nrrd, second.nrrd,
                         seen.nrrd, second_source.nrrd
    registration.json    how the second image lies to the first, once that was changed
    strokes.sqlite       the journal
    case.lock            held by the window that writes; in-use.json says who that is
    remote.json          what the case is called on other computers, where one trains it
    review.json          slices looked at, decisions about places
    review-log.jsonl     who looked at what and signed it off; readings/ the contours signed off
    runs/0001-quick/     classes.json, config.json, events.jsonl, model.safetensors, preview.npy,
                         prediction.nii.gz, probabilities.nii.gz, disagreement.nii.gz,
                         scribbles.nii.gz, chances.npz

No patient name, birth date or path is kept.
"""

from __future__ import annotations

import contextlib
import shutil
import uuid
from collections.abc import Iterator, Sequence
from math import prod
from pathlib import Path

import numpy as np

from cmfnet_napari.core.arrays import Codes
from cmfnet_napari.core.case.card import ANY_PAIR, CORRECTED, RECLASSED, CaseCard, parse_card
from cmfnet_napari.core.case.case_classes import (
    case_classes,
    case_order,
    note_classes,
    run_numbers,
    run_table,
    with_classes,
)
from cmfnet_napari.core.case.lock import CaseLock
from cmfnet_napari.core.case.study_files import (
    as_called,
    check_images,
    has_second,
    read_study,
    usual,
    write_study,
)
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.files import (
    check_name,
    private_folder,
    read_json,
    replace,
    write_json,
)
from cmfnet_napari.core.images.modality import USUAL, Modalities
from cmfnet_napari.core.images.study import Study
from cmfnet_napari.core.privacy import inside
from cmfnet_napari.core.registration.registrations import (
    AS_IT_WAS,
    Registration,
    Registrations,
    parse_registrations,
)
from cmfnet_napari.core.registration.registrations import FILE as REGISTRATION_FILE
from cmfnet_napari.core.strokes.class_order import ClassOrder
from cmfnet_napari.core.strokes.corrections import Corrections, read_corrections
from cmfnet_napari.core.strokes.entries import ClassChange, Correction
from cmfnet_napari.core.strokes.journal import Journal
from cmfnet_napari.core.strokes.mend import mend
from cmfnet_napari.core.strokes.scribbles import DEFAULT_CLASSES, FIRST_CLASS, ScribbleClass

CARD_FILE, JOURNAL_FILE = "case.json", "strokes.sqlite"
_LEFT_OVER = {"study"}  # what an import of an earlier version left when it was killed


class Case:
    """One case folder. Make it with `create_case` or `open_case`.

    Attributes
    ----------
    folder : Path
        Where it is.
    study : Study
        Its images.
    journal : Journal
        Its strokes and corrections.
    read_only : bool
        Another window writes it; this one looks on.
    notice : str
        Who has it, when this one looks on; what of its strokes was lost.
    closed : bool
        It was let go of: open it again to go on.
    unclean : bool
        The window that had it last was not closed but killed.
    """

    def __init__(self, folder: Path, study: Study, lock: CaseLock | None) -> None:
        self.folder = folder
        self.study = study
        self.read_only = lock is None
        self.notice = ""
        self.closed = False
        self._lock = lock
        self.unclean = lock is not None and lock.unclean
        if lock is not None:
            reclassed = read_card(folder).format >= RECLASSED
            self.notice = mend(folder / JOURNAL_FILE, prod(study.grid.shape), reclassed)
        self.journal = Journal(folder / JOURNAL_FILE, self.read_only)

    def scribbles(self) -> np.ndarray:
        """The journal's fold: uint8 (z, y, x) on the Study's Grid."""
        array = np.zeros(self.study.grid.shape, dtype=np.uint8)
        self.journal.fold(array)
        return array

    def corrections(self, without: int | None = None) -> Corrections:
        """What was corrected of its contours, whatever model they are of.

        Parameters
        ----------
        without : int, optional
            Number of a correction that is passed over, as if it had never been made.
        """
        return read_corrections(self.journal, self.study.grid.shape, without)

    def correct(self, correction: Correction) -> int:
        """Write a correction into the journal and return its number.

        Raises
        ------
        UserError
            The case is open for looking only, or the disk is full; nothing was recorded.
        """
        if self.read_only:
            raise UserError("This case is open in another window; it is corrected there.")
        self._need(CORRECTED)
        return self.journal.append(correction)

    def change_classes(self, change: ClassChange) -> int:
        """Write into the journal that a class was removed or merged, and return its number.

        Raises
        ------
        UserError
            As `correct`.
        """
        if self.read_only:
            raise UserError("This case is open in another window; its classes are changed there.")
        self._need(RECLASSED)
        return self.journal.append(change)

    def _need(self, format_: int) -> None:
        """First of all: whoever reads the journal knows what is in it."""
        card = read_card(self.folder)
        if card.format < format_:
            card = card.model_copy(update={"format": format_})
            write_json(self.folder / CARD_FILE, card.model_dump(mode="json"))

    @property
    def classes(self) -> tuple[ScribbleClass, ...]:
        """Background and the classes, in order of their codes."""
        return case_classes(read_card(self.folder), self.journal.class_steps)

    @property
    def order(self) -> ClassOrder:
        """Numbers of the classes, in order of their codes, and which ones went."""
        return case_order(read_card(self.folder), self.journal.class_steps)

    def run_table(self, run: Path) -> Codes | None:
        """Labels as they are now, by those that a run of this case has written; None: the same.

        Raises
        ------
        UserError
            As `case_classes.run_table`.
        """
        return run_table(run, read_card(self.folder), self.journal.class_steps)

    def run_numbers(self, run: Path) -> tuple[int, ...]:
        """Numbers of the classes that a run's labels speak of, for `order.labels`.

        It reads files alone, so that any thread may ask.

        Raises
        ------
        UserError
            As `case_classes.run_table`.
        """
        return run_numbers(run, read_card(self.folder))

    def knows_classes(self, run: Path, classes: int) -> bool:
        """Whether the classes that a run's model has learnt are still the case's.

        Parameters
        ----------
        run : Path
            Its folder.
        classes : int
            How many its model has, background included.
        """
        table = self.run_table(run)
        return table is None or bool((table[:classes] == np.arange(classes)).all())

    @property
    def key(self) -> str:
        """Names the case, not the patient: 16 digits of the hash that its folder is found by."""
        return read_card(self.folder).key

    @property
    def class_names(self) -> list[str]:
        """Names of the classes 1, 2, … of a segmentation, without the background."""
        return [entry.name for entry in self.classes if entry.code >= FIRST_CLASS]

    def save_classes(self, classes: tuple[ScribbleClass, ...]) -> None:
        """Keep names and colours of the classes with the case.

        Raises
        ------
        UserError
            The case is open for looking only.
        """
        if self.read_only:
            raise UserError("This case is open in another window; its classes are changed there.")
        card = with_classes(read_card(self.folder), self.journal.class_steps, classes)
        write_json(self.folder / CARD_FILE, card.model_dump(mode="json"))

    @property
    def notes(self) -> tuple[str, ...]:
        """What was left out of the case or is worth a look, in sentences."""
        return read_card(self.folder).notes

    def save_notes(self, notes: Sequence[str]) -> None:
        """Keep what an import says with the case, in place of what an earlier one said."""
        card = read_card(self.folder).model_copy(update={"notes": tuple(notes)})
        write_json(self.folder / CARD_FILE, card.model_dump(mode="json"))

    @property
    def registrations(self) -> Registrations:
        """Where the second image lies, and lay before."""
        return read_registrations(self.folder)

    def register(self, entry: Registration) -> None:
        """Put the second image elsewhere from now on; those in the folder stay as they are."""
        self._keep(self.registrations.added(entry))

    def undo_registration(self) -> None:
        """Put it back where it lay before; UserError when it was never moved."""
        self._keep(self.registrations.undone())

    def call_images(self, modalities: Modalities, units: Sequence[str] | None = None) -> None:
        """Take the images for others than the case did: how they are shown and learnt from.

        Their files stay as they are. Where one of `modalities` is empty, nothing changes. `units`
        are what their values are in, where that is known anew.

        Raises
        ------
        UserError
            The case is open for looking only.
        """
        kinds = [said or own for said, own in zip(modalities, self.study.modalities, strict=True)]
        study = self.study.known_as(kinds[0], kinds[1], units or self.study.units)
        if study.modalities == self.study.modalities:
            return
        if self.read_only:
            raise UserError("This case is open in another window; its images are named there.")
        if study.second_source is not None:  # another kind has data elsewhere
            study = study.moved(self.registrations.current.array)
        card = read_card(self.folder).model_copy(update=_kinds(study))
        write_json(self.folder / CARD_FILE, card.model_dump(mode="json"))
        self.study = study

    def _keep(self, registrations: Registrations) -> None:
        if self.read_only:
            raise UserError("This case is open in another window; its image is moved there.")
        study = self.study.moved(registrations.current.array)
        write_json(self.folder / REGISTRATION_FILE, registrations.model_dump(mode="json"))
        self.study = study

    def new_run(self, name: str) -> Path:
        """Make the folder of the next run, ``runs/NNNN-name``."""
        runs = self.folder / "runs"
        private_folder(runs)
        while True:  # two workers may want the same number
            number = 1 + max((int(p.name[:4]) for p in self.runs()), default=0)
            run = runs / f"{number:04d}-{name}"
            with contextlib.suppress(FileExistsError):
                run.mkdir(mode=0o700)
                note_classes(run, self.order)
                return run

    def runs(self) -> list[Path]:
        """Folders of the runs, oldest first."""
        return run_folders(self.folder)

    def close(self) -> None:
        """Release the journal and the case. Twice is once."""
        self.closed = True
        self.journal.close()
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.release()


def run_folders(folder: Path) -> list[Path]:
    """Folders of the runs in a case's folder, oldest first."""
    return sorted(p for p in (folder / "runs").glob("[0-9]" * 4 + "-*") if p.is_dir())


def create_case(folder: str | Path, study: Study, registration: Registration | None = None) -> Case:
    """Write a study into a new case folder; `registration` says how its second image was placed.

    Raises
    ------
    UserError
        The folder already holds a case or anything else, or cannot be written.
    """
    folder = Path(folder)
    _check_free(folder)
    part = folder.with_name(f".{uuid.uuid4().hex}.part")  # a folder that is half made is no case
    try:
        private_folder(part)
        _write_case(part, study, registration)
        if folder.exists():
            shutil.rmtree(folder)
        replace(part, folder)
    except OSError as error:
        raise UserError(f"The case folder {folder} cannot be made ({error.strerror}).") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    with _held(folder, read_only=False) as lock:
        return Case(folder, study, lock)


def _check_free(folder: Path) -> None:
    """Refuse a folder that holds anything but what a killed import left."""
    if (folder / CARD_FILE).exists():
        raise UserError(f"{folder.name} already holds a case. Open it, or choose another folder.")
    check_name(folder)
    held = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if held & {JOURNAL_FILE, "runs"}:
        raise UserError(
            f"{folder.name} holds strokes of a case that has lost its {CARD_FILE}. Bring that back "
            "from a backup, or choose another folder."
        )
    if held - _LEFT_OVER:
        raise UserError(f"{folder.name} already holds something. Choose a new folder.")


def _write_case(folder: Path, study: Study, registration: Registration | None) -> None:
    images = write_study(folder, study)
    if registration is not None:
        entries = Registrations(entries=(registration,))
        write_json(folder / REGISTRATION_FILE, entries.model_dump(mode="json"))
    card = CaseCard(
        study=study.content_hash,
        source_grid=study.source_grid,
        classes=DEFAULT_CLASSES,
        voxels=study.voxel_hash,
        grid=study.grid,
        mr_grid=study.second_grid,
        images=images,
        weightings=study.weightings if any(study.weightings) else (),
        **({} if usual(study) else _kinds(study)),
    )
    write_json(folder / CARD_FILE, card.model_dump(mode="json"))


def _kinds(study: Study) -> dict[str, object]:
    """What the card of a case says of images that are none of CT, or CT and MR."""
    units = study.units[: len(study.kinds)]
    return {"format": ANY_PAIR, "modalities": study.kinds, "units": units}


def open_case(folder: str | Path, study: Study | None = None, read_only: bool = False) -> Case:
    """Open a case folder; `study` saves reading it again when it is already in memory.

    Raises
    ------
    CaseInUseError
        Another window has it open and `read_only` is false.
    UserError
        No case, a case of another version, one that belongs to another study, or one whose images
        are not those it was made with.
    """
    folder = Path(folder)
    _check_links(folder)
    card = read_card(folder)
    with _held(folder, read_only) as lock:  # first: images are not compared for nothing
        check_images(folder, card)
        if study is None:
            study = read_study(folder, card)
        elif study.content_hash != card.study:
            raise another_study(folder)
        else:
            study = as_called(study, card, folder.name)
        registrations = read_registrations(folder)
        # What is no data in an MR is some in a PET: a second image that is called otherwise than
        # when it was written is resampled, as one that was moved.
        renamed = bool(card.modalities) and study.content_hash != card.study
        if len(registrations.entries) > 1 or (renamed and study.second_source is not None):
            study = study.moved(registrations.current.array)
        return Case(folder, study, lock)


@contextlib.contextmanager
def _held(folder: Path, read_only: bool) -> Iterator[CaseLock | None]:
    """Hold a case for writing; it is let go of when what is done with it fails."""
    lock = None if read_only else CaseLock(folder)
    try:
        yield lock
    except BaseException:
        if lock is not None:
            lock.give_back()
        raise


def another_study(folder: Path) -> UserError:
    """What to say of a case that belongs to other images."""
    return UserError(f"{folder.name} is the case of other images. Choose another folder.")


def read_card(folder: Path) -> CaseCard:
    """What a case says of itself; UserError when it is none, or damaged."""
    if not (folder / CARD_FILE).exists():
        drawn = (folder / JOURNAL_FILE).exists()
        raise UserError(
            f"{folder} {'has lost its' if drawn else 'is no case folder: it has no'} {CARD_FILE}."
        )
    return parse_card(read_json(folder / CARD_FILE), folder.name)


def image_kinds(folder: Path) -> tuple[str, ...]:
    """What the images of a case are, without reading them."""
    with contextlib.suppress(UserError):
        if said := read_card(folder).modalities:
            return said
    return USUAL if has_second(folder) else USUAL[:1]


def read_registrations(folder: Path) -> Registrations:
    """Where the second image of a case lies, and lay before."""
    path = folder / REGISTRATION_FILE
    return parse_registrations(read_json(path), folder.name) if path.exists() else AS_IT_WAS


def _check_links(folder: Path) -> None:
    """Refuse a case that somebody sends with links out of it: what they lead to is not ours."""
    for path in folder.rglob("*"):
        if path.is_symlink():
            inside(folder, path.relative_to(folder).as_posix())
