"""Feeds files to the readers: ``python -m tests.faults.mutate_reader``, a process that may die.

Lines ``KIND<tab>PATH`` come in on stdin; for each a line of JSON goes out: ``loaded``,
``refused`` (a UserError), or ``traceback``, ``memory``, ``unclear``, ``changed`` (others read
something else, and nothing was said) or ``touched``, and why.
"""

from __future__ import annotations

import json
import os
import re
import resource
import sys
import traceback
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import SimpleITK as sitk
import torch
from scipy.spatial.distance import cdist

from cmfnet_napari.core.case.folder import Case, open_case
from cmfnet_napari.core.case.structures import load_structures
from cmfnet_napari.core.case.view_state import parse_views
from cmfnet_napari.core.dicom.importing.rasterise import rasterise
from cmfnet_napari.core.dicom.importing.segments import read_segments
from cmfnet_napari.core.dicom.importing.structure_sets import read_structures
from cmfnet_napari.core.errors import UserError, hear
from cmfnet_napari.core.files import read_json
from cmfnet_napari.core.fit.config import parse_config
from cmfnet_napari.core.fit.events import Finished, Preview, decode_event
from cmfnet_napari.core.fit.model_card import read_card
from cmfnet_napari.core.fit.preview_file import read_preview
from cmfnet_napari.core.fit.runs import interrupted_run, newest_prediction
from cmfnet_napari.core.images.grid import Grid
from cmfnet_napari.core.images.study import Study, load_values, open_study, to_source_image
from cmfnet_napari.core.images.volume import read_image
from cmfnet_napari.core.privacy import inside
from cmfnet_napari.core.review.record import read_record
from cmfnet_napari.core.strokes.scribbles import check_codes
from cmfnet_napari.learning.cohort.cohort_file import read_cohort
from cmfnet_napari.learning.cohort.loaded_cases import load_cohort
from cmfnet_napari.learning.engine.state import load_state
from cmfnet_napari.learning.model.checkpoint import load_model
from tests.faults.mutate_samples import ct
from tests.faults.other_readers import contours, differences, segment_places

MEMORY = 2 << 30  # bytes above what the process has before it reads a file
LEFT = 512 << 20  # bytes that it may have more afterwards
_UNCLEAR = re.compile(r"\.(cxx|hxx|cc|cpp|h|py):|itk::|0x[0-9a-f]{6}|Traceback|alloc|<class|errno")
_LONGEST = 600  # characters of one problem
_WRITES = {"os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate"}
_RUNS = {"os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen", "ctypes.dlopen"}

Touched = list[str]


class ChangedError(Exception):
    """Others read something else from the file."""


def _study(path: Path, kind: str = "") -> None:
    with hear() as said:
        study = open_study(path)
    _check(study)
    image = read_image(path)
    if not said:  # else the user knows that something is changed
        _same(differences(kind, path, image))
        array = sitk.GetArrayFromImage(to_source_image(study.first.array, study))
        _same(["the study"] if not np.array_equal(array, sitk.GetArrayFromImage(image)) else [])


def _same(faults: Iterable[str]) -> None:
    found = "; ".join(faults)
    if found:
        raise ChangedError(found)


def _segments(path: Path) -> None:
    """Every voxel of a segment is where its frame says."""
    file = path / "SEG.dcm"
    segments = read_segments(file)
    theirs = segment_places(file)
    for segment in segments if theirs is not None else ():
        expected = theirs.get(segment.number, np.zeros((0, 3)))
        ours = segment.grid.to_patient(np.argwhere(segment.mask))
        _same([f"{len(ours)} voxels, others {len(expected)}"] if len(ours) != len(expected) else [])
        if len(ours):
            apart = cdist(ours, expected).min(axis=1).max()
            _same([f"place, {apart:.3g} mm"] if apart > 0.1 * min(segment.grid.spacing) else [])


def _structures(path: Path) -> None:
    """A structure set is no image, and does not keep the series beside it from being read."""
    try:
        open_study(path / "RS.dcm")
    except UserError:
        _check(open_study(path))
    grid = Grid.from_image(ct())
    rois = read_structures(path / "RS.dcm")
    drawn = [points for roi in rois if not roi.fault for points in roi.contours]
    theirs = [points for parts in contours(path / "RS.dcm").values() for points in parts]
    if not any(roi.fault for roi in rois):
        same = len(drawn) == len(theirs) and sum(map(np.sum, drawn)) == sum(map(np.sum, theirs))
        _same([] if same else ["contours"])
    for roi in rois:
        try:
            mask, _ = rasterise(roi.contours, grid, roi.name)
        except UserError:  # such as: outside the image
            continue
        assert mask.any()


