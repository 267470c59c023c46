"""A class is called by TG-263 with one click, where it is made or renamed; any name is kept."""

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLineEdit


def test_a_class_is_named_by_tg_263_with_a_click_or_as_one_likes(opened, qtbot):
    session, panel = opened.session, opened.scribble_panel.classes
    check = panel.name_check

    def names():
        return [entry.name for entry in session.case.classes[1:]]

    def click():
        place = check.rect().center()
        place.setX(6)  # not the arrow of the menu
        qtbot.mouseClick(check, Qt.MouseButton.LeftButton, pos=place)

    def field():
        return panel.table.viewport().findChildren(QLineEdit)[-1]

    session.select_class(2)
    assert (names(), check.text()) == (["Tumour"], "→ GTV")
    click()
    assert (names(), check.text()) == (["GTV"], "✓")
    panel.add_button.click()  # its name is typed at once
    for letters, then in (("kidney", "→ Kidneys"), (" l", "→ Kidney_L")):
        qtbot.keyClicks(field(), letters)
        assert check.text() == then
    click()
    assert (names(), check.text()) == (["GTV", "Kidney_L"], "✓")
    assert [action.text().split()[0] for action in check.menu().actions()] == ["L_Kidney"]
    panel.add_button.click()
    qtbot.keyClicks(field(), "gtv")
    assert (check.text(), "Another structure" in check.toolTip()) == ("free", True)
    qtbot.keyClicks(field(), " \u00df")
    qtbot.keyClick(field(), Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: names() == ["GTV", "Kidney_L", "gtv \u00df"])  # free names stay
    session.select_class(1)
    assert (check.text(), check.isEnabled()) == ("–", False)
    click()
    session.select_class(3)
    assert names() == ["GTV", "Kidney_L", "gtv \u00df"]
    check.menu().actions()[0].trigger()
    assert names() == ["GTV", "L_Kidney", "gtv \u00df"]
