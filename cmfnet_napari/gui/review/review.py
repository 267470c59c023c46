"""The review of a contour: places to look at, slices looked at, the report. It holds no widget."""

from __future__ import annotations

import logging

import numpy as np
from qtpy.QtCore import QObject, QTimer, Signal

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.geometry.boxes import grow
from cmfnet_napari.core.geometry.plane import VIEWS
from cmfnet_napari.core.images.grid import Grid
from cmfnet_napari.core.review.places import Place, find_places
from cmfnet_napari.core.review.record import (
    Decided,
    Record,
    State,
    digest,
    read_record,
    slice_digests,
    write_record,
)
from cmfnet_napari.core.strokes.entries import Correction, Stroke
from cmfnet_napari.gui.contours.result import Result
from cmfnet_napari.gui.patient.contour_recorder import OWN_SHOWN
from cmfnet_napari.gui.patient.session import Session
from cmfnet_napari.gui.review.seen_slices import SeenSlices
from cmfnet_napari.gui.shared.messages import show_info
from cmfnet_napari.gui.shared.shortcuts import Shortcut
from cmfnet_napari.gui.shared.tasks import run_in_background, show_failure
from cmfnet_napari.gui.views.navigation import Navigation

_KEEP_MS = 1000  # after a change, before review.json is written
_NEAR_MM = 5.0  # a stroke so near to a place corrects it
_log = logging.getLogger(__name__)

NEXT_PLACE = Shortcut("N", "Next place to review")


