"""Where the second image lies: found by the computer or moved by keys, kept or undone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import napari
import numpy as np
from napari.layers import Labels
from qtpy.QtCore import QObject, Signal

from cmfnet_napari.core.errors import UserError, list_names
from cmfnet_napari.core.images.study import Study
from cmfnet_napari.core.registration.edges import second_edges
from cmfnet_napari.core.registration.register import register
from cmfnet_napari.core.registration.registrations import Fit, How, Registration, judge
from cmfnet_napari.gui.patient.classes import one_color
from cmfnet_napari.gui.patient.layers import NO_CONTOUR, OPENED, PLACED, segmentation_layer
from cmfnet_napari.gui.patient.opened import Opened, reopen
from cmfnet_napari.gui.patient.session import Session
from cmfnet_napari.gui.registration.nudge import KEYS, nudged
from cmfnet_napari.gui.shared.markup import plain
from cmfnet_napari.gui.shared.messages import show_info
from cmfnet_napari.gui.shared.tasks import Steps, run_in_background, show_failure
from cmfnet_napari.gui.shared.widgets import said
from cmfnet_napari.gui.training.training import Training
from cmfnet_napari.gui.views.fusion import Fusion

_EDGE_COLOR = "#f0e442"  # yellow, told from grey and from the classes

_MOVED = "The {} lies elsewhere now: a contour made before may no longer fit it."


class ImagePlacement(QObject):
    """Places of the second image that are tried, and the one that is kept.

    While one is tried, its layer shows it; the case and its study do not change until it is
    kept: the layer gets an array of its own, and the study's back when the trial is over.
    """

    changed = Signal()  # what is tried, or what may be done
    moved = Signal(str, float)  # what goes on, share done; empty: nothing
    judged = Signal(object)  # Fit of what is shown

    def __init__(self, session: Session, fusion: Fusion, training: Training) -> None:
        super().__init__(session)
        self._session = session
        self._fusion, self._training = fusion, training
        self._steps: Steps | None = None
        self._resampling = False
        self.trial: Registration | None = None
        self.by_keys = False
        self.edges: Labels | None = None
        session.opened.connect(self._on_opened)
        training.state_changed.connect(self._on_training)

    @property
    def current(self) -> Registration:
        """The place that is shown: the one that is tried, or the one that is kept."""
        return self.trial or self._session.case.registrations.current

    @property
    def available(self) -> bool:
        """Whether there is a second image that can be moved."""
        return self._session.writable and self._session.case.study.second_source is not None

    @property
    def running(self) -> bool:
        """Whether the computer looks for a place."""
        return self._steps is not None

    def start(self) -> None:
        """Look for the place, beginning where the MR lies."""
        self._check()
        study, begin = self._session.case.study, self.current
        steps = self._steps = Steps(self)
        steps.moved.connect(self.moved)
        what = f"Registering the {self._name}"
        self.moved.emit(what, 0.0)
        self.changed.emit()

        run_in_background(
            register,
            study.first.image(),
            study.second_source.image(),
            begin.array,
            partial(steps, what),
            study.modalities,
            done=partial(self._on_found, steps),
            failed=partial(self._on_failed, steps),
        )

    def cancel(self) -> None:
        """End the search; the image stays where it is."""
        if self._steps is not None:
            self._steps.end()

    def move_by_keys(self, on: bool) -> None:
        """Let keys move the image, or no longer."""
        if on == self.by_keys:
            return
        self.by_keys = on and self.available
        for key, step in KEYS.items():
            action = self._on_key(step) if self.by_keys else None
            self._session.viewer.bind_key(key, action, overwrite=True)
        self.changed.emit()

    def nudge(self, step: tuple[float, float, float, float]) -> None:
        """Move it right, down, to higher slices (mm) and clockwise (degrees) as it is seen."""
        self._check()
        study, dims = self._session.case.study, self._session.viewer.dims
        centre = study.grid.to_patient(_middle(study.seen))
        matrix = nudged(self.current.array, study.grid, tuple(dims.order), centre, step)
        self._try(Registration.of(matrix, "by hand"))

    def keep(self) -> None:
        """Keep the place that is tried with the case, and read the patient anew."""
        self._check()
        if self.trial is None:
            raise UserError(f"The {self._name} was not moved: there is nothing to keep.")
        trial, case = self.trial, self._session.case
        self._reopen(lambda: case.register(trial))

    def discard(self) -> None:
        """Put the image back where it lay before it was tried elsewhere."""
        if self.trial is not None:
            self.trial = None
            self._resample()

    def undo(self) -> None:
        """Go back to the place before the one that is kept."""
        self._check()
        case = self._session.case
        case.registrations.undone()  # or says that there is none
        self._reopen(case.undo_registration)

    def show_edges(self, on: bool) -> None:
        """Lay the edges of the second image over the first."""
        if on and self.edges is None and self.available:
            grid = self._session.case.study.grid
            empty = np.zeros(grid.shape, np.uint8)
            name = f"{self._name} edges"
            self.edges = segmentation_layer(empty, grid, one_color(_EDGE_COLOR), name, True)
            self.edges.metadata.update({OPENED: self._session.patient, NO_CONTOUR: True})
            self.edges.editable = False
            scribbles = self._session.viewer.layers.index(self._session.scribbles)
            self._session.viewer.layers.insert(scribbles, self.edges)
            self._session.viewer.layers.selection.active = self._session.scribbles
            self._resample()
        elif not on and self.edges is not None:
            layer, self.edges = self.edges, None
            if layer in self._session.viewer.layers:
                self._session.viewer.layers.remove(layer)

    def close(self) -> None:
        """The patient is left."""
        self.cancel()
        self.move_by_keys(False)
        self.show_edges(False)
        if self.trial is not None:
            self.trial = None
            self._fusion.show_second(self._session.case.study.second.array)
        self._end()

    @property
    def _name(self) -> str:
        """What the second image is called."""
        return self._session.image_names[-1]

    def _check(self) -> None:
        if not self.available:
            raise UserError("There is no second image that can be moved. Open two images first.")
        if self._training.running:
            raise UserError(f"Training is running. Stop it before the {self._name} is moved.")
        if self.running:
            raise UserError(f"The {self._name} is being registered. Wait, or cancel it.")

    def _on_opened(self) -> None:
        self.changed.emit()
        if self.available:
            self._remove_left_behind()
            self._resample(as_opened=True)

    def _remove_left_behind(self) -> None:
        """Contours of dropped files, drawn on the image where it no longer lies: none is kept."""
        layers, now = self._session.viewer.layers, self.current.array
        left = [x for x in layers if PLACED in x.metadata and (x.metadata[PLACED] != now).any()]
        for layer in left:
            layers.remove(layer)
        if left:
            said_of = f"Taken away, since the {self._name} that it was drawn on lies elsewhere now"
            names = list_names(layer.name for layer in left)
            show_info(plain(f"{said_of}: {names}. Drop its file once more to have it there."))

    def _on_training(self, _state: str) -> None:
        """A training learns from the image where it is kept: that is what is to be seen."""
        if self._training.running:
            self.move_by_keys(False)
            self.discard()
        self.changed.emit()

    def _on_key(self, step: tuple[float, ...]) -> Callable[[napari.Viewer], None]:
        @said
        def press(_viewer: napari.Viewer) -> None:
            self.nudge(step)

        return press

    def _on_found(self, steps: Steps, matrix: np.ndarray) -> None:
        if self._steps is steps:
            self._end()
            self._try(Registration.of(matrix, "automatic"))

    def _on_failed(self, steps: Steps, error: Exception) -> None:
        if self._steps is steps:
            self._end()
            show_failure(error)

    def _end(self) -> None:
        steps, self._steps = self._steps, None
        if steps is not None:
            steps.moved.disconnect(self.moved)
            self.moved.emit("", 0.0)
        self.changed.emit()

    def _try(self, trial: Registration) -> None:
        self.trial = trial
        self.changed.emit()
        self._resample()

    def _resample(self, as_opened: bool = False) -> None:
        """Show the image where it lies now; the newest place counts, others are passed over."""
        if self._resampling:
            return
        self._resampling = True
        patient, wanted = self._session.patient, self.current
        kept, edges = self._session.case.registrations.current, self.edges is not None

        def show(answer: tuple[Study, Fit, np.ndarray | None]) -> None:
            self._resampling = False
            if not self.available:
                return
            if self._session.patient is not patient:
                self._resample(as_opened=True)
            elif self.current != wanted or (self.edges is not None) != edges:
                self._resample()
            else:
                self._show(*answer)

        study = patient.case.study
        arguments = study, wanted, kept, edges, as_opened
        run_in_background(_look, *arguments, done=show, failed=self._not_shown)

    def _not_shown(self, error: Exception) -> None:
        """The image cannot lie there: back to where it was."""
        self._resampling = False
        show_failure(error)
        if self._session.patient is not None and self.trial is not None:
            self.discard()
            self.changed.emit()

    def _show(self, study: Study, fit: Fit, edges: np.ndarray | None) -> None:
        self._fusion.show_second(study.second.array)
        if self.edges is not None and edges is not None:
            self.edges.data = edges
        self.judged.emit(fit)
        self.changed.emit()

    def _reopen(self, change: Callable[[], None]) -> None:
        session, patient = self._session, self._session.patient
        notice = _MOVED.format(self._name)

        def read() -> Opened:
            change()
            again = reopen(patient)
            return replace(again, notice=" ".join(filter(None, (notice, again.notice))))

        self.move_by_keys(False)
        session.open(read)


def _middle(mask: np.ndarray) -> np.ndarray:
    """Middle voxel (z, y, x) of the box around a mask that is not empty."""
    others = [tuple({0, 1, 2} - {axis}) for axis in range(3)]
    inside = [np.flatnonzero(mask.any(axis=axes)) for axes in others]
    return np.array([(found[0] + found[-1]) / 2 for found in inside])


def _look(
    study: Study, wanted: Registration, kept: Registration, edges: bool, as_opened: bool
) -> tuple[Study, Fit, np.ndarray | None]:
    """The study with its second image at a place, what is to be said of it, and its edges."""
    moved = study if as_opened or wanted == kept else study.moved(wanted.array)
    return moved, judge(moved, wanted, kept, study.body), second_edges(moved) if edges else None


def how_in_words(how: How) -> str:
    """How the second image was placed."""
    return {
        "frame of reference": "as its file says",
        "registration object": "as a registration object (REG) says",
        "automatic": "registered by the computer",
        "by hand": "moved by hand",
    }[how]
