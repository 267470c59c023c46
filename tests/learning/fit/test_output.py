"""Events of a fit that cannot be written: what is told, and what is not."""

import errno

import pytest

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.fit import events
from cmfnet_napari.core.fit.runs import newest_prediction
from cmfnet_napari.learning.fit import output, run_folder
from cmfnet_napari.learning.fit.callbacks import Hooks
from cmfnet_napari.learning.fit.output import Report
from cmfnet_napari.learning.fit.run_folder import RunFolder

FINISHED = events.Finished(model="m", labels="r/l", probabilities="p", volumes_ml={"Tumour": 1.0})
SAVED = events.Saved(step=1, model="m")


def test_an_end_that_could_not_be_written_is_not_told(tmp_path):
    """The next session finds the contour by it: said to be done, it would be gone then."""
    (tmp_path / "events.jsonl").mkdir()
    told = []
    report = Report(RunFolder(tmp_path, tmp_path), Hooks(told.append))
    report.tell(SAVED)  # only for the log
    with pytest.raises(UserError, match=r"events\.jsonl could not be written"):
        report.tell(FINISHED)
    assert told == [SAVED]


def test_the_end_waits_for_room_on_the_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(output, "LOOK_SECONDS", 0.0)
    real, refused = run_folder.append_line, []

    def full(path, line):
        if len(refused) < 2:
            refused.append(line)
            error = OSError(errno.ENOSPC, "No space left on device")
            raise UserError("events.jsonl could not be written: the disk is full.") from error
        real(path, line)

    monkeypatch.setattr(run_folder, "append_line", full)
    told = []
    Report(RunFolder(tmp_path, tmp_path), Hooks(told.append)).tell(FINISHED)
    assert [event.event for event in told] == ["paused", "finished"]
    assert newest_prediction([tmp_path]) == FINISHED
