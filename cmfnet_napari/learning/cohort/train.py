"""Cohort training: base models from many patients, one a split.

::

    OUT/plan.json     configuration, splits and hashes of the data
    OUT/results.csv   scores of every patient held out, by class
    OUT/curves.png    loss and held-out DSC over the steps
    OUT/[fold-N/]     model.safetensors, losses.csv, scores.csv, tensorboard/, results.csv;
                      state.pt while the training is not complete

The same command goes on where it was broken off. Patches and dropout are seeded by their step,
so weights, optimiser and the number of steps are the whole state.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TypeGuard

import numpy as np
from lightning_fabric import Fabric

from cmfnet_napari.core.errors import UserError, list_names
from cmfnet_napari.core.files import JsonObject
from cmfnet_napari.core.fit.config import Config
from cmfnet_napari.core.fit.model_card import MODEL_FILE
from cmfnet_napari.core.fit.runs import STATE_FILE
from cmfnet_napari.core.folder_lock import alone, begun
from cmfnet_napari.core.report.curves import save_training
from cmfnet_napari.learning.cohort.cohort_file import Row, read_cohort
from cmfnet_napari.learning.cohort.nnunet_training import train_nnunet
from cmfnet_napari.learning.cohort.patients import prepare
from cmfnet_napari.learning.cohort.plan import PLAN_FILE, Split, freeze, make_splits
from cmfnet_napari.learning.cohort.prepared_cases import prepared_cases, read_cases
from cmfnet_napari.learning.cohort.results import (
    RESULTS_FILE,
    Result,
    means,
    read_results,
    write_results,
)
from cmfnet_napari.learning.cohort.split import Hooks, SplitTraining
from cmfnet_napari.learning.cohort.working_case import WorkingCase
from cmfnet_napari.learning.engine.device import make_fabric, pick_device, pick_precision
from cmfnet_napari.learning.engine.logs import LOSSES_FILE, SCORES_FILE, read_curve
from cmfnet_napari.learning.rivals.monai_nets import check_installed
from cmfnet_napari.learning.rivals.settings import MethodConfig
from cmfnet_napari.remote.run_files import WORKING


def train(
    cohort: Path,
    out: Path,
    config: Config,
    *,
    folds: int = 0,
    device: str = "auto",
    devices: int = 1,
    nodes: int = 1,
    hooks: Hooks | None = None,
    prepared: Path | None = None,
) -> JsonObject | None:
    """Train on a cohort, or go on with a training.

    Parameters
    ----------
    cohort : Path
        CSV, see `learning.cohort.cohort_file.read_cohort`.
    out : Path
        Folder for the models; a new one, or one of the same training that was broken off.
    config : Config
        Everything about a model; a `rivals.settings.MethodConfig` trains a rival of CmFNet.
    folds : int
        Cross-validation by patient; 0: one model by the file's splits.
    device : str
        ``auto``, ``cpu``, ``cuda``, ``cuda:N``.
    devices, nodes : int
        See `device.make_fabric`; the patches of a step are shared.
    hooks : Hooks, optional
        Progress, and the wish to stop.
    prepared : Path, optional
        Folder where patients on their working grids are kept, shared by trainings on the same
        data; see `prepared_cases`.

    Returns
    -------
    dict, or None when stopped, and in every process but the first
        ``models`` (paths; none of a rival, which nothing else reads), ``metrics`` (means over
        the patients held out).

    Raises
    ------
    UserError
        Anything wrong with the cohort, before training starts; a method cannot share its work
        among devices; the folder holds another training, or one that runs; the training diverged.
    """
    if (out / WORKING).exists():
        raise UserError(
            f"{out.name} holds a training that was begun on another computer. Give --on again to "
            "go on with it, or choose a new folder."
        )
    check_steps(config)
    _check_devices(config, devices, nodes)
    if isinstance(config, MethodConfig):
        check_installed(config)
    rows = read_cohort(cohort)
    splits = make_splits(rows, folds, config.seed)
    if isinstance(config, MethodConfig) and config.labels == "masks":
        _check_masks(splits)
    fabric = _launch(config, device, devices, nodes)
    hooks = hooks if hooks and fabric.is_global_zero else Hooks()
    if fabric.is_global_zero and (out / PLAN_FILE).exists():
        with alone(out):  # what is in use is said before all images are read
            pass
    cases = (
        read_cases(rows, config, hooks.show)
        if prepared is None
        else prepared_cases(rows, config, prepared, hooks.show, hooks.stop)
    )
    if cases is None:
        return None
    check_strokes([case.row for case in cases if case.dense], config)
    if isinstance(config, MethodConfig) and config.labels == "masks":
        cases = tuple(case.contoured() for case in cases)
    with _frozen(out, config, folds, cases) if fabric.is_global_zero else nullcontext():
        fabric.barrier()
        if _is_nnunet(config):
            results = train_nnunet(splits, cases, out, config, fabric.device, hooks)
        else:
            results = _train_splits(splits, cases, out, config, fabric, hooks)
        if results is None or not fabric.is_global_zero:
            return None
        return _written(out, splits, results)


@contextmanager
def _frozen(out: Path, config: Config, folds: int, cases: Sequence[WorkingCase]) -> Iterator[None]:
    """The folder of a training while it is this process's alone, with its plan in it."""
    with begun(out, PLAN_FILE):
        freeze(out, config, folds, cases)
        yield


