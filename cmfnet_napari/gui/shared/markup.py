"""Text from outside in Qt, which takes text for HTML when it looks like it."""

from __future__ import annotations

_NOTHING = "\u200b"  # takes no room; behind it Qt sees no tag


def plain(text: str) -> str:
    """Text that looks the same and is no markup, for tool tips and napari's notifications.

    File names, classes of a case and the words of DICOM files may hold tags, and a tag such as
    ``<img src=…>`` would be followed. A label of our own is set to plain text instead.
    """
    return text.replace("<", f"<{_NOTHING}")
