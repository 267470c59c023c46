"""Places to look at: a list, and what the user decides about each."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QListWidget, QListWidgetItem, QWidget

from cmfnet_napari.core.review.places import Place
from cmfnet_napari.gui.patient.session import Session
from cmfnet_napari.gui.review.review import NEXT_PLACE, Review
from cmfnet_napari.gui.shared.widgets import button, column, group, row, text_label

_HEIGHT = 118  # pixels: five places
_MARKS = {"open": "○", "accepted": "✓", "corrected": "✎", "dismissed": "–"}
_WHERE = {"inside": "inside", "border": "at the border", "outside": "outside"}


class PlacesPanel(QWidget):
    """The queue of places, the most doubtful first."""

    def __init__(self, session: Session, review: Review) -> None:
        super().__init__()
        self._session, self._review = session, review
        self.summary = text_label()
        self.list = QListWidget()
        self.list.setFixedHeight(_HEIGHT)
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.list.itemClicked.connect(self._go)
        self.list.itemActivated.connect(self._go)
        self.next_button = button(
            f"Next ({NEXT_PLACE.key})", self._review.next_place, "Go to the next open place"
        )
        self.accept_button = button(
            "Accept", self._accept, "The contour is right here. Press again to take it back"
        )
        self.correct_button = button(
            "Correct", self._review.correct, "Draw strokes here; the contour then follows them"
        )
        self.dismiss_button = button(
            "Dismiss", self._dismiss, "Of no importance here. Press again to take it back"
        )
        buttons = (self.next_button, self.accept_button, self.correct_button, self.dismiss_button)
        box = group("Places to look at", self.summary, self.list, row(*buttons))
        layout = column(box)
        layout.setContentsMargins(0, 0, 0, 0)
        self.setLayout(layout)
        self._buttons = buttons
        self._review.changed.connect(self._fill)
        self._fill()

    def _accept(self) -> None:
        self._review.decide("accepted")

    def _dismiss(self) -> None:
        self._review.decide("dismissed")

    def _go(self, item: QListWidgetItem) -> None:
        self._review.go_to(self._review.places[self.list.row(item)])

    def _fill(self) -> None:
        places, left = self._review.places, self._review.open_places
        images = self._session.image_names
        while self.list.count() > len(places):
            self.list.takeItem(self.list.count() - 1)
        while self.list.count() < len(places):
            self.list.addItem("")
        for row_, place in enumerate(places):
            item = self.list.item(row_)
            item.setText(f"{_MARKS[self._review.state(place)]} {describe(place, images)}")
            item.setToolTip(self._explain(place, images))
        chosen = self._review.current
        self.list.setCurrentRow(places.index(chosen) if chosen in places else -1)
        for widget in (self.list, *self._buttons):
            widget.setEnabled(bool(places))
        self.summary.setText(_summary(len(places), left))

    def _explain(self, place: Place, images: tuple[str, ...]) -> str:
        state, slice_ = self._review.state(place), place.voxel[0]
        text = f"{state.capitalize()}, axial slice {slice_}. The network is "
        text += f"{100 * place.uncertainty:.0f} % unsure here"
        if place.disagreement is None:
            return f"{text}."
        what = f"its two readings of the {images[0]} are"
        if len(images) > 1:
            what = f"what it reads in {images[0]} and in {images[1]} is"
        return f"{text}; {what} {100 * place.disagreement:.0f} % apart."


def describe(place: Place, images: tuple[str, ...]) -> str:
    """A place in a few words: how large, where, and why."""
    size = f"{place.volume_ml:.1f} ml" if place.volume_ml >= 0.1 else "under 0.1 ml"
    if place.disagreement is None:
        return f"{size} {_WHERE[place.where]}: unsure {100 * place.uncertainty:.0f} %"
    sources = " and ".join(images) if len(images) > 1 else "two readings"
    return f"{size} {_WHERE[place.where]}: {sources} {100 * place.disagreement:.0f} % apart"


def _summary(count: int, left: int) -> str:
    if not count:
        return "There is no place that the network doubts, or no prediction yet."
    return f"{left} of {count} places are open, the most doubtful first."