def _check(study: Study) -> None:
    """What the window takes for granted."""
    grid = study.grid
    numbers = np.array([*grid.spacing, *grid.origin, *grid.direction])
    assert np.isfinite(numbers).all(), grid
    assert min(grid.spacing) > 0, grid
    assert study.first.array.shape == grid.shape, grid
    assert np.isfinite(np.percentile(study.first.array, (1, 99))).all()
    assert len(grid.axis_letters) == 3
    assert len(study.content_hash) == 64


def _scribbles(path: Path) -> None:
    codes = check_codes(load_values(path, Grid.from_image(ct())), path.name)
    assert codes.dtype == np.uint8


def _model(path: Path) -> None:
    read_card(path)
    load_model(path, torch.device("cpu"))


def _state(path: Path) -> None:
    load_state(path, torch.device("cpu"))


def _preview(path: Path) -> None:
    assert read_preview(path, Grid.from_image(ct()).shape).dtype == np.uint8


def _case(path: Path) -> None:
    """First as the worker, then as the window."""
    for read_only in (True, False):
        case = open_case(path, read_only=read_only)
        try:
            _check(case.study)
            assert case.scribbles().shape == case.study.grid.shape == case.study.second.array.shape
            assert case.classes[0].code == 1
            assert all(s.mask.shape == case.study.grid.shape for s in load_structures(case))
            assert len(case.class_names) == len(case.classes) - 1
            if not read_only:
                case.journal.undo()
            parse_views(read_json(path / "views.json"))
            read_record(path)
            interrupted_run(case.runs())
            newest_prediction(case.runs())
            for run in case.runs():
                _run(case, run)
        finally:
            case.close()


def _run(case: Case, run: Path) -> None:
    parse_config(read_json(run / "config.json").get("config", {}))
    grid = case.study.grid
    for line in (run / "events.jsonl").read_bytes().splitlines():
        match decode_event(line.decode(errors="replace")):
            case Preview(labels=name):
                read_preview(inside(case.folder, name), grid.shape)
            case Finished(labels=name):
                load_values(inside(case.folder, name), grid)


def _cohort(path: Path) -> None:
    load_cohort(read_cohort(path))


READERS: dict[str, Callable[[Path], None]] = {
    **{kind: partial(_study, kind=kind) for kind in ("NIfTI", "NRRD", "MHA", "DICOM")},
    "RTSTRUCT": _structures,
    "SEG": _segments,
    "scribbles": _scribbles,
    "model": _model,
    "state": _state,
    "preview": _preview,
    "case": _case,
    "cohort": _cohort,
}


def judge(kind: str, path: Path) -> tuple[str, str]:
    """Read a file; return the outcome and why."""
    try:
        READERS[kind](path)
    except UserError as error:
        sentence = str(error)
        problems = sentence.splitlines()
        clear = max(map(len, problems)) <= _LONGEST and not _UNCLEAR.search(sentence)
        several = kind != "cohort" and len(problems) > 1
        return ("refused" if clear and not several else "unclear"), sentence
    except ChangedError as error:
        return "changed", str(error)
    except MemoryError:
        return "memory", traceback.format_exc()
    except Exception:
        return "traceback", traceback.format_exc()
    return "loaded", ""


def main() -> None:
    out = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)  # libraries print; only outcomes go out
    torch.set_num_threads(1)
    allowed: list[Path] = []
    touched = _watch(allowed)
    process = psutil.Process()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    out.write("ready\n")
    for line in sys.stdin:
        kind, _, name = line.rstrip("\n").partition("\t")
        path = Path(name)
        allowed[:] = [path.resolve()] if kind == "case" else []
        touched.clear()
        before = process.memory_info().vms
        resource.setrlimit(resource.RLIMIT_AS, (before + MEMORY, resource.RLIM_INFINITY))
        outcome, why = judge(kind, path)
        grown = process.memory_info().vms - before
        if grown > LEFT and outcome in ("loaded", "refused"):
            outcome, why = "memory", f"{grown >> 20} MiB were not given back; {outcome} {why}"
        if touched:
            outcome, why = "touched", "; ".join(touched)
        out.write(json.dumps({"outcome": outcome, "why": why}) + "\n")


def _watch(allowed: list[Path]) -> Touched:
    """Note what Python writes outside the allowed folders, and what it starts."""
    touched: Touched = []

    def note(event: str, arguments: tuple[Any, ...]) -> None:
        if event in _RUNS:
            touched.append(f"{event} {arguments[:2]}")
        elif event in _WRITES or (event == "open" and _to_write(arguments)):
            path = Path(os.fsdecode(arguments[0])).resolve()
            if not any(path.is_relative_to(folder) for folder in allowed):
                touched.append(f"{event} {path}")

    sys.addaudithook(note)
    return touched


def _to_write(arguments: tuple[Any, ...]) -> bool:
    path, _, flags = arguments
    return isinstance(path, str | bytes) and bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))


if __name__ == "__main__":
    main()
