"""Frames of an enhanced object (PS3.3 C.7.6.16), each as if it were a slice of its own."""

from __future__ import annotations

from pydicom import Dataset

_PLACES = {
    "PlanePositionSequence": "ImagePositionPatient",
    "PlaneOrientationSequence": "ImageOrientationPatient",
    "PixelMeasuresSequence": "PixelSpacing",
}


def slices_of(header: Dataset) -> list[Dataset]:
    """Headers of an object's slices.

    Parameters
    ----------
    header : Dataset
        Of a file with one slice or many.

    Returns
    -------
    list of Dataset
        The header itself, or one a frame with its place at the top, and with its number as
        Referenced Frame Number: it is how others name the slice. A place that is not given is
        left out.
    """
    if "PerFrameFunctionalGroupsSequence" not in header:
        return [header]
    shared = (header.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    slices = []
    for number, group in enumerate(header.PerFrameFunctionalGroupsSequence, start=1):
        frame = Dataset()
        frame.update(header)  # shares the elements
        frame.ReferencedFrameNumber = number
        for sequence, keyword in _PLACES.items():
            items = group.get(sequence) or shared.get(sequence)
            if items and keyword in items[0]:
                setattr(frame, keyword, items[0][keyword].value)
        slices.append(frame)
    return slices


def frame_number(slice_header: Dataset) -> int:
    """Number of a slice within its file from 1, or 0 when the file is the slice."""
    return int(slice_header.get("ReferencedFrameNumber", 0))
