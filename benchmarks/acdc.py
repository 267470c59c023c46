"""Write the cohort file of the heart MR in the test data: scribbles drawn by people.

    python benchmarks/acdc.py acdc.csv
    cmfnet study studies/small-table-2.yaml --cohort acdc.csv --out table-2

Sixty patients in two phases each, one image (it goes into both branches), three classes. For
benchmarks only: nothing trained on it is shipped. Its voxel sizes are nominal, so that figures in
millimetres mean nothing.
"""

from __future__ import annotations

import csv
import os
import sys
from pathlib import Path

DATA = Path(os.environ.get("CMFNET_TEST_DATA", Path(__file__).parents[2] / "shared/data"))


def main(target: str) -> None:
    """One row a patient and phase."""
    patients = sorted((DATA / "acdc").glob("patient*"))
    if not patients:
        sys.exit(f"There is no patient in {DATA / 'acdc'} (CMFNET_TEST_DATA).")
    with open(target, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["case", "first", "modality", "scribbles", "mask"])
        for patient in patients:
            for phase in ("ed", "es"):
                kinds = ("image", "scribbles", "mask")
                files = [(patient / f"{phase}_{kind}.nii.gz").resolve() for kind in kinds]
                writer.writerow([patient.name, files[0], "MR", *files[1:]])
    print(f"{target}: {len(patients)} patients, {2 * len(patients)} images")


if __name__ == "__main__":
    main(*sys.argv[1:])
