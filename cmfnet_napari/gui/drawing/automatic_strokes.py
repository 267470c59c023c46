"""Automatic background and foreground strokes: proposed, previewed, applied. No widget."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from napari.layers import Labels
from qtpy.QtCore import QObject, Signal

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.images.study import Study, load_values
from cmfnet_napari.core.strokes.entries import Source
from cmfnet_napari.core.strokes.erode import propose_background, propose_foreground
from cmfnet_napari.core.strokes.scribbles import BACKGROUND, check_classes, segmentation_code
from cmfnet_napari.gui.drawing.proposed_layer import ProposedLayer
from cmfnet_napari.gui.patient.classes import reference_colors, scribble_colors
from cmfnet_napari.gui.patient.layers import (
    OPENED,
    contour_layers,
    insert_below,
    segmentation_layer,
)
from cmfnet_napari.gui.patient.session import Session
from cmfnet_napari.gui.shared.tasks import run_in_background, show_failure


@dataclass(frozen=True, eq=False)
class Wish:
    """What strokes to make.

    Attributes
    ----------
    mask : Labels
        The layer with the contour.
    code : int
        Scribble code of the strokes; `BACKGROUND` makes them outside, a class inside the mask.
    margin_mm : float
        Distance kept from the mask's border.
    coverage : float
        Share of all voxels, 0 … 1.
    whole : bool
        The whole eroded region instead of sparse strokes.
    """

    mask: Labels
    code: int
    margin_mm: float
    coverage: float
    whole: bool

    @property
    def source(self) -> Source:
        """How the journal marks the strokes."""
        return "auto-background" if self.code == BACKGROUND else "auto-foreground"


class AutomaticStrokes(QObject):
    """Proposals of strokes from a mask, shown in a layer until they are applied or dropped."""

    proposed = Signal(int)  # voxels
    refused = Signal(str)  # one sentence
    mask_loaded = Signal(object)  # Labels

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._session = session
        self._wish: Wish | None = None
        self._proposal: np.ndarray | None = None
        self._shown = ProposedLayer(session, "Proposed strokes")
        session.recoded.connect(lambda _labels: self.drop())

    @property
    def preview(self) -> Labels | None:
        """The layer with the proposed strokes, while there are some."""
        return self._shown.layer

    def masks(self) -> list[Labels]:
        """Layers that can serve as mask: Labels on the Study's Grid, but no strokes or edges."""
        if self._session.patient is None:
            return []
        return contour_layers(self._session.viewer, self._session.case.study.grid)

    def load_mask(self, path: str) -> None:
        """Read a contour on the first image's grid from a file and show it as a layer."""
        case, patient = self._session.case, self._session.patient

        def read() -> np.ndarray:
            values = load_values(path, case.study.grid, case.study.names[0])
            return check_classes(values, Path(path).name)

        def show(labels: np.ndarray) -> None:
            if self._session.patient is patient:
                layer = segmentation_layer(labels, case.study.grid, reference_colors(), "Contour")
                layer.metadata[OPENED] = patient
                insert_below(self._session.viewer, layer, self._session.scribbles)
                self.mask_loaded.emit(layer)

        run_in_background(read, done=show, failed=show_failure)

    def propose(self, wish: Wish) -> None:
        """Compute strokes in the background and preview them; only the newest wish counts."""
        self._wish, self._proposal = wish, None
        arguments = (self._session.recorder.snapshot(), np.asarray(wish.mask.data).copy(), wish)

        def show(strokes: np.ndarray) -> None:
            if self._wish is wish:
                self._proposal = strokes
                self._show(strokes)
                self.proposed.emit(int(np.count_nonzero(strokes)))

        def refuse(error: Exception) -> None:
            if self._wish is wish:
                self.drop()
                self._refuse(error)

        study = self._session.case.study
        run_in_background(compute_strokes, *arguments, study, done=show, failed=refuse)

    def apply(self) -> int:
        """Draw the proposed strokes and return the number of voxels.

        Raises
        ------
        UserError
            Nothing is proposed, or it cannot be saved.
        """
        if self._wish is None or self._proposal is None:
            raise UserError("No strokes are proposed yet. Choose a contour first.")
        stroke = self._session.recorder.add(self._proposal, self._wish.source)
        self.drop()
        return 0 if stroke is None else len(stroke.voxels)

    def drop(self) -> None:
        """Take the preview away."""
        self._wish = self._proposal = None
        self._shown.drop()

    def close(self) -> None:
        """The patient is left."""
        self.drop()

    def _refuse(self, error: Exception) -> None:
        if isinstance(error, UserError):
            self.refused.emit(str(error))
        else:
            show_failure(error)

    def _show(self, strokes: np.ndarray) -> None:
        self._shown.show(strokes, scribble_colors(self._session.case.classes))


def compute_strokes(
    scribbles: np.ndarray, labels: np.ndarray, wish: Wish, study: Study
) -> np.ndarray:
    """Strokes of a wish (uint8, z y x); every label of the mask counts for the background."""
    options = {"margin_mm": wish.margin_mm, "coverage": wish.coverage, "whole": wish.whole}
    if wish.code == BACKGROUND:
        return propose_background(scribbles, [labels > 0], study, **options)
    one_label_only = labels.max() <= 1
    mask = labels > 0 if one_label_only else labels == segmentation_code(wish.code)
    return propose_foreground(scribbles, mask, wish.code, study, **options)
