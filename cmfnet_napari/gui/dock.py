"""The dock widget: four steps, and the planes."""

from __future__ import annotations

from functools import partial

import napari
from qtpy.QtCore import QCoreApplication, QEvent, QObject, Qt
from qtpy.QtWidgets import QButtonGroup, QHBoxLayout, QLabel, QSlider, QTabWidget, QWidget

from cmfnet_napari.core.events import Finished
from cmfnet_napari.gui.open_panel import OpenPanel
from cmfnet_napari.gui.orientation import PLANE_KEYS, PLANES
from cmfnet_napari.gui.result_panel import ResultPanel
from cmfnet_napari.gui.scribble_panel import ScribblePanel
from cmfnet_napari.gui.session import Session
from cmfnet_napari.gui.training_panel import TrainingPanel
from cmfnet_napari.gui.widgets import NOTICE_STYLE, button, column, row, scrollable, text_label

_WIDTHS = 330, 380  # pixels


class CmFNetDock(QWidget):
    """Open · Scribble · Train · Result.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        The viewer it is docked in.
    """

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__()
        self.session = Session(napari_viewer)
        self.open_panel = OpenPanel(self.session)
        self.scribble_panel = ScribblePanel(self.session)
        self.training_panel = TrainingPanel(self.session)
        self.result_panel = ResultPanel(self.session)
        self.tabs = QTabWidget()
        for title, panel in (
            ("1 Open", self.open_panel),
            ("2 Scribble", self.scribble_panel),
            ("3 Train", self.training_panel),
            ("4 Result", self.result_panel),
        ):
            self.tabs.addTab(scrollable(panel), title)
        self.planes = _PlaneButtons(self.session)
        self.fusion = _Fusion(self.session)
        self.notice = text_label()
        self.notice.setStyleSheet(NOTICE_STYLE)
        self.notice.hide()
        self.update_status = _UpdateStatus(self.session)
        self.setLayout(
            column(self.notice, self.planes, self.fusion, self.tabs, self.update_status.label)
        )
        self.setMinimumWidth(_WIDTHS[0])
        self.setMaximumWidth(_WIDTHS[1])
        self.session.opened.connect(self._on_opened)
        self.session.closed.connect(self.notice.hide)
        self.session.training.finished.connect(lambda _event: self.tabs.setCurrentIndex(3))
        QCoreApplication.instance().aboutToQuit.connect(self.session.close)
        # The widget's own methods are gone by then; the session is not.
        self.destroyed.connect(self.session.close)

    def reset_choices(self) -> None:
        """Follow the viewer's layers; napari calls it."""
        self.scribble_panel.auto.reset_choices()

    def _on_opened(self) -> None:
        self.tabs.setCurrentIndex(1)
        self.notice.setText(self.session.case.notice)
        self.notice.setVisible(self.session.case.read_only)

    def event(self, event: QEvent) -> bool:
        """End everything when napari takes the widget out of its closed dock."""
        if event.type() == QEvent.Type.ParentChange and self.parent() is None:
            self.session.close()
            self.training_panel.close_plots()
            self.deleteLater()
        return super().event(event)


class _Fusion(QWidget):
    """A slider from the CT to the MR."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setRange(0, 100)
        self.slider.setToolTip("From the CT to the MR")
        self.slider.valueChanged.connect(self._blend)
        layout = row(QLabel("CT"), self.slider, QLabel("MR"), stretch=1)
        self.setLayout(layout)
        session.opened.connect(self._on_opened)
        session.closed.connect(lambda: self.setEnabled(False))
        self.setEnabled(False)

    def _blend(self, percent: int) -> None:
        layer = self._session.mr_layer
        if layer is not None:
            layer.visible = percent > 0
            layer.opacity = percent / 100

    def _on_opened(self) -> None:
        self.setEnabled(self._session.mr_layer is not None)
        self.slider.setValue(0)


class _UpdateStatus(QObject):
    """One line, whatever tab is open: whether the contour follows the strokes."""

    _UPDATING = "Updating …"

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.label = text_label()
        self.label.hide()
        refining = session.refining
        refining.state_changed.connect(self._on_state)
        refining.finished.connect(self._on_finished)
        refining.paused.connect(lambda reason: self._show(f"Waiting. {reason}"))
        refining.failed.connect(lambda reason: self._show(f"The contour was not updated. {reason}"))
        session.training.state_changed.connect(lambda _state: self._show(""))
        session.closed.connect(lambda: self._show(""))

    def _on_state(self, state: str) -> None:
        if state == "updating":
            self._show(self._UPDATING)
        elif self.label.text() == self._UPDATING:
            self._show("")

    def _on_finished(self, event: Finished) -> None:
        share = f"{int(100 * event.agreement + 1e-6)} %"  # 100 only where it is all of them
        self._show(f"Updated: agreement with your strokes {share}. {event.warning}".strip())

    def _show(self, text: str) -> None:
        self.label.setText(text)
        self.label.setVisible(bool(text))


class _PlaneButtons(QWidget):
    """Axial, sagittal, coronal."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._group = QButtonGroup(self)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self.buttons = {}
        for plane in PLANES:
            widget = button(plane.capitalize(), partial(self._show, plane), PLANE_KEYS[plane])
            widget.setCheckable(True)
            self._group.addButton(widget)
            layout.addWidget(widget)
            self.buttons[plane] = widget
        session.opened.connect(self._on_opened)
        session.closed.connect(lambda: self.setEnabled(False))
        self.setEnabled(False)

    def _show(self, plane: str) -> None:
        self._session.planes.show(plane)

    def _on_opened(self) -> None:
        self.setEnabled(True)
        self._session.planes.changed.connect(self._mark)
        self._mark(self._session.planes.plane)

    def _mark(self, plane: str) -> None:
        self.buttons[plane].setChecked(True)
