"""Every fault on purpose, and a table of what was lost.

``xvfb-run -a python -m tests.faults [--kills 200] [--files 2000] [--fits 20] [--seed 0]``
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.faults import disk, kills, memory, mutations

Rows = list[tuple[str, object]]


def main() -> int:
    """Run all, print a table in Markdown; 1 when anything was lost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--files", type=int, default=2000, help="damaged files")
    parser.add_argument("--fits", type=int, default=20, help="fits that run out of memory")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    parts: list[Callable[[Path], tuple[Rows, bool]]] = [
        lambda folder: killed(options.kills, folder, options.seed),
        lambda folder: damaged(options.files, folder, options.seed),
        lambda folder: out_of_memory(options.fits, folder, options.seed),
        full_disk,
    ]
    print("| fault | count |\n|---|---|")
    good = True
    for part in parts:
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            rows, fine = part(Path(folder))
        good &= fine
        for what, count in rows:
            print(f"| {what} | {count} |")
        print(f"| … in | {time.monotonic() - began:.0f} s |", flush=True)
    return not good


def killed(count: int, folder: Path, seed: int) -> tuple[Rows, bool]:
    """Kills of the window and its worker."""
    outcome = kills.run(count, folder, seed)
    print(*outcome.notes, sep="\n", file=sys.stderr)
    rows: Rows = [
        ("kills (`SIGKILL`) of the window, its worker or both", outcome.kills),
        ("… of them of the worker", outcome.kills_of_worker),
        ("strokes drawn half a second or more before a kill", outcome.strokes),
        ("**strokes lost**", outcome.lost),
        ("**cases that could not be opened**", outcome.unopenable),
        ("journals whose undo does not lead back to nothing", outcome.wrong_undo),
        ("fits begun; gone on with after a kill", f"{outcome.fits}; {outcome.resumed}"),
        ("workers that outlived their window", outcome.orphans),
        ("models that could not be read", outcome.damaged_models),
        ("review logs that seem changed", outcome.damaged_logs),
    ]
    return rows, outcome.good


def damaged(count: int, folder: Path, seed: int) -> tuple[Rows, bool]:
    """Damaged files of every kind."""
    outcome = mutations.run(count, folder, seed)
    print(*outcome.notes, sep="\n", file=sys.stderr)
    rows: Rows = [
        (f"damaged files, of {len(outcome.kinds)} kinds", outcome.files),
        ("… read; refused in a sentence", f"{outcome.loaded}; {outcome.refused}"),
        ("**crashes**", outcome.crash),
        ("tracebacks; unclear sentences", f"{outcome.traceback}; {outcome.unclear}"),
        ("**hangs** (10 s); more than 2 GiB", f"{outcome.hang}; {outcome.memory}"),
        ("files touched elsewhere, programs started", outcome.touched),
    ]
    return rows, not outcome.failures


def out_of_memory(count: int, folder: Path, seed: int) -> tuple[Rows, bool]:
    """Fits whose memory runs out."""
    outcome = memory.run(count, folder, seed)
    rows: Rows = [
        ("fits; times that memory ran out in them", f"{outcome.fits}; {outcome.failures}"),
        ("… finished; given up in a sentence", f"{outcome.finished}; {outcome.given_up}"),
    ]
    return rows, outcome.finished + outcome.given_up == outcome.fits


def full_disk(_folder: Path) -> tuple[Rows, bool]:
    """Strokes and a fit on a disk that is full for a time."""
    try:
        strokes, fit = disk.strokes_on_a_full_disk(), disk.fit_on_a_full_disk()
    except disk.NoDiskError as error:
        return [("full disk", f"not run: {error}")], True
    rows: Rows = [
        (
            "strokes on a disk that fills up; refused at first; lost",
            f"{strokes['drawn']}; {strokes['refused']}; {strokes['lost']}",
        ),
        (
            "pauses of a fit on a full disk; finished; half-written files left",
            f"{fit['paused']}; {fit['finished']}; {fit['left']}",
        ),
    ]
    return rows, not strokes["lost"] and fit["finished"] == 1 and not fit["left"]


if __name__ == "__main__":
    sys.exit(main())