def _written(out: Path, splits: Sequence[Split], results: Sequence[Result]) -> JsonObject:
    """Write what a complete training found, and say it."""
    write_results(out / RESULTS_FILE, results)
    curves = {split.name: _curves(out / split.name) for split in splits}
    save_training(curves, out / "curves.png")
    return {
        "models": [str(model) for model in _models(out, splits) if model.exists()],
        "metrics": means(np.array([r.values for r in results])) if results else {},
    }


def _models(out: Path, splits: Sequence[Split]) -> list[Path]:
    return [out / split.name / MODEL_FILE for split in splits]


def _check_masks(splits: Sequence[Split]) -> None:
    """Name the rows that are learnt from and have no mask."""
    learnt = dict.fromkeys(row for split in splits for row in split.train)
    if bare := [row.place for row in learnt if row.mask is None]:
        verb = "has" if len(bare) == 1 else "have"
        raise UserError(
            f"{list_names(bare)} {verb} no mask, which a method that learns from masks needs."
        )


def check_steps(config: Config) -> None:
    """Raise UserError for a training without a step."""
    if not config.steps:
        raise UserError("Training setting steps: a base model needs 1 or more (got 0).")


def _is_nnunet(config: Config) -> TypeGuard[MethodConfig]:
    return isinstance(config, MethodConfig) and config.architecture == "nnunet"


def _check_devices(config: Config, devices: int, nodes: int) -> None:
    """Refuse nnU-Net on several devices: each would train a model of its own in one folder."""
    if _is_nnunet(config) and devices * nodes > 1:
        raise UserError(
            f"The method nnunet trains on one device, not on {devices * nodes} ({devices} of each "
            f"of {nodes} nodes). Leave --devices and --nodes out."
        )


def check_strokes(without: Sequence[Row], config: Config) -> None:
    """Raise UserError that names the rows without strokes for a model that reads them."""
    if bare := [row.place for row in without if config.stroke_maps]:
        raise UserError(
            f"A model that reads strokes (stroke_maps) needs scribbles in every row, but there "
            f"are none in {list_names(bare)}."
        )


def _launch(config: Config, device: str, devices: int, nodes: int) -> Fabric:
    """Start the other processes; they run this same command up to here."""
    target = pick_device(device)
    fabric = make_fabric(target, pick_precision(config.precision, target), devices, nodes)
    if config.batch < devices * nodes:
        raise UserError(
            f"{devices * nodes} devices cannot share a batch of {config.batch} patches; take a "
            "larger batch (--set batch=N) or fewer devices."
        )
    fabric.launch()
    if not fabric.is_global_zero:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process decides for all
    return fabric


def _train_splits(
    splits: Sequence[Split],
    cases: Sequence[WorkingCase],
    out: Path,
    config: Config,
    fabric: Fabric,
    hooks: Hooks,
) -> list[Result] | None:
    classes = 1 + max(case.labels.highest for case in cases)
    patients = {case.row: prepare(case, config, classes) for case in cases}
    results: list[Result] = []
    for number, split in enumerate(splits):
        folder = out / split.name
        complete = (folder / RESULTS_FILE).exists() and not (folder / STATE_FILE).exists()
        if complete and ((folder / MODEL_FILE).exists() or not _writes_model(config)):
            results += read_results(folder / RESULTS_FILE)
            continue

        def show(share: float, note: str, done: int = number) -> None:
            hooks.show((done + share) / len(splits), note)

        learnt, held = ([patients[row] for row in part] for part in (split.train, split.held))
        mine = replace(hooks, show=show)
        found = SplitTraining(folder, learnt, held, config, classes, fabric, mine).run()
        if found is None:
            return None
        results += found
    return results


def _writes_model(config: Config) -> bool:
    """Whether it is a CmFNet: nothing else reads the weights of a rival."""
    return not isinstance(config, MethodConfig) or config.architecture == "cmfnet"


def _curves(folder: Path) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    return read_curve(folder / LOSSES_FILE), read_curve(folder / SCORES_FILE)
