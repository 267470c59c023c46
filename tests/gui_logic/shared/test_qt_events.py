"""Events that come to a filter as the Python object of one that lay at their place."""

import ctypes

from qtpy import sip
from qtpy.QtCore import QEvent, QPointF, Qt
from qtpy.QtGui import QFocusEvent, QMouseEvent

from cmfnet_napari.gui.shared.qt_events import as_it_is

_SIZE = 24  # of a QFocusEvent, bytes; less than that of a QMouseEvent


def test_a_focus_event_that_comes_as_one_of_the_mouse_is_read_as_what_it_is():
    """It is put where the other lies, which Python still holds."""
    button, none = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    kept = QMouseEvent(
        QEvent.Type.MouseButtonPress, QPointF(3, 4), QPointF(3, 4), button, button, none
    )
    focus = QFocusEvent(QEvent.Type.FocusIn, Qt.FocusReason.MouseFocusReason)
    place = sip.unwrapinstance(kept)
    before = ctypes.string_at(place, _SIZE)
    ctypes.memmove(place, sip.unwrapinstance(focus), _SIZE)
    try:
        assert not hasattr(kept, "reason")
        assert as_it_is(kept).reason() == Qt.FocusReason.MouseFocusReason
    finally:
        ctypes.memmove(place, before, _SIZE)
    assert as_it_is(kept) is kept
    assert as_it_is(focus) is focus
