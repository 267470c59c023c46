"""Bars move often: none of their moves may cost a drawing of the window."""

from cmfnet_napari.gui.shared.widgets import ProgressBar


def test_a_bar_is_drawn_with_the_window_however_often_it_moves(qtbot):
    painted = []

    class Bar(ProgressBar):
        def paintEvent(self, event):  # noqa: N802 (Qt's name)
            painted.append(self.value())
            super().paintEvent(event)

    bar = Bar()
    qtbot.addWidget(bar)
    bar.setRange(0, 100)
    bar.show()
    qtbot.waitUntil(lambda: bool(painted))
    painted.clear()
    for value in (10, 50, 90):
        bar.setValue(value)
    assert painted == []
    qtbot.waitUntil(lambda: bool(painted))
    assert set(painted) == {90}
