"""Time at work from the moments at which something was done."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

PAUSE_S = 60.0  # who draws or edits nothing for so long does something else


def time_spent(times: Iterable[float], pause: float = PAUSE_S) -> float:
    """Seconds between moments that follow each other within a pause; the first counts none."""
    gaps = np.diff(np.array(sorted(times)))
    return float(gaps[gaps <= pause].sum())
