"""A model over a cohort: each patient once, in turn or at once; tables of all.

::

    OUT/batch.json            hashes of model and data, as it was begun
    OUT/NUMBER-CASE/          one row each, counted from 1, see `contour_row`
    OUT/results.csv           volumes of every patient and class, scores where there is a mask
    OUT/notes.csv             what to check
    OUT/table.md              mean ± SD over patients
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from cmfnet_napari.core.contours.metrics import MEASURES, TITLES
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.files import (
    JsonObject,
    hash_file,
    write_json,
    write_safely,
)
from cmfnet_napari.core.fit.cost_estimate import PATIENT, idle_memory
from cmfnet_napari.core.fit.model_card import Card, model_path, read_card
from cmfnet_napari.core.folder_lock import begun, changed_since
from cmfnet_napari.core.tables import write_table
from cmfnet_napari.core.words import cell, file_name
from cmfnet_napari.learning.batch.contour_row import contour_row, is_complete, read_row
from cmfnet_napari.learning.cohort.cohort_file import Row, raise_problems, read_cohort
from cmfnet_napari.learning.cohort.data_hashes import HASHES_FILE, hash_rows, read_hashes
from cmfnet_napari.learning.cohort.results import RESULTS_FILE, Result, write_results
from cmfnet_napari.learning.cohort.split import Hooks
from cmfnet_napari.learning.predict.memory import whole_memory
from cmfnet_napari.learning.tasks.cluster import Workers
from cmfnet_napari.learning.tasks.run_tasks import Task, run_tasks

_BATCH = "batch.json"


def run_batch(
    model: str | Path,
    cohort: Path,
    out: Path,
    device: str = "auto",
    hooks: Hooks | None = None,
    workers: Workers | None = None,
) -> JsonObject | None:
    """Contour the patients of a cohort that are not contoured yet, and write the tables.

    Parameters
    ----------
    model : path or str
        Run folder, model file, or the name of one that comes with the package.
    cohort : Path
        CSV as for `cohort_file.read_cohort`; masks are judged by, scribbles are read by models
        that read them, and neither is needed otherwise. Splits do not count.
    out : Path
        A new folder, or that of the same batch.
    device : str
        As in `device.pick_device`.
    hooks : Hooks, optional
        Progress, and the wish to stop.
    workers : Workers, optional
        Where patients are contoured; in this process, in turn, when not given.

    Returns
    -------
    dict, or None when stopped
        ``patients``, ``table``; ``notes`` (how many).

    Raises
    ------
    UserError
        Anything wrong with model or cohort file, before anything runs; the folder holds another
        batch, or is at work; what was wrong with which patients, once all others are done.
    """
    path = model_path(model).resolve()
    card = read_card(path)
    rows = read_cohort(cohort.resolve(), labels=False)
    if card.config.stroke_maps:
        bare = (row.place for row in rows if row.scribbles is None)
        raise_problems(
            cohort.name, [f"{place} has no scribbles, which this model reads" for place in bare]
        )
    out = out.resolve()
    known = read_hashes(out)
    plan: JsonObject = {"model": hash_file(path), "data": hash_rows(rows, known)}
    with begun(out, _BATCH, private=True):
        _begin(out, plan, cohort.name)
        write_json(out / HASHES_FILE, known)
        folders = _folders(out, rows)
        tasks = [
            Task(row.case, partial(contour_row, path, plan["model"], row, folder, device))
            for row, folder in zip(rows, folders, strict=True)
            if not is_complete(folder)
        ]
        where = replace(workers or Workers(at_once=1), memory=_memory(card), folder=out)
        if not run_tasks(tasks, where, hooks or Hooks()):
            return None
        return _found(rows, folders, out)


def _memory(card: Card) -> float:
    """Bytes that a patient takes."""
    return idle_memory(card.config, PATIENT) + whole_memory(card.config, card.classes, PATIENT)


def _folders(out: Path, rows: Sequence[Row]) -> list[Path]:
    """Of each row: by its place among all, as the plan knows them, since lines may be empty."""
    return [out / f"{number}-{file_name(row.case)}" for number, row in enumerate(rows, start=1)]


def _begin(out: Path, plan: JsonObject, cohort: str) -> None:
    """Write what is begun, or check that it is what was begun."""
    if changed := changed_since(out / _BATCH, plan):
        what = {"model": "the model is another", "data": f"patients or files of {cohort} are"}
        raise UserError(
            f"{out.name} holds another batch: {' and '.join(what[name] for name in changed)} "
            "others than they were. Choose a new folder."
        )


def _found(rows: Sequence[Row], folders: Sequence[Path], out: Path) -> JsonObject:
    read = {row: read_row(row, folder) for row, folder in zip(rows, folders, strict=True)}
    results = [result for found, _ in read.values() for result in found]
    write_results(out / RESULTS_FILE, results)
    notes = [(row, note) for row, (_, said) in read.items() for note in said]
    said = ([cell(row.case), row.line, cell(note)] for row, note in notes)
    write_table(out / "notes.csv", [["case", "line", "note"], *said])
    table = out / "table.md"
    text = "\n".join(_table(results)) + "\n"
    write_safely(table, ".md", lambda part: part.write_text(text, encoding="utf-8"))
    return {"patients": len(rows), "table": str(table), "notes": len(notes)}


def _table(results: Sequence[Result]) -> list[str]:
    """A line a class: mean ± SD over rows, of those that have a value."""
    values = {
        label: np.array([r.values for r in results if r.label == label])
        for label in sorted({r.label for r in results})
    }
    shown = [
        number
        for number, _ in enumerate(MEASURES)
        if any(np.isfinite(of[:, number]).any() for of in values.values())
    ]
    titles = [TITLES[MEASURES[number].name] for number in shown]
    lines = ["| class | " + " | ".join(titles) + " |", "|---" * (1 + len(shown)) + "|"]
    for label, of in values.items():
        cells = [_mean(of[:, number], MEASURES[number].digits) for number in shown]
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    return lines


def _mean(values: np.ndarray, digits: int) -> str:
    known = values[np.isfinite(values)]
    if not len(known):
        return "–"
    spread = f" ± {np.std(known, ddof=1):.{digits}f}" if len(known) > 1 else ""
    missing = f" ({len(values) - len(known)} undefined)" if len(known) < len(values) else ""
    return f"{np.mean(known):.{digits}f}{spread}{missing}"
