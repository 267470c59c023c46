"""Edits of a whole structure: proposed, seen in a layer, applied as one step. No widget."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from napari.layers import Labels
from napari.utils.colormaps import DirectLabelColormap
from qtpy.QtCore import QObject, Signal

from cmfnet_napari.core.contours.relabel import Relabelled
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.images.study import Study
from cmfnet_napari.core.strokes.corrections import slices_by_hand
from cmfnet_napari.core.strokes.scribbles import ScribbleClass
from cmfnet_napari.gui.drawing.drawing import Drawing
from cmfnet_napari.gui.drawing.edits import Subject, Wish, edited, only_asked
from cmfnet_napari.gui.drawing.proposed_layer import ProposedLayer
from cmfnet_napari.gui.drawing.tools import EMPTY
from cmfnet_napari.gui.patient.contour_recorder import OWN_SHOWN
from cmfnet_napari.gui.patient.layer_recorder import LayerRecorder
from cmfnet_napari.gui.patient.layers import contour_layers
from cmfnet_napari.gui.patient.session import Session
from cmfnet_napari.gui.shared.tasks import run_in_background, show_failure
from cmfnet_napari.gui.views.navigation import Navigation

BODY, BONE = "Body", "Bone"  # found in the images, which a name in brackets tells
_BONE_HU = 200.0
_ADDED, _REMOVED = 1, 2
# The colour-blind tell them from each other, from grey, and from what lies below.
_COLORS = {None: "transparent", _ADDED: "#56b4e9", _REMOVED: "#332288"}
_NO_CLASS = "Background has no shape. Choose a class first."
_CHANGED = "What you see was changed meanwhile, so the edit is computed anew. Look at it again."


@dataclass(frozen=True, eq=False)
class Proposal:
    """An edit that waits to be applied.

    Attributes
    ----------
    wish : Wish
        What was asked for.
    change : Relabelled
        What it changes.
    slices : int
        How many slices of the plane on the screen it touches.
    """

    wish: Wish
    change: Relabelled
    slices: int
    recorder: LayerRecorder
    labels: np.ndarray  # before


class Reshaping(QObject):
    """Edits of the class in use, on the layer that is drawn on."""

    working = Signal()  # on a proposal; then it is proposed or refused
    proposed = Signal(object)  # Proposal
    refused = Signal(str)  # one sentence
    asked = Signal(str)  # a name of `EDITS`, from elsewhere

    def __init__(self, session: Session, drawing: Drawing, navigation: Navigation) -> None:
        super().__init__(session)
        self._session, self._navigation = session, navigation
        self._wish: Wish | None = None
        self._proposal: Proposal | None = None
        self._shown = ProposedLayer(session, "Proposed edit")
        session.recoded.connect(lambda _labels: self.drop())
        drawing.filling_asked.connect(lambda: self.asked.emit("between"))

    @property
    def preview(self) -> Labels | None:
        """The layer with the proposed edit, while there is one."""
        return self._shown.layer

    @property
    def classes(self) -> tuple[ScribbleClass, ...]:
        """The classes that an edit may be written into."""
        return () if self._session.patient is None else self._session.case.classes[1:]

    @property
    def sources(self) -> dict[str, Callable[[], np.ndarray]]:
        """Structures that edits can take, by name: classes, contours on the screen, body, bone."""
        session = self._session
        if session.patient is None:
            return {}
        study, layer = session.case.study, session.hand.layer
        labels = np.asarray(layer.data)
        found = {
            entry.name: _class_mask(labels, session.hand.own_code(entry.code))
            for entry in self.classes
        }
        for other in contour_layers(session.viewer, study.grid):
            if other != layer:
                found.setdefault(other.name, _layer_mask(np.asarray(other.data)))
        found[self.in_images(BODY)] = lambda: study.body
        if "CT" in study.kinds:
            found[self.in_images(BONE)] = lambda: _bone(study)
        return found

    def in_images(self, what: str) -> str:
        """What body and bone are called: with the image that they are found in."""
        kinds = self._session.case.study.kinds
        return f"{what} (from the {'CT' if 'CT' in kinds else self._session.image_names[0]})"

    @property
    def missing(self) -> str:
        """What cannot be offered for this patient, and why, in a sentence; or empty."""
        if self._session.patient is None or "CT" in self._session.case.study.kinds:
            return ""
        return f"{BONE} is found by Hounsfield units, which only a CT has."

    def propose(self, wish: Wish) -> None:
        """Compute an edit in the background and show it; only the newest wish counts."""
        self._wish, self._proposal = wish, None
        self.working.emit()
        try:
            subject, recorder = self._subject(), self._session.hand
        except UserError as error:
            self._refuse(error)
            return
        asked = only_asked(wish)
        if asked.into:
            asked = replace(asked, into=recorder.own_code(asked.into))
        labels = subject.labels

        def compute() -> tuple[Proposal, np.ndarray]:
            change = edited(subject, asked)
            seen = np.zeros(labels.shape, np.uint8)
            seen.reshape(-1)[change.voxels] = np.where(change.codes, _ADDED, _REMOVED)
            touched = np.unique(np.unravel_index(change.voxels, labels.shape)[subject.axis])
            return Proposal(wish, change, len(touched), recorder, labels), seen

        def show(answer: tuple[Proposal, np.ndarray]) -> None:
            if self._wish is wish:
                self._proposal, seen = answer
                self._shown.show(seen, DirectLabelColormap(color_dict=_COLORS)).editable = False
                self.proposed.emit(self._proposal)

        def refuse(error: Exception) -> None:
            if self._wish is wish:
                self._refuse(error)

        run_in_background(compute, done=show, failed=refuse)

    def apply(self) -> None:
        """Do what was proposed: one step of undo.

        Raises
        ------
        UserError
            Nothing is proposed, the layer was changed meanwhile, or it cannot be saved.
        """
        proposal = self._proposal
        if proposal is None:
            raise UserError("No edit is proposed yet. Choose one first.")
        if not np.array_equal(proposal.recorder.snapshot(), proposal.labels):
            self.propose(proposal.wish)
            raise UserError(_CHANGED)
        source = "interpolation" if proposal.wish.edit == "between" else "tool"
        proposal.recorder.write(proposal.change.voxels, proposal.change.codes, source)
        self.drop()

    def drop(self) -> None:
        """Take the preview away."""
        self._wish = self._proposal = None
        self._shown.drop()

    def close(self) -> None:
        """The patient is left."""
        self.drop()

    def _subject(self) -> Subject:
        session, recorder = self._session, self._session.hand
        layer = recorder.layer
        if session.case.read_only:
            raise UserError(session.case.notice)
        if not layer.editable:
            raise UserError(OWN_SHOWN)
        if layer.selected_label in (EMPTY, recorder.own_code(1)):
            raise UserError(_NO_CLASS)
        labels = recorder.snapshot()
        axis = session.viewer.dims.order[0]
        made = (correction for _, correction in session.corrections.standing)
        on_contour = layer in session.contours
        return Subject(
            labels,
            int(layer.selected_label),
            session.case.study.grid.spacing,
            axis,
            self._navigation.voxel()[axis],
            slices_by_hand(made if on_contour else (), labels.shape, axis),
            bool(layer.preserve_labels),
            self.sources,
        )

    def _refuse(self, error: Exception) -> None:
        self.drop()
        if isinstance(error, UserError):
            self.refused.emit(str(error))
        else:
            show_failure(error)


def _class_mask(labels: np.ndarray, code: int) -> Callable[[], np.ndarray]:
    return lambda: labels == code


def _layer_mask(labels: np.ndarray) -> Callable[[], np.ndarray]:
    """All classes of a layer together."""
    return lambda: labels > 0


def _bone(study: Study) -> np.ndarray:
    """What is denser than soft tissue with contrast, inside the body, in the CT."""
    ct = study.first if study.first.modality == "CT" or study.second is None else study.second
    return (ct.array > _BONE_HU) & study.body
