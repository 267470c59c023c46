"""Every benchmark in one command: a table, and JSON.

python benchmarks/run.py [crf step inference drawing painting scrolling] [--json FILE]
"""

from __future__ import annotations

import time
from importlib import import_module
from pathlib import Path
from typing import Annotated

import torch
import typer
from report import Row, machine, table, write_json
from rich.console import Console

SECTIONS = ("crf", "step", "inference", "drawing", "painting", "scrolling")


def main(
    sections: Annotated[list[str] | None, typer.Argument(help=", ".join(SECTIONS))] = None,
    json: Annotated[Path | None, typer.Option(help="Write machine and figures here")] = None,
) -> None:
    """Measure, one section after the other; nothing else should run meanwhile."""
    console = Console()
    unknown = set(sections or ()) - set(SECTIONS)
    if unknown:
        raise typer.BadParameter(f"{', '.join(sorted(unknown))}: choose {', '.join(SECTIONS)}")
    console.print(machine())
    rows: list[Row] = []
    for section in sections or SECTIONS:
        began = time.monotonic()
        rows += import_module(section).measure()
        console.print(f"{section}: {time.monotonic() - began:.0f} s")
    if torch.cuda.is_available():
        rows += gpu()
    else:
        console.print("GPU: skipped, torch sees no CUDA device")
    console.print(table(rows))
    if json is not None:
        write_json(rows, json)


def gpu() -> list[Row]:
    """The CRF's share of a training step, and prediction of a large volume."""
    step, inference = import_module("step"), import_module("inference")
    share = 100 * step.crf_seconds(step.FULL) / step.seconds(step.FULL)
    row = Row("GPU", "CRF of a training step", share, None, "%", "≤ 10 %")
    return [row, *inference.measure_gpu()]


if __name__ == "__main__":
    typer.run(main)
