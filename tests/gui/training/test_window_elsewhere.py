"""The window whose training runs over a real sshd: chosen, away, back."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest

from cmfnet_napari.core.strokes.journal import Journal
from cmfnet_napari.gui.training.computer_form import ComputerForm
from tests.remote.conftest import HOST, Sshd, ssh, sshd  # noqa: F401  fixtures

PICTURES = os.environ.get("CMFNET_PICTURES")  # folder for pictures of the dock


def picture(dock, name):
    if PICTURES:
        dock.grab().save(str(Path(PICTURES) / f"{name}.png"))


def relays() -> list[psutil.Process]:
    """Processes of this window that have a line to another computer."""
    found = []
    for process in psutil.Process().children():
        with suppress(psutil.Error):
            found += [process] if "--on" in process.cmdline() else []
    return found


def cut(server: Sshd) -> None:
    """End the line on the other side; the worker stays."""
    for process in server.of_lines():
        with suppress(psutil.Error):
            process.send_signal(signal.SIGKILL)


@pytest.mark.slow
def test_a_computer_is_added_and_trains_and_the_line_is_lost(
    opened,
    scribble,
    qtbot,
    ssh,  # noqa: F811
):
    session, training = opened.session, opened.workbench.training
    panel = opened.training_panel
    opened.tabs.setCurrentIndex(2)
    scribble()
    form = ComputerForm(training.where, panel)
    form.show()
    form.name.setText("-x")
    form.add_button.click()
    assert "name of a computer" in form.said.text()
    form.name.setText(f"{HOST}-off")
    form.test_button.click()
    qtbot.waitUntil(lambda: "does not answer" in form.said.text())
    fields = form.name, form.via, form.days, form.minutes  # the words have room of their own
    assert all(field.height() >= field.sizeHint().height() for field in fields)
    form.name.setText(HOST)
    picture(form, "computer-form")
    form.add_button.click()
    assert training.where.name == HOST
    assert panel.where.box.currentText() == HOST
    panel.where.test_button.click()
    qtbot.waitUntil(lambda: "Training runs on the" in panel.where.state.text())
    picture(opened, "where")

    heard, said, done, previews = [], [], [], []
    training.where.line_changed.connect(heard.append)
    training.failed.connect(lambda reason, details: said.append(f"{reason}\n{details}"))
    training.finished.connect(done.append)
    training.previewed.connect(previews.append)
    quickly = {"steps": 100_000, "minutes": None, "width": 4}
    training.start("quick", device="cpu", preview_seconds=1.0, spacing=3.0, **quickly)
    qtbot.waitUntil(lambda: bool(previews or said))
    assert not said, said[0]
    assert "here" in [event.state for event in heard]
    cut(ssh)
    qtbot.waitUntil(lambda: heard[-1].state == "away" or bool(said))
    assert "Away. The line to gpu-box was lost." in panel.where.state.text()
    assert "Away." in opened.update_status.label.text()
    strokes = session.scribbles.data.copy()
    strokes[7, 10, 7:10] = 2
    session.recorder.add(strokes, "import")  # one goes on drawing
    picture(opened, "away")
    qtbot.waitUntil(lambda: heard[-1].state == "here" or bool(said))
    assert not said, said[0]
    assert opened.update_status.label.text() == f"Back on {HOST}."
    picture(opened, "back")
    steps = []
    training.stepped.connect(steps.append)
    qtbot.waitUntil(lambda: bool(steps))  # the training went on meanwhile
    training.stop()
    qtbot.waitUntil(lambda: bool(done or said))
    assert not said, said[0]
    qtbot.waitUntil(lambda: opened.workbench.result.prediction is not None)
    (there,) = (ssh.there / "cases").glob("*/case/strokes.sqlite")
    far = Journal(there, read_only=True)
    assert far.last_id() == session.case.journal.last_id()
    scribbles = np.zeros(strokes.shape, np.uint8)
    far.fold(scribbles)
    far.close()
    np.testing.assert_array_equal(scribbles, session.scribbles.data)
    training.where.choose("")
    assert not panel.where.test_button.isVisible()
    qtbot.waitUntil(lambda: not relays())  # the worker there has saved its state
