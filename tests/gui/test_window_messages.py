"""Messages: in the panel, whole, until they are read or their patient is left."""

from __future__ import annotations

from functools import partial

from napari.utils.notifications import notification_manager
from qtpy.QtWidgets import QLabel, QPushButton

from cmfnet_napari.gui.opening.recent_patients import PICTURE
from cmfnet_napari.gui.patient.opened import open_files
from cmfnet_napari.gui.shared import messages
from cmfnet_napari.gui.shared.preferences import preferences

LONG = "The contour could not be brought up to date, since the disk is full. " * 3


def test_a_message_is_whole_until_it_is_read_or_the_patient_goes(opened, patient, qtbot):
    bar, session = opened.messages, opened.session
    toasts = []
    notification_manager.notification_ready.connect(toasts.append)
    bar.clear()
    assert not bar.isVisible()
    messages.show_error(LONG)
    messages.show_info("There is nothing to redo.")
    messages.show_info("There is nothing to redo.")
    assert bar.texts == [LONG, "There is nothing to redo."]
    label = next(w for w in bar.findChildren(QLabel) if w.text() == LONG)
    opened.layout().activate()
    assert label.height() >= label.heightForWidth(label.width())  # nothing is cut
    assert notification_manager.records[-3].message == LONG
    assert toasts == []
    bar._messages[0].findChild(QPushButton).click()
    assert bar.texts == ["There is nothing to redo."]
    bar._messages[0]._read.timeout.emit()
    assert not bar.isVisible()

    messages.show_warning("Training is running.")
    with qtbot.waitSignal(session.opened):
        session.open(partial(open_files, patient.ct, patient.mr))
        messages.show_warning("The MR ends within the body.")
    assert "Training is running." not in bar.texts
    assert "The MR ends within the body." in bar.texts  # said of the one who is read
    notification_manager.notification_ready.disconnect(toasts.append)


def test_a_recent_patient_is_a_picture_and_a_date_and_can_be_forgotten(opened, tmp_path, qtbot):
    session, recent = opened.session, opened.open_panel.recent
    folder = session.case.folder
    assert preferences().recent == [folder.name]
    assert not recent.isVisibleTo(opened.open_panel)  # it is open already
    assert (folder / PICTURE).stat().st_size > 100
    session.viewer.layers.remove(session.scribbles)
    qtbot.waitUntil(lambda: session.patient is None)
    (button,) = recent.buttons
    assert button.text().startswith("CT and MR\n")
    assert not button.icon().isNull()
    assert str(tmp_path) not in button.text() + button.toolTip()
    with qtbot.waitSignal(session.opened):
        button.click()
    assert session.case.folder == folder
    assert session.writable
    session.viewer.layers.remove(session.scribbles)
    qtbot.waitUntil(lambda: session.patient is None)
    recent.forget.click()
    assert (recent.buttons, preferences().recent) == ([], [])
    assert (folder / "case.json").exists()


def test_a_contour_s_layer_that_is_deleted_comes_back(predicted, qtbot):
    session, result = predicted.session, predicted.workbench.result
    volumes, layer = dict(result.volumes), result.prediction
    session.viewer.layers.remove(layer)
    qtbot.waitUntil(lambda: result.exists)
    assert result.prediction is not layer
    qtbot.waitUntil(lambda: result.volumes == volumes)
    assert any("came back" in text for text in predicted.messages.texts)
    assert result.prediction in session.viewer.layers
