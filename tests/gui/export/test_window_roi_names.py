"""Names judged by TG-263 while they are typed, and the nearest one taken with a click."""

from __future__ import annotations

import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLineEdit

from cmfnet_napari.core.strokes.scribbles import ScribbleClass
from cmfnet_napari.gui.export.roi_table import RoiTable


@pytest.fixture
def table(qtbot):
    """A tumour, a heart, and what nobody has a name for."""
    names = ["Tumour", "Heart", "Größe 2"]
    table = RoiTable()
    qtbot.addWidget(table)
    table.show_classes([ScribbleClass(k, n, "#009e73") for k, n in enumerate(names, start=2)])
    table.show()
    return table


def said(table):
    return [table.cellWidget(row, 2).text() for row in range(table.rowCount())]


def actions(table, row):
    menu = table.cellWidget(row, 2).menu()
    return [] if menu is None else [action.text().split()[0] for action in menu.actions()]


def click(qtbot, table, row):
    button = table.cellWidget(row, 2)
    place = button.rect().center()
    place.setX(6)  # not the arrow of the menu
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton, pos=place)


def test_names_are_proposed_and_taken_with_their_type(table, qtbot):
    assert said(table) == ["→ GTV", "✓", "free"]
    assert [roi.type for roi in table.rois] == ["GTV", "ORGAN", "GTV"]
    assert "FMA 7088" in table.cellWidget(1, 2).toolTip()
    assert "no spaces" in table.cellWidget(2, 2).toolTip()
    assert actions(table, 0) == ["GTV", "GTVp", "GTVn", "CTV", "TumorBed"]
    menu = table.cellWidget(0, 2).menu()
    menu.actions()[3].trigger()
    assert (table.rois[0].name, table.rois[0].type) == ("CTV", "CTV")
    table.cellWidget(0, 1).setCurrentText("GTV")
    assert said(table)[0] == "→ CTV"
    click(qtbot, table, 0)
    assert (said(table)[0], table.rois[0].type) == ("✓", "CTV")
    table.item(2, 0).setText("left lung")
    assert said(table)[2] == "→ Lung_L"
    click(qtbot, table, 2)
    assert (table.rois[2].name, table.rois[2].type) == ("Lung_L", "ORGAN")
    assert actions(table, 2) == ["L_Lung"]  # the reverse order
    table.cellWidget(2, 2).menu().actions()[0].trigger()
    assert (table.rois[2].name, said(table)[2]) == ("L_Lung", "✓")


def test_a_name_is_judged_at_every_letter(table, qtbot):
    item = table.item(2, 0)
    table.editItem(item)
    (editor,) = table.viewport().findChildren(QLineEdit)
    editor.clear()
    for letters, then in (("kidney", "→ Kidneys"), (" l", "→ Kidney_L")):
        qtbot.keyClicks(editor, letters)
        assert said(table)[2] == then
    assert item.text() == "Größe 2"
    qtbot.keyClick(editor, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: item.text() == "kidney l")


def test_two_of_one_name_and_free_names(table, qtbot):
    table.item(2, 0).setText("heart")
    assert said(table)[1:] == ["free", "free"]
    assert "Another structure" in table.cellWidget(1, 2).toolTip()
    table.item(2, 0).setText("<b>Tumor&nbsp;\u202e links</b>")
    assert table.rois[2].name == "<b>Tumor&nbsp; links</b>"
    assert said(table)[1] == "✓"
    table.item(2, 0).setCheckState(Qt.CheckState.Unchecked)
    assert [roi.name for roi in table.rois] == ["Tumour", "Heart"]
