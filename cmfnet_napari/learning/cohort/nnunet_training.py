"""nnU-Net, trained by its own code on the same patients, folds and budget as the other methods.

Its own planning chooses voxels, patch and network, for each split from its training patients alone:
what it measures on patients held out would be known to their model. With scribbles the loss is on
labelled voxels only: all others have its ignore label. It is imported only when it is asked for.

::

    OUT/nnunet/raw, preprocessed, results     what nnU-Net reads and writes, a data set a split
    OUT/nnunet/ready-N.json                   data set N is written, planned and prepared
    OUT/nnunet/log.txt                        what it prints
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cmfnet_napari.core.arrays import Codes
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.files import private_folder, write_json
from cmfnet_napari.core.fit.runs import STATE_FILE
from cmfnet_napari.core.images.volume import write_image
from cmfnet_napari.core.strokes.scribbles import IGNORE
from cmfnet_napari.learning.cohort.cohort_file import Row
from cmfnet_napari.learning.cohort.loaded_cases import load_case
from cmfnet_napari.learning.cohort.patients import METRICS, score
from cmfnet_napari.learning.cohort.plan import Split
from cmfnet_napari.learning.cohort.results import (
    RESULTS_FILE,
    Result,
    read_results,
    tabulate,
    write_results,
)
from cmfnet_napari.learning.cohort.split import SAVE_SECONDS, Hooks, Speed, keep_labels
from cmfnet_napari.learning.cohort.working_case import WorkingCase
from cmfnet_napari.learning.engine.device import device_name
from cmfnet_napari.learning.engine.state import load_state, save_seconds, save_state
from cmfnet_napari.learning.rivals.settings import MethodConfig

_CONFIGURATION = "3d_fullres"
_PLANNED_ONCE = "ready.json"  # an earlier version planned from all patients
_PROCESSES = "nnUNet_n_proc_DA"
_CPU_GB = 1.0  # what a plan for a processor may need; for a GPU it is nnU-Net's own
_EPOCHS = 1000  # of its schedule, over the budget


def train_nnunet(
    splits: Sequence[Split],
    cases: Sequence[WorkingCase],
    out: Path,
    config: MethodConfig,
    device: torch.device,
    hooks: Hooks,
) -> list[Result] | None:
    """Train and judge nnU-Net on every split; None when stopped.

    Parameters
    ----------
    splits : sequence of Split
        A model each.
    cases : sequence of WorkingCase
        All rows of the cohort.
    out : Path
        The folder of the training.
    config : MethodConfig
        Steps, minutes, seed, and what is learnt from.
    device : torch.device
        Where it trains.
    hooks : Hooks
        Progress, and the wish to stop.

    Raises
    ------
    UserError
        It was begun by a version that planned from the patients held out, too.
    """
    work = private_folder(out / "nnunet")
    if (work / _PLANNED_ONCE).exists():
        raise UserError(
            f"{out.name} holds a training of nnU-Net that an earlier version planned from all "
            "patients, those held out too. Choose a new folder."
        )
    known = {case.row: case for case in cases}
    classes = 1 + max(case.labels.highest for case in cases)
    results: list[Result] = []
    log = work / "log.txt"
    with _environment(_own(work)), open(log, "a", encoding="utf-8") as file, redirect_stdout(file):
        for number, split in enumerate(splits):
            folder = out / split.name
            folder.mkdir(exist_ok=True)
            if (folder / RESULTS_FILE).exists():
                results += read_results(folder / RESULTS_FILE)
                continue
            ready = work / f"ready-{number + 1}.json"
            if not ready.exists():
                hooks.show(number / len(splits), f"{folder.name}: planning")
                _write_data(split, known, work / "raw" / _data_set(number), config, classes)
                _plan(work, number, device)
                write_json(ready, {"classes": classes})
            training = _Training(work, folder, number, split.train, config, device)
            if not training.run(hooks, number, len(splits)):
                return None
            held = [known[row] for row in split.held if known[row].reference is not None]
            results += training.judge(held, classes, split.name)
    return results


def _own(work: Path) -> dict[str, str]:
    """Where nnU-Net reads and writes, and that it starts no processes while it trains."""
    folders = {f"nnUNet_{name}": str(work / name) for name in ("raw", "preprocessed", "results")}
    return folders | {_PROCESSES: "0", "nnUNet_compile": "false"}


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _identifier(row: Row) -> str:
    return f"line{row.line:05}"


def _data_set(number: int) -> str:
    """nnU-Net's name for the data of a split; it counts from 1."""
    return f"Dataset{number + 1:03}_Study"


