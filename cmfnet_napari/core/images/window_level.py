"""Window and level: presets, and what dragging the mouse does to them."""

from __future__ import annotations

Limits = tuple[float, float]

# Level and width, HU: the usual presets of a radiology workstation.
CT_PRESETS = {
    "Soft tissue": (40.0, 400.0),
    "Bone": (400.0, 1800.0),
    "Brain": (40.0, 80.0),
    "Lung": (-600.0, 1500.0),
    "Abdomen": (40.0, 350.0),
}
_SHARE_A_PIXEL = 1 / 200  # of the window's width: 200 pixels double it, fine where it is narrow


def to_limits(level: float, width: float) -> Limits:
    """Values shown black and white (DICOM PS3.3 C.11.2.1.2, linear, without its half steps)."""
    return level - width / 2, level + width / 2


def to_level_width(limits: Limits) -> tuple[float, float]:
    """Level and width of the values shown black and white."""
    low, high = limits
    return (low + high) / 2, high - low


def dragged(limits: Limits, right: float, down: float, narrowest: float) -> Limits:
    """Limits after the mouse was dragged, the way workstations do it.

    Parameters
    ----------
    limits : (float, float)
        Values shown black and white when the drag began.
    right, down : float
        Pixels since then. To the right the window gets wider, downwards the level gets higher
        and so the picture darker.
    narrowest : float
        Width that is never gone below, in the image's units.
    """
    level, width = to_level_width(limits)
    step = max(width, narrowest) * _SHARE_A_PIXEL
    return to_limits(level + down * step, max(width + right * step, narrowest))
