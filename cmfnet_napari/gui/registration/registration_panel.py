"""How the second image lies on the first: looked at, changed, kept or undone."""

from __future__ import annotations

from qtpy.QtWidgets import QCheckBox, QGroupBox, QWidget

from cmfnet_napari.core.registration.registrations import Fit
from cmfnet_napari.gui.patient.session import Session
from cmfnet_napari.gui.registration.image_placement import ImagePlacement, how_in_words
from cmfnet_napari.gui.shared.widgets import NOTICE_STYLE, button, column, row, text_label

_KEYS = (
    "Alt+arrows move by 1 mm, Alt+Page Up and Page Down through the slices, Alt+Shift+left and "
    "right turn by 1°, on the plane that is shown."
)


class RegistrationPanel(QGroupBox):
    """Hidden while there is no second image."""

    def __init__(self, session: Session, image_placement: ImagePlacement) -> None:
        super().__init__("Image 2 on image 1")
        self._session, self._image_placement = session, image_placement
        self.state = text_label()
        self.warning = text_label()
        self.warning.setStyleSheet(NOTICE_STYLE)
        self.register_button = button(
            "Register",
            self._image_placement.start,
            "Find the place of image 2: rigid, by mutual information",
        )
        self.undo_button = button("Undo", self._image_placement.undo, "Where it lay before")
        self.edges = QCheckBox("Edges of image 2 on image 1")
        self.edges.setToolTip("Lines where it changes: they should follow the borders of image 1")
        self.by_keys = QCheckBox("Move image 2 by keys")
        self.by_keys.setToolTip(_KEYS)
        self.keys = text_label(_KEYS)
        self.keep_button = button(
            "Keep this place", self._image_placement.keep, "Use it from now on; it can be undone"
        )
        self.discard_button = button(
            "Discard", self._image_placement.discard, "Back to where it lay"
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
        self.edges.toggled.connect(self._image_placement.show_edges)
        self.by_keys.toggled.connect(self._image_placement.move_by_keys)
        self._image_placement.changed.connect(self._refresh)
        self._image_placement.judged.connect(self._show_fit)
        session.opened.connect(self._on_opened)
        session.closed.connect(self.hide)
        self.hide()

    def _on_opened(self) -> None:
        self.edges.setChecked(False)
        self._name_images()
        self.state.setText("")
        self.warning.setText("")
        self._refresh()

    def _name_images(self) -> None:
        """Call both images what they are."""
        names = self._session.image_names
        if len(names) > 1:
            one, other = names
            self.setTitle(f"{other} on the {one}")
            self.edges.setText(f"Edges of the {other} on the {one}")
            self.by_keys.setText(f"Move the {other} by keys")

    def _refresh(self) -> None:
        image_placement = self._image_placement
        self.setVisible(image_placement.available)
        if not image_placement.available:
            return
        tried = image_placement.trial is not None
        self.register_button.setEnabled(not image_placement.running)
        entries = self._session.case.registrations.entries
        self.undo_button.setEnabled(not tried and not image_placement.running and len(entries) > 1)
        self.by_keys.setChecked(image_placement.by_keys)
        self.keys.setVisible(image_placement.by_keys)
        self.trial.setVisible(tried)
        self.warning.setVisible(bool(self.warning.text()))

    def _show_fit(self, fit: Fit) -> None:
        image_placement = self._image_placement
        one, other = self._session.image_names
        tried = "Tried, not yet kept: "
        if image_placement.trial is None:
            tried = f"The {other} lies "
        words = f"{tried}{how_in_words(image_placement.current.how)}."
        alike = "" if fit.likeness is None else f" Likeness {fit.likeness.here:.2f}."
        self.state.setText(
            f"{words} It covers {100 * fit.covered:.0f} % of the patient in the {one}; "
            f"{100 * fit.overlap:.0f} % of it lie within the {one}.{alike}"
        )
        self.warning.setText(" ".join(fit.warnings))
        self.warning.setVisible(bool(fit.warnings))
