"""Kills the window, its worker or both at random moments, then opens the case again.

``python -m tests.faults.kills --count 200 [--seed 0] [--json FILE]``; needs a display. Ctrl+C
ends it and tells what was seen so far.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import queue
import random
import signal
import sys
import tempfile
import threading
import time
import zlib
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import psutil
import SimpleITK as sitk

from cmfnet_napari.core.case.folder import Case, open_case
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.fit.model_card import MODEL_FILE, read_card
from cmfnet_napari.core.fit.runs import interrupted_run
from cmfnet_napari.core.review.check_log import check_log
from cmfnet_napari.core.review.log_entry import LOG_FILE
from cmfnet_napari.core.strokes.corrections import Corrections
from cmfnet_napari.core.strokes.entries import Correction
from tests.faults.checksum import checksum
from tests.forked import Forked

PROMISE_SECONDS = 0.5  # a stroke is on disk by then
ORPHAN_SECONDS = 30
START_SECONDS = 300  # who has not said it by then never will
SHAPE, SPACING = (12, 20, 16), (3.0, 0.9, 1.1)  # z, y, x


@dataclass
class Outcome:
    """What all kills together did.

    Attributes
    ----------
    kills, kills_of_worker : int
        Processes ended with SIGKILL; those of them that were workers.
    strokes, corrections : int
        Drawn, erased, undone, redone or automatic; edits of the contour, or taken back: at least
        half a second before a kill.
    lost : int
        Of those, not found in the journal afterwards.
    not_shown : int
        Times that the contour in the window was not the model's with the corrections.
    unopenable, wrong_undo, orphans, damaged_models, damaged_logs : int
        Cases that did not open; journals whose undo does not lead back to nothing; workers that
        outlived their window by 30 s; models that could not be read; review logs that look as if
        somebody had changed them.
    not_seen : int
        Kills of a window with a patient that the case does not know of afterwards.
    fits, resumed, finished, broken_off : int
        Fits begun, continued after a kill, and completed; times that one could be gone on with.
    notes : list of str
        What exactly went wrong.
    """

    kills: int = 0
    kills_of_worker: int = 0
    strokes: int = 0
    corrections: int = 0
    lost: int = 0
    not_shown: int = 0
    unopenable: int = 0
    wrong_undo: int = 0
    orphans: int = 0
    not_seen: int = 0
    damaged_models: int = 0
    damaged_logs: int = 0
    fits: int = 0
    resumed: int = 0
    finished: int = 0
    broken_off: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Whether nothing was lost."""
        return not (
            self.lost
            + self.not_shown
            + self.unopenable
            + self.wrong_undo
            + self.orphans
            + self.not_seen
            + self.damaged_models
            + self.damaged_logs
        )


