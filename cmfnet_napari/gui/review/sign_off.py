"""The review log of the open case: written along with the review, signed off by one or two readers.

It holds no widget. Nothing here asks for anything: who works alone need not know of it.
"""

from __future__ import annotations

from collections import defaultdict

from qtpy.QtCore import QObject, QTimer, Signal

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.files import JsonObject
from cmfnet_napari.core.privacy import account
from cmfnet_napari.core.review.log_entry import Entry, What
from cmfnet_napari.core.review.readings import (
    load_reading,
    reader_difference,
    reading_file,
    save_reading,
)
from cmfnet_napari.core.review.record import Record, digest, slice_digests
from cmfnet_napari.core.review.review_log import ReviewLog, reader_name
from cmfnet_napari.core.review.standing import (
    Standing,
    first_review,
    is_about,
    named_classes,
    standing,
    standing_marks,
)
from cmfnet_napari.gui.contours.comparison import Comparison
from cmfnet_napari.gui.contours.result import Result
from cmfnet_napari.gui.patient.classes import class_names
from cmfnet_napari.gui.patient.contour_recorder import OWN_SHOWN
from cmfnet_napari.gui.patient.session import Session
from cmfnet_napari.gui.review.review import Review
from cmfnet_napari.gui.shared.messages import show_warning
from cmfnet_napari.gui.shared.tasks import run_in_background, show_failure

_DISK_MS = 2000  # after an entry, before the disk is waited for


