"""Which PACS: one of the known ones, tested or added; the same for sending and fetching."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QLabel, QWidget

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.gui.pacs.known_pacs import KnownPacs
from cmfnet_napari.gui.pacs.pacs_form import PacsForm
from cmfnet_napari.gui.shared.widgets import button, row


class PacsChooser(QWidget):
    """The known PACS in a list, with Test and Add; `refresh` fills it."""

    changed = Signal()  # another one is chosen, or there is one now
    waiting = Signal(str)  # what is waited for
    failed = Signal(str)  # why none can be chosen

    def __init__(self, known: KnownPacs) -> None:
        super().__init__()
        self._known = known
        self.form: PacsForm | None = None
        self.nodes = QComboBox()
        self.test_button = button("Test", self._test, "Ask whether it is there and lets us in")
        self.add_button = button("Add…", self._ask, "Another PACS, or other words for a known one")
        parts = QLabel("PACS"), self.nodes, self.test_button, self.add_button
        self.setLayout(row(*parts, stretch=1))
        self.nodes.currentTextChanged.connect(lambda _name: self.changed.emit())
        known.added.connect(self.refresh)

    @property
    def name(self) -> str:
        """Name of the chosen one; empty when none is known."""
        return self.nodes.currentText()

    def refresh(self, chosen: str = "") -> None:
        """Show the known ones, one of them chosen."""
        names, why = [], ""
        try:
            names = self._known.names
        except UserError as error:
            why = str(error)
        self.nodes.clear()
        self.nodes.addItems(names)
        self.nodes.setCurrentText(chosen)
        self.nodes.setEnabled(bool(names))
        self.test_button.setEnabled(bool(names))
        self.changed.emit()
        if why:
            self.failed.emit(why)

    def _test(self) -> None:
        self.waiting.emit("Asking…")
        self._known.test(self.name)

    def _ask(self) -> None:
        self.form = PacsForm(self._known, self)
        self.form.finished.connect(self._forget)
        self.form.open()

    def _forget(self) -> None:
        self.form = None
