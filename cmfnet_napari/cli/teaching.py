"""Commands that make a network for any structure: its material, and its training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cmfnet_napari.cli.options import Device, Json, print_result
from cmfnet_napari.core.errors import UserError

Share = Annotated[float, typer.Option(min=0)]


def material(
    out: Annotated[Path, typer.Option(help="Folder for the samples; the same one to go on")],
    cohort: Annotated[
        Path | None, typer.Option(help="CSV: case, ct, mr, mask; none: made-up anatomy alone")
    ] = None,
    samples: Annotated[int, typer.Option(min=1)] = 6000,
    contours: Share = 0.35,
    found: Share = 0.2,
    made_up: Share = 0.45,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same samples")] = 0,
    as_json: Json = False,
) -> None:
    """Make samples for pretrain: around contours, objects found without labels, made-up anatomy."""
    from cmfnet_napari.cli.progress import training_progress
    from cmfnet_napari.learning.cohort.cohort_file import read_cohort
    from cmfnet_napari.learning.material.material_file import Shares, make_material
    from cmfnet_napari.learning.material.patient_cubes import open_source

    shares = Shares(contours, found, made_up) if cohort else Shares(0, 0, 1)
    with training_progress() as hooks:
        rows = read_cohort(cohort) if cohort else ()
        sources = [open_source(row.first, row.second, row.mask, row.modalities) for row in rows]

        def show(made: int) -> bool:
            hooks.show(made / samples, f"{made} of {samples} samples")
            return not hooks.stop()

        made = make_material(out, samples, sources, shares, seed, show)
    if made < samples:
        raise UserError(f"Stopped at {made} samples. Give the same command to go on.")
    print_result({"material": str(out), "samples": made}, as_json)


def pretrain(
    material: Annotated[Path, typer.Argument(help="Folder of cmfnet material")],
    out: Annotated[Path, typer.Option(help="Folder for the model; the same one to go on")],
    held: Annotated[Path | None, typer.Option(help="Material of others, to judge by")] = None,
    steps: Annotated[int, typer.Option(min=1)] = 6000,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same lessons")] = 0,
    device: Device = "auto",
    compiled: Annotated[
        bool, typer.Option("--compile", help="Faster steps; needs a C++ compiler")
    ] = False,
    processes: Annotated[int, typer.Option(min=0, help="Besides it, that make lessons")] = 1,
    as_json: Json = False,
) -> None:
    """Teach a network to read strokes anywhere. Stopped or killed, the same command goes on."""
    from cmfnet_napari.cli.progress import training_progress
    from cmfnet_napari.learning.pretrain.pretraining import Watch, pretrain_config
    from cmfnet_napari.learning.pretrain.pretraining import pretrain as run

    with training_progress() as hooks:
        watch = Watch(hooks.show, hooks.stop)
        config = pretrain_config(steps, seed)
        model = run(material, out, config, held, watch, device, compiled, processes)
    if model is None:
        raise UserError(f"Stopped; {out} keeps the state. Give the same command to go on.")
    print_result({"model": str(model)}, as_json)
