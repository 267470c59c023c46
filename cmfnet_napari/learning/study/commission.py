"""Commissioning: a model and presets on a department's own contoured patients, and the page of it.

::

    OUT/commission.json      what was begun: model, presets, users, structure
    OUT/patients.csv         number, hash and folder of every patient: stays in the department
    OUT/PATIENT/             a folder a patient: one file of scores and of labels for every user and
                             method; what is there is not done again
    OUT/results.csv          every score; OUT/commissioning.pdf the page that is signed
"""

from __future__ import annotations

import hashlib
import shutil
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from cmfnet_napari.core.arrays import Codes, Mask
from cmfnet_napari.core.contours.metrics import Scores, evaluate
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.files import (
    JsonObject,
    private_folder,
    read_json,
    write_json,
    write_safely,
)
from cmfnet_napari.core.fit.card_scope import outside_card
from cmfnet_napari.core.fit.card_sections import FullCard, read_full_card
from cmfnet_napari.core.fit.config import Config
from cmfnet_napari.core.fit.model_card import check_base, start_config
from cmfnet_napari.core.fit.runs import STATE_FILE, read_run
from cmfnet_napari.core.folder_lock import begun, changed_since
from cmfnet_napari.core.images.series.scan_result import Scan
from cmfnet_napari.core.images.study import Study, load_labels, unit_pair
from cmfnet_napari.core.report.commission_facts import Commissioning, PatientFacts, Score
from cmfnet_napari.core.report.commission_page import save_commissioning
from cmfnet_napari.core.report.method_pictures import Example, make_example
from cmfnet_napari.core.tables import write_table
from cmfnet_napari.core.words import cell
from cmfnet_napari.learning.cohort.split import Hooks
from cmfnet_napari.learning.fit.callbacks import Hooks as FitHooks
from cmfnet_napari.learning.fit.start import fit
from cmfnet_napari.learning.material.user_styles import STYLES, draw
from cmfnet_napari.learning.study.contoured import USUAL_NAME, find_patients, read_patient

PAGE, PLAN, PATIENTS, RESULTS = (
    "commissioning.pdf", "commission.json", "patients.csv", "results.csv",
)  # fmt: skip
_PICTURES = 6  # worst slices


@dataclass(frozen=True)
class Plan:
    """What is commissioned.

    Attributes
    ----------
    folder : Path
        Contoured patients as DICOM.
    out : Path
        A new folder, or that of the same commissioning.
    model : str
        Name or file of the model.
    presets : tuple of str
        Compared with it, from the strokes alone.
    users : tuple of str
        Names of `user_styles.STYLES`.
    structure : str
        Its name; empty: what begins with GTV.
    register : bool
        Register the second image to the first.
    changes : mapping
        Settings of the presets that are changed, such as ``minutes``.
    device : str
        As in `fit`.
    """

    folder: Path
    out: Path
    model: str = "limb-sarcoma"
    presets: tuple[str, ...] = ("quick",)
    users: tuple[str, ...] = ("careful", "hasty", "sloppy")
    structure: str = ""
    register: bool = False
    changes: Mapping[str, Any] = field(default_factory=dict)
    device: str = "auto"


def commission(plan: Plan, hooks: Hooks | None = None) -> JsonObject | None:
    """Contour every patient with the strokes of every user and every method; write the page.

    Stopped or killed, the same plan goes on; what is complete is not done again, and patients that
    were added since are.

    Returns
    -------
    dict, or None when stopped
        ``page`` and ``results`` (files), ``patients``, ``left_out`` (sentences).

    Raises
    ------
    UserError
        No patient, no such user or preset, a model that knows several structures, the folder holds
        something else or is at work, or nobody could be taken.
    """
    hooks = hooks or Hooks()
    card = read_full_card(plan.model)
    methods = _methods(plan, card)
    if unknown := [users for users in plan.users if users not in STYLES]:
        raise UserError(f"There is no user {unknown[0]!r}; choose from {', '.join(STYLES)}.")
    found = find_patients(plan.folder)
    with begun(plan.out, PLAN, private=True):
        _begin(plan, card, methods)
        return _contour_all(plan, card, methods, found, hooks)


