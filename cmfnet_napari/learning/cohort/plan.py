"""What a cohort training consists of: its configuration, its patients, its splits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.files import JsonObject, new_folder, read_json, write_json
from cmfnet_napari.core.fit.config import Config, changed_settings
from cmfnet_napari.learning.cohort.cohort_file import TEST, TRAIN, VAL, Row, folds
from cmfnet_napari.learning.cohort.results import RESULTS_FILE
from cmfnet_napari.learning.cohort.working_case import WorkingCase
from cmfnet_napari.learning.rivals.settings import MethodConfig

PLAN_FILE = "plan.json"


@dataclass(frozen=True)
class Split:
    """One model of a training: whom it learns from, whom it is judged by.

    Attributes
    ----------
    name : str
        Its folder; empty for a training of one model.
    train, held : tuple of Row
        Learnt from; only judged by.
    """

    name: str
    train: tuple[Row, ...]
    held: tuple[Row, ...]


def make_splits(rows: Sequence[Row], count: int, seed: int) -> tuple[Split, ...]:
    """One split by the file's own column, or `count` of them for cross-validation.

    Raises
    ------
    UserError
        Nobody to learn from; fold numbers without a number of folds; as `cohort_file.folds`.
    """
    if count:
        parts = folds(rows, count, seed)
        return tuple(
            Split(f"fold-{n}", tuple(r for p in parts if p is not part for r in p), part)
            for n, part in enumerate(parts, start=1)
        )
    numbered = next((row for row in rows if row.split not in (TRAIN, VAL, TEST)), None)
    if numbered is not None:
        raise UserError(
            f"{numbered.place} has the fold number {numbered.split}; say how many folds there "
            "are with --folds, or write train, val or test."
        )
    train = tuple(row for row in rows if row.split == TRAIN)
    if not train:
        raise UserError("The cohort has no row to train on (split train).")
    return (Split("", train, tuple(row for row in rows if row.split != TRAIN)),)


def freeze(folder: Path, config: Config, count: int, cases: Sequence[WorkingCase]) -> None:
    """Write the plan into a new folder, or check that it is the one that was begun there.

    Raises
    ------
    UserError
        The folder holds something else, or a training with other settings or other data; names
        them with both values.
    """
    plan = {
        "config": config.model_dump(mode="json"),
        "folds": count,
        "data": [[case.row.case, case.row.split, case.labels.data_hash] for case in cases],
    }
    if (folder / PLAN_FILE).exists():
        changes = changes_since(read_json(folder / PLAN_FILE), plan, config)
        if changes:
            raise UserError(
                f"{folder.name} holds a training with {'; '.join(changes[:5])}. Choose a new "
                "folder, or give the same command to go on with that one."
            )
    else:
        new_folder(folder)
        write_json(folder / PLAN_FILE, plan)


def check_begun(folder: Path, config: Config, count: int) -> None:
    """Check what a folder was begun with, before the data are read; nothing begun is right.

    Raises
    ------
    UserError
        It holds results of other settings, or folds, or of nobody knows which.
    """
    if not (folder / PLAN_FILE).exists():
        if (folder / RESULTS_FILE).exists():
            raise UserError(
                f"{folder.name} holds results, but not what they are of ({PLAN_FILE}). Move that "
                "folder away."
            )
        return
    old = read_json(folder / PLAN_FILE)
    changes = changes_since(old, {"folds": count, "data": old.get("data")}, config)
    if changes:
        raise UserError(
            f"{folder.name} holds a training with {'; '.join(changes[:5])}. Move that folder "
            "away, or choose a new one."
        )


def changes_since(old: JsonObject, new: JsonObject, config: Config) -> list[str]:
    """Name what differs from a plan as it was begun, with the old value and the new one."""
    known = old.get("config")
    changes = changed_settings(known, config)
    if isinstance(known, dict) and not isinstance(config, MethodConfig):  # else compared already
        architecture = known.get("architecture", "cmfnet")
        changes += [f"a network {architecture}"] if architecture != "cmfnet" else []
    if old.get("folds") != new["folds"]:
        changes.append(f"{old.get('folds')} folds instead of {new['folds']}")
    if old.get("data") != new["data"]:
        mine = {tuple(entry) for entry in new["data"]}
        theirs = {tuple(entry) for entry in old.get("data", [])}
        names = sorted({entry[0] for entry in mine ^ theirs}) or ["the order of the rows"]
        changes.append(f"other images, labels or splits ({', '.join(names[:5])})")
    return changes
