"""Commands about many patients: train, study, batch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cmfnet_napari.cli.options import (
    AtOnce,
    Device,
    Json,
    On,
    Scheduler,
    Settings,
    Via,
    check_via,
    print_result,
    read_settings,
)
from cmfnet_napari.core.errors import UserError


def train(
    cohort: Annotated[
        Path, typer.Argument(help="CSV: case, ct or first, mr or second, scribbles or mask, split")
    ],
    out: Annotated[Path, typer.Option(help="Folder for the models; the same one to go on")],
    preset: Annotated[str, typer.Option(help="quick, standard or paper")] = "paper",
    method: Annotated[
        str | None,
        typer.Option(help="In place of a preset: a method to compare CmFNet with, or cmfnet"),
    ] = None,
    folds: Annotated[int, typer.Option(min=0, help="Cross-validation by patient")] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same result")] = 0,
    steps: Annotated[int | None, typer.Option(min=1, help="Steps of each model")] = None,
    minutes: Annotated[float | None, typer.Option(help="Each model this long at most")] = None,
    settings: Settings = None,
    device: Device = "auto",
    devices: Annotated[int, typer.Option(min=1, help="Devices of each node")] = 1,
    nodes: Annotated[int, typer.Option(min=1, help="Nodes, as torchrun or SLURM start them")] = 1,
    on: On = None,
    via: Via = None,
    as_json: Json = False,
) -> None:
    """Train base models on a cohort. Stopped or killed, the same command goes on."""
    from cmfnet_napari.cli.progress import training_progress
    from cmfnet_napari.core.fit.config import cohort_config
    from cmfnet_napari.learning.cohort.train import train as run_training
    from cmfnet_napari.learning.cohort.train_elsewhere import train_elsewhere
    from cmfnet_napari.learning.rivals.settings import method_config
    from cmfnet_napari.remote.hosts import host_called

    if on is not None and method:
        raise UserError(
            "--on trains base models of CmFNet. Leave --method out, or compare methods on that "
            "computer itself."
        )
    if on is not None and devices * nodes > 1:
        raise UserError(
            "--on trains on one device of that computer. Leave --devices and --nodes out, or copy "
            "the cohort there and train there."
        )
    check_via(on, via)
    given = {"seed": seed, "steps": steps, "minutes": minutes}
    changes = {name: value for name, value in given.items() if value is not None}
    changes |= read_settings(settings)
    config = method_config(method, **changes) if method else cohort_config(preset, **changes)
    with training_progress() as hooks:
        if on is not None:
            there = host_called(on, via)
            result = train_elsewhere(
                cohort, out, config, there, folds=folds, device=device, hooks=hooks
            )
        else:
            result = run_training(
                cohort,
                out,
                config,
                folds=folds,
                device=device,
                devices=devices,
                nodes=nodes,
                hooks=hooks,
            )
    if result is not None:
        print_result(result, as_json)
    elif hooks.stop():
        raise UserError(f"Stopped; {out} keeps the state. Give the same command to go on.")


def study(
    file: Annotated[Path, typer.Argument(help="YAML: data, folds, seeds, budget, methods")],
    out: Annotated[Path, typer.Option(help="Folder for the results; the same one to go on")],
    cohort: Annotated[
        Path | None, typer.Option(help="In place of the cohort file that the study names")
    ] = None,
    list_: Annotated[bool, typer.Option("--list", help="Only list the jobs")] = False,
    job: Annotated[int | None, typer.Option(min=1, help="Only this job of the list")] = None,
    scheduler: Scheduler = "local",
    at_once: AtOnce = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Compare methods on the same data. Stopped or killed, the same command goes on."""
    from cmfnet_napari.cli.progress import training_progress
    from cmfnet_napari.learning.study.run_study import list_jobs, run_study
    from cmfnet_napari.learning.tasks.cluster import Workers

    if list_:
        jobs = list_jobs(file, out, cohort)
        rows = {
            str(number): f"{one.job.method}, seed {one.job.seed}{', GPU' if one.job.gpu else ''}"
            f"{' (done)' if one.complete else ''}"
            for number, one in enumerate(jobs, start=1)
        }
        print_result(rows, as_json)
        return
    workers = Workers(scheduler, at_once)
    with training_progress() as hooks:
        result = run_study(file, out, cohort, job, device, hooks, workers)
    if result is None:
        raise UserError(f"Stopped; {out} keeps the state. Give the same command to go on.")
    print_result(result, as_json)


def batch(
    model: Annotated[str, typer.Argument(help="Run folder, model file, or name of a base model")],
    cohort: Annotated[
        Path, typer.Argument(help="CSV: case, ct or first, mr or second; scribbles, mask if any")
    ],
    out: Annotated[Path, typer.Option(help="Folder for the results; the same one to go on")],
    scheduler: Scheduler = "local",
    at_once: AtOnce = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Contour many patients with a model. Stopped or killed, the same command goes on."""
    from cmfnet_napari.cli.progress import training_progress
    from cmfnet_napari.learning.batch.run_batch import run_batch
    from cmfnet_napari.learning.tasks.cluster import Workers

    workers = Workers(scheduler, at_once)
    with training_progress() as hooks:
        result = run_batch(model, cohort, out, device, hooks, workers)
    if result is None:
        raise UserError(f"Stopped; {out} keeps what is done. Give the same command to go on.")
    print_result(result, as_json)
