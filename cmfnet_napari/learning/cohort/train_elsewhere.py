"""A base model trained on another computer, on a cohort that lies here.

::

    OUT/remote-case/     until the training is done: the cohort's voxels, and what is known of
                         their double there

The same command goes on with it: the training goes on there meanwhile.
"""

from __future__ import annotations

import queue
import shutil
from pathlib import Path
from typing import Literal

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.files import JsonObject, read_json, write_json
from cmfnet_napari.core.fit import events
from cmfnet_napari.core.fit.config import Config
from cmfnet_napari.core.fit.model_card import MODEL_FILE
from cmfnet_napari.core.folder_lock import begun
from cmfnet_napari.core.report.curves import save_training
from cmfnet_napari.learning.cohort.cohort_file import read_cohort
from cmfnet_napari.learning.cohort.plan import PLAN_FILE, make_splits
from cmfnet_napari.learning.cohort.split import Hooks
from cmfnet_napari.learning.cohort.travelling_cohort import TravellingCohort
from cmfnet_napari.learning.engine.logs import LOSSES_FILE, SCORES_FILE, draw_board, read_curve
from cmfnet_napari.remote.cohort_relay import CohortRelay
from cmfnet_napari.remote.elsewhere import follow
from cmfnet_napari.remote.hosts import Host
from cmfnet_napari.remote.run_files import TRAINING, WORKING

_ASKED = "asked.json"
_MOST_ROWS = 2000  # that one message can tell


def train_elsewhere(
    cohort: Path,
    out: Path,
    config: Config,
    host: Host,
    *,
    folds: int = 0,
    device: str = "auto",
    hooks: Hooks | None = None,
) -> JsonObject | None:
    """As `train.train`, on a host.

    Returns
    -------
    dict, or None when stopped before the training was begun there

    Raises
    ------
    UserError
        As `train.train`; the host cannot be reached; `out` holds another training; it was left,
        and goes on there.
    """
    hooks = hooks or Hooks()
    rows = read_cohort(cohort)
    splits = make_splits(rows, folds, config.seed)
    if len(rows) > _MOST_ROWS:
        raise UserError(
            f"{cohort.name} has {len(rows)} rows, and {_MOST_ROWS} can be trained on elsewhere. "
            "Copy the cohort to that computer and train there."
        )
    if (out / PLAN_FILE).exists() and not (out / WORKING).exists():
        raise UserError(
            f"{out.name} holds a training of this computer, or one that is done. Leave --on out "
            "to go on with it, or choose a new folder."
        )
    with begun(out, WORKING):
        folder = out / WORKING
        travelling = TravellingCohort(rows, folder)
        _check_asked(folder, out, config, folds, host, travelling)
        if not travelling.prepare(hooks.show, hooks.stop):
            return None
        ended = _follow(folder, host, config, folds, device, cohort, travelling, hooks)
        if ended is None:
            return None
        travelling.bring_home(folder / "runs" / TRAINING, out)
        folders = {split.name: out / split.name for split in splits}
        for one in folders.values():
            draw_board(one)
        curves = {
            name: (read_curve(one / LOSSES_FILE), read_curve(one / SCORES_FILE))
            for name, one in folders.items()
        }
        save_training(curves, out / "curves.png")
        shutil.rmtree(folder)
    models = [one / MODEL_FILE for one in folders.values()]
    return {"models": [str(model) for model in models], "metrics": ended.metrics}


def _check_asked(
    folder: Path, out: Path, config: Config, folds: int, host: Host, travelling: TravellingCohort
) -> None:
    """Write down what was begun, or see that it is what is asked for again."""
    asked: JsonObject = {
        "config": config.model_dump(mode="json"),
        "folds": folds,
        "host": host.name,
        "data": travelling.stamps,
    }
    path = folder / _ASKED
    if not path.exists():
        write_json(path, asked, private=True)
    elif read_json(path) != asked:
        raise UserError(
            f"{out.name} holds another training that was begun elsewhere: its computer, settings, "
            "images, labels or splits differ. Give the same again to go on with it, or choose a "
            "new folder."
        )


def _follow(
    folder: Path,
    host: Host,
    config: Config,
    folds: int,
    device: str,
    cohort: Path,
    travelling: TravellingCohort,
    hooks: Hooks,
) -> events.Trained | None:
    """Have it trained there, and wait for it; None when stopped before it was begun."""
    heard: queue.Queue[events.Event] = queue.Queue()
    relay = CohortRelay(folder, host, heard.put, travelling.rows, travelling.files)
    command = events.Train(config=config.model_dump(mode="json"), folds=folds, device=device)
    goes_on = False

    def show(event: events.Event) -> None:
        match event:
            case events.Progress():
                note = event.note.removeprefix(f"{TRAINING}: ")
                hooks.show(event.share, travelling.named(note, cohort.name))
            case events.Notice():
                hooks.show(0.0, event.text)
            case events.Paused():
                hooks.show(0.0, event.reason)
            case events.LineChanged() if event.state != "refused":
                hooks.show(0.0, event.text)
            case _:
                pass

    def request() -> Literal["", "quit"]:
        nonlocal goes_on
        goes_on = relay.goes_on
        return "quit" if hooks.stop() else ""

    try:
        ended = follow(relay, host, command, heard, show, request)
    except UserError as error:
        raise UserError(travelling.named(str(error), cohort.name)) from error
    if ended is None and goes_on:
        raise UserError(
            f"The training goes on on {host.name}. The same command follows it again; 'cmfnet on "
            f"{host.name} stop' ends it there, and keeps its state."
        )
    return ended if isinstance(ended, events.Trained) else None
