"""Words over a view of planes, each at its place, with a dark box behind.

napari's own texts are drawn one by one, each with a box whose shader is made anew whenever the
text changes: twelve of the seventeen things that a view drew, and a fifth of its time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from napari.components import ViewerModel
from napari.qt import QtViewer
from qtpy.QtCore import QRectF, Qt
from qtpy.QtGui import QFont, QFontMetricsF
from vispy.gloo import VertexBuffer
from vispy.scene.visuals import Text, create_visual_node
from vispy.visuals import Visual

from cmfnet_napari.gui.views.spared import letters_once

_MARGIN, _PADDING = 10.0, 4.0  # pixels from the border of the canvas, and of the box
_LARGE, _SMALL = 14, 9  # points
_CORNERS = np.array([(0, 0), (1, 0), (1, 1), (0, 0), (1, 1), (0, 1)])  # of two triangles
_VISPYS = 96 / 72  # its points are of 72 an inch on screens, Qt's of 96
_ABOVE_ALL = 10_000  # napari numbers its layers from 0
_BOX_ALPHA = 0.8


@dataclass(frozen=True)
class _Place:
    across: float  # 0 left … 1 right
    down: float  # 0 top … 1 bottom
    points: int


_PLACES = {
    "top": _Place(0.5, 0, _LARGE),
    "bottom": _Place(0.5, 1, _LARGE),
    "left": _Place(0, 0.5, _LARGE),
    "right": _Place(1, 0.5, _LARGE),
    "plane": _Place(0, 0, _SMALL),
    "value": _Place(0, 1, _SMALL),
    "measure": _Place(1, 0, _SMALL),
}


class Words:
    """Writes on a canvas; nothing is drawn for what does not change.

    Parameters
    ----------
    view : ViewerModel
        The view, whose words are seen while it shows planes.
    qt_viewer : napari.qt.QtViewer
        Its canvas.
    """

    def __init__(self, view: ViewerModel, qt_viewer: QtViewer) -> None:
        letters_once(qt_viewer)
        self._view, self._canvas = view, qt_viewer.canvas
        self._texts: dict[str, str] = {}
        parent, font = self._canvas.view, self._canvas.font_info()
        self._boxes = _Boxes(parent=parent)
        self._boxes.order = _ABOVE_ALL
        self._nodes = {
            points: Text("", face=font.face, font_manager=font.font_manager, parent=parent)
            for points in (_LARGE, _SMALL)
        }
        self._face = font.face
        for node in self._nodes.values():
            node.order = _ABOVE_ALL + 1
            node.anchors = "left", "bottom"  # rows run down: the text hangs from there
        self._canvas.events.resize.connect(self._draw)
        view.dims.events.ndisplay.connect(self._draw)
        view.canvas.events.background_color.connect(self._draw)

    def write(self, name: str, text: str) -> None:
        """Write at a place, or change what is written there; empty text takes it away.

        Parameters
        ----------
        name : str
            ``top``, ``bottom``, ``left`` and ``right`` of the borders, or ``plane``, ``value``,
            ``measure``.
        text : str
            Short lines.
        """
        if self._texts.get(name, "") != text:
            self._texts[name] = text
            self._draw()

    def text(self, name: str) -> str:
        """What is to be read at a place; empty when nothing is."""
        return self._texts.get(name, "") if self._view.dims.ndisplay == 2 else ""

    def close(self) -> None:
        """Take all words off the canvas."""
        self._canvas.events.resize.disconnect(self._draw)
        self._view.dims.events.ndisplay.disconnect(self._draw)
        self._view.canvas.events.background_color.disconnect(self._draw)
        for node in (self._boxes, *self._nodes.values()):
            node.parent = None

    def _draw(self, _event: object = None) -> None:
        words = {name: self.text(name) for name in self._texts if self.text(name)}
        back = np.array(self._view.canvas.background_color, float)
        boxes = []
        for points, node in self._nodes.items():
            mine = {n: text for n, text in words.items() if _PLACES[n].points == points}
            node.visible = bool(mine)
            if not mine:
                continue
            corners = [self._box(_PLACES[name], text) for name, text in mine.items()]
            boxes += corners
            node.font_size = (
                points * 96 / (node.transforms.dpi or 96)
            )  # napari's size, at any scale
            node.color = (*np.clip(0.5 + (0.5 - back[:3]) * 1.2, 0, 1), 1.0)
            node.text = list(mine.values())
            node.pos = np.array([low + _PADDING for low, _ in corners])
        self._boxes.show(np.array(boxes), (*back[:3], _BOX_ALPHA))

    def _box(self, place: _Place, text: str) -> tuple[np.ndarray, np.ndarray]:
        """Upper left and lower right corner (x, y; pixels) of a text's box."""
        metrics = QFontMetricsF(QFont(self._face, place.points))
        text_box = metrics.boundingRect(QRectF(0, 0, 1e4, 1e4), Qt.AlignmentFlag.AlignLeft, text)
        size = _VISPYS * np.array([text_box.width(), text_box.height()]) + 2 * _PADDING
        height, whole = self._canvas.size
        room = np.array([whole, height]) - 2 * _MARGIN - size
        low = np.round(_MARGIN + room * (place.across, place.down))
        return low, low + size


class _BoxesVisual(Visual):
    """Filled rectangles of one colour; other ones only fill a buffer anew."""

    _VERTEX = """
        attribute vec2 a_position;
        void main() { gl_Position = $transform(vec4(a_position, 0, 1)); }
    """
    _FRAGMENT = """
        uniform vec4 u_color;
        void main() { gl_FragColor = u_color; }
    """

    def __init__(self) -> None:
        super().__init__(vcode=self._VERTEX, fcode=self._FRAGMENT)
        self._corners = VertexBuffer(np.zeros((6, 2), np.float32))
        self.shared_program["a_position"] = self._corners
        self.shared_program["u_color"] = 0.0, 0.0, 0.0, 0.0
        self._draw_mode = "triangles"
        self.set_gl_state("translucent", depth_test=False, cull_face=False)

    def show(self, boxes: np.ndarray, color: tuple[float, ...]) -> None:
        """Fill rectangles (float (n, 2, 2): corners, x y) with a colour (red … alpha, 0 … 1)."""
        self.visible = len(boxes) > 0
        if self.visible:
            low, high = boxes[:, None, 0], boxes[:, None, 1]
            self._corners.set_data((low + _CORNERS * (high - low)).reshape(-1, 2).astype("f4"))
            self.shared_program["u_color"] = color
            self.update()

    def _prepare_transforms(self, view: object) -> None:
        view.view_program.vert["transform"] = view.get_transform()

    def _compute_bounds(self, _axis: int, _view: object) -> None:
        return None


_Boxes = create_visual_node(_BoxesVisual)
