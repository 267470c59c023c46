"""The dock widget: how it is looked at, and five steps."""

from __future__ import annotations

import weakref
from collections.abc import Callable

import napari
from qtpy.QtCore import QCoreApplication, QEvent, QObject, Qt
from qtpy.QtGui import QKeyEvent, QKeySequence, QShortcut
from qtpy.QtWidgets import QTabWidget, QWidget

from cmfnet_napari.core.fit.events import Finished, LineChanged
from cmfnet_napari.gui.drawing.scribble_panel import ScribblePanel
from cmfnet_napari.gui.export.export_panel import ExportPanel
from cmfnet_napari.gui.key_focus import KeyFocus, swallow
from cmfnet_napari.gui.key_sheet import KeySheet
from cmfnet_napari.gui.message_bar import MessageBar
from cmfnet_napari.gui.opening.open_panel import OpenPanel
from cmfnet_napari.gui.patient.session import Session
from cmfnet_napari.gui.review.review_panel import ReviewPanel
from cmfnet_napari.gui.shared.dialogs import ask_sure
from cmfnet_napari.gui.shared.markup import plain
from cmfnet_napari.gui.shared.widgets import NOTICE_STYLE, button, column, scrollable, text_label
from cmfnet_napari.gui.step_marks import StepMarks
from cmfnet_napari.gui.training.refinement import Refinement
from cmfnet_napari.gui.training.training import Training
from cmfnet_napari.gui.training.training_panel import TrainingPanel
from cmfnet_napari.gui.views.canvas_mouse import ViewLinks
from cmfnet_napari.gui.views.room import Room
from cmfnet_napari.gui.views.view_grid import ViewGrid, window_of
from cmfnet_napari.gui.views.view_panel import ViewPanel
from cmfnet_napari.gui.welcome import Welcome
from cmfnet_napari.gui.workbench import Workbench

_WIDTHS = 365, 380  # pixels; the narrowest that cuts nothing beside a scroll bar


