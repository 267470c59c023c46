"""What a case says of its runs after they were killed at any moment."""

import pytest

from cmfnet_napari.core.fit import events
from cmfnet_napari.core.fit.runs import interrupted_run, newest_prediction, read_run

STARTED = events.Started(run="r", device="cpu", precision="float32", steps=30, parameters=1)
STEP = events.Step(
    step=12, progress=0.4, elapsed_s=1.0, remaining_s=2.0, losses={"ssl": 1.0, "total": 1.0}
)
FINISHED = events.Finished(model="m", labels="l", probabilities="p", volumes_ml={}, steps=30)


@pytest.fixture
def make_run(tmp_path):
    def make(number, *said, state=False, tail=""):
        folder = tmp_path / f"{number:04d}-quick"
        folder.mkdir()
        text = "".join(events.encode(event) + "\n" for event in said) + tail
        (folder / "events.jsonl").write_text(text, encoding="utf-8")
        if state:
            (folder / "state.pt").write_bytes(b"state")
        return folder

    return make


def test_a_run_that_was_killed(make_run):
    line = events.encode(STEP)
    run = read_run(make_run(1, STARTED, STEP, state=True, tail=line[: len(line) // 2]))
    assert (run.step, run.steps, run.finished, run.interrupted) == (12, 30, None, True)


def test_without_a_state_it_cannot_go_on(make_run):
    assert not read_run(make_run(1, STARTED, STEP)).interrupted


def test_a_run_that_went_on_to_the_end(make_run):
    again = STARTED.model_copy(update={"from_step": 12})
    run = read_run(make_run(1, STARTED, STEP, again, FINISHED))
    assert run.finished == FINISHED
    assert not run.interrupted


def test_a_finished_run_that_is_gone_on_with_is_open_again(make_run):
    run = read_run(make_run(1, STARTED, FINISHED, STARTED, STEP, state=True))
    assert run.interrupted


def test_the_newest_counts(make_run, tmp_path):
    old = make_run(1, STARTED, FINISHED)
    broken = make_run(2, STARTED, STEP, state=True)
    assert interrupted_run([old, broken]).folder == broken
    assert newest_prediction([old, broken]) == FINISHED
    done = make_run(3, STARTED, FINISHED.model_copy(update={"steps": 9}))
    assert interrupted_run([old, broken, done]) is None
    assert newest_prediction([old, broken, done]).steps == 9
    assert interrupted_run([]) is newest_prediction([]) is None
    assert newest_prediction([tmp_path / "none"]) is None


def test_a_run_that_got_nowhere_hides_no_other(make_run, tmp_path):
    done, broken = make_run(1, STARTED, FINISHED), make_run(2, STARTED, STEP, state=True)
    killed = make_run(3, STARTED, STEP)  # in its first seconds
    refused = tmp_path / "0004-quick"  # before it had written a line
    refused.mkdir()
    assert interrupted_run([done, broken, killed, refused]).folder == broken
    assert interrupted_run([broken, done, killed]) is None  # that was finished since
    assert interrupted_run([killed, refused]) is None
