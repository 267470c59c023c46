"""What napari does again and again, done once or not at all: nothing looks different."""

from types import SimpleNamespace

import numpy as np
from vispy.visuals.text import text

from cmfnet_napari.gui.views.spared import letters_once


def canvas():
    """As much of a canvas as knows its letters."""
    fonts = SimpleNamespace(_renderer=text.SDFRendererCPU())
    return SimpleNamespace(
        canvas=SimpleNamespace(font_info=lambda: SimpleNamespace(font_manager=fonts))
    )


def write(viewer, letter, at, page):
    fonts = viewer.canvas.font_info().font_manager
    fonts._renderer.render_to_texture(letter, page, at, (10, 15))


def test_a_letter_is_computed_once_for_all_canvases_and_is_the_same(monkeypatch):
    computed, compute = [], text._calc_distance_field
    monkeypatch.setattr(text, "_calc_distance_field", lambda *a: computed.append(1) or compute(*a))
    letters = np.zeros((2, 60, 40), np.uint8)
    letters[0, 20:40, 15:25] = letters[1, 25:35, 10:30] = 255
    plain, one, other = canvas(), canvas(), canvas()
    letters_once(one)
    letters_once(one)
    letters_once(other)
    for letter in letters:
        pages = np.zeros((3, 64, 64, 3), np.uint8)
        for viewer, page in zip((plain, one, other), pages, strict=True):
            write(viewer, letter, (7, 11), page)
            write(viewer, letter, (30, 40), page)
        assert pages[0].any()
        np.testing.assert_array_equal(pages[1], pages[0])
        np.testing.assert_array_equal(pages[2], pages[0])
    assert len(computed) == 2 * (2 + 1)  # of each letter twice without it, once with it