class CmFNetDock(QWidget):
    """Open · Scribble · Train · Review · Export.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        The viewer it is docked in.
    """

    def __init__(self, napari_viewer: napari.Viewer) -> None:
        super().__init__()
        # Of the moves that came while the window was busy X11 would hand on the last one only.
        QCoreApplication.setAttribute(Qt.ApplicationAttribute.AA_CompressHighFrequencyEvents, False)
        self.workbench = bench = Workbench(napari_viewer)
        self.session = session = bench.session
        self.open_panel = OpenPanel(session, bench.image_placement)
        self.scribble_panel = ScribblePanel(
            session,
            bench.drawing,
            bench.reshaping,
            bench.navigation,
            bench.automatic_strokes,
            bench.provisional,
        )
        self.training_panel = TrainingPanel(
            session,
            bench.training,
            bench.refinement,
            bench.preview_choice,
            bench.base_models,
            bench.planes,
            bench.navigation,
        )
        self.review_panel = ReviewPanel(
            session,
            bench.result,
            bench.review,
            bench.comparison,
            bench.navigation,
            bench.sign_off,
            bench.log_export,
        )
        self.export_panel = ExportPanel(session, bench.result, bench.review, bench.report_export)
        self.result_panel = self.review_panel.result
        self.tabs = QTabWidget()
        self.tabs.setUsesScrollButtons(False)
        for panel in (
            self.open_panel,
            self.scribble_panel,
            self.training_panel,
            self.review_panel,
            self.export_panel,
        ):
            self.tabs.addTab(scrollable(panel), "")
        self.tabs.setCornerWidget(button("?", self._show_keys, "What every key does"))
        QShortcut(QKeySequence("?"), self, activated=self._show_keys)
        self.steps = StepMarks(
            self.tabs, session, bench.result, bench.review, self.export_panel.dicom_export
        )
        self.room = Room()
        self.view_panel = ViewPanel(
            session,
            bench.planes,
            bench.layouts,
            bench.fusion,
            bench.windowing,
            bench.measures,
            self.room,
        )
        self.welcome = Welcome(napari_viewer)
        links = ViewLinks(
            session,
            bench.navigation,
            bench.fusion,
            bench.windowing,
            bench.trail,
            bench.measures,
        )
        self.view_grid = ViewGrid(self, links, bench.planes, bench.layouts)
        self.messages = MessageBar(session)
        self.notice = text_label()
        self.notice.setStyleSheet(NOTICE_STYLE)
        self.notice.hide()
        self.update_status = _UpdateStatus(session, bench.training, bench.refinement)
        parts = self.messages, self.notice, self.view_panel, self.tabs, self.update_status.label
        self.setLayout(column(*parts))
        self.setMinimumWidth(_WIDTHS[0])
        self.setMaximumWidth(_WIDTHS[1])
        self._window_end = _WindowEnd(self)
        self.key_focus = KeyFocus(self, self.view_grid.take_keys)
        bench.keys_asked.connect(self._show_keys)
        session.opened.connect(self._on_opened)
        session.closed.connect(self.notice.hide)
        session.closed.connect(self.room.close)
        bench.training.finished.connect(lambda _event: self.tabs.setCurrentIndex(3))
        bench.review.correcting.connect(lambda: self.tabs.setCurrentIndex(1))
        QCoreApplication.instance().aboutToQuit.connect(bench.close)
        # The widget's own methods are gone by then; the workbench is not.
        self.destroyed.connect(bench.close)

    def reset_choices(self) -> None:
        """Follow the viewer's layers; napari calls it."""
        self.scribble_panel.auto.reset_choices()

    def _show_keys(self) -> None:
        sheet = self.findChild(KeySheet) or KeySheet(self)
        sheet.show()
        sheet.raise_()

    def _on_opened(self) -> None:
        self.tabs.setCurrentIndex(1)
        self.notice.setText(self.session.case.notice)
        self.notice.setVisible(self.session.case.read_only)
        self.room.open(window_of(self))
        self.view_grid.take_keys()

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802 (Qt's name)
        """Keep what is typed into a field from the images; napari's window hears all keys."""
        if not swallow(event):
            super().keyPressEvent(event)

    def event(self, event: QEvent) -> bool:
        """Know the window, and end everything when napari takes the widget out of its dock."""
        if event.type() in (QEvent.Type.ParentChange, QEvent.Type.Show):
            self._window_end.watch(window_of(self))  # napari's dock widget may be in none at first
        if event.type() == QEvent.Type.ParentChange and self.parent() is None:
            self.workbench.close()
            self.key_focus.close()
            self.messages.close_bar()
            self.welcome.close()
            self.training_panel.close_plots()
            self.review_panel.slices.plot.close_plot()
            self.deleteLater()
        return super().event(event)


class _WindowEnd(QObject):
    """Asks before a window is closed over unsaved work, and ends the work before it is deleted.

    Qt deletes the views before the dock: what still listens to them then speaks to nobody.
    """

    def __init__(self, dock: CmFNetDock) -> None:
        super().__init__(dock)
        self._close, self._unsaved = dock.workbench.close, dock.session.unsaved
        self._window: Callable[[], QWidget | None] = lambda: None  # not kept alive from here

    def watch(self, window: QWidget | None) -> None:
        """Watch a window, once; None: the dock is in none yet."""
        if window is not None and window is not self._window():
            self._window = weakref.ref(window)
            window.installEventFilter(self)

    def eventFilter(self, _window: QObject, event: QEvent) -> bool:  # noqa: N802 (Qt's name)
        """Deletion is the last moment at which all is there."""
        if event.type() == QEvent.Type.DeferredDelete:
            self._close()
        if event.type() == QEvent.Type.Close and (why := self._unsaved()):
            lost = f"{why}\n\nClose the window all the same, and lose it?"
            if not ask_sure(self._window(), "Not saved", lost):
                event.ignore()
                return True
        return False


class _UpdateStatus(QObject):
    """One line, whatever tab is open: whether the contour follows the strokes."""

    _UPDATING = "Updating …"

    def __init__(self, session: Session, training: Training, refinement: Refinement) -> None:
        super().__init__(session)
        self.label = text_label()
        self.label.hide()
        self._away = False
        refinement.state_changed.connect(self._on_state)
        refinement.finished.connect(self._on_finished)
        refinement.paused.connect(lambda reason: self._show(f"Waiting. {reason}"))
        refinement.failed.connect(
            lambda reason: self._show(f"The contour was not updated. {reason}")
        )
        training.state_changed.connect(lambda _state: self._show(""))
        training.where.line_changed.connect(self._on_line)
        for signal in (training.where.changed, session.closed):
            signal.connect(self._forget)

    def _on_state(self, state: str) -> None:
        if state == "updating":
            self._show(self._UPDATING)
        elif self.label.text() == self._UPDATING:
            self._show("")

    def _forget(self) -> None:
        """Another patient, or another computer: nothing that was said is true of it."""
        self._away = False
        self._show("")

    def _on_line(self, event: LineChanged) -> None:
        """Of a worker on another computer: who draws sees whether it hears the strokes."""
        away, self._away = self._away, event.state == "away"
        if self._away:
            self._show(plain(f"Away. {event.text}"))
        elif away:
            self._show(plain(event.text))

    def _on_finished(self, event: Finished) -> None:
        share = f"{int(100 * event.agreement + 1e-6)} %"  # 100 only where it is all of them
        self._show(f"Updated: agreement with your strokes {share}. {event.warning}".strip())

    def _show(self, text: str) -> None:
        self.label.setText(text)
        self.label.setVisible(bool(text))
