"""The folder of one run: everything a fit writes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cmfnet_napari.core.arrays import Codes, Reals
from cmfnet_napari.core.case.case_classes import note_classes
from cmfnet_napari.core.contours.components import volumes_ml
from cmfnet_napari.core.contours.doubt import to_percent
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.files import (
    JsonObject,
    append_line,
    keep_private,
    private_folder,
    read_json,
    write_json,
    write_safely,
)
from cmfnet_napari.core.fit import events
from cmfnet_napari.core.fit.config import Config, changed_settings
from cmfnet_napari.core.fit.kept_previews import kept_path, thin_out
from cmfnet_napari.core.fit.model_card import MODEL_FILE, Card, model_path
from cmfnet_napari.core.fit.runs import CONFIG_FILE, EVENTS_FILE, PREVIEW_FILE
from cmfnet_napari.core.images.study import Study, save_labels
from cmfnet_napari.core.strokes.class_order import ClassOrder
from cmfnet_napari.core.strokes.scribbles import scribbles_hash
from cmfnet_napari.learning.model.checkpoint import save_model
from cmfnet_napari.learning.model.cmfnet import CmFNet
from cmfnet_napari.learning.predict.prediction import Prediction

SCRIBBLES_FILE, DISAGREEMENT_FILE = "scribbles.nii.gz", "disagreement.nii.gz"
CHANCES_FILE = "chances.npz"  # what new strokes go on from, of a model that reads strokes


@dataclass(frozen=True)
class RunFolder:
    """Where a run is written.

    Attributes
    ----------
    folder : Path
        Takes config.json, events.jsonl, model.safetensors, preview.npy, prediction.nii.gz,
        probabilities.nii.gz, disagreement.nii.gz (when the branches were compared),
        scribbles.nii.gz, chances.npz (of a model that reads strokes), previews/, and state.pt
        until the run is complete.
    root : Path
        Folder that paths in events are relative to: the run itself, or its case.
    classes : ClassOrder or None
        Those that predictions speak of, where they may be others than those of the run's model:
        they are noted with each.
    """

    folder: Path
    root: Path
    classes: ClassOrder | None = None

    def path(self, name: str = "") -> str:
        """Path of a file of the run as events name it."""
        return (self.folder / name).relative_to(self.root).as_posix()

    def freeze(self, config: Config, study: Study, scribbles: Codes, base: str = "") -> None:
        """Write what the run is made from: configuration, hashes of study and scribbles, model."""
        made_from = _ingredients(config, study, scribbles)
        write_json(self.folder / CONFIG_FILE, made_from | {"base": base})

    def check_same(self, config: Config, study: Study, scribbles: Codes) -> None:
        """Check that the run was made from these.

        Raises
        ------
        UserError
            It was made from others.
        """
        before, now = self.frozen(), _ingredients(config, study, scribbles)
        changed = changed_settings(before.get("config"), config)
        settings = f" ({'; '.join(changed[:5])})" if changed else ""
        if changed or any(before.get(name) != now[name] for name in ("study", "scribbles")):
            raise UserError(
                f"{self.folder.name} holds another training that was broken off: its images, "
                f"strokes or settings differ{settings}. Give the same again to go on with it, or "
                "choose a new folder."
            )

    def frozen(self) -> JsonObject:
        """What `freeze` wrote.

        Raises
        ------
        UserError
            It is missing or damaged.
        """
        return read_json(self.folder / CONFIG_FILE)

    def log(self, event: events.Event) -> None:
        """Append an event to events.jsonl; UserError when it cannot be written."""
        append_line(self.folder / EVENTS_FILE, events.encode(event))

    def save_model(self, model: CmFNet, card: Card) -> str:
        """Write the model in place of the last one; return its path."""
        save_model(model, card, self.folder / MODEL_FILE)
        return self.path(MODEL_FILE)

    def save_preview(self, labels: Codes) -> str:
        """Write a preview (uint8, Study's Grid) in place of the last one; return its path."""
        write_safely(self.folder / PREVIEW_FILE, ".npy", lambda part: np.save(part, labels))
        return self.path(PREVIEW_FILE)

    def keep_preview(self, step: int, labels: Codes) -> None:
        """Keep a preview's labels, and the model that was saved with it, to come back to.

        Only where somebody may look back: in a case. Nobody needs it to go on, so without room
        for it there is none.
        """
        if self.root == self.folder:
            return
        archive, model = kept_path(self.folder, step, ".npz"), kept_path(self.folder, step)
        try:
            private_folder(archive.parent)
            write_safely(archive, ".npz", lambda part: np.savez_compressed(part, labels=labels))
            _link(self.folder / MODEL_FILE, model)
            thin_out(self.folder)
        except (OSError, UserError):
            archive.unlink(missing_ok=True)

    def save_prediction(
        self,
        prediction: Prediction,
        scribbles: Codes,
        study: Study,
        names: Sequence[str] | None,
    ) -> events.Finished:
        """Write what was found, and the strokes, on the CT's original grid; say where it is."""
        labels, probabilities = "prediction.nii.gz", "probabilities.nii.gz"
        apart = self._save_disagreement(prediction.disagreement, study)
        save_labels(scribbles, study, self.folder / SCRIBBLES_FILE)
        if self.classes is not None:
            note_classes(self.folder, self.classes)
        save_labels(prediction.labels, study, self.folder / labels)
        save_labels(prediction.probability, study, self.folder / probabilities)
        return events.Finished(
            model=self.path(MODEL_FILE),
            labels=self.path(labels),
            probabilities=self.path(probabilities),
            volumes_ml=volumes_ml(prediction.labels, study.grid, names),
            disagreement=apart,
        )

    def _save_disagreement(self, disagreement: Reals | None, study: Study) -> str:
        if disagreement is None:  # nor is there one of an earlier prediction
            (self.folder / DISAGREEMENT_FILE).unlink(missing_ok=True)
            return ""
        save_labels(to_percent(disagreement), study, self.folder / DISAGREEMENT_FILE)
        return self.path(DISAGREEMENT_FILE)


def run_scribbles(run_or_model: str | Path, card: Card, study: Study) -> Path | None:
    """The strokes that a run's prediction of this study was made from, if there are any."""
    file = model_path(run_or_model).parent / SCRIBBLES_FILE
    return file if card.study == study.content_hash and file.is_file() else None


def _link(source: Path, target: Path) -> None:
    """The same file under another name; a copy where the file system knows no links."""
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
        keep_private(target)


def _ingredients(config: Config, study: Study, scribbles: Codes) -> JsonObject:
    return {
        "config": config.model_dump(mode="json"),
        "study": study.content_hash,
        "first": study.first_hash,
        "scribbles": scribbles_hash(scribbles),
    }
