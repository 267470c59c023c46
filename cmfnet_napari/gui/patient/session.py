"""The patient that is open: strokes, classes, and what others are told. It holds no widget."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from weakref import WeakSet

import napari
import numpy as np
from napari.layers import Labels, Layer
from napari.utils.events import Event
from qtpy.QtCore import QObject, QTimer, Signal

from cmfnet_napari.core.case.case_classes import check_removable
from cmfnet_napari.core.case.folder import Case
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.strokes.class_order import ClassOrder, label_table
from cmfnet_napari.core.strokes.entries import ClassChange, Correction, Stroke, class_change
from cmfnet_napari.core.strokes.scribbles import FIRST_CLASS, count_codes
from cmfnet_napari.gui.patient.after_crash import recovered
from cmfnet_napari.gui.patient.case_corrections import CaseCorrections
from cmfnet_napari.gui.patient.classes import Classes, classes_up_to, scribble_colors
from cmfnet_napari.gui.patient.contour_recorder import ContourRecorder, Copies
from cmfnet_napari.gui.patient.layer_recorder import LayerRecorder, LayerReshapedError
from cmfnet_napari.gui.patient.layers import (
    LINE,
    OPENED,
    ROLE,
    case_layers,
    set_visible,
    show_filled,
)
from cmfnet_napari.gui.patient.opened import Opened, reopen
from cmfnet_napari.gui.patient.stroke_recorder import StrokeRecorder
from cmfnet_napari.gui.shared.markup import plain
from cmfnet_napari.gui.shared.messages import show_info, show_warning
from cmfnet_napari.gui.shared.tasks import run_in_background, show_failure

NONE_OPEN = "No patient is open. Open an image first."
_OPEN_ELSEWHERE = (
    "This patient is open in another viewer of this program. Close it there, then open it here."
)
_sessions: WeakSet[Session] = WeakSet()  # of this process, which may have several viewers


class Session(QObject):
    """What the window works on. It knows none of those who listen to its signals.

    Parameters
    ----------
    viewer : napari.Viewer
        The viewer that shows the patient.

    Attributes
    ----------
    patient : Opened or None
        None: no patient is open.
    holds : list of callable
        Each says in a sentence why the patient cannot be left now, or nothing.
    class_holds : list of callable
        Each says in a sentence why no class can be removed or brought back now, or nothing.
    ended : bool
        Whether the window is being closed.
    """

    busy = Signal(str)  # what goes on in the background; empty: nothing
    arriving = Signal()  # there is a patient: the window is arranged for it
    opened = Signal()  # and shows it
    leaving = Signal()  # the patient, if there is one, is still there
    closed = Signal()  # there is none
    strokes_changed = Signal()
    classes_changed = Signal()
    recoding = Signal()  # classes go or come back, and with them strokes: `recoded` follows
    recoded = Signal(object)  # uint8 (256,), labels by labels before: classes went or came back
    contour_added = Signal(object)  # Labels: a contour that can be edited; not in the viewer yet
    contour_dropped = Signal(object)  # its ContourRecorder: it is edited no more
    shown_again = Signal(object, object)  # Labels to draw on, and a layer of another view of it
    corrected = Signal(object)  # flat indices of voxels of which the user says something else now

    def __init__(self, viewer: napari.Viewer) -> None:
        super().__init__()
        self.viewer = viewer
        self.patient: Opened | None = None
        self._recorder: StrokeRecorder | None = None
        self._corrections: CaseCorrections | None = None
        self._contours: dict[Labels, ContourRecorder] = {}
        self.holds: list[Callable[[], str]] = [self.unsaved]
        self.class_holds: list[Callable[[], str]] = []
        self.ended = False
        _sessions.add(self)
        viewer.layers.events.inserted.connect(self._on_inserted)
        viewer.layers.events.removed.connect(self._on_removed)
        for layer in list(viewer.layers):
            self._consider(layer)

    @property
    def case(self) -> Case:
        """The case that is open.

        Raises
        ------
        UserError
            None is.
        """
        if self.patient is None:
            raise UserError(NONE_OPEN)
        return self.patient.case

    @property
    def writable(self) -> bool:
        """Whether a patient is open, and not only for looking."""
        return self.patient is not None and not self.case.read_only

    @property
    def recorder(self) -> StrokeRecorder:
        """The strokes of the open case; raises as `case` does."""
        if self._recorder is None:
            raise UserError(NONE_OPEN)
        return self._recorder

    @property
    def corrections(self) -> CaseCorrections:
        """The corrections of the open case; raises as `case` does."""
        if self._corrections is None:
            raise UserError(NONE_OPEN)
        return self._corrections

    @property
    def scribbles(self) -> Labels:
        """The scribbles layer of the open case; raises as `case` does."""
        return self.recorder.layer

    @property
    def contours(self) -> list[Labels]:
        """Layers of contours that can be edited."""
        return list(self._contours)

    @property
    def hand(self) -> LayerRecorder:
        """Who records what is drawn now: on the selected layer, or else on the scribbles.

        Raises as `case` does.
        """
        active = self.viewer.layers.selection.active
        return (None if active is None else self.recorder_of(active)) or self.recorder

    @property
    def _recorders(self) -> tuple[LayerRecorder, ...]:
        """Of the strokes, then of every contour; raises as `case` does."""
        return (self.recorder, *self._contours.values())

    @property
    def second_layer(self) -> Layer | None:
        """The layer of the second image of the open case, if it has one."""
        return None if len(self.image_names) < 2 else self.image_layer(self.image_names[1])

    @property
    def image_names(self) -> tuple[str, ...]:
        """What the images of the open case are called, such as ``CT`` and ``MR``."""
        return () if self.patient is None else self.case.study.names

    def is_ct(self, name: str) -> bool:
        """Whether one of the open case's images is a CT, in Hounsfield units."""
        return self.case.study.kinds[self.image_names.index(name)] == "CT"

    def image_layer(self, name: str) -> Layer | None:
        """The layer of one of the open case's images, if it is there."""
        for layer in self.viewer.layers:
            if layer.metadata.get(ROLE) == name and layer.metadata.get(OPENED) is self.patient:
                return layer
        return None

    def open(self, load: Callable[[], Opened]) -> None:
        """Read a patient in the background and show it; `load` is one of `opening`'s functions."""
        if self._refused():
            return
        self.busy.emit("Reading the images …")
        run_in_background(load, done=self._show, failed=self._not_opened)

    def set_classes(self, classes: Classes) -> None:
        """Keep names and colours with the case and show them."""
        self.case.save_classes(classes)
        self._show_classes()

    def remove_class(self, code: int, into: int = 0) -> ClassChange:
        """Remove a class with all its strokes and corrections, or give them to another one.

        One step of undo.

        Parameters
        ----------
        code : int
            Scribble code of the class.
        into : int
            Of the one it is merged into; 0: none.

        Raises
        ------
        UserError
            A training goes on, it is the background or the only class, or it cannot be saved.
        """
        self._check_free_classes()
        self.record()
        before, strokes = self.case.order, self.recorder.recorded_scribbles
        step = check_removable(before, code, into)
        change = class_change(strokes, self.corrections.codes, step)
        self.case.change_classes(change)
        self._follow_classes(change, before)
        return change

    def select_class(self, code: int) -> None:
        """Paint with a class (scribble code) from now on, on the layer that is drawn on."""
        if self.patient is None:
            return
        if self.case.read_only:
            show_info(plain(self.case.notice))
            return
        layer = self.hand.layer
        set_visible(layer, True)
        self.viewer.layers.selection.active = layer
        layer.selected_label = self.hand.own_code(code)
        layer.mode = "paint"

    def select_next_class(self) -> None:
        """Paint with the class after the one in use; after the last with the first."""
        codes = [entry.code for entry in self.case.classes]
        now = self.scribbles.selected_label
        self.select_class(codes[(codes.index(now) + 1) % len(codes)] if now in codes else codes[0])

    def undo(self) -> None:
        """Take the newest stroke or correction back, also one of an earlier session."""
        if self.writable and not self._step(redo=False):
            show_info("There is no stroke left to undo.")

    def redo(self) -> None:
        """Bring back what was undone last."""
        if self.writable and not self._step(redo=True):
            show_info("There is nothing to redo.")

    def record(self) -> None:
        """Journal what was changed on any layer; UserError when it could not be written."""
        for recorder in self._recorders:
            recorder.record()

    def unsaved(self) -> str:
        """Why something that was drawn is not saved yet, in words; empty: all of it is."""
        if not self.writable:
            return ""
        for recorder in self._recorders:
            try:
                recorder.record()
            except LayerReshapedError:
                continue  # only opening the patient again gets that layer back
            except UserError as error:
                return f"What was drawn last is not saved yet. {error}"
        return ""

    def show_contour(
        self,
        layer: Labels,
        model: np.ndarray,
        run: Callable[[], str],
        copies: Copies | None = None,
    ) -> ContourRecorder:
        """Show a contour under the user's corrections, and record what is edited on its layer.

        Parameters are as in `ContourRecorder`; call it before the layer is in the viewer.
        """
        layer.editable = self.writable
        recorder = ContourRecorder(layer, model, self.corrections, run, self.viewer.dims, copies)
        recorder.failed.connect(show_failure)
        self._contours[layer] = recorder
        self.contour_added.emit(layer)
        return recorder

    def drop_contour(self, recorder: ContourRecorder) -> None:
        """Its layer goes: record what is left."""
        self.contour_dropped.emit(recorder)
        self._contours.pop(recorder.layer, None)
        recorder.close()

    def recorder_of(self, layer: Layer) -> LayerRecorder | None:
        """Who records what is painted on a layer of the main viewer; None: nobody."""
        if self._recorder is not None and layer == self._recorder.layer:
            return self._recorder
        return next((r for own, r in self._contours.items() if own == layer), None)

    def load_scribbles(self, scribbles: np.ndarray) -> None:
        """Replace the scribbles by imported ones (uint8, z y x)."""
        highest = max(int(scribbles.max()), FIRST_CLASS)
        self.set_classes(classes_up_to(self.case.classes, highest))
        if self.recorder.replace(scribbles) is None:
            show_info("The file has the same strokes as the window: nothing was changed.")

    def close(self) -> None:
        """Leave the patient and let go of the viewer, for good. Twice is once."""
        if self.ended:
            return
        self.ended = True
        self.viewer.layers.events.inserted.disconnect(self._on_inserted)
        self.viewer.layers.events.removed.disconnect(self._on_removed)
        self._leave()

    def _show(self, opened: Opened) -> None:
        self.busy.emit("")
        if self.ended or self._refused():
            opened.case.close()
            return
        if self.patient is not None:
            self._leave()
        self._remove_case_layers()  # also those that a panel which was closed has left
        for data, meta, kind in case_layers(opened):
            self.viewer.add_layer(Layer.create(data, meta, kind))

    def _refused(self) -> bool:
        """Whether something holds the patient here; if so it is said."""
        reason = next(filter(None, (hold() for hold in self.holds)), "")
        if reason:
            show_warning(reason)
        return bool(reason)

    def _open_elsewhere(self, opened: Opened) -> bool:
        """Whether another viewer of this process shows the case; if so it is said.

        A case's lock keeps other processes out only, and each viewer would follow its own strokes.
        """
        shown = [other.patient for other in _sessions if other is not self]
        found = any(one is not None and one.case.folder == opened.case.folder for one in shown)
        if found:
            show_warning(_OPEN_ELSEWHERE)
        return found

    def _not_opened(self, error: Exception) -> None:
        self.busy.emit("")
        show_failure(error)

    def _on_inserted(self, event: Event) -> None:
        self._consider(event.value)

    def _consider(self, layer: Layer) -> None:
        """The scribbles are the last of a case's layers: with them it is complete."""
        if layer.metadata.get(ROLE) == "Scribbles":
            QTimer.singleShot(0, partial(self._adopt, layer))

    def _adopt(self, layer: Labels) -> None:
        opened = layer.metadata[OPENED]
        if self.ended or layer not in self.viewer.layers or opened is self.patient:
            return
        if self._refused() or self._open_elsewhere(opened):
            self._remove_case_layers(but=self.patient)
            opened.case.close()
            return
        if opened.case.closed:  # the panel was closed, and is open again
            if self.patient is None:
                self.open(partial(reopen, opened))
            return
        if self.patient is not None:  # a sample from napari's menu, over an open patient
            self._leave()
            self._remove_case_layers(but=opened)
        counts, known, recorded = opened.counts, opened.corrections, opened.recorded
        opened.case.journal.catch_up()
        if opened.case.journal.last_id() != opened.entries:  # drawn while it was read
            opened.case.journal.fold(layer.data, opened.entries)
            counts, known = count_codes(layer.data, len(counts)), opened.case.corrections()
            recorded = layer.data.copy()
        self.patient = opened
        corrections = CaseCorrections(opened.case, known)
        self._corrections = corrections
        self._recorder = StrokeRecorder(
            layer, opened.case.journal, corrections, counts, self.viewer.dims, recorded
        )
        corrections.changed.connect(self.corrected)
        corrections.recorded.connect(self._on_corrected)
        self.recorder.recorded.connect(self._on_recorded)
        self.recorder.failed.connect(show_failure)
        for own in self.viewer.layers:
            if own.metadata.get(OPENED) is opened:
                own.name = own.metadata[ROLE]  # without the number that a predecessor cost it
                if own.metadata.get(LINE):
                    show_filled(own, False)
        self.arriving.emit()
        self.opened.emit()
        for sentence in filter(None, (opened.notice, recovered(opened.case), opened.credit)):
            show_info(plain(sentence))

    def _on_removed(self, event: Event) -> None:
        if self.patient is not None and event.value == self.scribbles:
            kept = not self.unsaved()
            self._leave()
            if kept:
                show_info("The strokes are kept. Open the patient again to see them.")

    def _step(self, redo: bool) -> bool:
        """Undo or redo; whether there was something."""
        self.record()
        journal, before = self.case.journal, self.case.order
        if journal.steps_classes(redo):
            self._check_free_classes()
        entry = journal.redo() if redo else journal.undo()
        match entry:
            case ClassChange():
                self._follow_classes(entry, before)
            case Correction():
                self.corrections.apply(entry)
            case Stroke():
                self.recorder.apply(entry)
        return entry is not None

    def _on_recorded(self) -> None:
        self._complete_classes(int(self.recorder.present.max(initial=0)))
        self.strokes_changed.emit()

    def _on_corrected(self, correction: Correction) -> None:
        self._complete_classes(int(correction.new.max(initial=0)))

    def _complete_classes(self, highest: int) -> None:
        """A code painted with napari's own label number becomes a class."""
        classes = self.case.classes
        if highest > classes[-1].code:
            self.set_classes(classes_up_to(classes, highest))

    def _check_free_classes(self) -> None:
        """Raise a UserError while somebody needs the classes as they are."""
        reason = next(filter(None, (hold() for hold in self.class_holds)), "")
        if reason:
            raise UserError(reason)

    def _follow_classes(self, change: ClassChange, before: ClassOrder) -> None:
        """Show the strokes, contours and classes that are there now."""
        self.recoding.emit()
        table = self.case.order.table(before.numbers)
        labels = label_table(table)
        for recorder in self._contours.values():
            recorder.show(labels[recorder.model])
        label = int(self.scribbles.selected_label)
        selected = int(table[label]) or (FIRST_CLASS if label else 0)  # with 0 one erases
        self._show_classes()  # before the strokes: who counts these has a row for every class
        self.recorder.apply(change)
        self.scribbles.selected_label = selected  # last: a layer with new colours says its own
        self.recoded.emit(labels)

    def _show_classes(self) -> None:
        self.scribbles.colormap = scribble_colors(self.case.classes)
        self.classes_changed.emit()

    def _remove_case_layers(self, but: Opened | None = None) -> None:
        for layer in list(self.viewer.layers):
            shown = layer.metadata.get(OPENED)
            if shown is not None and shown is not but:
                self.viewer.layers.remove(layer)

    def _leave(self) -> None:
        """Leave the open case; its layers stay."""
        self.leaving.emit()
        if self.patient is None:
            return
        for recorder in list(self._contours.values()):
            self.drop_contour(recorder)
        self.recorder.close()
        self.patient.case.close()
        self.patient = self._recorder = self._corrections = None
        self.closed.emit()
