"""One fit: from a study and its strokes to a model and a prediction in a run folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from cmfnet_napari.core.arrays import Codes
from cmfnet_napari.core.case.case_classes import RUN_CLASSES
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.files import new_folder
from cmfnet_napari.core.fit import events
from cmfnet_napari.core.fit.config import Config, parse_config, stored
from cmfnet_napari.core.fit.model_card import (
    check_base,
    known_name,
    model_name,
    read_card,
    with_network,
)
from cmfnet_napari.core.fit.runs import STATE_FILE
from cmfnet_napari.core.folder_lock import alone
from cmfnet_napari.core.images.study import Study
from cmfnet_napari.core.strokes.scribbles import check_trainable
from cmfnet_napari.learning.engine.state import (
    State,
    damaged_state,
    load_state,
    unpack_codes,
)
from cmfnet_napari.learning.fit.callbacks import Hooks
from cmfnet_napari.learning.fit.loop import FitLoop
from cmfnet_napari.learning.fit.output import Report
from cmfnet_napari.learning.fit.reading import Reading
from cmfnet_napari.learning.fit.run_folder import RunFolder
from cmfnet_napari.learning.model.checkpoint import load_model

_NOT_OURS = (RUN_CLASSES,)  # what may lie in a run's folder before its fit


def fit(
    study: Study,
    scribbles: Codes,
    run: Path,
    config: Config,
    *,
    device: str = "auto",
    base: str | Path | None = None,
    names: Sequence[str] | None = None,
    hooks: Hooks | None = None,
    root: Path | None = None,
    began: float | None = None,
) -> events.Finished | None:
    """Train on a study's strokes and predict it.

    In the folder of a fit that was broken off, the same fit goes on.

    Parameters
    ----------
    study : Study
        CT, or CT and MR.
    scribbles : uint8 array (z, y, x) on the Study's Grid
        Scribble codes.
    run : Path
        Existing folder that takes config.json, events.jsonl, model.safetensors,
        preview.npy, prediction.nii.gz and probabilities.nii.gz (on the CT's original grid), and
        state.pt until it is complete.
    config : Config
        Everything else; from a base model best made by `model_card.start_config`.
    device : str
        ``auto``, ``cpu``, ``cuda``, ``cuda:N``.
    base : path, optional
        Model to start from: its weights, and the input and network it was trained with.
    names : sequence of str, optional
        Names of the classes 1, 2, … for the volumes.
    hooks : Hooks, optional
        Where events go and requests come from.
    root : Path, optional
        Folder the paths in events are relative to; the run itself when not given.
    began : float, optional
        When the user began to wait (`time.monotonic`): the configuration's minutes count from
        there.

    Returns
    -------
    Finished, or None when the request was to quit

    Raises
    ------
    UserError
        The strokes do not do, the device is not there, no steps from nothing, training
        diverged, or there is not enough memory for the smallest patches.
    """
    hooks = hooks or Hooks()
    data: tuple[str, ...] = (study.content_hash,)
    if base is None and not config.steps:
        raise UserError(
            "Training of 0 steps says nothing without a base model: choose one to start from, or "
            "more steps."
        )
    classes = check_trainable(scribbles)  # before the folder holds anything
    if base is not None:
        card = read_card(base)
        check_base(card, classes, model_name(base))
        config = with_network(config, card)
        if card.reads_anywhere:
            if config.steps:
                raise UserError(
                    f"The model {model_name(base)} contours from strokes as it is, and is not "
                    f"trained further: steps must be 0 (got {config.steps})."
                )
            return _read(study, scribbles, RunFolder(run, root or run), base, device, names, hooks)
        data = tuple(dict.fromkeys(card.data + data))
    folder = RunFolder(run, root or run)
    with alone(run):
        if (run / STATE_FILE).exists():
            folder.check_same(config, study, scribbles)
            return _restored(study, scribbles, folder, device, names, hooks).go()
        new_folder(run, but=_NOT_OURS)  # another fit may have filled it since it was chosen
        work = FitLoop(study, scribbles, folder, config, device, hooks, began)
        work.names, work.data = names, data
        if base is not None:
            work.trainer.load(load_model(base, torch.device("cpu"))[0].state_dict())
            work.from_base = True
        called = "" if base is None else known_name(base)
        work.report.write(lambda: work.run.freeze(config, study, scribbles, called))
        return work.go()


def _read(
    study: Study,
    scribbles: Codes,
    run: RunFolder,
    base: str | Path,
    device: str,
    names: Sequence[str] | None,
    hooks: Hooks,
) -> events.Finished | None:
    """Contour from the strokes alone, by a model that reads them anywhere."""
    with alone(run.folder):
        new_folder(run.folder, but=_NOT_OURS)
        reading, report = Reading(study, run, base, device, names), Report(run, hooks)
        config = read_card(base).config
        report.write(lambda: run.freeze(config, study, scribbles, known_name(base)))
        report.tell(reading.started())
        finished = reading.read(scribbles, hooks)
        hooks.keep_reading(reading)
        return finished


def go_on(
    study: Study,
    scribbles: Codes,
    run: Path,
    *,
    device: str = "auto",
    names: Sequence[str] | None = None,
    hooks: Hooks | None = None,
    root: Path | None = None,
    less_memory: bool = False,
) -> events.Finished | None:
    """Go on with a fit that was broken off, with its own configuration, from its last state.

    On the CPU, with the same strokes and number of threads, the result is that of a fit that
    was never broken off, to the bit, as long as steps and not minutes end it.

    Parameters
    ----------
    study, scribbles, device, names, hooks, root
        As in `fit`.
    run : Path
        The run's folder.
    less_memory : bool
        Give something up to need less memory, as when the system ended it.

    Returns
    -------
    Finished, or None when the request was to quit

    Raises
    ------
    UserError
        As `fit`, or the run holds no state, a damaged one, or belongs to another study.
    """
    with alone(run):
        folder = RunFolder(run, root or run)
        work = _restored(study, scribbles, folder, device, names, hooks or Hooks())
        if less_memory:
            work.need_less()
        return work.go()


def _restored(
    study: Study,
    scribbles: Codes,
    folder: RunFolder,
    device: str,
    names: Sequence[str] | None,
    hooks: Hooks,
) -> FitLoop:
    """A fit as its last state left it."""
    run = folder.folder
    if folder.frozen().get("study") != study.content_hash:
        raise UserError(f"The run {run.name} was trained on other images. Train anew.")
    state = load_state(run, torch.device("cpu"))
    config = parse_config(stored(state.get("config", {})))
    drawn = check_trainable(scribbles)
    learnt, groups = _learnt_from(state, study, run) or (scribbles, None)
    work = FitLoop(study, learnt, folder, config, device, hooks, groups=groups)
    work.names = names
    try:
        work.restore(state, drawn)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise damaged_state(run) from error
    work.take_up(scribbles)
    return work


def _learnt_from(state: State, study: Study, run: Path) -> tuple[Codes, Codes] | None:
    """The strokes that a fit had learnt from, and their groups; an earlier version kept none."""
    if "strokes" not in state:
        return None
    shape = study.grid.shape
    try:
        return unpack_codes(state["strokes"], shape), unpack_codes(state["groups"], shape)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise damaged_state(run) from error
