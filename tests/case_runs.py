"""Runs in a case folder, as a worker leaves them; their labels are given."""

from __future__ import annotations

import numpy as np

from cmfnet_napari.core.case.case_classes import note_classes
from cmfnet_napari.core.fit.events import Finished, encode
from cmfnet_napari.core.images.study import save_labels


def write_run(case, labels, name="0001-quick", **known):
    """Write a run that is complete.

    Parameters
    ----------
    case : Case
        Open.
    labels : uint8 array (z, y, x)
        What it predicted; certain everywhere.
    """
    run = f"runs/{name}"
    folder = case.folder / run
    folder.mkdir(parents=True, exist_ok=True)
    note_classes(folder, case.order)
    save_labels(labels, case.study, folder / "prediction.nii.gz")
    save_labels((labels > 0).astype(np.float32), case.study, folder / "probabilities.nii.gz")
    event = Finished(
        model=f"{run}/model.safetensors",
        labels=f"{run}/prediction.nii.gz",
        probabilities=f"{run}/probabilities.nii.gz",
        volumes_ml=dict.fromkeys(case.class_names, 0.0),
        **known,
    )
    (folder / "events.jsonl").write_text(encode(event) + "\n", encoding="utf-8")
    return event
