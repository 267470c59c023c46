"""The cases of a cohort on their working grids, read once and kept for other trainings.

::

    FOLDER/voxels.bin     all arrays, one after another, mapped into memory by who uses them
    FOLDER/cases.json     what lies where; it is written last
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.files import JsonObject, private_folder, read_json, write_json, write_safely
from cmfnet_napari.core.fit.config import Config
from cmfnet_napari.core.folder_lock import InUseError, alone
from cmfnet_napari.core.images.detached import detached_files
from cmfnet_napari.core.images.grid import Grid
from cmfnet_napari.learning.cohort.cohort_file import Row
from cmfnet_napari.learning.cohort.loaded_cases import load_cohort
from cmfnet_napari.learning.cohort.working_case import Labels, WorkingCase, to_working_grid
from cmfnet_napari.learning.data.prepare import Inputs, make_frame

_VOXELS, _CASES = "voxels.bin", "cases.json"
_ALIGNED = 64  # bytes
_FORMAT = 1
_ASKED_EVERY_S = 0.5  # while another process reads
_SETTINGS = ("spacing", "ct_low", "ct_high", "mr_percentiles")

Show = Callable[[float, str], None]


def read_cases(rows: Sequence[Row], config: Config, show: Show) -> tuple[WorkingCase, ...]:
    """Read a cohort and bring it to the working grids of a configuration.

    Raises
    ------
    UserError
        As `loaded_cases.load_cohort`.
    """
    cases = load_cohort(rows, lambda n, of: show(0.0, f"reading {n} of {of}"))
    return tuple(to_working_grid(case, config) for case in cases)


def prepared_cases(
    rows: Sequence[Row],
    config: Config,
    folder: Path,
    show: Show = lambda share, note: None,
    stop: Callable[[], bool] = lambda: False,
) -> tuple[WorkingCase, ...] | None:
    """The same, read by the first process that asks and mapped into memory by all others.

    Parameters
    ----------
    rows, config
        As in `read_cases`.
    folder : Path
        Takes a folder for each kind of data and voxels; only the user can read them.
    show, stop : callable
        Progress, and the wish not to wait for another process that reads.

    Returns
    -------
    tuple of WorkingCase, or None when it was stopped

    Raises
    ------
    UserError
        As `read_cases`; the folder cannot be written.
    """
    mine = private_folder(folder / _key(rows, config))
    while not (mine / _CASES).exists():
        if stop():
            return None
        try:
            with alone(mine):
                if not (mine / _CASES).exists():
                    _write(read_cases(rows, config, show), mine)
        except InUseError:
            show(0.0, "another job reads the patients")
            time.sleep(_ASKED_EVERY_S)
    return _read(rows, config, mine)


def image_settings(config: Config) -> tuple[object, ...]:
    """What the images of a configuration hang on: where it is the same, they are."""
    return tuple(getattr(config, name) for name in _SETTINGS)


def image_files(path: Path) -> list[Path]:
    """All that an image is read from: a file and those with its voxels, or a folder's."""
    if path.is_dir():
        return sorted(file for file in path.rglob("*") if file.is_file())
    try:
        return [path, *detached_files(path)]
    except UserError:  # whoever reads it says so
        return [path]


def file_stamp(path: Path | None) -> str:
    """Changes with the size or the time of any file that an image is read from; reads no voxel."""
    if path is None:
        return ""
    digest = hashlib.sha256()
    for file in image_files(path):
        stat = file.stat()
        digest.update(f"{file} {stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns};".encode())
    return digest.hexdigest()


def _key(rows: Sequence[Row], config: Config) -> str:
    files = [
        [row.case, row.line, row.split, row.modalities]
        + [file_stamp(path) for path in (row.first, row.second, row.scribbles, row.mask)]
        for row in rows
    ]
    text = json.dumps([_FORMAT, image_settings(config), files])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _write(cases: Sequence[WorkingCase], folder: Path) -> None:
    entries: list[JsonObject] = []

    def write(part: Path) -> None:
        with open(part, "wb") as file:
            entries.extend(_entry(case, partial(_append, file)) for case in cases)

    write_safely(folder / _VOXELS, ".bin", write, private=True)
    write_json(folder / _CASES, {"cases": entries}, private=True)


def _append(file: IO[bytes], array: np.ndarray | Tensor | None) -> JsonObject | None:
    """Write an array; say where it lies."""
    if array is None:
        return None
    values = np.ascontiguousarray(array)
    file.write(bytes(-file.tell() % _ALIGNED))
    at = file.tell()
    file.write(values.data)
    return {"dtype": values.dtype.str, "shape": list(values.shape), "at": at}


def _entry(case: WorkingCase, keep: Callable[[np.ndarray | Tensor | None], Any]) -> JsonObject:
    inputs, single = case.inputs, case.inputs.mr is case.inputs.ct
    return {
        "grid": asdict(case.grid),
        "kinds": list(case.kinds),
        "content_hash": case.content_hash,
        "dense": case.dense,
        "body": keep(case.body),
        "ct": keep(inputs.ct),
        "mr": None if single else keep(inputs.mr),
        "fov": None if single else keep(inputs.fov),
        "labels": _labels_entry(case.labels, keep),
        "contour": None if case.contour is None else _labels_entry(case.contour, keep),
        "reference": keep(case.reference),
    }


def _labels_entry(labels: Labels, keep: Callable[[np.ndarray | Tensor | None], Any]) -> JsonObject:
    return labels._asdict() | {"targets": keep(labels.targets)}


def _read(rows: Sequence[Row], config: Config, folder: Path) -> tuple[WorkingCase, ...]:
    entries = read_json(folder / _CASES)["cases"]
    # Copied where it is written to, so that torch takes it; nothing is.
    voxels = np.memmap(folder / _VOXELS, mode="c")
    take = partial(_take, voxels)
    return tuple(_case(row, entry, config, take) for row, entry in zip(rows, entries, strict=True))


def _take(voxels: np.ndarray, entry: JsonObject) -> np.ndarray:
    dtype, shape = np.dtype(entry["dtype"]), tuple(entry["shape"])
    end = entry["at"] + dtype.itemsize * prod(shape)
    return np.asarray(voxels[entry["at"] : end].view(dtype).reshape(shape))


def _case(
    row: Row, entry: JsonObject, config: Config, take: Callable[[JsonObject], np.ndarray]
) -> WorkingCase:
    grid = Grid(**{name: tuple(value) for name, value in entry["grid"].items()})
    ct = torch.from_numpy(take(entry["ct"]))
    if entry["mr"] is None:
        mr, fov = ct, torch.ones(1).expand(ct.shape)
    else:
        mr, fov = (torch.from_numpy(take(entry[name])) for name in ("mr", "fov"))
    contour, reference = entry["contour"], entry["reference"]
    return WorkingCase(
        row,
        grid,
        tuple(entry["kinds"]),
        entry["content_hash"],
        take(entry["body"]),
        Inputs(ct, mr, fov, make_frame(grid, None, config)),
        _labels(entry["labels"], take),
        entry["dense"],
        None if contour is None else _labels(contour, take),
        None if reference is None else take(reference),
    )


def _labels(entry: JsonObject, take: Callable[[JsonObject], np.ndarray]) -> Labels:
    targets = torch.from_numpy(take(entry["targets"]))
    return Labels(targets, entry["highest"], entry["data_hash"])
