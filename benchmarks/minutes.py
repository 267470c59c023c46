"""What more time brings: the contour of a fit while it is trained, by processor time.

    python benchmarks/minutes.py OUT [--cases STS_012,STS_030] [--styles careful,hasty]
        [--minutes 1,2,5,10] [--settings precision=float32]

Fits of `quick`, one thread, each with so many minutes of the processor and without a limit of
steps; its previews are compared with the true contour. OUT/curve.csv takes a row a preview: the
fit's minutes, steps, minutes spent (previews and strokes held out included), DSC, the DSC with the
preview before (what has settled is 1), and the agreement with strokes held out. The last row of a
fit is its contour, a dot in OUT/curve.png. --settings changes the preset. For a processor without
bfloat16 and AVX-512, set ONEDNN_MAX_CPU_ISA=AVX2 and ATEN_CPU_CAPABILITY=avx2. Data:
CMFNET_TEST_DATA, or ../shared/data.
"""

from __future__ import annotations

import csv
import itertools
import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated

import numpy as np
import torch
import typer
from matplotlib.figure import Figure

from cmfnet_napari.core.contours.metrics import dice
from cmfnet_napari.core.fit import events
from cmfnet_napari.core.fit.config import make_config
from cmfnet_napari.core.images.study import Study, load_labels, open_study
from cmfnet_napari.learning.fit import schedule
from cmfnet_napari.learning.fit.callbacks import Hooks
from cmfnet_napari.learning.fit.start import fit
from cmfnet_napari.learning.material.user_styles import STYLES, draw

DATA = Path(os.environ.get("CMFNET_TEST_DATA", "../shared/data"))
COLUMNS = ("case", "style", "of", "steps", "minutes", "dsc", "before", "held_out", "seconds_a_step")


def main(
    out: Path,
    cases: Annotated[str, typer.Option(help="Separated by commas")] = "STS_012,STS_030",
    styles: Annotated[str, typer.Option(help=", ".join(STYLES))] = "careful,hasty",
    minutes: Annotated[str, typer.Option(help="A fit each")] = "1,2,5,10",
    settings: Annotated[str, typer.Option(help="Changes of quick, joined by +")] = "",
) -> None:
    """Fit, and judge every preview."""
    torch.set_num_threads(1)
    # A fit's clock is the processor's: what else the computer does takes none of its minutes.
    schedule.time = SimpleNamespace(monotonic=time.process_time)  # type: ignore[attr-defined, assignment]
    changes = {"steps": "1000000"} | dict(
        pair.split("=", 1) for pair in settings.split("+") if pair
    )
    out.mkdir(parents=True, exist_ok=True)
    for case in cases.split(","):
        folder = DATA / "sts" / "cases" / case
        study = open_study(folder / "ct.nii.gz", folder / "mr.nii.gz")
        truth = load_labels(folder / "gtv.nii.gz", study.grid) > 0
        for style, of in itertools.product(styles.split(","), minutes.split(",")):
            _follow(out, case, style, study, truth, {"minutes": of, **changes})
            draw_curves(out)


def _follow(
    out: Path, case: str, style: str, study: Study, truth: np.ndarray, changes: dict[str, object]
) -> None:
    of = changes["minutes"]
    began, run = time.process_time(), out / f"{case}-{style}-{of}"
    run.mkdir()
    done, last = [], [0, began]
    before = np.zeros(truth.shape, bool)

    def judge(event: events.Event) -> None:
        nonlocal before
        if isinstance(event, events.Step):
            now = time.process_time()
            if event.step > last[0]:
                done.append((now - last[1]) / (event.step - last[0]))
            last[:] = event.step, now
        if not isinstance(event, events.Preview | events.Finished):
            return
        spent, path = (time.process_time() - began) / 60, run / event.labels
        if isinstance(event, events.Preview):
            step, labels = event.step, np.load(path)
        else:
            step, labels = event.steps, load_labels(path, study.grid)
        found, pace = labels > 0, np.median(done[-20:] or [0])
        row = (case, style, of, step, f"{spent:.3f}", f"{dice(found, truth):.4f}")
        _append(out, (*row, f"{dice(found, before):.4f}", event.held_out, f"{pace:.3f}"))
        before = found

    fit(study, draw(truth, study, STYLES[style]), run, make_config("quick", **changes),
        hooks=Hooks(emit=judge))  # fmt: skip


def draw_curves(out: Path) -> None:
    """DSC by minutes of the processor: a panel a patient and style, a line a fit."""
    with open(out / "curve.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    panels = list(dict.fromkeys((row["case"], row["style"]) for row in rows))
    figure = Figure(figsize=(5 * len(panels), 3.5), layout="constrained")
    every = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, (case, style) in zip(every, panels, strict=True):
        own = [row for row in rows if (row["case"], row["style"]) == (case, style)]
        for of in dict.fromkeys(row["of"] for row in own):
            fit_rows = [row for row in own if row["of"] == of]
            spent, dsc = ([float(row[name]) for row in fit_rows] for name in ("minutes", "dsc"))
            (line,) = axes.plot(spent, dsc, label=f"{of} min")
            axes.plot(spent[-1], dsc[-1], "o", color=line.get_color())
        axes.set(title=f"{case}, {style}", xlabel="minutes of the processor")
        axes.grid(alpha=0.3)
    every[0].set_ylabel("DSC")
    every[0].legend()
    figure.savefig(out / "curve.png", dpi=100)


def _append(out: Path, row: tuple[object, ...]) -> None:
    path = out / "curve.csv"
    new = not path.exists()
    with open(path, "a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerows([COLUMNS, row] if new else [row])
    print(*row, flush=True)


if __name__ == "__main__":
    typer.run(main)
