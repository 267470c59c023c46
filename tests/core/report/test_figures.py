"""Pictures show the patient the way they are read."""

import subprocess
import sys

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.fit.events import Step
from cmfnet_napari.core.geometry.plane import Plane
from cmfnet_napari.core.images.grid import Grid
from cmfnet_napari.core.images.study import study_from_images
from cmfnet_napari.core.report import curves
from cmfnet_napari.core.report.curves import save_losses, save_training
from cmfnet_napari.core.report.figures import contour_figure, save_contours
from cmfnet_napari.core.report.method_pictures import Example, fill_with_examples

SHAPE, SPACING = (10, 30, 24), (4.0, 1.0, 1.5)


@pytest.fixture
def study():
    """40 mm high, 30 mm deep, 36 mm wide."""
    rng = np.random.default_rng(0)
    grid = Grid(SHAPE, SPACING)
    ct = rng.normal(0, 60, SHAPE).astype(np.float32)
    mr = rng.uniform(100, 900, SHAPE).astype(np.float32)
    return study_from_images(grid.to_image(ct), grid.to_image(mr))


@pytest.fixture
def corner():
    """Near the head, the front and the patient's left."""
    labels = np.zeros(SHAPE, np.uint8)
    labels[7:9, 3:7, 18:22] = 1
    return labels


@pytest.mark.parametrize(
    ("axis", "size", "letters"),
    [
        (0, (36.0, 30.0), ("R", "L", "A", "P")),
        (1, (36.0, 40.0), ("R", "L", "S", "I")),
        (2, (30.0, 40.0), ("A", "P", "S", "I")),
    ],
)
def test_planes_have_true_size_and_letters(axis, size, letters):
    plane = Plane(axis, 2, Grid(SHAPE, SPACING))
    left, right, bottom, top = plane.extent
    assert (right - left, bottom - top) == size
    assert plane.letters == letters


def test_head_is_up_and_axial_planes_start_at_the_front():
    array = np.arange(np.prod(SHAPE)).reshape(SHAPE)
    grid = Grid(SHAPE, SPACING)
    assert Plane(0, 3, grid).cut(array)[0, 5] == array[3, 0, 5]
    assert Plane(1, 3, grid).cut(array)[0, 5] == array[-1, 3, 5]
    assert Plane(2, 3, grid).cut(array)[0, 5] == array[-1, 5, 3]


def contour_middle(axes):
    """Middle of the drawn contour as a share of the picture's width and height from the top."""
    (collection,) = axes.collections
    points = np.concatenate([path.vertices for path in collection.get_paths() if len(path)])
    left, right = axes.get_xlim()
    bottom, top = axes.get_ylim()
    x, y = (points.min(axis=0) + points.max(axis=0)) / 2
    return (x - left) / (right - left), (y - top) / (bottom - top)


def test_contours_are_where_the_patient_has_them(study, corner):
    figure = contour_figure(study, corner)

    assert [axes.get_title() for axes in figure.axes] == [
        f"{m} {v}" for m in ("CT", "MR") for v in ("axial", "coronal", "sagittal")
    ]
    across = (18 + 2) / 24, (18 + 2) / 24, (3 + 2) / 30
    down = (3 + 2) / 30, 1 - (7 + 1) / 10, 1 - (7 + 1) / 10
    for axes, x, y in zip(figure.axes, across * 2, down * 2, strict=True):
        np.testing.assert_allclose(contour_middle(axes), (x, y), atol=0.02)
        assert axes.get_aspect() in (1.0, "equal")


def test_letters_and_a_scale_bar_of_true_length(study, corner):
    for axes in contour_figure(study, corner).axes:
        words = {text.get_text(): text.get_position() for text in axes.texts}
        assert words["R" if "sagittal" not in axes.get_title() else "A"][0] < 0.1
        (bar,) = axes.lines
        length = np.ptp(bar.get_xdata())
        assert f"{length:.0f} mm" in words


def test_one_slice_of_everything_is_in_the_picture(study, corner):
    reference = np.roll(corner, 1, axis=1)
    scribbles = np.zeros(SHAPE, np.uint8)
    scribbles[7, 4, 18:21] = 2
    scribbles[:, 5, 5] = 1
    figure = contour_figure(study, corner, reference, scribbles)
    (legend,) = figure.legends
    names = [text.get_text() for text in legend.get_texts()]
    assert names == ["prediction", "reference", "background strokes", "strokes of class 1"]
    assert len(figure.axes[0].collections) == 2