def _contour_all(
    plan: Plan, card: FullCard, methods: Mapping[str, Config], found: Sequence[Scan], hooks: Hooks
) -> JsonObject | None:
    """Every patient in turn, then page and tables; one that fails is left out and named."""
    done: list[_Done] = []
    left_out: list[str] = []
    for number, one in enumerate(found, start=1):

        def show(share: float, what: str, number: int = number) -> None:
            hooks.show(
                (number - 1 + share) / len(found), f"patient {number} of {len(found)}: {what}"
            )

        try:
            patient = _contour(plan, card, methods, one, number, replace(hooks, show=show))
        except UserError as error:
            left_out.append(f"Patient {number} was left out. {error}")
            continue
        if patient is None:
            return None
        done.append(patient)
    if not done:
        raise UserError(f"No patient could be taken. {' '.join(left_out)}")
    scores = [score for one in done for score in one.scores]
    facts = [one.facts for one in done]
    structure = plan.structure or USUAL_NAME
    everything = Commissioning(card, structure, tuple(facts), tuple(scores), tuple(left_out))
    _write_patients(plan.out / PATIENTS, facts, [one.folder for one in done])
    _write_results(plan.out / RESULTS, scores)
    worst = sorted((one.worst for one in done), key=lambda one: one[0], reverse=True)
    pictures = [example for _, example in worst[:_PICTURES]]
    page = save_commissioning(everything, pictures, plan.out / PAGE)
    return {
        "page": str(page),
        "results": str(plan.out / RESULTS),
        "patients": len(done),
        "left_out": left_out,
    }


@dataclass(frozen=True, eq=False)
class _Done:
    """All contours of a patient, scored; the worst slice, and how bad it is."""

    facts: PatientFacts
    folder: str
    scores: list[Score]
    worst: tuple[float, Example]


def _contour(
    plan: Plan, card: FullCard, methods: Mapping[str, Config], one: Scan, number: int, hooks: Hooks
) -> _Done | None:
    """Contour a patient with every user and method; None when it was stopped."""
    patient = read_patient(one, plan.structure, plan.register)
    study = patient.study
    jobs = _Jobs(plan, methods, study, patient.truth, number)
    scores: list[Score] = []
    for score in jobs.scores(hooks):
        if score is None:
            return None
        scores.append(score)
        hooks.show(len(scores) / jobs.count, f"{score.method}, {score.users}")
    facts = PatientFacts(
        number, study.voxel_hash[:16], " and ".join(study.kinds),
        (*_taught(card, study), *outside_card(card, study)),
    )  # fmt: skip
    folder = str(one.images[0].stack.slices[0].path.parent)
    return _Done(facts, folder, scores, _worst(jobs, scores))


def _taught(card: FullCard, study: Study) -> list[str]:
    """That a model knows the patient it is tried on."""
    if study.content_hash not in card.card.data:
        return []
    return [f"{card.name} was taught on this very patient, whose figures are no test of it."]


def _methods(plan: Plan, card: FullCard) -> dict[str, Config]:
    """What contours, by name: the model first, then presets from the strokes alone."""
    check_base(card.card, 2, card.name)
    if card.name in plan.presets:
        raise UserError(f"The model is called {card.name}, like a preset. Rename its file first.")
    methods = {card.name: start_config("quick", card.card)}
    if card.card.reads_anywhere or card.card.config.stroke_maps:
        methods[card.name] = start_config("quick", card.card, steps=0)
    for preset in plan.presets:
        methods[preset] = start_config(preset, None, **plan.changes)
    return methods


def _begin(plan: Plan, card: FullCard, methods: Mapping[str, Config]) -> None:
    """Write what is begun, or check that it is what was begun there."""
    wanted: JsonObject = {
        "model": card.card.model_dump(mode="json"),  # what people wrote may be mended meanwhile
        "methods": {name: config.model_dump(mode="json") for name, config in methods.items()},
        "users": list(plan.users),
        "structure": plan.structure,
        "register": plan.register,
    }
    if changed := changed_since(plan.out / PLAN, wanted):
        raise UserError(
            f"{plan.out.name} holds another commissioning: {', '.join(changed)} differ. Choose a "
            "new folder."
        )


