"""How the patient is looked at: plane, arrangement, fusion, window and level."""

from __future__ import annotations

from functools import partial

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QButtonGroup,
    QComboBox,
    QLabel,
    QMenu,
    QPushButton,
    QSlider,
    QWidget,
)

from cmfnet_napari.core.images.window_level import CT_PRESETS
from cmfnet_napari.gui.patient.session import Session
from cmfnet_napari.gui.shared.widgets import button, column, row
from cmfnet_napari.gui.views.fusion import Fusion
from cmfnet_napari.gui.views.layouts import Layouts
from cmfnet_napari.gui.views.measures import Measures
from cmfnet_napari.gui.views.planes import PLANES, Planes
from cmfnet_napari.gui.views.room import Room
from cmfnet_napari.gui.views.view_keys import (
    CHECKERBOARD,
    CROSSHAIR,
    FLICKER,
    NEXT_LAYOUT,
    REGION,
    RULER,
    SHOW_PLANE,
)
from cmfnet_napari.gui.views.windowing import Windowing

_DRAG = "Or drag over the image with the right mouse button: right is wider, down is darker."


class ViewPanel(QWidget):
    """Three rows above the dock's tabs."""

    def __init__(
        self,
        session: Session,
        planes: Planes,
        layouts: Layouts,
        fusion: Fusion,
        windowing: Windowing,
        measures: Measures,
        room: Room,
    ) -> None:
        super().__init__()
        self.planes = PlaneButtons(session, planes)
        self.layouts = LayoutChooser(session, layouts)
        self.fusion = FusionControls(session, fusion)
        self.windows = WindowControls(session, windowing)
        self.measures = MeasureButtons(measures)
        tools = row(self.measures, room.button, stretch=0)
        layout = column(
            row(self.planes, self.layouts, stretch=1),
            self.fusion,
            self.windows,
            tools,
        )
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(3)
        self.setLayout(layout)
        session.opened.connect(lambda: self.setEnabled(True))
        session.closed.connect(lambda: self.setEnabled(False))
        self.setEnabled(False)


class PlaneButtons(QWidget):
    """Axial, sagittal, coronal."""

    def __init__(self, session: Session, planes: Planes) -> None:
        super().__init__()
        self._group = QButtonGroup(self)
        self.buttons = {}
        for plane in PLANES:
            widget = button(plane.capitalize(), partial(planes.show, plane), SHOW_PLANE[plane].key)
            widget.setCheckable(True)
            self._group.addButton(widget)
            self.buttons[plane] = widget
        self.setLayout(row(*self.buttons.values()))
        planes.changed.connect(self._mark)
        session.opened.connect(lambda: self._mark(planes.plane))

    def _mark(self, plane: str) -> None:
        self.buttons[plane].setChecked(True)


class MeasureButtons(QWidget):
    """A ruler, and the values in an ellipse."""

    def __init__(self, measures: Measures) -> None:
        super().__init__()
        self._measures = measures
        self.buttons = {}
        for kind, text, key in (("ruler", "Ruler", RULER), ("region", "Region", REGION)):
            widget = button(text, partial(measures.choose, kind), f"{key.title} ({key.key})")
            widget.setCheckable(True)
            self.buttons[kind] = widget
        self.setLayout(row(*self.buttons.values()))
        measures.changed.connect(self._mark)

    def _mark(self) -> None:
        for kind, widget in self.buttons.items():
            widget.setChecked(self._measures.kind == kind)


class LayoutChooser(QComboBox):
    """Which views are beside each other."""

    def __init__(self, session: Session, layouts: Layouts) -> None:
        super().__init__()
        self._layouts = layouts
        self.setToolTip(
            f"Which views are beside each other ({NEXT_LAYOUT.key}: next). Shift and a click put "
            f"all planes through a place; {CROSSHAIR.key} shows or hides the crosshair."
        )
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(8)
        self.activated.connect(lambda _index: layouts.show(self.currentData()))
        session.opened.connect(self._on_opened)
        layouts.changed.connect(self._mark)

    def _on_opened(self) -> None:
        self.clear()
        for name in self._layouts.offered:
            self.addItem(self._layouts.title(name), name)
        self._mark(self._layouts.name)

    def _mark(self, name: str) -> None:
        self.setCurrentIndex(self.findData(name))


class FusionControls(QWidget):
    """A slider from the first image to the second, and the checkerboard."""

    def __init__(self, session: Session, fusion: Fusion) -> None:
        super().__init__()
        self._session, self._fusion = session, fusion
        self.ends = QLabel("Image 1"), QLabel("Image 2")
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setRange(0, 100)
        self.slider.setToolTip(
            f"From one image to the other. Hold {FLICKER.key} to see the other one."
        )
        self.slider.valueChanged.connect(self._fusion.set_blend)
        self.board = QPushButton("Checkerboard")
        self.board.setCheckable(True)
        self.board.setToolTip(f"Both images square by square ({CHECKERBOARD.key})")
        self.board.clicked.connect(self._fusion.set_board)
        self.setLayout(row(self.ends[0], self.slider, self.ends[1], self.board, stretch=1))
        self._fusion.changed.connect(self._follow)
        session.opened.connect(self._follow)

    def _follow(self) -> None:
        for number, label in enumerate(self.ends):
            label.setText(_name(self._session, number) or f"Image {number + 1}")
        self.setEnabled(self._fusion.available)
        self.slider.blockSignals(True)
        self.slider.setValue(self._fusion.blend)
        self.slider.blockSignals(False)
        self.board.setChecked(self._fusion.board)


class WindowControls(QWidget):
    """Window and level of each image, with presets to choose.

    Attributes
    ----------
    buttons : list of QPushButton
        Of the first image and of the second.
    """

    def __init__(self, session: Session, windowing: Windowing) -> None:
        super().__init__()
        self._session, self._windowing = session, windowing
        self.buttons = [QPushButton(f"Image {number}") for number in (1, 2)]
        layout = row(*self.buttons)
        for index, widget in enumerate(self.buttons):
            widget.setMenu(QMenu(widget))
            widget.setEnabled(False)
            layout.setStretch(index, 1)
        self.setLayout(layout)
        session.opened.connect(self._offer)
        self._windowing.changed.connect(self._follow)

    def _offer(self) -> None:
        """The choices for each image: presets of HU for a CT, else what it was opened with."""
        for image, widget in zip(self._session.image_names, self.buttons, strict=False):
            widget.menu().clear()
            if self._session.is_ct(image):
                unit = ", HU"
                for name, (level, width) in CT_PRESETS.items():
                    text = f"{name}  (W {width:g}  L {level:g})"
                    widget.menu().addAction(text, partial(self._windowing.use_preset, image, name))
            else:
                unit = ""
                widget.menu().addAction("Automatic", partial(self._windowing.automatic, image))
            widget.setToolTip(f"Window and level of the {image}{unit}. {_DRAG}")
        self._follow()

    def _follow(self) -> None:
        for number, widget in enumerate(self.buttons):
            image = _name(self._session, number)
            shown = self._windowing.level_width(image)
            widget.setEnabled(shown is not None)
            widget.setText(image or f"Image {number + 1}")
            if shown is not None:
                level, width = shown
                widget.setText(f"{image}  W {width:.4g}  L {level:.4g}")


def _name(session: Session, number: int) -> str:
    """Name of the first image (0) or the second of the patient; empty if there is none."""
    names = session.image_names
    return names[number] if number < len(names) else ""