class Review(QObject):
    """What the user has looked at and decided about the prediction that is shown.

    Attributes
    ----------
    places : list of Place
        To look at, the most doubtful first.
    current : Place or None
        The one looked at.
    contour : str
        Digest of the contour of record as it was measured last; empty where there is none.
    seen_slices : SeenSlices
        Says what is on the screen.
    """

    changed = Signal()  # places, their states, or slices looked at
    correcting = Signal()  # strokes are wanted at the current place
    looked_at = Signal(str, int, str)  # plane, slice with contour, digest of that
    decided = Signal(object, str, str)  # Place, its state, digest of the contour there

    def __init__(
        self, session: Session, result: Result, navigation: Navigation, seen_slices: SeenSlices
    ) -> None:
        super().__init__(session)
        self._session = session
        self._result, self._navigation, self.seen_slices = result, navigation, seen_slices
        self._record, self._labels = Record(), None
        self._digests: dict[str, dict[int, str]] = {plane: {} for plane in VIEWS}
        self._corrects: Place | None = None
        self._edited: set[tuple[str, int]] = set()  # slices edited since they were measured
        self._amended: Place | None = None  # decided once the contour there is measured
        self._doubted: tuple[object, object] | None = None  # what the places were found in
        self.places: list[Place] = []
        self.current: Place | None = None
        self.contour = ""
        self._keeping = QTimer(self, singleShot=True, interval=_KEEP_MS)
        self._keeping.timeout.connect(self.keep)
        seen_slices.looked_at.connect(self._on_looked_at)
        session.opened.connect(self._bring_back)
        result.changed.connect(self._on_result)

    # --- places

    def state(self, place: Place) -> State:
        """What was decided about a place."""
        return self._record.state_of(place, self._labels, self._grid)

    def next_place(self) -> None:
        """Go to the next open place after the current one; start again after the last."""
        if not self.places:
            show_info("There is no place to look at.")
            return
        start = self.places.index(self.current) + 1 if self.current in self.places else 0
        following = self.places[start:] + self.places[:start]
        place = next((place for place in following if self.state(place) == "open"), None)
        if place is None:
            show_info("You have decided about every place.")
            return
        self.go_to(place)

    def go_to(self, place: Place) -> None:
        """Show a place in the middle of the screen; another one is no longer corrected."""
        self.current = place
        if place != self._corrects:
            self._corrects = None
        self._navigation.look_at(place.voxel)
        self.changed.emit()

    def decide(self, state: Decided) -> None:
        """Accept or dismiss the current place; the same again opens it.

        Raises
        ------
        UserError
            There is no current place, the case is open for looking only, or the model's own
            contour is on the screen, which is not the one that is decided about.
        """
        if self._result.own:
            raise UserError(OWN_SHOWN)
        place = self._chosen()
        if self.state(place) == state:
            self._use(self._record.without_decision(place, self._grid))
            self.decided.emit(place, "opened", "")
        else:
            self._decide(place, state)

    def correct(self) -> None:
        """Go and draw at the current place; with the first stroke there it counts as corrected.

        Raises
        ------
        UserError
            As `decide`.
        """
        self._corrects = self._chosen()
        self._navigation.look_at(self._corrects.voxel)
        self._session.select_class(self._session.scribbles.selected_label)
        self.correcting.emit()

    # --- slices

    def coverage(self, plane: str) -> tuple[int, int]:
        """Slices with contour that were looked at in a plane, and all with contour."""
        return len(self._record.seen_slices(plane, self._digests)), len(self._digests[plane])

    def unseen(self, plane: str) -> list[int]:
        """Slices with contour that were not looked at."""
        seen = self._record.seen_slices(plane, self._digests)
        return sorted(set(self._digests[plane]) - seen)

    def go_to_slice(self, plane: str, index: int) -> None:
        """Show a slice of the plane that is on the screen."""
        self._navigation.go_to_slice(VIEWS.index(plane), index)

    # --- the record

    @property
    def record(self) -> Record:
        """What is kept with the case."""
        return self._record

    @property
    def complete(self) -> bool:
        """Whether every axial slice with contour was looked at and every place decided."""
        seen, all_ = self.coverage("axial")
        return bool(all_) and seen == all_ and not self.open_places

    @property
    def open_places(self) -> int:
        """How many places nothing was decided about."""
        return sum(self.state(place) == "open" for place in self.places)

    def keep(self) -> None:
        """Write review.json; a full disk is said of strokes, not of this."""
        self._keeping.stop()
        if not self._session.writable:
            return
        try:
            write_record(self._record, self._session.case.folder)
        except UserError:
            _log.warning("The review could not be written.")

    def close(self) -> None:
        """The patient is left."""
        if self._keeping.isActive():
            self.keep()
        self._forget()
        self._record = Record()

    def _bring_back(self) -> None:
        self._session.recorder.recorded.connect(self._on_stroke)
        self._session.corrections.recorded.connect(self._on_correction)
        try:
            self._record = read_record(self._session.case.folder)
        except UserError as error:
            self._record = Record()
            show_info(f"{error} It starts anew.")

    @property
    def _grid(self) -> Grid:
        return self._session.case.study.grid

    def _chosen(self) -> Place:
        if self.current not in self.places:
            raise UserError("Choose a place in the list first, or press N.")
        if not self._session.writable:
            raise UserError(self._session.case.notice)
        return self.current

    def _decide(self, place: Place, state: Decided) -> None:
        self._use(self._record.with_decision(place, state, self._labels, self._grid))
        self.decided.emit(place, state, self._record.decisions[-1].contour)

    def _use(self, record: Record) -> None:
        self._record = record
        self._keeping.start()
        self.changed.emit()

    def _forget(self) -> None:
        self._digests = {plane: {} for plane in VIEWS}
        self._labels = self.current = self._corrects = self._amended = self._doubted = None
        self.places, self.contour = [], ""
        self._edited.clear()
        self.changed.emit()

    def _on_looked_at(self, plane: str, index: int) -> None:
        now = self._digests[plane].get(index)
        if now is not None:
            self.looked_at.emit(plane, index, now)
        if now is not None and self._record.seen.get(plane, {}).get(index) != now:
            self._use(self._record.with_seen(plane, index, now))

    def _on_stroke(self, stroke: Stroke) -> None:
        place = self._corrects
        if place is None or self._labels is None or not _drawn_at(place, stroke, self._grid):
            return
        self._corrects = None
        self._decide(place, "corrected")

    def _on_correction(self, correction: Correction) -> None:
        """A slice that was edited by hand was looked at, and a place that was is corrected."""
        if correction.source == "hand":
            self._edited.update(_slice_of(correction, self._grid))
        place = self._corrects
        if place is not None and _drawn_at(place, correction, self._grid):
            self._amended, self._corrects = place, None

    def _on_result(self, volumes: dict[str, float] | None) -> None:
        """Find places and slices of another contour, off the GUI thread."""
        result = self._result
        if volumes is None or not result.exists:
            self._forget()
            return
        labels, grid, places = result.labels, self._grid, self.places
        doubt = None if result.updating else (result.probability.data, grid, result.apart)
        source = None if doubt is None else (doubt[0], result.model_labels)
        if source is not None and _same(source, self._doubted):
            doubt = None  # the hand has changed the contour, not what was doubtful of the model's

        def compute() -> tuple[dict[str, dict[int, str]], str, list[Place]]:
            found = places if doubt is None else find_places(labels, *doubt)
            return slice_digests(labels), digest(labels), found

        def show(answer: tuple[dict[str, dict[int, str]], str, list[Place]]) -> None:
            if result.labels is labels:
                self._doubted = source if doubt is not None else self._doubted
                self._show(labels, *answer)

        run_in_background(compute, done=show, failed=show_failure)

    def _show(
        self,
        labels: np.ndarray,
        digests: dict[str, dict[int, str]],
        name: str,
        places: list[Place],
    ) -> None:
        self._labels, self._digests, self.places, self.contour = labels, digests, places, name
        self._record = self._record.bound_to(self._result.run, name)
        edited, self._edited = self._edited, set()
        for plane, index in edited:
            self._on_looked_at(plane, index)
        place, self._amended = self._amended, None
        if place is not None:
            self._decide(place, "corrected")
        self.changed.emit()
        self.seen_slices.look_again()


def _same(one: tuple[object, object], other: tuple[object, object] | None) -> bool:
    """Whether two pairs hold the same arrays."""
    return other is not None and all(a is b for a, b in zip(one, other, strict=True))


def _slice_of(correction: Correction, grid: Grid) -> set[tuple[str, int]]:
    """The slice that was painted on, by plane: the one that all voxels lie on."""
    index = np.unravel_index(correction.voxels, grid.shape)
    pairs = zip(VIEWS, index, strict=True)
    return {(plane, int(at[0])) for plane, at in pairs if (at == at[0]).all()}


def _drawn_at(place: Place, stroke: Stroke, grid: Grid) -> bool:
    """Whether a stroke is by hand and, in part, in or near a place."""
    reach = tuple(int(np.ceil(_NEAR_MM / mm)) for mm in grid.spacing)
    box = grow(place.box, reach, grid.shape)
    at = np.unravel_index(stroke.voxels, grid.shape)
    inside = [(i >= s.start) & (i < s.stop) for i, s in zip(at, box, strict=True)]
    return stroke.source == "hand" and bool(np.logical_and.reduce(inside).any())
