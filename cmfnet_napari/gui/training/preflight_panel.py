"""The findings of the preflight, in the Train tab."""

from __future__ import annotations

from functools import partial

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from cmfnet_napari.core.fit.cost_estimate import Expected
from cmfnet_napari.core.fit.preflight_checks import Finding
from cmfnet_napari.gui.shared.widgets import button, text_label
from cmfnet_napari.gui.training.preflight import Answer, Preflight

_MOST = 6  # findings shown
_SIGNS = {"error": "✖", "warning": "⚠"}
_GIB = 2**30


class PreflightPanel(QWidget):
    """What a fit will take, and one line for every finding, with a button that goes there."""

    def __init__(self, preflight: Preflight) -> None:
        super().__init__()
        self._preflight = preflight
        self.expected = text_label()
        self._rows: list[QWidget] = []
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.setSpacing(4)
        self._layout.addWidget(self.expected)
        preflight.changed.connect(self.show_answer)
        self.show_answer(None)

    def show_answer(self, answer: Answer | None) -> None:
        """Show these findings in place of the last; None: no patient is open."""
        for row in self._rows:
            self._layout.removeWidget(row)
            row.deleteLater()
        findings = () if answer is None else answer.findings
        self._rows = [self._row(finding) for finding in findings[:_MOST]]
        if len(findings) > _MOST:
            self._rows.append(text_label(f"… and {len(findings) - _MOST} more."))
        for row in self._rows:
            self._layout.addWidget(row)
        self.expected.setText("" if answer is None else expected_words(answer.expected))
        self.setVisible(answer is not None)

    @property
    def texts(self) -> list[str]:
        """The findings' sentences, as they are shown."""
        return [row.findChild(QLabel, "text").text() for row in self._rows[:_MOST]]

    @property
    def buttons(self) -> list[QPushButton | None]:
        """For every finding, what goes there."""
        return [row.findChild(QPushButton) for row in self._rows[:_MOST]]

    def _row(self, finding: Finding) -> QWidget:
        row = QWidget()
        sign, text = QLabel(_SIGNS[finding.severity]), text_label()
        text.setObjectName("text")
        text.setTextFormat(Qt.TextFormat.PlainText)  # names of classes come from outside
        text.setText(finding.text)
        layout = QHBoxLayout(row)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(sign, 0, Qt.AlignmentFlag.AlignTop)
        layout.addWidget(text, 1)
        if finding.voxel is not None:
            go = button("Show", partial(self._preflight.go_to, finding), "Go there in the views")
            layout.addWidget(go, 0, Qt.AlignmentFlag.AlignTop)
        return row


def expected_words(expected: Expected) -> str:
    """What a fit will take, in one sentence."""
    memory = f"about {expected.memory / _GIB:.1f} GiB of memory on the processor"
    if expected.seconds is None:
        return f"Expected: {memory}."
    time = f"about {max(1, round(expected.seconds / 60))} min of training"
    if expected.step_seconds is None:
        return f"Expected: {time} and {memory}."
    step = f"{expected.step_seconds:.2g} s a step in an earlier run"
    return f"Expected: {time} ({step}) and {memory}."
