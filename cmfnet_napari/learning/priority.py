"""The window goes first. It imports next to nothing: the worker's own imports are work, too."""

from __future__ import annotations

import psutil


def step_back() -> None:
    """Let the window go first: its event loop must never wait for training."""
    lowest = psutil.BELOW_NORMAL_PRIORITY_CLASS if psutil.WINDOWS else 10
    psutil.Process().nice(lowest)
