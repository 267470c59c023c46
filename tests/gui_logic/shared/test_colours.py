"""What lies beside each other in a view can be told apart, whatever colours one sees.

``python -m tests.gui_logic.shared.test_colours`` prints the table of docs/measurements.md.
"""

import numpy as np
import pytest
from skimage.color import deltaE_ciede2000, rgb2lab

from cmfnet_napari.core.strokes.scribbles import DEFAULT_CLASSES, PALETTE, REFERENCE_COLOR
from cmfnet_napari.gui.drawing import proposed_layer, reshaping
from cmfnet_napari.gui.patient.classes import (
    provisional_colors,
    scribble_colors,
    segmentation_colors,
)

# Machado, Oliveira and Fernandes (2009), severity 1.0, on linear RGB.
SEES = {
    "all colours": np.eye(3),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
    "tritanopia": np.array(
        [
            [1.255528, -0.076749, -0.178779],
            [-0.078411, 0.930809, 0.147602],
            [0.004733, 0.691367, 0.303900],
        ]
    ),
}
GREYS = np.linspace(0, 1, 21)[:, None] * np.ones(3)  # of a CT, as they are on the screen
# CIEDE2000; 1 is what a trained eye sees of two areas side by side. An area has a border as well,
# and cyan is near to white, which among soft tissues there is none of.
LINE, PALE, AREA, ON_WHITE = 14, 12, 7, 5
ON_CT = {
    "preview": AREA,
    "provisional contour": PALE,
    "compared with": ON_WHITE,
    "removed by an edit": AREA,
}


def rgb(color):
    return np.array([int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)])


def first_class(colormap, code):
    return np.asarray(colormap.map(code), float).reshape(-1)[:3]


def over(color, opacity, below=GREYS):
    return opacity * np.asarray(color) + (1 - opacity) * below


def seen_as(colors, how):
    """As somebody sees it who lacks a kind of cone; sRGB, 0 … 1."""
    linear = np.where(colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4)
    linear = np.clip(linear @ SEES[how].T, 0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def apart(one, other):
    """CIEDE2000 on the grey where two are least apart, by who looks."""
    return {
        how: float(deltaE_ciede2000(rgb2lab(seen_as(one, how)), rgb2lab(seen_as(other, how))).min())
        for how in SEES
    }


def things():
    """What is drawn over grey, as in a view."""
    strokes, classes = scribble_colors(DEFAULT_CLASSES), DEFAULT_CLASSES
    added, removed = (rgb(reshaping._COLORS[code]) for code in (1, 2))
    proposed = proposed_layer._OPACITY
    return {
        "strokes of the background": over(first_class(strokes, 1), 0.9),
        "contour": over(first_class(segmentation_colors(classes), 1), 0.9),
        "filled contour": over(first_class(segmentation_colors(classes), 1), 0.4),
        "preview": over(first_class(provisional_colors(classes), 1), 0.4),
        "provisional contour": over(first_class(provisional_colors(classes), 1), 0.8),
        "compared with": over(rgb(REFERENCE_COLOR), 0.9),
        "added by an edit": over(added, proposed),
        "removed by an edit": over(removed, proposed),
    }


def pairs():
    """Those that lie beside each other, and how far they have to be apart."""
    seen = things()
    strokes, contour = "strokes of the background", "contour"
    for name, colors in seen.items():
        yield f"{name}, CT", apart(colors, GREYS), ON_CT.get(name, LINE)
    for one, other in (
        (strokes, contour),
        (contour, "preview"),
        (strokes, "preview"),
        (contour, "provisional contour"),
        (strokes, "provisional contour"),
        (contour, "compared with"),
        ("provisional contour", "compared with"),
        ("added by an edit", "removed by an edit"),
        ("added by an edit", "filled contour"),
        ("added by an edit", contour),
        ("removed by an edit", contour),
    ):
        yield f"{one}, {other}", apart(seen[one], seen[other]), LINE
    removed = rgb(reshaping._COLORS[2])
    for below in ("filled contour", contour):  # which has the colour of strokes, too
        taken = over(removed, proposed_layer._OPACITY, seen[below])
        yield f"removed by an edit over it, {below}", apart(taken, seen[below]), LINE


@pytest.mark.parametrize(
    ("name", "found", "wanted"), [pytest.param(*pair, id=pair[0]) for pair in pairs()]
)
def test_neighbours_are_told_apart_by_everybody(name, found, wanted):
    assert min(found.values()) >= wanted, found


def test_the_first_classes_are_those_that_everybody_sees_best():
    """Strokes of the second and third class, on every grey; green and pink come last."""
    on_grey = [min(apart(over(rgb(color), 0.9), GREYS).values()) for color in PALETTE]
    assert min(on_grey[:4]) >= 15
    assert max(on_grey[5:]) < 8


def main():
    columns = [*SEES]
    print(f"| beside each other | {' | '.join(columns)} |")
    print(f"|---|{'---|' * len(columns)}")
    for name, found, _ in pairs():
        print(f"| {name} | {' | '.join(f'{found[how]:.0f}' for how in columns)} |")


if __name__ == "__main__":
    main()
