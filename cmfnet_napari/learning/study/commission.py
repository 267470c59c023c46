"""Commissioning: a model and presets on a department's own contoured patients, and the page of it.

::

    OUT/commission.json      what was begun: model, presets, users
    OUT/patients.csv         number, folder and hash of every patient, why one was left out, what
                             of it was not used: stays in the department
    OUT/PATIENT/             a folder a patient: one file of scores and of labels for every user and
                             method; what is there is not done again
    OUT/results.csv          every score; OUT/commissioning.pdf the page that is signed
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

from cmfnet_napari.core.contours.metrics import Scores
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.files import JsonObject, hash_file
from cmfnet_napari.core.fit.card_scope import outside_card
from cmfnet_napari.core.fit.card_sections import FullCard, patient_digest, read_full_card
from cmfnet_napari.core.fit.config import Config
from cmfnet_napari.core.fit.model_card import model_path
from cmfnet_napari.core.folder_lock import begun
from cmfnet_napari.core.images.series.scan_result import Scan
from cmfnet_napari.core.report.commission_facts import Commissioning, PatientFacts, Score
from cmfnet_napari.core.report.commission_page import save_commissioning
from cmfnet_napari.core.report.method_pictures import Example
from cmfnet_napari.core.tables import write_table
from cmfnet_napari.core.words import cell
from cmfnet_napari.learning.cohort.split import Hooks
from cmfnet_napari.learning.material.user_styles import STYLES
from cmfnet_napari.learning.study.commission_jobs import PatientJobs
from cmfnet_napari.learning.study.commission_plan import PLAN, Plan, begin, methods_of
from cmfnet_napari.learning.study.contoured import (
    USUAL_NAME,
    ContouredPatient,
    find_patients,
    read_patient,
)

PAGE, PATIENTS, RESULTS = "commissioning.pdf", "patients.csv", "results.csv"
_PICTURES = 6  # worst slices


def commission(plan: Plan, hooks: Hooks | None = None) -> JsonObject | None:
    """Contour every patient with the strokes of every user and every method; write the page.

    Stopped or killed, the same plan goes on; what is complete is not done again, and patients that
    were added since are.

    Returns
    -------
    dict, or None when stopped
        ``page`` and ``results`` (files), ``patients``, ``left_out`` and ``notes`` (sentences).

    Raises
    ------
    UserError
        No patient, no such user or preset, a model that knows several structures, the folder holds
        something else or is at work, or nobody could be taken.
    """
    hooks = hooks or Hooks()
    card = read_full_card(plan.model)
    methods = methods_of(plan, card)
    if unknown := [users for users in plan.users if users not in STYLES]:
        raise UserError(f"There is no user {unknown[0]!r}; choose from {', '.join(STYLES)}.")
    found = find_patients(plan.folder)
    with begun(plan.out, PLAN, private=True):
        begin(plan, card, methods)
        return _contour_all(plan, card, methods, found, hooks)


def _contour_all(
    plan: Plan, card: FullCard, methods: Mapping[str, Config], found: Sequence[Scan], hooks: Hooks
) -> JsonObject | None:
    """Every patient in turn, then page and tables; one that fails is left out and named.

    Why, may name files, and so a patient: it stands in `PATIENTS`, and not on the page.
    """
    done: list[_Done] = []
    left_out: dict[int, str] = {}  # by number
    briefly: list[str] = []
    for number, one in enumerate(found, start=1):

        def show(share: float, what: str, number: int = number) -> None:
            hooks.show(
                (number - 1 + share) / len(found), f"patient {number} of {len(found)}: {what}"
            )

        step = "its images or its structure could not be used"
        try:
            contoured = read_patient(one, plan.structures, plan.register)
            step = "it could not be contoured"
            here = replace(hooks, show=show)
            patient = _contour(plan, card, methods, one, contoured, number, here)
        except UserError as error:
            left_out[number] = str(error)
            briefly.append(f"Patient {number} was left out: {step} (why: see {PATIENTS}).")
            continue
        if patient is None:
            return None
        done.append(patient)
    said = [f"Patient {number} was left out. {why}" for number, why in left_out.items()]
    _write_patients(plan.out / PATIENTS, found, done, left_out)
    if not done:
        raise UserError(f"No patient could be taken. {' '.join(said)}")
    scores = [score for one in done for score in one.scores]
    structure = " or ".join(plan.structures or (USUAL_NAME,))
    facts = tuple(one.facts for one in done)
    everything = Commissioning(
        card, structure, facts, tuple(scores), tuple(briefly), hash_file(model_path(plan.model))
    )
    _write_results(plan.out / RESULTS, scores)
    worst = sorted((one.worst for one in done), key=lambda one: one[0], reverse=True)
    pictures = [example for _, example in worst[:_PICTURES]]
    page = save_commissioning(everything, pictures, plan.out / PAGE)
    return {
        "page": str(page),
        "results": str(plan.out / RESULTS),
        "patients": len(done),
        "left_out": said,
        "notes": [f"Patient {one.facts.number}: {note}" for one in done for note in one.notes],
    }


@dataclass(frozen=True, eq=False)
class _Done:
    """All contours of a patient, scored; the worst slice, and how bad it is."""

    facts: PatientFacts
    scores: list[Score]
    worst: tuple[float, Example]
    notes: tuple[str, ...]


def _contour(
    plan: Plan,
    card: FullCard,
    methods: Mapping[str, Config],
    one: Scan,
    patient: ContouredPatient,
    number: int,
    hooks: Hooks,
) -> _Done | None:
    """Contour a patient with every user and method; None when it was stopped."""
    study = patient.study
    jobs = PatientJobs(plan, methods, study, patient.truth, number)
    scores: list[Score] = []
    for score in jobs.scores(hooks):
        if score is None:
            return None
        scores.append(score)
        hooks.show(len(scores) / jobs.count, f"{score.method}, {score.users}")
    key = study.voxel_hash[:16]
    told = {key, patient_digest(one.images[0].origin.number)}
    known = study.content_hash in card.card.data or bool(
        told & set(card.sections.training.patient_digests)
    )
    outside = tuple(outside_card(card, study))
    facts = PatientFacts(number, key, " and ".join(study.kinds), outside, known)
    return _Done(facts, scores, jobs.worst(scores), patient.notes)


def _write_patients(
    path: Path, found: Sequence[Scan], done: Sequence[_Done], left_out: Mapping[int, str]
) -> None:
    """Who is who: for the user alone."""
    keys = {one.facts.number: one.facts.key for one in done}
    notes = {one.facts.number: " ".join(one.notes) for one in done}
    rows = [["patient", "hash", "folder", "left_out", "notes"]]
    for number, one in enumerate(found, start=1):
        folder = str(one.images[0].stack.slices[0].path.parent)
        why = cell(left_out.get(number, ""))
        rows.append(
            [str(number), keys.get(number, ""), cell(folder), why, cell(notes.get(number, ""))]
        )
    write_table(path, rows)


def _write_results(path: Path, scores: Sequence[Score]) -> None:
    names = [one.name for one in fields(Scores)]
    rows = [["patient", "users", "method", *names, "seconds", "worst_slice"]]
    for one in scores:
        values = (getattr(one.scores, name) for name in names)
        figures = ["" if value is None else f"{value:.4f}" for value in values]
        first = [str(one.patient), one.users, cell(one.method)]
        rows.append([*first, *figures, f"{one.seconds:.1f}", str(one.slice_ + 1)])
    write_table(path, rows)
