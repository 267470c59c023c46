"""A model over a cohort: each patient once, in turn or at once; tables of all.

::

    OUT/batch.json            hashes of model and data, as they were contoured or last begun
    OUT/NUMBER-CASE/          one row each, counted from 1, see `contour_row`
    OUT/results.csv           volumes of every patient and class, scores where there is a mask
    OUT/notes.csv             what to check
    OUT/table.md              mean ± SD over patients, and who is left out
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from cmfnet_napari.core.contours.metrics import MEASURES, TITLES
from cmfnet_napari.core.errors import UserError, list_names
from cmfnet_napari.core.files import (
    JsonObject,
    hash_file,
    read_json,
    write_json,
    write_safely,
)
from cmfnet_napari.core.fit.cost_estimate import PATIENT, idle_memory
from cmfnet_napari.core.fit.model_card import Card, model_path, read_card
from cmfnet_napari.core.folder_lock import begun, changed_since
from cmfnet_napari.core.tables import write_table
from cmfnet_napari.core.words import cell, clean, file_name
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
        batch, or is at work; what was wrong with which patients, once all others are done. Their
        tables are written.
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
        _begin(out, plan, rows, cohort.name)
        write_json(out / HASHES_FILE, known)
        folders = _folders(out, rows)
        tasks = [
            Task(row.case, partial(contour_row, path, plan["model"], row, folder, device))
            for row, folder in zip(rows, folders, strict=True)
            if not is_complete(folder)
        ]
        where = replace(workers or Workers(at_once=1), memory=_memory(card), folder=out)
        try:
            if not run_tasks(tasks, where, hooks or Hooks()):
                return None
        except UserError:
            if any(map(is_complete, folders)):
                _found(rows, folders, out)
            raise
        return _found(rows, folders, out)


def _memory(card: Card) -> float:
    """Bytes that a patient takes."""
    return idle_memory(card.config, PATIENT) + whole_memory(card.config, card.classes, PATIENT)


def _folders(out: Path, rows: Sequence[Row]) -> list[Path]:
    """Of each row: by its place among all, as the plan knows them, since lines may be empty."""
    return [_folder(out, number, row.case) for number, row in enumerate(rows, start=1)]


def _folder(out: Path, number: int, case: str) -> Path:
    return out / f"{number}-{file_name(case)}"


def _begin(out: Path, plan: JsonObject, rows: Sequence[Row], cohort: str) -> None:
    """Write what is begun, or check that it is what was begun: of rows that are contoured."""
    changed = changed_since(out / _BATCH, plan)
    other = _other_rows(out, plan["data"], rows) if "data" in changed else []
    wrong = ["the model is another than it was"] if "model" in changed else []
    if other:
        what = f"patients or files of {cohort} are others than when they were contoured"
        wrong.append(f"{what} ({list_names(other)})")
    if wrong:
        raise UserError(
            f"{out.name} holds another batch: {' and '.join(wrong)}. Choose a new folder."
        )
    if changed:
        write_json(out / _BATCH, plan)


def _other_rows(out: Path, data: Sequence[Mapping[str, str]], rows: Sequence[Row]) -> list[str]:
    """Which rows were contoured when they were others than now; the number of rows stays."""
    before = read_json(out / _BATCH)["data"]
    if len(before) != len(data):
        return [f"{len(data)} rows instead of {len(before)}"]
    return [
        row.place
        for number, (row, old, new) in enumerate(zip(rows, before, data, strict=True), start=1)
        if old != new and any(is_complete(_folder(out, number, of["case"])) for of in (old, new))
    ]


def _found(rows: Sequence[Row], folders: Sequence[Path], out: Path) -> JsonObject:
    """Write the tables of what is contoured."""
    found = [
        (row, folder) for row, folder in zip(rows, folders, strict=True) if is_complete(folder)
    ]
    read = {row: read_row(row, folder) for row, folder in found}
    absent = [row.place for row in rows if row not in read]
    results = [result for each, _ in read.values() for result in each]
    write_results(out / RESULTS_FILE, results)
    notes = [(row, note) for row, (_, said) in read.items() for note in said]
    said = ([cell(row.case), row.line, cell(note)] for row, note in notes)
    write_table(out / "notes.csv", [["case", "line", "note"], *said])
    table = out / "table.md"
    text = "\n".join([*_absent(absent), *_table(results)]) + "\n"
    write_safely(table, ".md", lambda part: part.write_text(text, encoding="utf-8"))
    return {"patients": len(rows), "table": str(table), "notes": len(notes)}


def _absent(places: Sequence[str]) -> list[str]:
    return (
        [f"**Not complete, and left out: {', '.join(map(clean, places))}.**", ""] if places else []
    )


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
