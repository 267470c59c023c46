"""Pictures for reports: contours over the images. No display is needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.style import context as style_context

from cmfnet_napari.core.arrays import Codes, Floats, Labels, three
from cmfnet_napari.core.files import write_safely
from cmfnet_napari.core.geometry.plane import VIEWS, Plane
from cmfnet_napari.core.images.study import Study, limits_of
from cmfnet_napari.core.strokes.scribbles import (
    BACKGROUND,
    REFERENCE_COLOR,
    UNLABELLED,
    class_color,
)

_OUTLINE = [withStroke(linewidth=2.0, foreground="black")]  # white is lost on fat and bone
_Line = Literal["solid", "dashed"]
_CT_WINDOW = (-160.0, 240.0)  # HU, soft tissue
_MR_PERCENTILES = (1.0, 99.0)
_MOST_COLUMNS = 5  # of a legend


@style_context("default")  # whatever a matplotlibrc in the current folder says
def save_contours(
    study: Study,
    labels: Labels,
    path: str | Path,
    reference: Labels | None = None,
    scribbles: Codes | None = None,
) -> Path:
    """Write a PNG of contours on axial, coronal and sagittal slices of each image.

    The slices go through the middle of the segmentation. Axial slices are seen from the feet
    (patient's right on the left), the others have the head up.

    Parameters
    ----------
    study : Study
        One image or two: one row each.
    labels : integer array (z, y, x)
        Segmentation codes: solid lines.
    path : path
        The PNG.
    reference : integer array (z, y, x), optional
        Another segmentation: dashed lines.
    scribbles : uint8 array (z, y, x), optional
        Strokes: dots.

    Raises
    ------
    UserError
        The file cannot be written.
    """
    return _save(contour_figure(study, labels, reference, scribbles), path)


def contour_figure(
    study: Study,
    labels: Labels,
    reference: Labels | None = None,
    scribbles: Codes | None = None,
) -> Figure:
    """The picture of `save_contours`, not yet written."""
    rows = 1 if study.second is None else 2
    figure = _dark_figure(4.0 * len(VIEWS), 4.0 * rows + 0.4)
    draw_contours(figure, study, labels, reference, scribbles)
    return figure


def draw_contours(
    figure: Figure | SubFigure,
    study: Study,
    labels: Labels,
    reference: Labels | None = None,
    scribbles: Codes | None = None,
    margin_mm: float | None = None,
    names: Sequence[str] = (),
    colors: Mapping[int, str] | None = None,
) -> None:
    """Fill a black figure, or a part of one, with the picture of `save_contours`.

    Parameters
    ----------
    figure : Figure or SubFigure
        With constrained layout.
    study, labels, reference, scribbles
        As in `save_contours`.
    margin_mm : float, optional
        Show so much around the contour; the whole slices when it is not given.
    names : sequence of str
        Of the classes 1, 2, …, for the legend.
    colors : mapping of int to str, optional
        Of the classes, #rrggbb by code; of others as new classes have them.
    """
    own = colors or {}
    shown = labels if labels.any() or reference is None else reference
    centre = _centre(shown)
    views = [Plane(a, centre[a], study.grid) for a in range(3)]
    windows = limits_of(study, _CT_WINDOW, _MR_PERCENTILES)
    rows = figure.subplots(len(study.volumes), len(views), squeeze=False)
    for row, name, volume, window in zip(rows, study.names, study.volumes, windows, strict=True):
        for axes, view in zip(row, views, strict=True):
            _show(axes, view, volume.array, window, f"{name} {VIEWS[view.axis]}")
            _draw_labels(axes, view, labels, reference, scribbles, own)
            if margin_mm is not None:
                _zoom(axes, view, shown, margin_mm)
            _scale_bar(axes)
    _legend(figure, labels, reference, scribbles, names, own)


def _centre(labels: Labels) -> tuple[int, int, int]:
    """Median place of the labelled voxels; the image's middle when there are none."""
    places = np.nonzero(labels)
    if not places[0].size:
        return three(n // 2 for n in labels.shape)
    return three(int(np.median(p)) for p in places)


def _show(
    axes: Axes, view: Plane, array: np.ndarray, window: tuple[float, float], title: str
) -> None:
    low, high = window
    axes.imshow(
        view.cut(array), cmap="gray", vmin=low, vmax=high, extent=view.extent,
        interpolation="bilinear",
    )  # fmt: skip
    axes.set_axis_off()
    axes.set_title(title, color="white", fontsize=10)
    places = ((0.02, 0.5), (0.98, 0.5), (0.5, 0.97), (0.5, 0.03))
    for letter, (x, y) in zip(view.letters, places, strict=True):
        axes.text(
            x, y, letter, transform=axes.transAxes, color="white", fontsize=11, ha="center",
            va="center", path_effects=_OUTLINE,
        )  # fmt: skip


def _zoom(axes: Axes, view: Plane, labels: Labels, margin_mm: float) -> None:
    """Show the part around the contour, square where the slice allows it."""
    rows, columns = np.nonzero(view.cut(labels))
    if not rows.size:
        return
    x, y = _voxel_centres(view)
    (left, right), (top, bottom) = ((v.min(), v.max()) for v in (x[columns], y[rows]))
    half = max(right - left, bottom - top) / 2 + margin_mm
    _, width, height, _ = view.extent
    axes.set_xlim(max((left + right) / 2 - half, 0), min((left + right) / 2 + half, width))
    axes.set_ylim(min((top + bottom) / 2 + half, height), max((top + bottom) / 2 - half, 0))


def _scale_bar(axes: Axes) -> None:
    """In the lower right corner of what is shown."""
    left, right = axes.get_xlim()
    bottom, top = axes.get_ylim()
    width, height = right - left, bottom - top
    length = max((n for n in (10, 20, 50, 100) if n <= width / 3), default=5)
    end, low = left + 0.96 * width, top + 0.95 * height
    axes.plot(
        [end - length, end], [low, low], color="white", linewidth=2.5, path_effects=_OUTLINE
    )  # fmt: skip
    axes.text(
        end - length / 2, low - 0.015 * height, f"{length} mm", color="white", fontsize=8,
        ha="center", va="bottom", path_effects=_OUTLINE,
    )  # fmt: skip


def _draw_labels(
    axes: Axes,
    view: Plane,
    labels: Labels,
    reference: Labels | None,
    scribbles: Codes | None,
    colors: Mapping[int, str],
) -> None:
    if reference is not None:
        _contours(axes, view, reference, "dashed", colors)
    _contours(axes, view, labels, "solid", colors)
    if scribbles is not None:
        _dots(axes, view, scribbles)


def _contours(
    axes: Axes, view: Plane, labels: Labels, style: _Line, colors: Mapping[int, str]
) -> None:
    plane = view.cut(labels)
    x, y = _voxel_centres(view)
    for code in np.unique(plane[plane > 0]):
        axes.contour(
            x, y, plane == code, levels=[0.5], colors=[_contour_color(int(code), style, colors)],
            linestyles=style, linewidths=1.4,
        )  # fmt: skip


def _dots(axes: Axes, view: Plane, scribbles: Codes) -> None:
    plane = view.cut(scribbles)
    x, y = _voxel_centres(view)
    for code in np.unique(plane[plane != UNLABELLED]):
        rows, columns = np.nonzero(plane == code)
        axes.plot(x[columns], y[rows], ".", color=class_color(int(code)), markersize=2.5)


def _voxel_centres(view: Plane) -> tuple[Floats, Floats]:
    """Places of columns and rows in the drawing, mm."""
    down, across = view.shown
    grid = view.grid
    x, y = ((np.arange(grid.shape[a]) + 0.5) * grid.spacing[a] for a in (across, down))
    return x, y


def _contour_color(code: int, style: _Line, colors: Mapping[int, str]) -> str:
    """The class's colour; the first class's reference gets one of its own."""
    own = colors.get(code) or class_color(code + 1)
    return REFERENCE_COLOR if style == "dashed" and code == 1 else own


def _legend(
    figure: Figure | SubFigure,
    labels: Labels,
    reference: Labels | None,
    scribbles: Codes | None,
    names: Sequence[str],
    colors: Mapping[int, str],
) -> None:
    handles = []
    if labels.any() and not names:
        handles.append(Line2D([], [], color=class_color(2), label="prediction"))
    present = [code for code in np.unique(labels) if 0 < code <= len(names)]
    for code in present:
        color = _contour_color(int(code), "solid", colors)
        handles.append(Line2D([], [], color=color, label=_seen(names[code - 1])))
    if reference is not None:
        handles.append(Line2D([], [], color=REFERENCE_COLOR, linestyle="dashed", label="reference"))
    codes = [] if scribbles is None else [c for c in np.unique(scribbles) if c != UNLABELLED]
    for code in codes:
        name = "background strokes" if code == BACKGROUND else f"strokes of class {code - 1}"
        color = class_color(int(code))
        handles.append(Line2D([], [], color=color, marker=".", linestyle="", label=name))
    if handles:
        figure.legend(
            handles=handles, loc="outside lower center", ncols=min(len(handles), _MOST_COLUMNS),
            frameon=False, labelcolor="white", fontsize=9,
        )  # fmt: skip


def _seen(name: str) -> str:
    """A name that matplotlib does not leave out of a legend, as it does with one such as _Ring."""
    return f"\u200b{name}" if name.startswith("_") else name


def _dark_figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), dpi=110, facecolor="black", layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _save(figure: Figure, path: str | Path) -> Path:
    return write_safely(Path(path), ".png", lambda part: figure.savefig(part, format="png"))
