"""How the MR lies on the CT: looked at, changed, kept or undone."""

from __future__ import annotations

from qtpy.QtWidgets import QCheckBox, QGroupBox, QWidget

from cmfnet_napari.core.registration.registrations import Fit
from cmfnet_napari.gui.patient.session import Session
from cmfnet_napari.gui.registration.mr_placement import MrPlacement, how_in_words
from cmfnet_napari.gui.shared.widgets import NOTICE_STYLE, button, column, row, text_label

_KEYS = (
    "Alt+arrows move by 1 mm, Alt+Page Up and Page Down through the slices, Alt+Shift+left and "
    "right turn by 1°, on the plane that is shown."
)


class RegistrationPanel(QGroupBox):
    """Hidden while there is no MR."""

    def __init__(self, session: Session, mr_placement: MrPlacement) -> None:
        super().__init__("MR on the CT")
        self._session, self._mr_placement = session, mr_placement
        self.state = text_label()
        self.warning = text_label()
        self.warning.setStyleSheet(NOTICE_STYLE)
        self.register_button = button(
            "Register",
            self._mr_placement.start,
            "Find the MR's place: rigid, by mutual information",
        )
        self.undo_button = button("Undo", self._mr_placement.undo, "Where it lay before")
        self.edges = QCheckBox("Edges of the MR on the CT")
        self.edges.setToolTip("Lines where the MR changes: they should follow the CT's borders")
        self.by_keys = QCheckBox("Move the MR by keys")
        self.by_keys.setToolTip(_KEYS)
        self.keys = text_label(_KEYS)
        self.keep_button = button(
            "Keep this place", self._mr_placement.keep, "Use it from now on; it can be undone"
        )
        self.discard_button = button(
            "Discard", self._mr_placement.discard, "Back to where the MR lay"
        )
        self.trial = QWidget()
        self.trial.setLayout(row(self.keep_button, self.discard_button))
        self.setLayout(
            column(
                self.state,
                self.warning,
                row(self.register_button, self.undo_button),
                self.edges,
                self.by_keys,
                self.keys,
                self.trial,
            )
        )
        self.edges.toggled.connect(self._mr_placement.show_edges)
        self.by_keys.toggled.connect(self._mr_placement.move_by_keys)
        self._mr_placement.changed.connect(self._refresh)
        self._mr_placement.judged.connect(self._show_fit)
        session.opened.connect(self._on_opened)
        session.closed.connect(self.hide)
        self.hide()

    def _on_opened(self) -> None:
        self.edges.setChecked(False)
        self.state.setText("")
        self.warning.setText("")
        self._refresh()

    def _refresh(self) -> None:
        mr_placement = self._mr_placement
        self.setVisible(mr_placement.available)
        if not mr_placement.available:
            return
        tried = mr_placement.trial is not None
        self.register_button.setEnabled(not mr_placement.running)
        entries = self._session.case.registrations.entries
        self.undo_button.setEnabled(not tried and not mr_placement.running and len(entries) > 1)
        self.by_keys.setChecked(mr_placement.by_keys)
        self.keys.setVisible(mr_placement.by_keys)
        self.trial.setVisible(tried)
        self.warning.setVisible(bool(self.warning.text()))

    def _show_fit(self, fit: Fit) -> None:
        mr_placement = self._mr_placement
        tried = "Tried, not yet kept: " if mr_placement.trial is not None else "The MR lies "
        words = f"{tried}{how_in_words(mr_placement.current.how)}."
        alike = "" if fit.likeness is None else f" Likeness {fit.likeness.here:.2f}."
        self.state.setText(
            f"{words} It covers {100 * fit.covered:.0f} % of the patient in the CT; "
            f"{100 * fit.overlap:.0f} % of it lie within the CT.{alike}"
        )
        self.warning.setText(" ".join(fit.warnings))
        self.warning.setVisible(bool(fit.warnings))