def _write_data(
    split: Split,
    known: dict[Row, WorkingCase],
    raw: Path,
    config: MethodConfig,
    classes: int,
) -> None:
    """The patients that a model learns from, as nnU-Net wants them; it never sees others.

    Files are named one by one: where it has to look for them, it forks a dozen processes that
    inherit how this one takes SIGTERM, so that it waits for ever for them to end by it.
    """
    shutil.rmtree(raw, ignore_errors=True)  # of a start that was broken off
    for name in ("imagesTr", "labelsTr"):
        private_folder(raw / name)
    files: dict[str, Any] = {}
    for row in split.train:
        case = load_case(row)
        targets = case.targets if config.labels == "scribbles" else case.reference
        if targets is None:
            raise ValueError(f"{row.place} has nothing to learn from")
        labels = np.where(targets == IGNORE, classes, targets).astype(np.uint8)
        name = _identifier(row)
        images, label = [], f"labelsTr/{name}.nii.gz"
        for channel, volume in enumerate(case.study.volumes):
            images.append(f"imagesTr/{name}_{channel:04}.nii.gz")
            write_image(case.study.grid.to_image(volume.array.astype(np.float32)), raw / images[-1])
        write_image(case.study.grid.to_image(labels), raw / label)
        files[name] = {"images": images, "label": label}
    kinds = known[split.train[0]].kinds
    names = {"background": 0} | {f"class {code}": code for code in range(1, classes)}
    if config.labels == "scribbles":
        names["ignore"] = classes
    about = {
        "channel_names": {str(n): "CT" if kind == "CT" else "MRI" for n, kind in enumerate(kinds)},
        "labels": names,
        "numTraining": len(split.train),
        "file_ending": ".nii.gz",
        "dataset": files,
    }
    write_json(raw / "dataset.json", about)


def _plan(work: Path, number: int, device: torch.device) -> None:
    """Let nnU-Net look at a split's data, choose its network and prepare its patches."""
    private_folder(work / "preprocessed" / _data_set(number))
    api = import_module("nnunetv2.experiment_planning.plan_and_preprocess_api")
    memory, data_sets = _CPU_GB if device.type == "cpu" else None, [number + 1]
    with _environment({_PROCESSES: "1"}):  # it plans with as many threads
        api.extract_fingerprints(data_sets, num_processes=1, show_progress_bar=False)
        plans = api.plan_experiments(data_sets, gpu_memory_target_in_gb=memory)
        api.preprocess(data_sets, plans, (_CONFIGURATION,), [1], show_progress_bar=False)


