"""A worker that speaks the protocol and learns nothing, in one of its modes:

good      five steps, a preview, a prediction: a box, and a second box without a stroke
endless   steps until ``stop`` (then as good) or until stdin closes
waits     as good, but between two steps it waits for room on the disk
refuses   a ``failed`` event
dies      words on stderr and exit 3, no event
stubborn  does not leave when it is asked to

All but the last three then wait for ``refine``, whose prediction is the box with the strokes in
it. Some modes train as good does, and then

slow      takes two seconds over a refine
hesitates says `failed` to every refine
falls     ends in the middle of a refine
doubts    is unsure, and its branches disagree, in two places
"""

from __future__ import annotations

import queue
import sys
import threading
import time
from pathlib import Path

import numpy as np

from cmfnet_napari.core.case.case_classes import note_classes
from cmfnet_napari.core.case.folder import open_case
from cmfnet_napari.core.fit import events
from cmfnet_napari.core.fit.kept_previews import kept_path
from cmfnet_napari.core.fit.runs import EVENTS_FILE
from cmfnet_napari.core.images.volume import write_image

MODE, CASE = "", Path()
RUN = "runs/0001-quick"
DOUBTFUL = np.s_[4:7, 8:13, 6:10], np.s_[8:11, 2:6, 11:15]
stopped = threading.Event()
commands: queue.Queue = queue.Queue()


def say(event: object) -> None:
    if (CASE / RUN).is_dir():
        with open(CASE / RUN / EVENTS_FILE, "a", encoding="utf-8") as file:
            file.write(events.encode(event) + "\n")
    print(events.encode(event), flush=True)


def listen() -> None:
    for line in sys.stdin:
        command = events.decode_command(line)
        if isinstance(command, events.Stop | events.Quit):
            stopped.set()
        else:
            commands.put(command)
    stopped.set()
    commands.put(None)


def boxes(shape: tuple[int, int, int]) -> np.ndarray:
    labels = np.zeros(shape, np.uint8)
    labels[4:8, 8:14, 6:11] = 1
    labels[1:3, 1:4, 1:4] = 1
    return labels


def step(number: int, of: int) -> None:
    losses = {"total": 1.0 / number, "ssl": 0.5 / number, "imr": 0.2, "imc": 0.1}
    say(
        events.Step(
            step=number,
            progress=min(number / of, 1.0),
            elapsed_s=0.1 * number,
            remaining_s=max(0.0, 0.1 * (of - number)),
            losses=losses,
        )
    )


def fit(command: events.Fit) -> None:
    case = open_case(CASE, read_only=True)
    grid = case.study.grid
    run = CASE / "runs" / "0001-quick"
    run.mkdir(parents=True, exist_ok=True)
    note_classes(run, case.order)
    say(events.Started(run=RUN, device="cpu", precision="float32", steps=5, parameters=8000))
    print("a library prints something", flush=True)
    (CASE / "command.json").write_text(command.model_dump_json())
    labels = boxes(grid.shape)
    np.save(run / "preview.npy", labels)
    number = 0
    good = MODE != "endless"
    while (number < 5) if good else not stopped.is_set():
        number += 1
        step(number, 5 if good else 1000)
        if MODE == "waits" and number == 3:
            say(events.Paused(reason="The disk is full."))
            time.sleep(1.5)
        if number == 2:
            keep(run, labels)
            say(events.Preview(step=2, labels="runs/0001-quick/preview.npy", agreement=0.5))
            time.sleep(0.3)  # the window reads it while the training still runs
        time.sleep(0.05)
    if stopped.is_set():
        say(events.Stopping(step=number))
    facts = {"seconds": 0.1 * number, "agreement": 0.9, "stopped": MODE == "endless"}
    finish(labels, number, **facts)


def keep(run: Path, labels: np.ndarray) -> None:
    """The preview after two steps has less than the prediction."""
    kept_path(run, 2).parent.mkdir(exist_ok=True)
    kept_path(run, 2).write_bytes(b"weights")
    np.savez(kept_path(run, 2, ".npz"), labels=labels * (np.indices(labels.shape)[0] >= 6))


def choose(command: events.Choose) -> None:
    with np.load(kept_path(CASE / RUN, command.step, ".npz")) as file:
        finish(file["labels"], command.step, agreement=0.5)


def refine(command: events.Refine) -> None:
    case = open_case(CASE, read_only=True)
    with open(CASE / "refines.jsonl", "a", encoding="utf-8") as file:
        file.write(command.model_dump_json() + "\n")
    if MODE == "hesitates":
        say(events.Failed(reason="The model is damaged."))
        return
    labels = with_strokes(case)
    np.save(CASE / RUN / "preview.npy", labels)
    say(events.Preview(step=6, labels=f"{RUN}/preview.npy", agreement=0.95))
    if MODE == "falls":
        sys.exit(3)
    if MODE == "slow":
        time.sleep(2)
    finish(with_strokes(case), 6 + case.journal.last_id(), agreement=0.97)


def with_strokes(case: object) -> np.ndarray:
    case.journal.catch_up()
    strokes, labels = case.scribbles(), boxes(case.study.grid.shape)
    labels[strokes > 0] = strokes[strokes > 0] - 1
    return labels


def finish(labels: np.ndarray, steps: int, **facts: object) -> None:
    grid, run = open_case(CASE, read_only=True).study.grid, CASE / RUN
    write_image(grid.to_image(labels), run / "prediction.nrrd")
    probability, apart = 0.8 * labels.astype(np.float32), np.zeros(labels.shape, np.uint8)
    if MODE == "doubts":
        for box, percent in zip(DOUBTFUL, (80, 60), strict=True):
            probability[box], apart[box] = 0.5, percent
        write_image(grid.to_image(apart), run / "disagreement.nrrd")
    write_image(grid.to_image(probability), run / "probabilities.nrrd")
    say(
        events.Finished(
            model=f"{RUN}/model.safetensors",
            labels=f"{RUN}/prediction.nrrd",
            probabilities=f"{RUN}/probabilities.nrrd",
            volumes_ml={},
            disagreement=f"{RUN}/disagreement.nrrd" if MODE == "doubts" else "",
            steps=steps,
            **facts,
        )
    )


def main(mode: str, case: str) -> None:
    global MODE, CASE
    MODE, CASE = mode, Path(case)
    first = events.decode_command(sys.stdin.readline())
    assert isinstance(first, events.Fit | events.Refine | events.Choose), first
    if MODE == "dies":
        sys.exit(print("CUDA error: the driver fell over", file=sys.stderr) or 3)
    if MODE == "refuses":
        say(events.Failed(reason="The GPU is full. Choose the quick preset."))
        return
    if MODE == "stubborn":
        say(events.Started(run="x", device="cpu", precision="float32", steps=1, parameters=1))
        time.sleep(60)
    threading.Thread(target=listen, daemon=True).start()
    command = first
    while command is not None:
        {events.Fit: fit, events.Refine: refine, events.Choose: choose}[type(command)](command)
        command = commands.get(timeout=60)


if __name__ == "__main__":
    main(*sys.argv[1:])
