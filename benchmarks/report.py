"""What every benchmark reports with: rows, a table, JSON, and peak memory of a call."""

from __future__ import annotations

import json
import multiprocessing
import os
import platform
import resource
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import torch
from rich.table import Table

_MIB = 2**20


@dataclass(frozen=True)
class Row:
    """One figure.

    Attributes
    ----------
    section : str
        Which benchmark it is of.
    what : str
        What was measured.
    ours : float
        This project's figure.
    theirs : float or None
        The same of what it is compared with, in the same run.
    unit : str
        Of both.
    goal : str
        What was aimed at, in words.
    """

    section: str
    what: str
    ours: float
    theirs: float | None
    unit: str
    goal: str = ""

    @property
    def ratio(self) -> float | None:
        """How many times less ours is; None when there is nothing to divide."""
        return self.theirs / self.ours if self.theirs is not None and self.ours else None


def run_alone(target: Callable[..., Any], *args: Any) -> tuple[Any, float]:
    """Run a function of a module in a fresh process.

    Returns
    -------
    result
        What it returned (picklable).
    peak : float
        Peak resident memory of the process above what it held just before the call, MiB.
    """
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_measured, target, args).result()


def _measured(target: Callable[..., Any], args: tuple[Any, ...]) -> tuple[Any, float]:
    return with_peak(lambda: target(*args))


def with_peak(work: Callable[[], Any]) -> tuple[Any, float]:
    """Result of a call in this process and its peak memory above what was held before, MiB.

    In a process that has freed memory before, some of the call's lies in that and is not seen.
    """
    before = psutil.Process().memory_info().rss
    _forget_peak()
    result = work()
    return result, (_peak() - before) / _MIB


def _forget_peak() -> None:
    """Linux: the peak starts anew here. Elsewhere it goes back to the start of the process."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return


def _peak() -> int:
    """Peak resident memory of this process, bytes."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return next(1024 * int(line.split()[1]) for line in status if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        unit = 1 if sys.platform == "darwin" else 1024
        return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def table(rows: Sequence[Row]) -> Table:
    """All rows as a rich table, a line between the sections."""
    shown = Table("section", "what", "ours", "theirs", "unit", "ratio", "goal")
    for i, row in enumerate(rows):
        shown.add_row(
            row.section,
            row.what,
            _number(row.ours),
            _number(row.theirs),
            row.unit,
            _number(row.ratio),
            row.goal,
            end_section=i + 1 < len(rows) and rows[i + 1].section != row.section,
        )
    return shown


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def machine() -> dict[str, Any]:
    """Where and with what the figures were taken."""
    cuda = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "gpu": cuda,
    }


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())


def write_json(rows: Sequence[Row], path: Path) -> None:
    """Machine and rows as one JSON object."""
    values = [{**asdict(row), "ratio": row.ratio} for row in rows]
    text = json.dumps({"machine": machine(), "rows": values}, indent=2)
    path.write_text(text + "\n", encoding="utf-8")