class _Training:
    """One model of nnU-Net; `run` goes on where the folder's state says, but not to the bit."""

    def __init__(
        self,
        work: Path,
        folder: Path,
        number: int,
        learnt: Sequence[Row],
        config: MethodConfig,
        device: torch.device,
    ) -> None:
        files = import_module("batchgenerators.utilities.file_and_folder_operations")
        trainer = import_module("nnunetv2.training.nnUNetTrainer.nnUNetTrainer").nnUNetTrainer
        name, names = _data_set(number), [_identifier(row) for row in learnt]
        prepared = work / "preprocessed" / name
        fold = {"train": names, "val": names[:1]}  # nnU-Net wants one to look at
        files.save_json([fold], str(prepared / "splits_final.json"))
        torch.manual_seed(config.seed + number)
        np.random.seed(config.seed + number)  # noqa: NPY002  nnU-Net draws from it
        plans = files.load_json(str(prepared / "nnUNetPlans.json")) | {"continue_training": False}
        about = files.load_json(str(work / "raw" / name / "dataset.json"))
        self._trainer: Any = trainer(plans, _CONFIGURATION, 0, about, device)
        self._trainer.num_epochs = _EPOCHS
        self._trainer.initialize()
        self._folder, self._config = folder, config
        self._steps, self._seconds = 0, 0.0
        if (folder / STATE_FILE).exists():
            self._restore(load_state(folder, device))

    def run(self, hooks: Hooks, number: int, of: int) -> bool:
        """Train to the end of the budget; False when stopped before."""
        trainer, saved = self._trainer, time.monotonic()
        trainer.dataloader_train, _ = trainer.get_dataloaders()
        trainer.set_deep_supervision_enabled(True)
        trainer.network.train()
        while (progress := self._progress) < 1:
            if hooks.stop() or time.monotonic() - saved > save_seconds(SAVE_SECONDS):
                saved = time.monotonic()
                self._save()
                if hooks.stop():
                    return False
            began = time.monotonic()
            trainer.lr_scheduler.step(int(progress * _EPOCHS))
            loss = float(trainer.train_step(next(trainer.dataloader_train))["loss"])
            self._steps, self._seconds = self._steps + 1, self._seconds + time.monotonic() - began
            note = f"{self._folder.name}: step {self._steps}, loss {loss:.3f}"
            hooks.show((number + progress) / of, note)
        self._save()
        return True

    def judge(self, held: Sequence[WorkingCase], classes: int, name: str) -> list[Result]:
        """Contour the patients held out, compare, and write what was found."""
        predictor = self._predictor()
        table = np.empty((len(held), classes - 1, len(METRICS)))
        for number, case in enumerate(held):
            labels = _ask(predictor, case.row)
            keep_labels(self._folder, case.row.line, labels)
            table[number] = score(labels, case, classes)
        results = tabulate(table, [case.row.case for case in held], name)
        where = device_name(self._trainer.device)
        Speed(self._steps, round(self._seconds, 3), where).write(self._folder)
        write_results(self._folder / RESULTS_FILE, results)
        (self._folder / STATE_FILE).unlink(missing_ok=True)
        return results

    @property
    def _progress(self) -> float:
        share = self._steps / self._config.steps
        if self._config.minutes is not None:
            share = max(share, self._seconds / (60 * self._config.minutes))
        return share

    def _predictor(self) -> Any:
        trainer = self._trainer
        trainer.set_deep_supervision_enabled(False)
        trainer.network.eval()
        kind = import_module("nnunetv2.inference.predict_from_raw_data").nnUNetPredictor
        predictor = kind(use_mirroring=False, device=trainer.device, allow_tqdm=False)
        predictor.manual_initialization(
            trainer.network,
            trainer.plans_manager,
            trainer.configuration_manager,
            [trainer.network.state_dict()],
            trainer.dataset_json,
            type(trainer).__name__,
            trainer.inference_allowed_mirroring_axes,
        )
        return predictor

    def _save(self) -> None:
        trainer = self._trainer
        save_state(
            self._folder,
            {
                "network": trainer.network.state_dict(),
                "optimizer": trainer.optimizer.state_dict(),
                "steps": self._steps,
                "seconds": self._seconds,
            },
        )

    def _restore(self, state: dict[str, Any]) -> None:
        self._trainer.network.load_state_dict(state["network"])
        self._trainer.optimizer.load_state_dict(state["optimizer"])
        self._steps, self._seconds = state["steps"], state["seconds"]


def _ask(predictor: Any, row: Row) -> Codes:
    """Labels of one patient, uint8 (z, y, x) on the Study's Grid."""
    study = load_case(row).study
    images = np.stack([volume.array.astype(np.float32) for volume in study.volumes])
    spacing = list(study.grid.spacing)  # mm along (z, y, x), as nnU-Net's reader says it
    found = predictor.predict_single_npy_array(images, {"spacing": spacing})
    labels: Codes = np.asarray(found, dtype=np.uint8)
    return labels
