"""The presets: a row each, with its name, what it means in words, and what it changes.

Window, command line and scripts look them up; `config.py` checks the values.
"""

from __future__ import annotations

from typing import Any, NamedTuple

Settings = dict[str, Any]  # by name of a field of `Config`, which checks them


class Row(NamedTuple):
    """What a preset means to a user, and how it departs from the defaults of `Config`.

    One that is the published recipe stays as it is, from a base model and for a cohort too.
    """

    words: str
    changes: Settings
    published: bool = False


# What makes strokes on one patient enough: what they tell by themselves as the first contour and
# as a guide, and classes in balance. No CRF: however light, it shrank contours step by step
# (docs/measurements.md).
_ONE_PATIENT: Settings = {
    "stroke_maps": True,
    "normalisation": "instance",
    "class_balance": 1.0,
    "lambda_ct": 0.0,
    "lambda_mr": 0.0,
    "consistency": "sum",  # their weights were found with it
    "guide": 2.0,
    "guide_end": 1.0,
    "schedule": "cosine",
    "hold_out": True,
    "keep_marked": True,
}
# In the order of the window's list.
ROWS = {
    "quick": Row(
        "A first result on any computer",
        {
            **_ONE_PATIENT,
            "spacing": 3.0,
            "region_margin": 30.0,
            "width": 8,
            "dropout": 0.0,
            "patch": (32, 48, 48),
            "batch": 1,
            "learning_rate": 3e-4,
            "average": 0.95,
            "steps": 300,
            "minutes": 2.0,
        },
    ),
    "standard": Row(
        "Finer; for a computer with a GPU",
        {
            **_ONE_PATIENT,
            "spacing": 2.0,
            "region_margin": 40.0,
            "dropout": 0.1,
            "patch": (48, 96, 96),
            "batch": 2,
            "learning_rate": 3e-4,
            "average": 0.99,
            "steps": 2000,
            "minutes": 10.0,
        },
    ),
    "paper": Row("The published recipe; hours on a GPU", {}, published=True),
}


def published(name: str) -> bool:
    """Whether a preset is the published recipe."""
    return name in ROWS and ROWS[name].published
