"""The worker's protocol: one JSON object a line, anything else is for the log."""

import numpy as np
import pytest

from cmfnet_napari.core.fit import events

MESSAGES = [
    events.Fit(config={"preset": "quick"}, device="cpu"),
    events.Fit(config={}, base="/models/pelvis.safetensors"),
    events.Fit(config={}, resume="runs/0002-quick", lighter=True),
    events.Stop(),
    events.Predict(model="runs/0001-quick/model.safetensors"),
    events.Quit(),
    events.Started(run="runs/0001-quick", device="cpu", precision="float32", steps=4, parameters=9),
    events.Step(
        step=3, progress=0.5, elapsed_s=1.25, remaining_s=2.5, losses={"ce": 0.1, "total": 0.3}
    ),
    events.Preview(step=3, labels="preview.npy", agreement=0.75),
    events.Notice(step=3, text="Patches are smaller now."),
    events.Paused(reason="The disk is full."),
    events.Stopping(step=3),
    events.Saved(step=3, model="model.safetensors"),
    events.Finished(model="m", labels="l", probabilities="p", volumes_ml={"Tumour α": 1.5}),
    events.Finished(
        model="m", labels="l", probabilities="p", volumes_ml={}, disagreement="d.nii.gz"
    ),
    events.Failed(reason="The loss is no number any more.", model=""),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda m: type(m).__name__)
def test_round_trip(message):
    line = events.encode(message)
    assert "\n" not in line
    is_command = hasattr(message, "command")
    decode = events.decode_command if is_command else events.decode_event
    other = events.decode_event if is_command else events.decode_command
    assert decode(line + "\n") == message
    assert other(line) is None


@pytest.mark.parametrize(
    "line",
    [
        "",
        "\n",
        "UserWarning: CUDA is not here",
        "{",
        "[1, 2]",
        "null",
        '{"event": "step"}',
        '{"event": "dance", "step": 1}',
        '{"event": "saved", "step": 1, "model": "m", "extra": 1}',
        '{"command": "fit"}',
        "\udcff\x00",
        b'{"event":"notice","step":1,"text":"caf\xe9"}',
        '{"event":"notice","step":-1,"text":"less than nothing"}',
        f'{{"event":"notice","step":{10**400},"text":"more than can be drawn"}}',
    ],
)
def test_junk_lines_are_ignored(line):
    assert events.decode_event(line) is None
    assert events.decode_command(line) is None


def test_a_loss_that_is_no_number_is_said_as_it_is():
    losses = {"total": float("nan"), "ssl": float("inf")}
    line = events.encode(
        events.Step(step=1, progress=0.1, elapsed_s=1, remaining_s=float("inf"), losses=losses)
    )
    step = events.decode_event(line)
    assert np.isnan(step.losses["total"])
    assert step.losses["ssl"] == step.remaining_s == float("inf")


@pytest.mark.parametrize(("said", "share"), [(1e308, 1), (-3, 0), (float("nan"), 0), (0.25, 0.25)])
def test_progress_is_a_share(said, share):
    step = events.Step(step=1, progress=said, elapsed_s=1, remaining_s=1, losses={})
    assert step.progress == share


def test_finished_of_an_earlier_version_is_understood():
    old = '{"event":"finished","model":"m","labels":"l","probabilities":"p","volumes_ml":{}}'
    assert events.decode_event(old).disagreement == ""


def test_a_reason_with_line_breaks_stays_one_line():
    failed = events.Failed(reason="first\nsecond")
    assert events.encode(failed).count("\n") == 0
    assert events.decode_event(events.encode(failed)).reason == "first\nsecond"
