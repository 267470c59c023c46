"""A cohort of real patients with simulated strokes, for cmfnet train.

    python benchmarks/cohort.py OUT [--style careful] [--seed 0] [--cases 24]

Writes OUT/cohort.csv and one scribble file a patient. Data: CMFNET_TEST_DATA, or ../shared/data.
"""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Annotated

import typer

from cmfnet_napari.core.images.study import load_labels, open_study, save_labels
from cmfnet_napari.learning.material.user_styles import STYLES, draw

DATA = Path(os.environ.get("CMFNET_TEST_DATA", "../shared/data")).resolve()


def main(
    out: Path,
    style: Annotated[str, typer.Option(help=", ".join(STYLES))] = "careful",
    seed: Annotated[int, typer.Option(help="Of the strokes")] = 0,
    cases: Annotated[int | None, typer.Option(min=1, help="The first so many; else all")] = None,
) -> None:
    """Strokes of a simulated user for every patient, and the cohort file that names them."""
    folders = sorted((DATA / "sts" / "cases").glob("STS_*"))[:cases]
    if not folders:
        raise SystemExit(f"no patients in {DATA}; set CMFNET_TEST_DATA to the folder of the data")
    out.mkdir(parents=True, exist_ok=True)
    with open(out / "cohort.csv", "w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["case", "ct", "mr", "scribbles", "mask"])
        for folder in folders:
            ct, mr, mask = (folder / f"{name}.nii.gz" for name in ("ct", "mr", "gtv"))
            name = f"{folder.name}.nii.gz"
            study = open_study(ct, mr)
            truth = load_labels(mask, study.grid) > 0
            save_labels(draw(truth, study, STYLES[style], seed), study, out / name)
            table.writerow([folder.name, ct, mr, name, mask])
            print(folder.name, flush=True)


if __name__ == "__main__":
    typer.run(main)
