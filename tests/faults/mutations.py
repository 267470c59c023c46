"""Feeds damaged files of every kind to the readers, in processes that may die of them.

``python -m tests.faults.mutations --count 2000 [--seed 0] [--json FILE] [--keep FOLDER]``
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import queue
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psutil

from tests.faults.mutate import Mutator
from tests.faults.mutate_samples import opened, write_samples
from tests.forked import Forked

SECONDS = 10  # of computing, for one file
PATIENCE = 4  # times as long, for one that computes nothing or is kept from it
START_SECONDS = 120
_OFTEN = (
    "case.json",
    "strokes.sqlite",
    "events.jsonl",
    "config.json",
    "open.csv",
    "RS.dcm",
    "SEG.dcm",
)
FAILURES = ("crash", "traceback", "hang", "memory", "unclear", "changed", "touched")


@dataclass
class Outcome:
    """What became of the files.

    Attributes
    ----------
    files, loaded, refused : int
        All; read as if nothing were; refused with a clear sentence.
    crash, traceback, hang, memory, unclear, changed, touched : int
        The process died; an error nobody foresaw; more than 10 s of computing; more than 2 GiB; a
        sentence that tells of source code; voxels, place or labels are others than those that
        other programs read, and nothing was said; a file elsewhere was written or a program
        started.
    kinds : dict
        Loaded, refused and failed files of each kind.
    notes : list of str
        What exactly went wrong.
    """

    files: int = 0
    loaded: int = 0
    refused: int = 0
    crash: int = 0
    traceback: int = 0
    hang: int = 0
    memory: int = 0
    unclear: int = 0
    changed: int = 0
    touched: int = 0
    kinds: dict[str, dict[str, int]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def failures(self) -> int:
        """Files that were neither read nor refused in words."""
        return sum(getattr(self, name) for name in FAILURES)

    def add(self, kind: str, outcome: str, note: str) -> None:
        """Count a file."""
        self.files += 1
        setattr(self, outcome, getattr(self, outcome) + 1)
        of_kind = self.kinds.setdefault(kind, {"loaded": 0, "refused": 0, "failed": 0})
        of_kind[outcome if outcome in of_kind else "failed"] += 1
        if outcome in FAILURES:
            self.notes.append(f"{note}: {outcome}")


class Reader:
    """The process that reads; started again when it died."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self.process: Forked | None = None

    def read(self, kind: str, path: Path) -> tuple[str, str]:
        """Outcome of one file and why."""
        if self.process is None:
            self._start()
        with contextlib.suppress(BrokenPipeError):  # it died: so will the answer say
            self.process.stdin.write(f"{kind}\t{path}\n")
            self.process.stdin.flush()
        answer = self._answer()
        if answer is None:
            self.close()
            return "hang", f"no answer within {SECONDS} s"
        if answer:
            said = json.loads(answer)
            return said["outcome"], said["why"]
        code = self.process.wait()
        self.close()
        name = signal.Signals(-code).name if code < 0 else f"exit status {code}"
        return "crash", name

    def _answer(self) -> str | None:
        """Its next line; None when it takes too long."""
        begun, end = self._computed(), time.monotonic() + PATIENCE * SECONDS
        while time.monotonic() < end and self._computed() - begun < SECONDS:
            with contextlib.suppress(queue.Empty):
                return self._lines.get(timeout=SECONDS / 20)
        return None

    def _computed(self) -> float:
        try:
            times = psutil.Process(self.process.pid).cpu_times()
        except psutil.NoSuchProcess:
            return 0.0
        return times.user + times.system

    def close(self) -> None:
        """End the process."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process.close()
            self.process = None

    def _start(self) -> None:
        home = str(self._home)
        self.process = Forked(
            "training",
            "tests.faults.mutate_reader:main",
            stderr=False,
            folder=self._home,
            environment={
                **os.environ,
                "PYTHONDONTWRITEBYTECODE": "1",
                "OMP_NUM_THREADS": "1",
                "HOME": home,
                "TMPDIR": home,
                "XDG_DATA_HOME": home,
                "MPLCONFIGDIR": f"{home}-matplotlib",  # it makes a folder when it is imported
            },
        )
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=_forward, args=(self.process, self._lines), daemon=True).start()
        if self._lines.get(timeout=START_SECONDS) != "ready\n":
            raise RuntimeError("the reader did not start")


def run(count: int, folder: Path, number: int = 0, keep: Path | None = None) -> Outcome:
    """Damage and read so many files; what fails is copied to `keep`.

    The samples and the home folder of the reader lie beside the file that is read, and must stay
    as they are.
    """
    samples, home, place = folder / "samples", folder / "home", folder / "place"
    kinds = write_samples(samples)
    home.mkdir()
    mutator, outcome, reader = Mutator(number), Outcome(), Reader(home)
    beside = _snapshot((samples, home))
    try:
        for index in range(count):
            kind = list(kinds)[index % len(kinds)]
            sample = mutator.chance.choice(kinds[kind])
            shutil.rmtree(place, ignore_errors=True)
            shutil.copytree(sample, place, symlinks=True)
            file = mutator.chance.choice(_files(place))
            for _ in range(mutator.chance.choice((1, 1, 2))):
                mutator.mutate(file)
            target = opened(place)
            mine = (place,) if kind != "case" else ()
            before = _snapshot(mine)
            result, why = reader.read(kind, target)
            now = _snapshot((samples, home))
            if result in ("loaded", "refused") and (now, _snapshot(mine)) != (beside, before):
                result, why = "touched", "files beside it changed"
            beside = now
            note = f"{kind} {index} ({file.relative_to(place)}): {why}"
            outcome.add(kind, result, note)
            if keep is not None and result in FAILURES:
                shutil.copytree(place, keep / f"{result}-{kind}-{number}-{index}")
    finally:
        reader.close()
    return outcome


def _files(folder: Path) -> list[Path]:
    """What may be damaged; what is read first, and more often, several times."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != "case.lock")
    return files + [p for p in files if p.name in _OFTEN for _ in range(3)]


def _snapshot(folders: tuple[Path, ...]) -> Counter:
    """Every file and folder with its size and time of change."""
    found: Counter = Counter()
    for folder in folders:
        for path in folder.rglob("*"):
            status = path.lstat()
            found[(str(path), status.st_size, status.st_mtime_ns, status.st_mode)] += 1
    return found


def _forward(process: Forked, lines: queue.Queue[str]) -> None:
    for line in process.stdout:
        lines.put(line)
    lines.put("")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=2000, help="files")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the outcome here")
    parser.add_argument("--keep", type=Path, help="copy what fails here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        outcome = run(options.count, Path(folder), options.seed, options.keep)
    print(json.dumps(asdict(outcome), indent=1))
    if options.json:
        options.json.write_text(json.dumps(asdict(outcome)), encoding="utf-8")
    sys.exit(bool(outcome.failures))


if __name__ == "__main__":
    main()
