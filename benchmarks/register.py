"""How well a known motion of the MR is found again, on real patients.

``python benchmarks/register.py [CASES] [--every N]``: every pair is registered as it lies, after
a motion of 11 mm and 7°, and after one that puts the MR 300 mm away. The motion found is compared
with the one made, and with the published place of the pair, which no rigid motion reaches.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from cmfnet_napari.core.images.volume import read_image
from cmfnet_napari.core.registration.register import matrix_of, register

DATA = Path(os.environ.get("CMFNET_TEST_DATA", "../shared/data")) / "sts" / "cases"
DEGREES, SHIFT_MM = (4, -3, 5), (8, -6, 5)


def motion(image: sitk.Image, degrees: tuple, shift: tuple) -> np.ndarray:
    """A turn about the middle of an image and a shift, as a matrix (4, 4)."""
    transform = sitk.Euler3DTransform()
    transform.SetCenter(middle(image))
    transform.SetRotation(*np.radians(degrees))
    transform.SetTranslation(shift)
    return matrix_of(transform)


def moved(image: sitk.Image, matrix: np.ndarray) -> sitk.Image:
    """The image elsewhere; no voxel is changed."""
    result = sitk.Image(image)
    result.SetOrigin((matrix[:3, :3] @ image.GetOrigin() + matrix[:3, 3]).tolist())
    turn = matrix[:3, :3] @ np.array(image.GetDirection()).reshape(3, 3)
    result.SetDirection(turn.ravel().tolist())
    return result


def middle(image: sitk.Image) -> tuple[float, ...]:
    return image.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in image.GetSize()])


def apart(first: np.ndarray, second: np.ndarray, centre: tuple[float, ...]) -> str:
    """Millimetres at a centre and degrees between two matrices."""
    turn = first[:3, :3] @ second[:3, :3].T
    degrees = np.degrees(np.arccos(np.clip((np.trace(turn) - 1) / 2, -1, 1)))
    return f"{np.linalg.norm((first - second) @ [*centre, 1]):.2f} mm, {degrees:.2f}°"


def main() -> None:
    """Print a table, one row a patient."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="?", type=Path, default=DATA)
    parser.add_argument("--every", type=int, default=1, help="take every N-th patient")
    options = parser.parse_args()
    print("| patient | motion found again | from 300 mm away | from the published place | s |")
    print("|---|---|---|---|---|")
    for case in sorted(options.cases.iterdir())[:: options.every]:
        ct, mr = (read_image(case / f"{name}.nii.gz") for name in ("ct", "mr"))
        near = motion(mr, DEGREES, SHIFT_MM)
        far = motion(mr, DEGREES, (300, *SHIFT_MM[1:]))
        own = register(ct, mr, np.eye(4))
        start = time.perf_counter()
        found = register(ct, moved(mr, near), np.eye(4))
        seconds = time.perf_counter() - start
        away = register(ct, moved(mr, far))
        row = [apart(found, near @ own, middle(mr)), apart(away, far @ own, middle(mr))]
        row += [apart(own, np.eye(4), middle(mr)), f"{seconds:.1f}"]
        print(f"| {case.name} | {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
