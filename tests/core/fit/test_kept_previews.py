import numpy as np
import pytest

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.fit import events
from cmfnet_napari.core.fit.kept_previews import (
    MOST,
    forget_previews,
    kept_path,
    kept_previews,
    read_kept,
    thin_out,
)
from cmfnet_napari.core.fit.runs import EVENTS_FILE

SHAPE = (2, 3, 4)


def keep(run, step, labels=None):
    kept_path(run, step).parent.mkdir(parents=True, exist_ok=True)
    kept_path(run, step).write_bytes(b"weights")
    labels = np.full(SHAPE, step, np.uint8) if labels is None else labels
    np.savez_compressed(kept_path(run, step, ".npz"), labels=labels)
    event = events.Preview(step=step, labels="preview.npy", agreement=step / 100)
    with open(run / EVENTS_FILE, "a", encoding="utf-8") as file:
        file.write(events.encode(event) + "\n")


def test_kept_previews_are_those_whose_files_are_there(tmp_path):
    for step in (10, 20, 30):
        keep(tmp_path, step)
    kept_path(tmp_path, 20).unlink()
    kept = kept_previews(tmp_path)
    assert [(k.event.step, k.event.agreement) for k in kept] == [(10, 0.1), (30, 0.3)]
    assert (read_kept(kept[1].labels, SHAPE) == 30).all()
    forget_previews(tmp_path)
    assert kept_previews(tmp_path) == []


def test_of_many_previews_the_first_the_last_and_some_between_stay(tmp_path):
    for step in range(1, 31):
        keep(tmp_path, step)
        thin_out(tmp_path)
    steps = [kept.event.step for kept in kept_previews(tmp_path)]
    assert len(steps) <= MOST
    assert (steps[0], steps[-1]) == (1, 30)
    assert max(np.diff(steps)) <= 20


@pytest.mark.parametrize(
    "labels", [np.zeros((2, 3, 5), np.uint8), np.zeros(SHAPE, np.float64)], ids=["shape", "kind"]
)
def test_a_preview_of_other_images_is_refused(tmp_path, labels):
    keep(tmp_path, 1, labels)
    with pytest.raises(UserError, match="other images"):
        read_kept(kept_path(tmp_path, 1, ".npz"), SHAPE)


def test_a_damaged_preview_is_refused(tmp_path):
    keep(tmp_path, 1)
    kept_path(tmp_path, 1, ".npz").write_bytes(b"no archive")
    with pytest.raises(UserError, match="cannot be read"):
        read_kept(kept_path(tmp_path, 1, ".npz"), SHAPE)
