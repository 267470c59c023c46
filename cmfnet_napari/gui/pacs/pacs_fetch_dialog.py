"""From a PACS: whom to look for, the studies it has, and fetching one."""

from __future__ import annotations

from qtpy.QtCore import QDate, Qt
from qtpy.QtWidgets import (
    QAbstractItemView,
    QCheckBox,
    QDateEdit,
    QDialog,
    QFormLayout,
    QHeaderView,
    QLabel,
    QLineEdit,
    QTableWidget,
    QTableWidgetItem,
    QWidget,
)

from cmfnet_napari.core.dicom.pacs.query import Query, Study, name_pattern
from cmfnet_napari.gui.pacs.pacs_chooser import PacsChooser
from cmfnet_napari.gui.pacs.pacs_fetch import PacsFetch
from cmfnet_napari.gui.shared.widgets import (
    NOTICE_STYLE,
    ProgressBar,
    button,
    column,
    large_button,
    row,
    text_label,
)

_COLUMNS = "Date", "Study", "Modalities", "Files", "Patient", "Patient ID"
_WIDE = 1, 4


class PacsFetchDialog(QDialog):
    """Looks for studies and fetches the one that is chosen; closes when it has come."""

    def __init__(self, pacs_fetch: PacsFetch, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("From a PACS")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.resize(860, 560)
        self._pacs_fetch = pacs_fetch
        self._studies: list[Study] = []
        self._busy = False
        self.patient_id = QLineEdit()
        self.patient_name = QLineEdit()
        self.patient_name.setPlaceholderText("family name, given name; the beginning is enough")
        self.patient_id.setPlaceholderText("* stands for any letters, ? for one")
        self.dated = QCheckBox("Only studies from")
        self.first = _date(QDate.currentDate().addMonths(-1))
        self.last = _date(QDate.currentDate())
        self.search_button = button("Search", self._search)
        self.table = _table()
        self.fetch_button = large_button(
            "Fetch and open", self._fetch, "All of the chosen study, into a temporary folder"
        )
        self.bar = ProgressBar()
        self.cancel_button = button("Stop", pacs_fetch.cancel)
        self.said = text_label()
        self.chooser = PacsChooser(pacs_fetch.known)
        self._lay_out()
        self._listen()
        self._show_step("", 0.0)
        self.chooser.refresh()

    @property
    def query(self) -> Query:
        """What is looked for."""
        dates = [edit.date().toString("yyyyMMdd") for edit in (self.first, self.last)]
        return Query(
            patient_id=self.patient_id.text().strip(),
            patient_name=name_pattern(self.patient_name.text()),
            date="-".join(dates) if self.dated.isChecked() else "",
        )

    def _lay_out(self) -> None:
        form, dates = QFormLayout(), QWidget()
        dates.setLayout(row(self.dated, self.first, QLabel("to"), self.last))
        dates.layout().addStretch()
        form.addRow("Patient ID", self.patient_id)
        form.addRow("Name", self.patient_name)
        form.addRow("Dates", dates)
        work = row(self.bar, self.cancel_button, stretch=0)
        parts = self.chooser, form, self.search_button, self.table, self.fetch_button
        self.setLayout(column(*parts, work, self.said))
        self.search_button.setDefault(True)  # Enter in a field

    def _listen(self) -> None:
        self.dated.toggled.connect(self._enable)
        self.table.itemSelectionChanged.connect(self._enable)
        self.chooser.changed.connect(self._forget_studies)
        self.chooser.waiting.connect(self._say)
        pacs_fetch = self._pacs_fetch
        pacs_fetch.known.answered.connect(self._say)
        for failure in (pacs_fetch.failed, pacs_fetch.known.failed, self.chooser.failed):
            failure.connect(self._say_failure)
        pacs_fetch.moved.connect(self._show_step)
        pacs_fetch.found.connect(self._show_studies)
        pacs_fetch.fetched.connect(self._on_fetched)
        self.finished.connect(pacs_fetch.cancel)

    def _search(self) -> None:
        self._forget_studies()
        self._pacs_fetch.search(self.chooser.name, self.query)

    def _fetch(self) -> None:
        study = self._studies[self.table.currentRow()]
        self._pacs_fetch.fetch(self.chooser.name, study.uid)

    def _on_fetched(self, _folder: str) -> None:
        self.accept()

    def _forget_studies(self) -> None:
        """What one PACS has cannot be fetched from another."""
        self._say("")
        self._fill([])

    def _show_studies(self, studies: list[Study]) -> None:
        self._fill(studies)
        if studies:
            self._say("Choose the study to fetch.")
            return
        self._say_failure(
            f"{self.chooser.name} has no such study. Look for less: the beginning of the name "
            "alone, an ID with *, or no dates."
        )

    def _fill(self, studies: list[Study]) -> None:
        self._studies = studies
        self.table.setRowCount(len(studies))
        for index, study in enumerate(studies):
            for place, words in enumerate(_cells(study)):
                self.table.setItem(index, place, QTableWidgetItem(words))
        self.table.clearSelection()
        if len(studies) == 1:
            self.table.selectRow(0)
        self._enable()

    def _show_step(self, what: str, share: float) -> None:
        """A share that is known; a search has none."""
        self._busy = bool(what)
        self.bar.setVisible(self._busy)
        self.cancel_button.setVisible(self._busy)
        self.bar.setRange(0, 100 if share else 0)
        self.bar.setValue(round(100 * share))
        if what:
            self._say(f"{what}…")
        self._enable()

    def _enable(self) -> None:
        ready = bool(self.chooser.name) and not self._busy
        self.chooser.setEnabled(not self._busy)
        self.search_button.setEnabled(ready)
        self.table.setEnabled(not self._busy)
        self.fetch_button.setEnabled(ready and bool(self.table.selectedItems()))
        for edit in (self.first, self.last):
            edit.setEnabled(self.dated.isChecked())

    def _say(self, text: str) -> None:
        self.said.setStyleSheet("")
        self.said.setText(text)

    def _say_failure(self, text: str) -> None:
        self.said.setText(text)
        self.said.setStyleSheet(NOTICE_STYLE)


def _cells(study: Study) -> tuple[str, ...]:
    date = study.date
    return (
        f"{date[:4]}-{date[4:6]}-{date[6:]}" if len(date) == len("YYYYMMDD") else date,
        study.description,
        study.modalities,
        "" if study.instances is None else str(study.instances),
        study.patient_name.replace("^", " ").strip(),
        study.patient_id,
    )


def _date(day: QDate) -> QDateEdit:
    edit = QDateEdit(day)
    edit.setDisplayFormat("yyyy-MM-dd")
    edit.setCalendarPopup(True)
    return edit


def _table() -> QTableWidget:
    """Rows to choose one of."""
    table = QTableWidget(0, len(_COLUMNS))
    table.setHorizontalHeaderLabels(_COLUMNS)
    table.verticalHeader().hide()
    table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
    table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
    table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
    header = table.horizontalHeader()
    for place in range(len(_COLUMNS)):
        mode = "Stretch" if place in _WIDE else "ResizeToContents"
        header.setSectionResizeMode(place, getattr(QHeaderView.ResizeMode, mode))
    return table