class SignOff(QObject):
    """Who looked at what and signed it off, in `review-log.jsonl` of the case.

    Attributes
    ----------
    entries : list of Entry
        Of the log, those that are as written; nothing else counts.
    fault : str
        Where the log was changed, in a sentence; empty where it was not.
    """

    changed = Signal()

    def __init__(
        self, session: Session, result: Result, review: Review, comparison: Comparison
    ) -> None:
        super().__init__(session)
        self._session, self._result = session, result
        self._review, self._comparison = review, comparison
        self._log: ReviewLog | None = None
        self._seen: dict[str, set[tuple[str, int, str]]] = defaultdict(set)
        self._typed, self._account = "", account()
        self._warned = False
        self.entries: list[Entry] = []
        self.fault = ""
        self._disk = QTimer(self, singleShot=True, interval=_DISK_MS)
        self._disk.timeout.connect(self._to_disk)
        session.opened.connect(self._open)
        review.looked_at.connect(self._on_looked_at)
        review.decided.connect(self._on_decided)
        review.changed.connect(self._follow)
        session.classes_changed.connect(self._follow)

    @property
    def account(self) -> str:
        """The system's user, who reads unless another name is typed."""
        return self._account

    @property
    def reader(self) -> str:
        """Who reads now; empty where nobody said and the system knows none."""
        return self._typed or self._account

    def read_by(self, typed: str) -> None:
        """Say who reads from here on; empty: the system's user.

        Raises
        ------
        UserError
            A name that is too long.
        """
        self._typed = reader_name(typed) if typed.strip() else ""
        self.changed.emit()

    @property
    def writable(self) -> bool:
        """Whether the contour that is shown can be signed off here."""
        return self._log is not None and self._result.exists

    @property
    def standing(self) -> Standing:
        """How far the contour of record is signed off."""
        return standing(self.entries, self._review.contour, self._classes)

    @property
    def _classes(self) -> list[JsonObject]:
        """What the labels of the contour stand for now."""
        return [] if self._session.patient is None else named_classes(self._session.case.classes)

    @property
    def marked(self) -> bool:
        """Whether there is a sign-off that can be taken back."""
        return bool(standing_marks(self.entries))

    def sign(self, what: What) -> None:
        """Sign the contour off: ``reviewed``, or ``peer-reviewed`` after another reader.

        Raises
        ------
        UserError
            There is no contour, no name, no first reader, the case is for looking only, or the
            model's own contour is on the screen, which is not the one that is signed.
        """
        if self._result.own:
            raise UserError(OWN_SHOWN)
        log, case, reader = self._writing(), self._session.case, reader_name(self.reader)
        first = first_review(self.entries, reader) if what == "peer-reviewed" else None
        labels, order, names = self._result.shown(), case.order, class_names(case.classes)
        classes = self._classes
        seen, left = self._seen[reader], self._review.open_places

        def compute() -> tuple[str, JsonObject]:
            axial = slice_digests(labels)["axial"]
            unseen = sum(("axial", index, name) not in seen for index, name in axial.items())
            signed = [one for one in classes if (labels == one["label"]).any()]
            detail: JsonObject = {"unseen": unseen, "open": left, "classes": signed}
            if first is not None:
                before = load_reading(case, first, order)
                differs = reader_difference(before, labels, case.study.grid, names)
                detail |= {"first": first.n, **differs}
            detail["reading"] = save_reading(case.folder, case.study, order, labels)
            return digest(labels), detail

        def done(computed: tuple[str, JsonObject]) -> None:
            if self._log is log:
                contour, detail = computed
                try:
                    self._sign(what, detail, contour, reader)
                except UserError as error:
                    show_failure(error)

        run_in_background(compute, done=done, failed=show_failure)

    def withdraw(self) -> None:
        """Make the contour a draft again, whoever signed it off.

        Raises
        ------
        UserError
            The case is for looking only.
        """
        self._writing()
        self._sign("withdrawn", {}, self._review.contour, self.reader)

    def compare(self) -> None:
        """Compare the contour with what the other reader signed off, or who did so last.

        Raises
        ------
        UserError
            Nobody has signed any off, or it is another one than then.
        """
        marks = standing_marks(self.entries)
        if not marks:
            raise UserError("Nobody has signed a contour off yet; there is nothing to compare.")
        others = [mark for mark in marks if mark.reader.casefold() != self.reader.casefold()]
        mark, case = (others or marks)[-1], self._session.case
        reading_file(case.folder, mark)
        self._comparison.use_reading(mark)

    def close(self) -> None:
        """The patient is left."""
        self._to_disk(now=True)
        self._log, self.entries, self.fault, self._typed = None, [], "", ""
        self._seen.clear()
        self.changed.emit()

    def _open(self) -> None:
        case, check = self._session.case, self._session.patient.review
        self._warned = False
        try:
            if isinstance(check, UserError):
                raise check
            if self._session.writable:
                earlier = _earlier(self._review.record)
                self._log = ReviewLog(case.folder, case.key, earlier, check)
                check, self.entries = self._log.check, self._log.entries
            else:
                self.entries = list(check.entries)
        except UserError as error:
            self.fault = str(error)
            show_failure(error)
        else:
            self._say(check.fault)
        for entry in self.entries:
            if entry.what == "looked":
                self._saw(entry)
        self.changed.emit()

    def _say(self, fault: str) -> None:
        """Say what is wrong with the log; from then on it stands in the log, too."""
        self.fault = fault
        if fault and not any(entry.detail.get("fault") == fault for entry in self.entries):
            self._write("noticed", {"fault": fault})

    def _writing(self) -> ReviewLog:
        if self._log is None:
            raise UserError(
                self._session.case.notice or self.fault or "This case can only be looked at."
            )
        if not self._result.exists:
            raise UserError("There is no contour to sign off yet. Train first.")
        return self._log

    def _sign(self, what: What, detail: JsonObject, contour: str, reader: str) -> None:
        """An entry that somebody asked for: that it cannot be written is said each time."""
        self._writing().append(what, detail, contour, reader)
        self._to_disk()
        self.changed.emit()

    def _write(self, what: What, detail: JsonObject, contour: str = "") -> bool:
        """Add an entry along the way; that it cannot be written is said once."""
        if self._log is None:
            return False
        try:
            self._log.append(what, detail, contour, self.reader)
        except UserError as error:
            if not self._warned:
                show_warning(f"What is reviewed is not logged: {error}")
            self._warned = True
            return False
        self._disk.start()
        return True

    def _to_disk(self, now: bool = False) -> None:
        log = self._log
        self._disk.stop()
        if log is None:
            return
        if not now:
            run_in_background(log.to_disk, done=lambda _: None, failed=show_failure)
            return
        try:
            log.to_disk()
        except UserError as error:
            show_failure(error)

    def _saw(self, entry: Entry) -> None:
        plane, index = str(entry.detail.get("plane")), entry.detail.get("index")
        if isinstance(index, int):
            self._seen[entry.reader].add((plane, index, entry.contour))

    def _on_looked_at(self, plane: str, index: int, contour: str) -> None:
        seen, now = self._seen[self.reader], (plane, index, contour)
        if now not in seen and self._write("looked", {"plane": plane, "index": index}, contour):
            seen.add(now)

    def _on_decided(self, place: object, state: What, contour: str) -> None:
        where = {"voxel": [int(v) for v in place.voxel], "ml": round(place.volume_ml, 3)}
        self._write(state, where, contour)

    def _follow(self) -> None:
        """A contour that was signed off and is another one now is a draft again; that is logged.

        So is one whose classes were renamed or merged.
        """
        contour, classes = self._review.contour, self._classes
        marks = standing_marks(self.entries)
        if self._result.exists and contour and marks:
            known = any(is_about(mark, contour, classes) for mark in marks)
            told = any(e.what == "changed" and e.n > marks[-1].n for e in self.entries)
            if not known and not told:
                self._write("changed", {"since": marks[-1].n}, contour)
        self.changed.emit()


def _earlier(record: Record) -> JsonObject:
    """What review.json says of a review that no log was written of."""
    slices = {plane: len(seen) for plane, seen in record.seen.items()}
    if not slices and not record.decisions:
        return {}
    return {"before": {"slices": slices, "decisions": len(record.decisions)}}