class Window:
    """One run of the scripted session, and what it said."""

    def __init__(self, folder: Path, seed: int, fit: bool) -> None:
        cases = {
            "CMFNET_CASES": str(folder / "cases"),
            "CMFNET_PREFERENCES": str(folder / "window.json"),
            "CMFNET_REVIEW": str(folder / "review"),
            "CMFNET_SAVE_SECONDS": "0",
            "OMP_NUM_THREADS": "1",
        }
        self.process = Forked(
            "window",
            "tests.faults.window_session:main",
            folder,
            seed,
            int(fit),
            stderr=False,
            environment={**os.environ, **cases},
        )
        self.said: list[dict] = []
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait_for(self, what: str, seconds: float) -> dict | None:
        """Collect what it says until it says this; None when it never did."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            try:
                line = self._lines.get(timeout=left)
            except queue.Empty:
                return None
            if line is None:
                return None
            if (said := self._take(line)) and said["what"] == what:
                return said
        return None

    def kill(self) -> float:
        """End it at once; return when."""
        self.process.kill()
        moment = time.time()
        self.process.wait()
        self._reader.join()
        while (line := self._lines.get()) is not None:
            self._take(line)
        return moment

    def _take(self, line: str) -> dict | None:
        """Keep a line of ours; libraries print too, and the last line may be cut."""
        try:
            self.said.append(json.loads(line))
        except ValueError:
            return None
        return self.said[-1]

    def _read(self) -> None:
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put(None)


def run(count: int, folder: Path, seed: int = 0) -> Outcome:
    """Kill so many times, on one case that goes on and on; fewer when it is interrupted."""
    outcome, chance = Outcome(), random.Random(seed)
    write_patient(folder)
    number = 0
    with contextlib.suppress(KeyboardInterrupt):
        while outcome.kills < count:
            number += 1
            _round(folder, seed * 100_000 + number, chance, outcome)
            print(f"{outcome.kills} of {count} kills, {outcome.lost} lost", file=sys.stderr)
    return outcome


def _round(folder: Path, seed: int, chance: random.Random, outcome: Outcome) -> None:
    fit = chance.random() < 0.25
    window = Window(folder, seed, fit)
    worker = None
    if chance.random() < 0.1:  # while it starts
        time.sleep(chance.uniform(0, 5))
    elif window.wait_for("ready", START_SECONDS) is None:
        outcome.unopenable += 1
        outcome.notes.append(f"seed {seed}: the window did not open the case")
    elif fit and (begun := window.wait_for("fit", START_SECONDS)):
        outcome.fits += 1
        outcome.resumed += begun["step"] > 0
        worker = begun["worker"]
        if chance.random() < 0.5:
            _wait_for_state(folder)
        time.sleep(chance.uniform(0, 8))
        if chance.random() < 0.6 and _kill_worker(worker):
            outcome.kills += 1
            outcome.kills_of_worker += 1
            if chance.random() < 0.5:
                window.wait_for("failed", 10)
    else:
        time.sleep(chance.uniform(0, 2.5))
    others = _workers(window.process.pid) | ({worker} if worker is not None else set())
    moment = window.kill()
    outcome.kills += 1
    outcome.finished += any(line["what"] == "finished" for line in window.said)
    outlived = [process for process in others if not _gone(process)]
    outcome.orphans += len(outlived)
    outcome.notes += [f"seed {seed}: a worker outlived its window" for _ in outlived]
    _check(folder, seed, window.said, moment, outcome)


def _wait_for_state(folder: Path) -> None:
    """Until a fit can be gone on with; one that ended meanwhile is not waited for long.

    The first state is of before its first step: the next one counts.
    """
    end, first = time.monotonic() + ORPHAN_SECONDS, set()
    while time.monotonic() < end:
        with contextlib.suppress(FileNotFoundError):  # one that has just been replaced, or ended
            states = {path.stat().st_ino for path in folder.glob("cases/*/runs/*/state.pt")}
            first = first or states
            if states - first:
                return
        time.sleep(0.05)


def _workers(window: int) -> set[int]:
    """Workers of a window: of its fit, and the one that waits for the next."""
    with contextlib.suppress(psutil.NoSuchProcess):
        children = psutil.Process(window).children(recursive=True)
        return {child.pid for child in children if "worker" in child.cmdline()}
    return set()


def _check(folder: Path, seed: int, said: list[dict], moment: float, outcome: Outcome) -> None:
    """Open the case and look for everything that was promised."""
    promised = [line for line in said if "sum" in line and line["time"] < moment - PROMISE_SECONDS]
    cases = list((folder / "cases").glob("*/case.json"))
    if not cases:  # killed before there was one
        outcome.lost += len(promised)
        return
    try:
        case = open_case(cases[0].parent)
    except UserError as error:
        outcome.unopenable += 1
        outcome.notes.append(f"seed {seed}: {error}")
        return
    if any(line["what"] == "ready" for line in said) and not case.unclean:
        outcome.not_seen += 1
        outcome.notes.append(f"seed {seed}: the case says that its window was closed")
    outcome.broken_off += interrupted_run(case.runs()) is not None
    states = _states(case)
    drawn = [line for line in promised if line["what"] != "ready"]
    lost = [line for line in promised if (line["sum"], line["words"]) not in states]
    corrections = sum(line["what"] in ("correction", "take back") for line in drawn)
    outcome.corrections += corrections
    outcome.strokes += len(drawn) - corrections
    outcome.not_shown += sum(not line["shown"] for line in said if "shown" in line)
    outcome.lost += len(lost)
    outcome.notes += [f"seed {seed}: {line['what']} was lost" for line in lost]
    if not _undoes(case):
        outcome.wrong_undo += 1
        outcome.notes.append(f"seed {seed}: undoing everything does not lead back to nothing")
    outcome.damaged_models += _damaged_models(case)
    if (case.folder / LOG_FILE).exists() and not (check := check_log(case.folder, case.key)).ok:
        outcome.damaged_logs += 1
        outcome.notes.append(f"seed {seed}: {check.broken}{check.missing}")
    case.close()


def _states(case: Case) -> set[tuple[int, int]]:
    """Checksums of scribbles and corrections after every entry of the journal."""
    scribbles = np.zeros(case.study.grid.shape, np.uint8)
    corrections = Corrections(scribbles.shape)
    states = {(zlib.crc32(scribbles), checksum(corrections.words(scribbles)))}
    for number, entry in case.journal.entries():
        corrections.take(number, entry)
        if not isinstance(entry, Correction):
            scribbles.reshape(-1)[entry.voxels] = entry.new
        states.add((zlib.crc32(scribbles), checksum(corrections.words(scribbles))))
    return states


def _undoes(case: Case) -> bool:
    """Whether all that stands, taken back one by one, leaves nothing."""
    strokes, corrected = case.scribbles().reshape(-1), case.corrections().codes.reshape(-1)
    standing = [*case.journal.standing(), *case.journal.standing_corrections()]
    for _, entry in sorted(standing, key=lambda pair: -pair[0]):
        now = corrected if isinstance(entry, Correction) else strokes
        if not np.array_equal(now[entry.voxels], entry.new):
            return False
        now[entry.voxels] = entry.old
    return not strokes.any() and not corrected.any()


def _damaged_models(case: Case) -> int:
    damaged = 0
    for run_folder in case.runs():
        if (run_folder / MODEL_FILE).exists():
            try:
                read_card(run_folder)
            except UserError:
                damaged += 1
    return damaged


def _kill_worker(worker: int) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(worker).kill()
        return True
    return False


def _gone(process: int) -> bool:
    try:
        psutil.Process(process).wait(ORPHAN_SECONDS)
    except psutil.NoSuchProcess:
        return True
    except psutil.TimeoutExpired:
        psutil.Process(process).kill()
        return False
    return True


def write_patient(folder: Path) -> None:
    """A body in air with a bright ball, in CT and MR, small enough to train on in seconds."""
    z, y, x = np.indices(SHAPE)
    body = ((y - 10) / 8.5) ** 2 + ((x - 8) / 7) ** 2 <= 1
    ball = ((z - 6) / 3) ** 2 + ((y - 10) / 4) ** 2 + ((x - 8) / 4) ** 2 <= 1
    noise = np.random.default_rng(0).normal(0, 8, SHAPE)
    images = {
        "ct": np.where(body, 40 + 40 * ball, -1000),
        "mr": np.where(body, 200 + 150 * ball, 5),
    }
    for name, array in images.items():
        image = sitk.GetImageFromArray((array + noise).astype(np.int16))
        image.SetSpacing(SPACING[::-1])
        sitk.WriteImage(image, str(folder / f"{name}.nii.gz"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200, help="kills")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the outcome here")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what was seen so far is told
    with tempfile.TemporaryDirectory() as folder:
        outcome = run(options.count, Path(folder), options.seed)
    print(json.dumps(asdict(outcome), indent=1))
    if options.json:
        options.json.write_text(json.dumps(asdict(outcome)), encoding="utf-8")
    sys.exit(not outcome.good)


if __name__ == "__main__":
    main()
