"""What speaks against a fit, looked for in the background whenever strokes or settings change."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from qtpy.QtCore import QObject, QTimer, Signal

from cmfnet_napari.core.case.folder import Case
from cmfnet_napari.core.fit.config import Config
from cmfnet_napari.core.fit.cost_estimate import Expected, expect
from cmfnet_napari.core.fit.preflight_checks import Finding, StudyLook, look_at, preflight
from cmfnet_napari.core.images.study import Study
from cmfnet_napari.core.privacy import redacted_traceback
from cmfnet_napari.core.strokes.corrections import read_words, taught
from cmfnet_napari.core.strokes.journal import Journal
from cmfnet_napari.gui.patient.layers import set_visible
from cmfnet_napari.gui.patient.session import Session
from cmfnet_napari.gui.shared.tasks import run_in_background
from cmfnet_napari.gui.training.training import Training
from cmfnet_napari.gui.views.navigation import Navigation
from cmfnet_napari.gui.views.planes import Planes

_PAUSE_MS = 600  # after the last change
_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Question:
    """What is looked at; nothing of it changes meanwhile but the journal."""

    study: Study
    journal: Path
    names: dict[int, str]
    config: Config
    runs: tuple[Path, ...]
    look: StudyLook | None
    training: bool
    teach: bool = True


@dataclass(frozen=True, eq=False)
class Answer:
    """What was found, and what the images alone told."""

    findings: tuple[Finding, ...]
    expected: Expected
    look: StudyLook


class Preflight(QObject):
    """Keeps the findings on the open case up to date. It holds no widget.

    Parameters
    ----------
    session, training, planes, navigation
        The window's.
    config : callable
        What the fit would be done with.
    """

    changed = Signal(object)  # Answer, or None when no patient is open

    def __init__(
        self,
        session: Session,
        training: Training,
        planes: Planes,
        navigation: Navigation,
        config: Callable[[], Config],
    ) -> None:
        super().__init__()
        self._session, self._training, self._config = session, training, config
        self._planes, self._navigation = planes, navigation
        self._look: StudyLook | None = None
        self._looking = self._again = False
        self._timer = QTimer(self, singleShot=True, interval=_PAUSE_MS)
        self._timer.timeout.connect(self._ask)
        session.opened.connect(self._on_opened)
        session.closed.connect(self._on_closed)
        session.strokes_changed.connect(self.refresh)
        session.classes_changed.connect(self.refresh)
        training.state_changed.connect(self.refresh)
        self.refresh()

    def refresh(self) -> None:
        """Look again soon."""
        if self._session.patient is not None:
            self._timer.start()

    def go_to(self, finding: Finding) -> None:
        """Centre the place of a finding in the view and select the scribbles."""
        session = self._session
        if finding.voxel is None or session.patient is None:
            return
        if finding.plane and finding.plane != self._planes.plane:
            self._planes.show(finding.plane)
        self._navigation.look_at(finding.voxel)
        set_visible(session.scribbles, True)
        session.viewer.layers.selection.active = session.scribbles

    def _on_opened(self) -> None:
        self._look = None
        self.refresh()

    def _on_closed(self) -> None:
        self._timer.stop()
        self._look = None
        self.changed.emit(None)

    def _ask(self) -> None:
        if self._looking:
            self._again = True
            return
        patient = self._session.patient
        if patient is None:
            return
        self._looking = True

        def answered(answer: Answer) -> None:
            self._end()
            if self._session.patient is patient:
                self._look = answer.look
                self.changed.emit(answer)

        run_in_background(examine, self._question(patient.case), done=answered, failed=self._fail)

    def _question(self, case: Case) -> Question:
        return Question(
            study=case.study,
            journal=case.folder / "strokes.sqlite",
            names={entry.code: entry.name for entry in case.classes},
            config=self._config(),
            runs=tuple(case.runs()),
            look=self._look,
            training=self._training.running,
            teach=self._session.corrections.teach,
        )

    def _fail(self, error: Exception) -> None:
        """Nobody asked, so nobody is told: training says it again when it matters."""
        self._end()
        _log.warning("The preflight failed.\n%s", redacted_traceback(error))

    def _end(self) -> None:
        self._looking = False
        if self._again:
            self._again = False
            self.refresh()


def examine(question: Question) -> Answer:
    """Read the strokes from the case and look; touches no layer.

    Raises
    ------
    UserError
        The journal is damaged.
    """
    study, look = question.study, question.look or look_at(question.study)
    expected = expect(question.config, study.grid, question.runs)
    journal = Journal(question.journal, read_only=True)
    try:
        scribbles, words = read_words(journal, study.grid.shape)
        findings = preflight(
            study,
            taught(scribbles, words) if question.teach else scribbles,
            strokes=(stroke for _, stroke in journal.standing()),
            names=question.names,
            expected=None if question.training else expected,  # it has its memory already
            look=look,
            drawn_alone=scribbles,
        )
    finally:
        journal.close()
    return Answer(tuple(findings), expected, look)