class _Jobs:
    """The contours of one patient."""

    def __init__(
        self, plan: Plan, methods: Mapping[str, Config], study: Study, truth: Mask, number: int
    ) -> None:
        self.study, self.truth, self.number = study, truth, number
        self._plan, self._methods = plan, methods
        self.folder = private_folder(plan.out / study.voxel_hash[:16])
        self._truth_hash = hashlib.sha256(np.packbits(truth).data).hexdigest()[:16]
        self.count = len(methods) * len(plan.users)

    def scores(self, hooks: Hooks) -> Iterator[Score | None]:
        """Of every user and method; None when it was stopped."""
        for users in self._plan.users:
            for method in self._methods:
                score = self._read(users, method)
                if score is None:
                    score = self._do(users, method, hooks)
                yield score
                if score is None:
                    return

    def labels(self, users: str, method: str) -> Codes:
        """What was found, uint8 (z, y, x)."""
        with np.load(self._file(users, method, ".npz"), allow_pickle=False) as file:
            labels: Codes = file["labels"]
        return labels

    def _read(self, users: str, method: str) -> Score | None:
        """The score against this very contour by hand; None: not yet, or it is damaged."""
        try:
            told = read_json(self._file(users, method, ".json"))
            whole = self.labels(users, method).shape == self.truth.shape
            return self._score(users, method, told) if whole else None
        except (UserError, OSError, EOFError, BadZipFile, zlib.error, KeyError, TypeError,
                ValueError):  # fmt: skip
            return None

    def _score(self, users: str, method: str, told: JsonObject) -> Score | None:
        if told["truth"] != self._truth_hash:
            return None
        scores = Scores(**told["scores"])
        where = int(told["slice"]), float(told["place"])
        return Score(self.number, users, method, scores, float(told["seconds"]), *where)

    def _do(self, users: str, method: str, hooks: Hooks) -> Score | None:
        """Contour with one method; None when it was stopped."""
        strokes = draw(self.truth, self.study, STYLES[users], seed=0)
        run = self._file(users, method, ".run")
        if not (run / STATE_FILE).exists():  # else it is gone on with
            shutil.rmtree(run, ignore_errors=True)
            private_folder(run)
        ours = FitHooks()
        ours.request = lambda: "quit" if hooks.stop() else ""
        earlier, began = read_run(run).elapsed_s, time.monotonic()  # before it was broken off
        finished = fit(
            self.study, strokes, run, self._methods[method], device=self._plan.device,
            base=None if method in self._plan.presets else self._plan.model, hooks=ours,
            began=began,
        )  # fmt: skip
        if finished is None:
            return None
        labels = load_labels(run / finished.labels, self.study.grid, self.study.names[0])
        scores = evaluate(labels > 0, self.truth, self.study.grid).mean
        slice_, place = worst_slice(labels > 0, self.truth)
        packed = self._file(users, method, ".npz")
        write_safely(packed, ".npz", lambda part: np.savez_compressed(part, labels=labels))
        told: JsonObject = {
            "scores": asdict(scores),
            "truth": self._truth_hash,
            "seconds": round(earlier + time.monotonic() - began, 1),
            "slice": slice_,
            "place": place,
        }
        write_json(self._file(users, method, ".json"), told)  # last: with it the job is done
        shutil.rmtree(run, ignore_errors=True)
        return self._score(users, method, told)

    def _file(self, users: str, method: str, ending: str) -> Path:
        return self.folder / f"{users}-{method}{ending}"


def worst_slice(found: Mask, truth: Mask) -> tuple[int, float]:
    """The axial slice with most voxels wrong, and where it lies in the structure.

    Parameters
    ----------
    found, truth : bool array (z, y, x)
        The structure is not empty.

    Returns
    -------
    int, float
        Index of the slice; 0 at the structure's first slice, 1 at its last.
    """
    slice_ = int((found ^ truth).sum(axis=(1, 2)).argmax())
    own = np.flatnonzero(truth.any(axis=(1, 2)))
    return slice_, float((slice_ - own[0]) / max(own[-1] - own[0], 1))


def _worst(jobs: _Jobs, scores: Sequence[Score]) -> tuple[float, Example]:
    """Of a patient, the slice on which the model does worst, and how bad the contour is."""
    method = scores[0].method
    one = min((s for s in scores if s.method == method), key=lambda s: s.scores.dsc)
    config = jobs._methods[method]
    image, _, _ = unit_pair(jobs.study, config.ct_window, config.mr_percentiles)
    found = {name: jobs.labels(one.users, name) for name in jobs._methods}
    title = f"patient {jobs.number}, slice {one.slice_ + 1}, {one.users}"
    example = make_example(
        title, image, jobs.study.grid.spacing, jobs.truth.astype(np.uint8), found, one.slice_
    )
    return 1 - one.scores.dsc, example


def _write_patients(path: Path, patients: Sequence[PatientFacts], folders: Sequence[str]) -> None:
    """Who is who: for the user alone."""
    rows = [["patient", "hash", "folder"]]
    for one, folder in zip(patients, folders, strict=True):
        rows.append([str(one.number), one.key, cell(folder)])
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
