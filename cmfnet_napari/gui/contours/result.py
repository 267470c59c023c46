"""The contour of record: a fit's prediction under the user's corrections. It holds no widget."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path, PurePosixPath

import numpy as np
from napari.layers import Image, Labels, Layer
from qtpy.QtCore import QObject, QTimer, Signal

from cmfnet_napari.core.case.case_classes import translated
from cmfnet_napari.core.case.folder import Case
from cmfnet_napari.core.contours.components import kept_of_model, volumes_of
from cmfnet_napari.core.contours.doubt import from_percent
from cmfnet_napari.core.contours.hand_work import HandWork, hand_work
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.fit.events import Finished
from cmfnet_napari.core.fit.runs import maker_name, newest_prediction, saw_strokes
from cmfnet_napari.core.images.study import load_values, save_labels
from cmfnet_napari.core.privacy import inside
from cmfnet_napari.core.strokes.class_order import ClassOrder
from cmfnet_napari.core.strokes.scribbles import count_codes
from cmfnet_napari.gui.patient.classes import class_names, provisional_colors, segmentation_colors
from cmfnet_napari.gui.patient.contour_recorder import ContourRecorder, Copies
from cmfnet_napari.gui.patient.layers import (
    OPENED,
    disagreement_layer,
    insert_below,
    probability_layer,
    segmentation_layer,
    show_filled,
)
from cmfnet_napari.gui.patient.session import Session
from cmfnet_napari.gui.shared.markup import plain
from cmfnet_napari.gui.shared.messages import show_info
from cmfnet_napari.gui.shared.tasks import run_in_background, show_failure

# Labels and their classes, maps, labels again.
_Arrays = tuple[np.ndarray, tuple[int, ...], np.ndarray, np.ndarray | None, Copies]
_SOON_MS = 150  # after an edit: figures follow once the hand has paused
_FOLLOWS = (
    "The contour still follows what was drawn last (Only parts with a stroke). Look at it in a "
    "moment, then try again."
)


class Result(QObject):
    """The contour of record of the open case: all that is shown, measured or written asks here.

    Attributes
    ----------
    labels : uint8 array (z, y, x) or None
        The contour of record as it was measured last; another edit makes another array.
    order : ClassOrder or None
        The classes that they speak of; the case's may be others for a moment.
    counts : int array (n,)
        Its voxels of each segmentation code.
    volumes : dict of str to float
        Its volumes in ml by class name.
    hand : HandWork
        What the user has changed of the model's contour.
    run : str
        Folder of the model's run within the case.
    event : Finished or None
        How the run ended.
    updating : bool
        The model's labels are a preview; probability and the like are older.
    marked_only : bool
        Parts of the prediction that hold no stroke of their class are dropped.
    own : bool
        The layer shows the model's own contour, to look at.
    """

    created = Signal()  # layers of its own
    changed = Signal(object)  # volumes in ml by class name; None: there is no prediction
    edited = Signal()  # the contour is another one from here on; `changed` follows
    own_changed = Signal()  # the model's own contour is shown, or no more
    saved = Signal(str)

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._session = session
        self._whole: np.ndarray | None = None  # as predicted, nothing dropped
        self._numbers: tuple[int, ...] = ()  # of the classes that it speaks of
        self.marked_only = False
        # Count; what was asked for before is not shown.
        self._reading = self._measuring = self._dropping = 0
        self._behind = False  # parts without a stroke may be others than are dropped
        self._recorder: ContourRecorder | None = None
        self._soon = QTimer(self, singleShot=True, interval=_SOON_MS)
        self._soon.timeout.connect(self._catch_up)
        self.labels: np.ndarray | None = None
        self.order: ClassOrder | None = None
        self.counts: np.ndarray = np.zeros(1, np.int64)
        self.volumes: dict[str, float] = {}
        self.hand = HandWork()
        self.run = ""
        self.event: Finished | None = None
        self.updating = self.own = False
        self.prediction: Labels | None = None
        self.probability: Image | None = None
        self.disagreement: Image | None = None
        self._preview: Labels | None = None
        self._previewed: np.ndarray | None = None  # by the model, without corrections
        session.corrected.connect(self._on_corrected)
        session.strokes_changed.connect(self._on_strokes)
        session.opened.connect(self._bring_back)
        session.classes_changed.connect(self._recolor)
        session.recoded.connect(self._on_recoded)

    def read(self, event: Finished, failed: Callable[[Exception], None] = show_failure) -> None:
        """Show the files of a finished fit."""
        self._reading += 1
        patient, number = self._session.patient, self._reading

        def show(arrays: _Arrays) -> None:
            if self._session.patient is patient and self._reading == number:
                self.event, self.run = event, str(PurePosixPath(event.labels).parent)
                self._show(*arrays)

        run_in_background(_read, self._session.case, event, done=show, failed=failed)

    def follow(self, labels: np.ndarray) -> None:
        """Show labels (uint8, z y x) of a contour that is being updated, in place."""
        if self._is_shown(self.prediction):
            self._reading += 1
            self._whole, self.updating = labels, True
            self._numbers = self._session.case.order.numbers
            self._refresh()

    def show_preview(self, labels: np.ndarray) -> None:
        """Show labels (uint8, z y x), not yet a prediction, as an area below the strokes.

        Corrections stand in it, but it is not edited: a moment later there is another one.
        """
        viewer, case = self._session.viewer, self._session.case
        self._previewed, labels = labels, self._previewable(labels)
        if self._preview is not None and self._preview in viewer.layers:
            self._preview.data = labels
            return
        colors = provisional_colors(case.classes)
        layer = segmentation_layer(labels, case.study.grid, colors, "Preview", filled=True)
        layer.metadata[OPENED] = self._session.patient
        layer.editable = False
        insert_below(viewer, layer, self._session.scribbles)
        self._preview = layer

    def remove_preview(self) -> None:
        """Take the preview layer away."""
        self._drop(self._preview)
        self._preview = self._previewed = None

    def keep_marked_only(self, on: bool) -> None:
        """Drop parts of the prediction that hold no stroke of their class, or bring them back."""
        self.marked_only = on
        if self._whole is not None:
            self._refresh()

    def show_own(self, on: bool) -> None:
        """Show the model's own contour without any correction, to look at; or that of record.

        Raises
        ------
        UserError
            As `ContourRecorder.show_own`.
        """
        if self._recorder is not None:
            self._recorder.show_own(on)
            self._recorder.layer.editable = self._session.writable and not on
        self.own = on
        self.own_changed.emit()

    def fill_contour(self, on: bool) -> None:
        """Show the prediction filled or as a line."""
        if self.prediction is not None:
            show_filled(self.prediction, on)

    def show_probability(self, on: bool) -> None:
        """Show or hide the probability layer."""
        if self.probability is not None:
            self.probability.visible = on

    def show_disagreement(self, on: bool) -> None:
        """Show or hide the disagreement layer, if there is one."""
        if self.disagreement is not None:
            self.disagreement.visible = on

    @property
    def apart(self) -> np.ndarray | None:
        """Disagreement of the branches, 0 … 1 (z, y, x); None for runs without it."""
        return None if self.disagreement is None else self.disagreement.data

    @property
    def model_name(self) -> str:
        """What made the contour, for files that leave the case."""
        return maker_name(self._session.case.folder / self.run)

    @property
    def corrected(self) -> bool:
        """Whether the user says something of any voxel."""
        return self._session.patient is not None and self._session.corrections.words.voxels.size > 0

    @property
    def saw_strokes(self) -> bool:
        """Whether the contour rests on strokes or corrections of this patient."""
        model = self.event is None or saw_strokes(self._session.case.folder, self.event)
        return model or self.corrected

    def save(self, path: str) -> None:
        """Write the contour of record on the first image's original grid."""
        study = self._session.case.study
        run_in_background(
            save_labels, self.shown(), study, path, done=self.tell_saved, failed=show_failure
        )

    def close(self) -> None:
        """Forget the prediction; its layers go with the patient."""
        self._soon.stop()
        self._let_go()
        self._whole = self.labels = self.order = self.event = self._previewed = None
        self.prediction = self.probability = self.disagreement = None
        self.run, self.volumes, self.hand = "", {}, HandWork()
        self._dropping += 1
        self._behind = False
        self.own = self.marked_only = False  # how one contour was looked at is not the next one's
        self.changed.emit(None)

    def _bring_back(self) -> None:
        """Show the newest prediction of the case that was opened."""
        event = newest_prediction(self._session.case.runs())
        if event is not None:
            self.read(event, failed=self._not_brought_back)

    def _not_brought_back(self, error: Exception) -> None:
        show_info(plain(f"The last prediction could not be read and is not shown. {error}"))

    @property
    def contours(self) -> list[Labels]:
        """Layers that show a contour of this case's own trainings."""
        return [layer for layer in (self.prediction, self._preview) if layer is not None]

    @property
    def exists(self) -> bool:
        """Whether there is a prediction in the window."""
        return self.labels is not None and self._is_shown(self.prediction)

    def shown(self) -> np.ndarray:
        """The contour of record with all that was edited (uint8, z y x): a copy.

        Raises
        ------
        UserError
            There is none, what was edited last could not be saved, or the parts that are left out
            are still being found.
        """
        if not self.exists or self._recorder is None:
            raise UserError("There is no prediction yet. Train first.")
        if self.marked_only:
            self._session.record()  # a stroke may bring a part back
        contour = self._recorder.contour()
        if self._behind:
            raise UserError(_FOLLOWS)
        return contour

    @property
    def model_labels(self) -> np.ndarray:
        """What the model says, without any correction (uint8, z y x); raises as `shown`."""
        if not self.exists or self._recorder is None:
            raise UserError("There is no prediction yet. Train first.")
        return self._recorder.model

    def _recolor(self) -> None:
        if self.prediction is not None:
            self.prediction.colormap = segmentation_colors(self._session.case.classes)

    def _show(
        self,
        labels: np.ndarray,
        numbers: tuple[int, ...],
        probability: np.ndarray,
        apart: np.ndarray | None,
        copies: Copies | None = None,
    ) -> None:
        self.remove_preview()
        self._whole, self._numbers, self.updating = labels, numbers, False
        maps = [self.probability] if apart is None else [self.probability, self.disagreement]
        if all(self._is_shown(layer) for layer in (self.prediction, *maps)):
            self.probability.data = probability  # in place: visibility, colours, order stay
            if apart is not None:
                self.disagreement.data = apart
            else:
                self._drop(self.disagreement)
                self.disagreement = None
        else:
            shown = self._in_classes(labels)
            self._show_anew(shown, probability, apart, copies if shown is labels else None)
        self._refresh()

    def _on_recoded(self, _labels: np.ndarray) -> None:
        """From what the run says: of classes that come back all is there again."""
        self.remove_preview()
        if self._recorder is not None and self._whole is not None:
            self._refresh()

    def _in_classes(self, labels: np.ndarray) -> np.ndarray:
        """What is predicted in the classes as they are now."""
        return translated(labels, self._session.case.order.labels(self._numbers))

    def _let_go(self) -> None:
        recorder, self._recorder = self._recorder, None
        if recorder is not None:
            self._session.drop_contour(recorder)

    def _is_shown(self, layer: Layer | None) -> bool:
        return layer is not None and layer in self._session.viewer.layers

    def _drop(self, layer: Layer | None) -> None:
        if self._is_shown(layer):
            self._session.viewer.layers.remove(layer)

    def _show_anew(
        self,
        labels: np.ndarray,
        probability: np.ndarray,
        apart: np.ndarray | None,
        copies: Copies | None,
    ) -> None:
        viewer, case = self._session.viewer, self._session.case
        self._let_go()
        for old in (self.prediction, self.probability, self.disagreement):
            self._drop(old)
        grid, colors = case.study.grid, segmentation_colors(case.classes)
        self.probability = probability_layer(probability, grid, "Probability")
        self.prediction = segmentation_layer(labels, grid, colors, "Prediction")
        self._recorder = self._session.show_contour(
            self.prediction, labels, lambda: self.run, copies
        )
        self._recorder.replaced.connect(self._on_replaced)
        self.show_own(self.own)
        self.disagreement = None if apart is None else disagreement_layer(apart, case.study)
        layers = (self.probability, self.disagreement, self.prediction)
        for layer in (layer for layer in layers if layer is not None):
            layer.metadata[OPENED] = self._session.patient
            insert_below(viewer, layer, self._session.scribbles)
        self.created.emit()

    def _refresh(self) -> None:
        """The model says something else: show it under the corrections."""
        self._dropping += 1
        self._behind = self.marked_only
        labels = self._in_classes(self._whole)
        if not self.marked_only:
            self._use(labels)
            return
        self._session.recorder.snapshot()
        number, patient = self._dropping, self._session.patient
        strokes, words = self._session.corrections.scribbles.copy(), self._session.corrections.words

        def show(kept: np.ndarray) -> None:
            if self._dropping == number and self._session.patient is patient:
                self._behind = False
                self._use(kept)

        run_in_background(
            kept_of_model, labels, strokes, words, True, done=show, failed=show_failure
        )

    def _on_strokes(self) -> None:
        """Parts in which something is drawn may be others now."""
        if self.marked_only and self._recorder is not None:
            self._fall_behind()

    def _fall_behind(self) -> None:
        """The contour follows once the hand has paused."""
        if self.marked_only:
            self._dropping += 1  # what is being computed is too old
            self._behind = True
        self._soon.start()

    def _catch_up(self) -> None:
        if self._behind:
            self._refresh()
        else:
            self._measure()

    def _previewable(self, labels: np.ndarray) -> np.ndarray:
        """Labels under the corrections; nobody writes into them, so without any they stay."""
        return self._session.corrections.record_of(labels) if self.corrected else labels

    def _use(self, model: np.ndarray) -> None:
        if self._recorder is not None:
            self._recorder.show(model)

    def _on_replaced(self) -> None:
        self.edited.emit()
        self._measure()

    def _on_corrected(self, _voxels: np.ndarray) -> None:
        if self._previewed is not None and self._is_shown(self._preview):
            self._preview.data = self._previewable(self._previewed)
        if self._recorder is not None:
            self.edited.emit()
            self._fall_behind()

    def _measure(self) -> None:
        """Volumes of the contour of record, and what the hand has changed, off the GUI thread."""
        recorder = self._recorder
        if recorder is None or self._behind:  # once it has caught up
            return
        self._soon.stop()
        self._measuring += 1
        number, case = self._measuring, self._session.case
        grid, names, order = case.study.grid, class_names(case.classes), case.order
        (recorded, version), model = recorder.settled(), recorder.model
        times = self._session.corrections.times

        def compute() -> tuple[np.ndarray, np.ndarray, HandWork]:
            labels = recorded.copy()  # here, where nobody waits for it
            return labels, count_codes(labels), hand_work(model, labels, grid, names, times)

        def show(answer: tuple[np.ndarray, np.ndarray, HandWork]) -> None:
            if self._recorder is not recorder or self._measuring != number:
                return
            if recorder.version != version:  # an edit came while it was copied: half of it, maybe
                self._soon.start()
                return
            (self.labels, self.counts, self.hand), self.order = answer, order
            self.volumes = volumes_of(self.counts, grid, names)
            self.changed.emit(self.volumes)

        run_in_background(compute, done=show, failed=show_failure)

    def tell_saved(self, path: Path) -> None:
        """Say that something of the result was written."""
        self.saved.emit(str(path))


def _read(case: Case, event: Finished) -> _Arrays:
    folder, grid = case.folder, case.study.grid
    names = [event.labels, event.probabilities, *filter(None, [event.disagreement])]
    labels, probability, *apart = (load_values(inside(folder, name), grid) for name in names)
    copies = labels.astype(np.uint8), labels.astype(np.uint8)
    numbers = case.run_numbers(inside(folder, event.labels).parent)
    return labels, numbers, probability, from_percent(apart[0]) if apart else None, copies
