"""How long a 200-slice series takes beside SimpleITK's own series reader.

``python benchmarks/dicom_reading.py [FOLDER]``: the folder's series, or a made-up CT of
200 × 512 × 512 voxels. Both find the files, sort and read them; ours also judges every header.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from cmfnet_napari.core.images.grid import Grid
from cmfnet_napari.core.images.series.read_stack import read_stack
from cmfnet_napari.core.images.series.scan import scan

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.dicom_files import write_slices

SHAPE = 200, 512, 512
ROUNDS = 7


def itk(folder: Path) -> None:
    """SimpleITK's reader, as its documentation shows it."""
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    reader.Execute()


def ours(folder: Path) -> None:
    """Scan, judge, read."""
    (image,) = scan([folder]).images
    read_stack(image.stack, image.origin.modality, image.name)


def seconds(read, folder: Path) -> float:
    start = time.perf_counter()
    read(folder)
    return time.perf_counter() - start


def main() -> None:
    """Print the best and the median of some rounds in turn, files in the disk's cache."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(sys.argv[1] if len(sys.argv) > 1 else made)
        if len(sys.argv) == 1:
            array = np.random.default_rng(0).integers(-1000, 1500, SHAPE).astype(np.int16)
            write_slices(folder, array, Grid(SHAPE, (2.0, 0.9, 0.9)))
            del array
        times = {"SimpleITK": [], "ours": []}
        for _ in range(ROUNDS):
            times["SimpleITK"].append(seconds(itk, folder))
            times["ours"].append(seconds(ours, folder))
    for name, values in times.items():
        print(f"{name}: best {min(values):.2f} s, median {np.median(values):.2f} s")
    print(f"ratio of medians {np.median(times['ours']) / np.median(times['SimpleITK']):.2f}")


if __name__ == "__main__":
    main()
