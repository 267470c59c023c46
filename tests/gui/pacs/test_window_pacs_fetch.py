"""A study looked for in a real PACS, fetched and opened, as a clinician does it."""

from __future__ import annotations

import socket
import tempfile
import threading
from functools import partial
from pathlib import Path

import pytest
from napari.utils.notifications import notification_manager
from qtpy.QtCore import QDate, Qt
from qtpy.QtWidgets import QDialogButtonBox

from cmfnet_napari.core.dicom.pacs import transfer as pacs
from cmfnet_napari.core.dicom.pacs.nodes import make_node, save_node
from cmfnet_napari.gui.pacs import pacs_fetch
from cmfnet_napari.gui.patient.opened import open_files, reopen
from tests.dicom.conftest import (  # noqa: F401  fixtures
    dimse,
    node,
    orthanc,
    passwords,
    running_orthanc,
    web,
    write_ct,
)
from tests.dicom.orthanc import free_port
from tests.dicom_files import write_patient

LEFT = Qt.MouseButton.LeftButton
FILES = 14 + 12 + 2  # CT, MR, two structure sets


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch):
    """Where temporary folders are made."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def fetched(places):
    return sorted(places.glob("cmfnet-pacs-*"))


@pytest.fixture
def ask(dock, qtbot):
    """Press the button."""

    def press():
        qtbot.mouseClick(dock.open_panel.pacs_button, LEFT)
        return dock.open_panel.pacs_dialog

    yield press
    for dialog in (dock.open_panel.pacs_dialog, dock.open_panel.chooser):
        if dialog is not None:
            dialog.reject()
    qtbot.wait(20)


@pytest.fixture
def stored(node, tmp_path):  # noqa: F811
    """The PACS holds a CT, an MR and structures of one patient, and a CT of another one."""
    pacs.send(node, [write_patient(tmp_path / "stored"), write_ct(tmp_path / "other", study="2")])
    return node


def rows(table):
    return [
        [table.item(r, c).text() for c in range(table.columnCount())]
        for r in range(table.rowCount())
    ]


def search(dialog, qtbot):
    qtbot.mouseClick(dialog.search_button, LEFT)
    qtbot.waitUntil(lambda: not dialog.cancel_button.isVisible(), timeout=20000)


def test_found_fetched_opened_and_removed(dock, ask, stored, patient, places, qtbot):
    panel, dialog = dock.open_panel, ask()
    assert dialog.chooser.name == stored.name
    assert not dialog.fetch_button.isEnabled()
    qtbot.keyClicks(dialog.patient_name, "made, u")
    qtbot.keyClick(dialog.patient_name, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: dialog.table.rowCount() == 1, timeout=20000)
    (cells,) = rows(dialog.table)
    assert (cells[0], *cells[3:]) == ("2020-01-02", str(FILES), "Made Up", "P1")
    assert sorted(cells[2].replace("\\", "/").split("/")) == ["CT", "MR", "RTSTRUCT"]

    qtbot.mouseClick(dialog.fetch_button, LEFT)
    qtbot.waitUntil(lambda: panel.chooser is not None, timeout=20000)
    assert panel.pacs_dialog is None
    (place,) = fetched(places)
    assert place.stat().st_mode & 0o077 == 0  # nobody else reads it
    assert len(list(place.rglob("*.dcm"))) == FILES
    with qtbot.waitSignal(dock.session.opened, timeout=20000):
        panel.chooser.buttons.button(QDialogButtonBox.StandardButton.Open).click()
    assert [layer.name for layer in dock.session.viewer.layers] == ["CT", "MR", "Scribbles"]
    assert Path(dock.export_panel.dicom.folder.text()).is_relative_to(place)

    with qtbot.waitSignal(dock.session.opened, timeout=20000):  # as after a registration
        dock.session.open(partial(reopen, dock.session.patient))
    assert fetched(places) == [place]
    if stored.url:
        with qtbot.waitSignal(dock.session.opened, timeout=20000):
            dock.session.open(partial(open_files, patient.ct))
    else:
        dock.workbench.close()
    assert fetched(places) == []


def test_dates_and_a_search_without_words(ask, web, tmp_path, qtbot):  # noqa: F811
    pacs.send(web, [write_ct(tmp_path / "1"), write_ct(tmp_path / "2", study="2")])
    dialog = ask()
    qtbot.mouseClick(dialog.search_button, LEFT)
    assert "Say whom to look for" in dialog.said.text()
    assert not dialog.first.isEnabled()
    dialog.dated.setChecked(True)
    search(dialog, qtbot)
    assert "web has no such study" in dialog.said.text()  # of the last month
    dialog.first.setDate(QDate(2020, 1, 2))
    dialog.last.setDate(QDate(2020, 1, 2))
    search(dialog, qtbot)
    assert {cells[5] for cells in rows(dialog.table)} == {"P-1", "P-2"}
    assert not dialog.fetch_button.isEnabled()  # one of the two has to be chosen
    dialog.table.selectRow(1)
    assert dialog.fetch_button.isEnabled()


@pytest.fixture
def slow(monkeypatch):
    """The fetch waits after its first file until it is let go on."""
    first, go_on = threading.Event(), threading.Event()
    whole = pacs.fetch

    def fetch(node, study, folder, progress):  # noqa: F811
        def tell(came, of):
            first.set()
            assert go_on.wait(20)
            progress(came, of)

        return whole(node, study, folder, progress=tell)

    monkeypatch.setattr(pacs_fetch.pacs, "fetch", fetch)
    return first, go_on


def begin(dialog, patient, first, qtbot):
    """Fetch the first study of a patient, up to where the slow fetch has something."""
    dialog.patient_id.setText(patient)
    search(dialog, qtbot)
    qtbot.mouseClick(dialog.fetch_button, LEFT)
    qtbot.waitUntil(first.is_set, timeout=20000)


def test_a_fetch_that_is_stopped_keeps_nothing(dock, ask, stored, slow, places, qtbot):
    first, go_on = slow
    dialog = ask()
    begin(dialog, "P1", first, qtbot)
    assert not dialog.search_button.isEnabled()
    qtbot.mouseClick(dialog.cancel_button, LEFT)
    assert dialog.said.text() == "Stopping…"
    go_on.set()
    qtbot.waitUntil(lambda: dialog.said.text().startswith("Stopped."), timeout=20000)
    assert fetched(places) == []
    assert dock.open_panel.chooser is None
    assert dialog.fetch_button.isEnabled()  # the study is still chosen


def test_the_window_is_closed_while_it_fetches(dock, ask, web, slow, tmp_path, places, qtbot):  # noqa: F811
    pacs.send(web, [write_ct(tmp_path / "ct")])
    first, go_on = slow
    dialog = ask()
    begin(dialog, "P-1", first, qtbot)
    dock.workbench.close()
    go_on.set()
    qtbot.waitUntil(lambda: fetched(places) == [], timeout=20000)
    qtbot.waitUntil(lambda: not dialog.cancel_button.isVisible(), timeout=20000)
    assert dock.open_panel.chooser is None


def test_a_fetched_study_that_is_not_opened_goes(dock, ask, web, tmp_path, places, qtbot):  # noqa: F811
    pacs.send(web, [write_ct(tmp_path / "ct")])
    dialog = ask()
    dialog.patient_name.setText("Müller, E")
    search(dialog, qtbot)
    qtbot.mouseClick(dialog.fetch_button, LEFT)
    qtbot.waitUntil(lambda: dock.open_panel.chooser is not None, timeout=20000)
    assert len(fetched(places)) == 1
    dock.open_panel.chooser.reject()
    assert fetched(places) == []


def test_a_line_that_breaks_off(ask, web, tmp_path, places, qtbot, monkeypatch):  # noqa: F811
    pacs.send(web, [write_ct(tmp_path / "ct")])
    dialog = ask()
    dialog.patient_id.setText("P-1")
    search(dialog, qtbot)
    monkeypatch.setattr(socket.socket, "recv_into", _broken)
    notification_manager.records.clear()
    qtbot.mouseClick(dialog.fetch_button, LEFT)
    qtbot.waitUntil(lambda: "cannot be reached" in dialog.said.text(), timeout=20000)
    assert fetched(places) == []
    assert not notification_manager.records  # said once, in the dialog


def _broken(*_words):
    raise ConnectionResetError("Connection reset by peer")


def test_a_pacs_that_is_away(ask, passwords, qtbot):  # noqa: F811
    save_node(make_node(name="klinik", url=f"http://127.0.0.1:{free_port()}/dicom-web"))
    dialog = ask()
    dialog.patient_id.setText("P1")
    search(dialog, qtbot)
    assert dialog.said.text().startswith("klinik (http://127.0.0.1:")
    assert "cannot be reached" in dialog.said.text()
    assert dialog.search_button.isEnabled()


def test_no_pacs_is_known_and_a_damaged_list(ask, passwords, qtbot, tmp_path):  # noqa: F811
    dialog = ask()
    assert not dialog.search_button.isEnabled()
    qtbot.mouseClick(dialog.chooser.add_button, LEFT)
    form = dialog.chooser.form
    form.name.setText("klinik")
    form.url.setText("https://pacs.example/dicom-web")
    form.cert_file.setText("own.pem")
    qtbot.mouseClick(form.add_button, LEFT)
    assert dialog.said.text() == "klinik was added."
    assert dialog.search_button.isEnabled()
    (tmp_path / "config" / "pacs.json").write_text("{")
    dialog.reject()
    dialog = ask()
    assert "damaged" in dialog.said.text()
    assert not dialog.search_button.isEnabled()
