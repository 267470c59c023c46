"""What the worker takes up from a case while another process draws and corrects."""

import numpy as np
import pytest
import SimpleITK as sitk

from cmfnet_napari.core.case.folder import create_case, open_case
from cmfnet_napari.core.images.study import study_from_images
from cmfnet_napari.core.strokes.entries import Correction, Stroke
from cmfnet_napari.core.strokes.journal_file import JournalHeldError
from cmfnet_napari.learning.worker import NewStrokes

SHAPE = (3, 4, 5)


def entry(kind, voxels, old, new):
    return kind(np.array(voxels), np.uint8(old), np.uint8(new))


def held():
    raise JournalHeldError("Another program holds the stroke journal.")


@pytest.mark.parametrize("teach", [True, False])
def test_corrected_voxels_count_as_strokes_unless_they_shall_not(tmp_path, teach, monkeypatch):
    values = np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE)
    case = create_case(tmp_path / "case", study_from_images(sitk.GetImageFromArray(values)))
    case.journal.append(entry(Stroke, [3, 9], [0, 0], [2, 1]))
    looker = open_case(tmp_path / "case", read_only=True)
    strokes = NewStrokes(looker, teach)
    assert list(strokes.scribbles.flat[[3, 4, 9]]) == [2, 0, 1]
    assert strokes.poll() is None
    case.correct(entry(Correction, [3, 4], [0, 0], [1, 2]))
    if not teach:
        assert strokes.poll() is None  # nothing that it learns from has changed
    else:
        assert list(strokes.poll().flat[[3, 4, 9]]) == [1, 2, 1]
    case.journal.append(entry(Stroke, [4, 5], [0, 0], [1, 2]))
    assert list(strokes.poll().flat[[4, 5]]) == [1, 2]
    case.journal.undo()
    case.journal.undo()
    assert list(strokes.poll().flat[[3, 4, 5, 9]]) == [2, 0, 0, 1]
    case.journal.append(entry(Stroke, [4], [0], [2]))
    monkeypatch.setattr(looker.journal, "last_id", held)  # a backup: training does not end
    assert strokes.poll() is None
    monkeypatch.undo()
    assert strokes.poll().flat[4] == 2
    looker.close()
    case.close()
