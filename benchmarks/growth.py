"""How cost grows with the work: slopes, not points.

    python benchmarks/growth.py [journal cohort batch] [--largest 100000] [--json FILE]

*journal*: strokes appended, a case of them opened and folded into scribbles, a stroke more after
that. *cohort*: `cmfnet train` of one step on 8 to 64 patients: all but the steps. *batch*: a model
over 1 to 100 patients. Processor time on small images of their own; the exponent is that of a power
of the number, fitted to the three largest: 1 is as much again for as many again. --largest caps the
numbers, for a quick look.
"""

from __future__ import annotations

import csv
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import SimpleITK as sitk
import torch
import typer
from report import Row, table, write_json
from rich.console import Console

from cmfnet_napari.core.case.folder import Case, create_case, open_case
from cmfnet_napari.core.fit.config import cohort_config
from cmfnet_napari.core.images.study import Study, open_study
from cmfnet_napari.core.strokes.entries import Stroke
from cmfnet_napari.learning.batch.run_batch import run_batch
from cmfnet_napari.learning.cohort.train import train

SIZE = (16, 32, 32)
STROKE = 40  # voxels
SMALL = {"width": 2, "patch": (16, 16, 16), "steps": 1, "batch": 1, "spacing": None}
FITTED = 3  # of the largest


def main(
    sections: Annotated[list[str] | None, typer.Argument(help="journal, cohort, batch")] = None,
    largest: Annotated[int, typer.Option(min=1)] = 100_000,
    json: Annotated[Path | None, typer.Option(help="Write machine and figures here")] = None,
) -> None:
    """Measure, one section after the other."""
    torch.set_num_threads(1)
    measures = {"journal": journal, "cohort": cohort, "batch": batch}
    unknown = set(sections or ()) - set(measures)
    if unknown:
        raise typer.BadParameter(f"{', '.join(sorted(unknown))}: choose {', '.join(measures)}")
    rows: list[Row] = []
    for section in sections or measures:
        with tempfile.TemporaryDirectory() as folder:
            rows += measures[section](Path(folder), largest)
    Console().print(table(rows))
    if json is not None:
        write_json(rows, json)


def journal(folder: Path, largest: int) -> list[Row]:
    """Strokes: all of them appended; their case opened and folded; one more."""
    rng = np.random.default_rng(0)
    study = open_study(*patient(folder, 0)[:2])
    appended, opened, folded, more = {}, {}, {}, {}
    for count in numbers((10, 100, 1_000, 10_000, 100_000), largest):
        case = create_case(folder / f"case-{count}", study)
        appended[count] = seconds(partial(_draw, case, count, rng))
        case.close()
        opened[count] = seconds(partial(_open, case.folder, study))
        case = open_case(case.folder, study)
        folded[count] = seconds(case.scribbles)
        more[count] = seconds(partial(_draw, case, 10, rng)) / 10
        case.close()
    return [
        *slope("journal", "strokes appended", appended),
        *slope("journal", "a case of them opened", opened),
        *slope("journal", "its scribbles folded", folded),
        *slope("journal", "one stroke more", more),
    ]


def _open(folder: Path, study: Study) -> None:
    open_case(folder, study).close()


def _draw(case: Case, count: int, rng: np.random.Generator) -> None:
    """Strokes of some voxels somewhere."""
    for first in rng.integers(np.prod(SIZE) - STROKE, size=count):
        new = np.full(STROKE, 1 + first % 2, np.uint8)
        case.journal.append(Stroke(first + np.arange(STROKE), np.zeros_like(new), new))


def cohort(folder: Path, largest: int) -> list[Row]:
    """`cmfnet train` of one step: reading, checking, preparing, judging nobody."""
    taken = {}
    for count in numbers((8, 16, 32, 64), largest):
        path = cohort_file(folder, count)
        config = cohort_config("quick", **SMALL)
        taken[count] = seconds(partial(train, path, folder / f"trained-{count}", config))
    return slope("cohort", "training of one step, patients", taken)


def batch(folder: Path, largest: int) -> list[Row]:
    """A model over patients."""
    first = cohort_file(folder, 2)
    train(first, folder / "trained", cohort_config("quick", **SMALL))
    model = next((folder / "trained").rglob("model.safetensors"))
    taken = {}
    for count in numbers((1, 3, 10, 30, 100), largest):
        path = cohort_file(folder, count)
        taken[count] = seconds(partial(run_batch, model, path, folder / f"batch-{count}"))
    return slope("batch", "patients contoured", taken)


def numbers(all_of: tuple[int, ...], largest: int) -> list[int]:
    """Those up to the largest, and one at least."""
    return [n for n in all_of if n <= largest] or [all_of[0]]


def slope(section: str, what: str, taken: dict[int, float]) -> list[Row]:
    """A row a number, and the exponent."""
    rows = [Row(section, f"{what}: {count}", value, None, "s") for count, value in taken.items()]
    last = list(taken.items())[-FITTED:]
    if len(last) > 1:
        x, y = np.log([count for count, _ in last]), np.log([max(t, 1e-6) for _, t in last])
        rows.append(Row(section, f"{what}: exponent", float(np.polyfit(x, y, 1)[0]), None, ""))
    return rows


def cohort_file(folder: Path, count: int) -> Path:
    """A cohort of so many patients; their files are made where they are missing."""
    path = folder / f"cohort-{count}.csv"
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["case", "ct", "mr", "scribbles"])
        for number in range(count):
            writer.writerow([f"P{number}", *patient(folder, number)])
    return path


def patient(folder: Path, number: int) -> tuple[Path, Path, Path]:
    """CT, MR and scribbles of a made-up patient."""
    names = [folder / f"{number}-{kind}.nii.gz" for kind in ("ct", "mr", "scribbles")]
    if not names[0].exists():
        rng = np.random.default_rng(number)
        scribbles = np.zeros(SIZE, np.uint8)
        scribbles[8, 10:20, 16], scribbles[8, 4:28, 4], scribbles[8, 4:28, 28] = 2, 1, 1
        images = (rng.normal(0, 50, SIZE), rng.normal(300, 50, SIZE), scribbles)
        for path, values, kind in zip(names, images, (np.int16, np.int16, np.uint8), strict=True):
            image = sitk.GetImageFromArray(values.astype(kind))
            image.SetSpacing((2.0, 2.0, 3.0))
            sitk.WriteImage(image, path)
    return names[0], names[1], names[2]


def seconds(work: Callable[[], object]) -> float:
    """Of the processor."""
    began = time.process_time()
    work()
    return time.process_time() - began


if __name__ == "__main__":
    typer.run(main)
