"""The contours of one patient in a commissioning: of every user and method, each made once."""

from __future__ import annotations

import hashlib
import shutil
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
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
from cmfnet_napari.core.fit.config import Config
from cmfnet_napari.core.fit.runs import STATE_FILE, read_run
from cmfnet_napari.core.images.study import Study, load_labels, unit_pair
from cmfnet_napari.core.report.commission_facts import Score
from cmfnet_napari.core.report.method_pictures import Example, make_example
from cmfnet_napari.learning.cohort.split import Hooks
from cmfnet_napari.learning.fit.callbacks import Hooks as FitHooks
from cmfnet_napari.learning.fit.start import fit
from cmfnet_napari.learning.material.user_styles import STYLES, draw
from cmfnet_napari.learning.study.commission_plan import Plan


class PatientJobs:
    """The contours of one patient.

    Parameters
    ----------
    plan : Plan
        What is commissioned.
    methods : mapping
        What contours, by name, the model first (`commission_plan.methods_of`).
    study : Study
        The patient's images.
    truth : bool array (z, y, x)
        The contour by hand; not empty.
    number : int
        The patient's, from 1 on.
    """

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

    def worst(self, scores: Sequence[Score]) -> tuple[float, Example]:
        """The slice on which the model does worst, and how bad the contour is."""
        method = next(iter(self._methods))
        one = min((s for s in scores if s.method == method), key=lambda s: s.scores.dsc)
        config = self._methods[method]
        image, _, _ = unit_pair(self.study, config.ct_window, config.mr_percentiles)
        found = {name: self.labels(one.users, name) for name in self._methods}
        title = f"patient {self.number}, slice {one.slice_ + 1}, {one.users}"
        example = make_example(
            title, image, self.study.grid.spacing, self.truth.astype(np.uint8), found, one.slice_
        )
        return 1 - one.scores.dsc, example

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
