"""A scripted user in the real window: ``python -m tests.faults.window_session FOLDER SEED FIT``.

Opens the patient of FOLDER and draws, erases, edits the contour, takes edits back, undoes, redoes,
turns the planes and, if FIT is 1, trains, until it is killed. Every line it prints is JSON: what it
did, when, the checksums of the scribbles and corrections it then saw, and whether the contour on
the screen is the model's with these. Nothing here looks at the journal.
"""

from __future__ import annotations

import json
import random
import sys
import time
import zlib
from functools import partial
from pathlib import Path

import napari
import numpy as np
from napari.layers import Labels
from qtpy.QtCore import QTimer

from cmfnet_napari.core.strokes.corrections import Words, contour_of_record
from cmfnet_napari.gui.app import add_dock
from cmfnet_napari.gui.patient.opened import open_files
from tests.case_runs import write_run
from tests.faults.checksum import checksum
from tests.forked import CAN_FORK, command

PAUSE_MS = (5, 60)
RECORDED_MS = 20  # an edit is recorded with the next event
TINY = {"width": 4, "steps": 40, "preview_seconds": 2.0, "precision": "float32"}


class User:
    """Draws at random; the same seed draws the same."""

    def __init__(self, folder: Path, seed: int, fit: bool) -> None:
        self.random, self.fit, self.pause = random.Random(seed), fit, 0
        dock = add_dock(napari.Viewer(show=True))
        self.session, self.workbench = dock.session, dock.workbench
        if CAN_FORK:
            self.workbench.training.command = worker
        self.session.opened.connect(self.begin)
        self.workbench.training.failed.connect(
            lambda reason, _details: say("failed", reason=reason)
        )
        self.workbench.training.started.connect(self.tell_worker)
        self.workbench.training.finished.connect(lambda _event: say("finished"))
        self.session.open(partial(open_files, folder / "ct.nii.gz", folder / "mr.nii.gz"))

    def begin(self) -> None:
        """Start once the patient is there, with a contour to edit."""
        if not self.session.case.runs():
            labels = np.zeros(self.session.case.study.grid.shape, np.uint8)
            labels[3:9, 6:14, 5:11] = 1
            self.workbench.result.read(write_run(self.session.case, labels))
        self.tell("ready")
        if self.fit:
            self.draw_enough()
            training = self.workbench.training
            if training.interrupted is None:
                training.start("quick", **TINY)
            else:
                training.resume()
        self.correct()  # first: a slow machine does few things before it is killed
        self.next()

    def next(self) -> None:
        pause, self.pause = max(self.pause, self.random.randint(*PAUSE_MS)), 0
        QTimer.singleShot(pause, self.act)

    def act(self) -> None:
        """One thing a user does."""
        actions = {self.paint: 60, self.erase: 8, self.undo: 16, self.redo: 10, self.turn: 4}
        actions |= {self.automatic: 2, self.correct: 40, self.take_back: 3}
        self.random.choices(list(actions), list(actions.values()))[0]()
        self.next()

    def paint(self, code: int | None = None) -> None:
        code = self.random.choice((1, 2)) if code is None else code
        self.draw(self.session.scribbles, code)
        self.tell_soon("stroke")

    def correct(self) -> None:
        if self.workbench.result.exists:
            self.draw(self.workbench.result.prediction, self.random.choice((0, 1)))
            self.tell_soon("correction")

    def tell_soon(self, what: str) -> None:
        """Once it is recorded: a stroke may cover corrections, an edit is compared; then go on."""
        QTimer.singleShot(RECORDED_MS, lambda: self.tell(what))
        self.pause = 2 * RECORDED_MS

    def take_back(self) -> None:
        at = tuple(self.random.randrange(n) for n in self.session.scribbles.data.shape)
        self.session.corrections.take_back_around(at)
        self.tell("take back")

    def draw(self, layer: Labels, code: int) -> None:
        dims = self.session.viewer.dims
        shape = layer.data.shape
        at = [self.random.randrange(n) for n in shape]
        at[dims.order[0]] = dims.current_step[dims.order[0]]
        with layer.block_history():
            for step in range(4):
                at[dims.order[2]] = min(at[dims.order[2]] + step, shape[dims.order[2]] - 1)
                layer.paint(tuple(at), code)

    def erase(self) -> None:
        self.paint(0)

    def undo(self) -> None:
        self.session.undo()
        self.tell("undo")

    def redo(self) -> None:
        self.session.redo()
        self.tell("redo")

    def turn(self) -> None:
        self.workbench.planes.show(self.random.choice(("axial", "sagittal", "coronal")))

    def automatic(self) -> None:
        strokes = np.zeros_like(self.session.scribbles.data)
        strokes[self.random.randrange(len(strokes)), :, self.random.randrange(8)] = 1
        self.session.recorder.add(strokes, "auto-background")
        self.tell("automatic")

    def draw_enough(self) -> None:
        """Both classes, so that training can begin."""
        strokes = np.zeros_like(self.session.scribbles.data)
        strokes[5, 10, 7:10], strokes[5, 3, 6:10] = 2, 1
        self.session.recorder.replace(strokes)
        self.tell("import")

    def tell(self, what: str) -> None:
        scribbles = np.ascontiguousarray(self.session.scribbles.data)
        words = self.session.corrections.words
        say(what, sum=zlib.crc32(scribbles), words=checksum(words), shown=self.shows(words))

    def shows(self, words: Words) -> bool:
        """Whether the contour's layer is the model's labels with the corrections, no more."""
        result = self.workbench.result
        if not result.exists:
            return True
        return np.array_equal(result.prediction.data, contour_of_record(result.model_labels, words))

    def tell_worker(self, started: object) -> None:
        say("fit", worker=self.workbench.training.process_id, step=started.from_step)


def worker(case: Path) -> list[str]:
    """Command line of the real worker, which need not import anything."""
    return command("training", "tests.learning.programs:cmfnet", "worker", str(case))


def say(what: str, **values: object) -> None:
    print(json.dumps({"what": what, "time": time.time(), **values}), flush=True)


def main(folder: str, seed: int, fit: int) -> None:
    user = User(Path(folder), seed, bool(fit))
    napari.run()
    del user  # it lives until here


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
