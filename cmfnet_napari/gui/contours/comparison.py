"""What the contour is compared with: an earlier training, a reference, a second observer.

It holds no widget.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from napari.layers import Labels
from qtpy.QtCore import QObject, QTimer, Signal

from cmfnet_napari.core.case.case_classes import translated
from cmfnet_napari.core.contours.metrics import Evaluation, evaluate
from cmfnet_napari.core.dicom.importing.contour_file import SeveralStructuresError, read_contour
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.fit.runs import newest_prediction
from cmfnet_napari.core.images.study import load_labels
from cmfnet_napari.core.privacy import inside
from cmfnet_napari.core.review.log_entry import Entry
from cmfnet_napari.core.review.readings import load_reading
from cmfnet_napari.core.strokes.scribbles import check_classes
from cmfnet_napari.gui.contours.result import Result
from cmfnet_napari.gui.patient.classes import class_names, reference_colors
from cmfnet_napari.gui.patient.layers import (
    OPENED,
    ROLE,
    contour_layers,
    insert_below,
    segmentation_layer,
)
from cmfnet_napari.gui.patient.session import Session
from cmfnet_napari.gui.shared.markup import plain
from cmfnet_napari.gui.shared.messages import show_info
from cmfnet_napari.gui.shared.tasks import run_in_background, show_failure

_WAIT_MS = 800  # a contour that is being updated changes again before it could be judged


class _Read(NamedTuple):
    """Labels that were read, numbers of the classes they speak of, and what is to be said."""

    labels: np.ndarray
    numbers: tuple[int, ...]
    notes: Sequence[str] = ()


Other = Literal["nothing", "previous", "sample", "layer", "file", "reading"]


class Comparison(QObject):
    """Another contour of the open case, and how well the prediction agrees with it.

    Attributes
    ----------
    kind : Other
        Where the other contour comes from.
    layer : Labels or None
        The layer it is, where it has one of its own.
    other : uint8 array (z, y, x) or None
        The other contour on the Study's Grid.
    evaluation : Evaluation or None
        Of the contour of record; None while it is computed anew.
    """

    changed = Signal()  # the other contour
    asked = Signal(str, list)  # file, and structures of which one is to be chosen
    evaluated = Signal(object)  # Evaluation, or None

    def __init__(self, session: Session, result: Result) -> None:
        super().__init__(session)
        self._session = session
        self._result = result
        self.kind: Other = "nothing"
        self.layer: Labels | None = None
        self.other: np.ndarray | None = None
        self.evaluation: Evaluation | None = None
        self._layer: Labels | None = None
        self._mark: Entry | None = None  # whose reading it is
        self._labels: np.ndarray | None = None  # `other` as it was read
        self._numbers: tuple[int, ...] = ()  # of the classes that it was read with
        self._later = QTimer(self, singleShot=True, interval=_WAIT_MS)
        self._later.timeout.connect(self._evaluate)
        result.changed.connect(self._on_result)
        session.recoded.connect(self._on_recoded)

    def use_nothing(self) -> None:
        """Compare with nothing."""
        self._use("nothing", None, ())

    @property
    def loaded(self) -> list[Labels]:
        """Contours that are loaded, of structures, segmentations or files; not those made here."""
        if self._session.patient is None:
            return []
        own = (*self._result.contours, self._layer)
        layers = contour_layers(self._session.viewer, self._session.case.study.grid)
        return [
            layer
            for layer in layers
            if layer not in own
            and self._session.recorder_of(layer) is None
            and layer.metadata.get(ROLE) != "Contour"  # a sample's
        ]

    @property
    def has_sample(self) -> bool:
        """Whether the patient came with a contour of its own."""
        return self._session.patient is not None and self._session.patient.contour is not None

    def use_layer(self, layer: Labels) -> None:
        """Compare with a contour that is loaded, as it is now.

        A structure becomes the class of its name; or the first, where there is none.
        """
        labels = np.array(layer.data)
        codes = np.unique(labels[labels > 0])
        if len(codes) == 1:  # a mask: which class it is of its name tells
            names = [name.casefold() for name in class_names(self._session.case.classes)]
            name = layer.name.removesuffix(" (structure)").casefold()
            labels = np.where(labels > 0, names.index(name) + 1 if name in names else codes[0], 0)
        labels = check_classes(labels, f"The layer {layer.name}")
        self._use("layer", labels, self._session.case.order.numbers, layer)

    def use_file(self, path: str, structure: str = "") -> None:
        """Compare with a contour from a file: of labels on the first image's grid, RTSTRUCT or SEG.

        What of it is worth a look is said.

        Parameters
        ----------
        path : str
            The file.
        structure : str
            Which of its structures is meant; where it is not clear, `asked` says so.
        """
        case, images = self._session.case, self._session.patient.images
        classes, matrix = class_names(case.classes), case.registrations.current.array
        arguments = path, case.study, classes, structure, images, matrix

        def failed(error: Exception) -> None:
            if isinstance(error, SeveralStructuresError):
                self.asked.emit(path, error.names)
            else:
                show_failure(error)

        numbers = case.order.numbers

        def read() -> _Read:
            labels, notes = read_contour(*arguments)
            return _Read(labels, numbers, notes)

        self._read("file", read, failed)

    def use_sample(self) -> None:
        """Compare with the contour that came with a sample patient.

        Raises
        ------
        UserError
            There is none.
        """
        if not self.has_sample:
            raise UserError("This patient came without a contour. Choose one from a file.")
        order = self._session.case.order
        registered = tuple(sorted({*order.numbers, *order.merged}))  # it is older than any change
        self._use("sample", self._session.patient.contour, registered)

    def use_previous(self) -> None:
        """Compare with the contour of the training before.

        Raises
        ------
        UserError
            There is none.
        """
        case, shown = self._session.case, self._result.run
        earlier = [folder for folder in case.runs() if folder.name < Path(shown).name]
        event = newest_prediction(earlier)
        if event is None:
            raise UserError("There is no earlier training of this patient to compare with.")
        path, grid = inside(case.folder, event.labels), case.study.grid
        self._read(
            "previous", lambda: _Read(load_labels(path, grid), case.run_numbers(path.parent))
        )

    def use_reading(self, mark: Entry | None = None) -> None:
        """Compare with a contour as a reader signed it off; once more with the same, if not said.

        Parameters
        ----------
        mark : Entry, optional
            Of the case's review log.
        """
        mark = self._mark = mark or self._mark
        if mark is not None:
            case, order = self._session.case, self._session.case.order
            self._read("reading", lambda: _Read(load_reading(case, mark, order), order.numbers))

    def close(self) -> None:
        """The patient is left."""
        self._later.stop()
        self._mark = None
        self.use_nothing()

    def _read(
        self,
        kind: Other,
        load: Callable[[], _Read],
        failed: Callable[[Exception], None] = show_failure,
    ) -> None:
        patient = self._session.patient

        def done(read: _Read) -> None:
            if self._session.patient is not patient:
                return
            for note in read.notes:
                show_info(plain(note))
            self._use(kind, read.labels, read.numbers)

        run_in_background(load, done=done, failed=failed)

    def _use(
        self,
        kind: Other,
        labels: np.ndarray | None,
        numbers: tuple[int, ...],
        layer: Labels | None = None,
    ) -> None:
        """Compare with labels that were read with these classes."""
        self.kind, self._labels, self._numbers, self.layer = kind, labels, numbers, layer
        self._translate()
        self._evaluate()

    def _translate(self) -> None:
        """Put what was read into the classes as they are now."""
        labels, numbers = self._labels, self._numbers
        now = None if labels is None else self._session.case.order.labels(numbers)
        self.other = None if labels is None else translated(labels, now)
        self._show_layer()
        self.changed.emit()
        self._forget()

    def _show_layer(self) -> None:
        """Show a contour that was read; others have a layer already."""
        viewer, layer, self._layer = self._session.viewer, self._layer, None
        if layer is not None and layer in viewer.layers:
            viewer.layers.remove(layer)
        if self.other is None or self.kind in ("sample", "layer"):
            return
        grid = self._session.case.study.grid
        self._layer = segmentation_layer(self.other, grid, reference_colors(), "Compared with")
        self._layer.metadata[OPENED] = self._session.patient
        insert_below(viewer, self._layer, self._session.scribbles)

    def _on_recoded(self, _labels: np.ndarray) -> None:
        """Classes went or came back; it is judged when the contour of record has followed."""
        if self._labels is not None:
            self._translate()

    def _forget(self) -> None:
        self.evaluation = None
        self.evaluated.emit(None)

    def _on_result(self, volumes: dict[str, float] | None) -> None:
        if self.other is not None and volumes is not None:
            self._forget()
            self._later.start()

    def _evaluate(self) -> None:
        result, other = self._result, self.other
        labels = result.labels
        if other is None or not result.exists:
            return
        case = self._session.case
        grid, names, order = case.study.grid, class_names(case.classes), case.order
        if result.order != order:  # its labels are of other classes: `changed` follows
            return

        def done(evaluation: Evaluation) -> None:
            same = self.other is other and result.labels is labels
            if same and self._session.case.order == order:
                self.evaluation = evaluation
                self.evaluated.emit(evaluation)

        run_in_background(evaluate, labels, other, grid, names, done=done, failed=show_failure)