def test_written_without_a_display(tmp_path, study, corner, monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    path = save_contours(study, corner, tmp_path / "contours.png")
    picture = imread(path)
    assert picture.shape[1] > 1000
    orange = np.abs(picture[..., :3] - np.array([230, 159, 0]) / 255).max(axis=-1) < 0.05
    assert orange.sum() > 300
    assert [p.name for p in tmp_path.iterdir()] == ["contours.png"]


def test_ct_alone_and_nothing_predicted(tmp_path):
    grid = Grid(SHAPE, SPACING)
    ct = np.random.default_rng(0).normal(0, 60, SHAPE).astype(np.float32)
    alone = study_from_images(grid.to_image(ct))
    figure = contour_figure(alone, np.zeros(SHAPE, np.uint8))
    assert len(figure.axes) == 3
    assert save_contours(alone, np.zeros(SHAPE, np.uint8), tmp_path / "a.png").exists()


def test_folder_that_does_not_exist(tmp_path, study, corner):
    with pytest.raises(UserError, match="does not exist"):
        save_contours(study, corner, tmp_path / "nowhere" / "a.png")


def step(number, **losses):
    return Step(step=number, progress=0.5, elapsed_s=1.0, remaining_s=1.0, losses=losses)


def test_loss_curve(tmp_path):
    events = [step(i, ce=2.0 / (i + 1), crf=0.0 if i < 3 else 0.1, total=3.0 / (i + 1))
              for i in range(9)]  # fmt: skip
    assert imread(save_losses(events, tmp_path / "l.png")).shape[0] > 300
    assert save_losses([], tmp_path / "none.png").exists()


def test_the_legend_of_nineteen_methods_is_not_cut(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(curves, "_save", lambda figure, _: drawn.append(figure))
    columns = {"step": [1.0, 2.0], "total": [1.0, 0.5]}, {"step": [2.0], "dsc": [0.5]}
    save_training({f"method {i}": columns for i in range(19)}, tmp_path / "c.png")
    (figure,) = drawn
    figure.canvas.draw()
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [f"method {i}" for i in range(19)]
    box, page = legend.get_window_extent(), figure.bbox
    assert page.y0 <= box.y0 < box.y1 <= page.y1
    assert box.x1 <= page.x1


@pytest.mark.parametrize(("methods", "size"), [(11, (2, 11)), (19, (4, 10)), (23, (6, 8))])
def test_many_methods_stand_in_blocks_below_each_other(methods, size):
    """Every method in one panel an example, below its name, with what it found there."""
    image, empty = np.zeros((25, 25)), np.zeros((25, 25), np.uint8)
    found = {}
    for number in range(methods):
        found[f"m{number}"] = empty.copy()
        found[f"m{number}"][1 + number, 2:9] = 1
    examples = [Example(name, image, (1.0, 1.0), empty, found) for name in ("P1", "P2")]
    figure = Figure()
    fill_with_examples(figure, examples)
    panels = np.array(figure.axes).reshape(size)
    blocks, across = size[0] // 2, size[1]
    for number in range(blocks * across):
        block, column = divmod(number, across)
        first, second = panels[2 * block : 2 * block + 2, column]
        assert first.axison == second.axison == (number < methods)
        assert first.get_title() == (f"m{number}" if number < methods else "")
        for panel in (first, second) if number < methods else ():
            (line,) = panel.collections
            middle = line.get_paths()[0].get_extents()
            assert (middle.y0 + middle.y1) / 2 == 1 + number
    assert [row[0].get_ylabel() for row in panels] == ["P1", "P2"] * blocks


def test_no_global_state():
    code = (
        "import sys, cmfnet_napari.core.report.figures; print('matplotlib.pyplot' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, encoding="utf-8", timeout=60
    )
    assert done.stdout.strip() == "False"


MATPLOTLIBRC = "image.origin: lower\nlines.linewidth: 9\nfont.size: 30\nsavefig.facecolor: red\n"


def test_pictures_do_not_follow_a_matplotlibrc(study, corner, tmp_path):
    """One in the current folder turned the images upside down under their contours."""
    file = tmp_path / "matplotlibrc"
    file.write_text(MATPLOTLIBRC, encoding="utf-8")
    steps = [step(n, total=1 / n) for n in (1, 2)]
    before = [imread(save_contours(study, corner, tmp_path / "a.png"))]
    before.append(imread(save_losses(steps, tmp_path / "a.png")))
    with matplotlib.rc_context(fname=file):
        after = [imread(save_contours(study, corner, tmp_path / "a.png"))]
        after.append(imread(save_losses(steps, tmp_path / "a.png")))
        assert matplotlib.rcParams["image.origin"] == "lower"  # others' pictures stay theirs
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, other)
