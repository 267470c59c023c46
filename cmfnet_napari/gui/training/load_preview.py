"""The worker's previews, read off the GUI thread."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from cmfnet_napari.core.fit.events import Preview
from cmfnet_napari.core.fit.preview_file import read_preview
from cmfnet_napari.core.privacy import inside
from cmfnet_napari.gui.patient.session import Session
from cmfnet_napari.gui.shared.tasks import run_in_background, show_failure


def load_preview(session: Session, event: Preview, show: Callable[[np.ndarray], None]) -> None:
    """Read a preview; show its labels (uint8, z y x), unless the patient was left meanwhile."""
    case, patient = session.case, session.patient

    def read() -> np.ndarray:
        return read_preview(inside(case.folder, event.labels), case.study.grid.shape)

    def done(labels: np.ndarray) -> None:
        if session.patient is patient:
            show(labels)

    run_in_background(read, done=done, failed=show_failure)
