"""What the worker takes up from a case while another process draws and corrects."""

import io
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk

from cmfnet_napari.core.case.case_classes import RUN_CLASSES
from cmfnet_napari.core.case.folder import create_case, open_case
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.files import read_json
from cmfnet_napari.core.fit.events import Predict, Refine
from cmfnet_napari.core.images.study import study_from_images
from cmfnet_napari.core.strokes.class_order import ClassStep
from cmfnet_napari.core.strokes.entries import Correction, Stroke, class_change
from cmfnet_napari.core.strokes.journal_file import JournalHeldError
from cmfnet_napari.core.strokes.scribbles import ScribbleClass
from cmfnet_napari.learning import worker
from cmfnet_napari.learning.fit.new_strokes import NewStrokes
from cmfnet_napari.learning.predict.prediction import Prediction

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


def test_a_model_that_reads_strokes_is_shown_the_middle_of_an_edit(tmp_path):
    """The area counts where it contradicts a stroke; undone, nothing of it is left."""
    shape = (3, 30, 40)
    values = np.arange(np.prod(shape), dtype=np.int16).reshape(shape)
    case = create_case(tmp_path / "case", study_from_images(sitk.GetImageFromArray(values)))
    at = np.arange(np.prod(shape)).reshape(shape)
    case.journal.append(entry(Stroke, at[1, 5, 12:20], [0] * 8, [1] * 8))
    looker = open_case(tmp_path / "case", read_only=True)
    strokes, whole = NewStrokes(looker, lines=True), NewStrokes(looker)
    area = at[1, 4:15, 10:31].ravel()
    case.correct(entry(Correction, area, [0] * area.size, [2] * area.size))
    seen = strokes.poll()
    assert (whole.poll().flat[area] == 2).all()
    assert (seen[1, 5, 12:20] == 2).all()  # the correction is newer
    lines = np.argwhere(seen[1] == 2)
    assert 12 <= len(lines) < area.size / 4
    middle = seen[1, 9, 16:25]
    assert (middle == 2).all()  # of 11 rows, the sixth
    case.journal.undo()
    assert np.array_equal(strokes.poll(), NewStrokes(looker, lines=True).scribbles)
    assert (strokes.scribbles > 0).sum() == 8
    looker.close()
    case.close()


def test_classes_that_go_end_the_work_that_goes_on(tmp_path):
    """What it would write speaks of the classes from before."""
    values = np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE)
    case = create_case(tmp_path / "case", study_from_images(sitk.GetImageFromArray(values)))
    case.journal.append(entry(Stroke, [3, 9, 5], [0, 0, 0], [2, 1, 3]))
    looker = open_case(tmp_path / "case", read_only=True)
    strokes = NewStrokes(looker)
    none = np.zeros(SHAPE, np.uint8)
    case.change_classes(class_change(case.scribbles(), none, ClassStep((1, 2, 3), 2)))
    for _ in range(2):
        with pytest.raises(UserError, match="The classes are others now"):
            strokes.poll()
    assert list(NewStrokes(looker).scribbles.flat[[3, 9, 5]]) == [0, 1, 2]  # of the next work
    looker.close()
    case.close()


@pytest.mark.parametrize("command", [Refine, Predict])
def test_a_run_of_a_model_that_reads_strokes_says_which_classes_it_wrote(
    tmp_path, monkeypatch, command
):
    values = np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE)
    case = create_case(tmp_path / "case", study_from_images(sitk.GetImageFromArray(values)))
    run = case.new_run("reading")
    (run / "model.safetensors").touch()
    assert read_json(run / RUN_CLASSES) == {"numbers": [1, 2]}
    more = (ScribbleClass(code, f"Class {code}", "#ffffff") for code in (3, 4))
    case.save_classes((*case.classes, *more))
    case.journal.append(entry(Stroke, [3, 9, 5], [0, 0, 0], [2, 1, 4]))
    found = Prediction(np.full(SHAPE, 3, np.uint8), np.ones(SHAPE, np.float32))
    card = SimpleNamespace(reads_anywhere=True, labels=2)

    class Reading:
        def __init__(self, study, run, *_):
            self.study, self.run = study, run

        def read(self, scribbles, _hooks):
            self.run.save_prediction(found, scribbles, self.study, self.names)

    monkeypatch.setattr(worker, "Reading", Reading)
    monkeypatch.setattr(worker, "read_card", lambda _path: card)
    monkeypatch.setattr(worker, "load_model", lambda *_: (None, card))
    monkeypatch.setattr(worker, "predict_study", lambda *_, **__: found)
    looker = open_case(tmp_path / "case", read_only=True)
    desk = worker.Desk(looker, SimpleNamespace(request=str), io.StringIO())
    desk.work(command(model=f"runs/{run.name}"))
    assert read_json(run / RUN_CLASSES) == {"numbers": [1, 2, 3, 4]}
    looker.close()
    case.close()
