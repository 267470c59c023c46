"""A patient that is read for the window, without one."""

from __future__ import annotations

import numpy as np
import pytest

from cmfnet_napari.core.case.find_case import case_for
from cmfnet_napari.core.dicom.importing.patient import Choice
from cmfnet_napari.core.images.grid import Grid
from cmfnet_napari.core.images.series.scan import scan
from cmfnet_napari.core.images.study import open_study, study_from_images
from cmfnet_napari.core.registration.registrations import Registration
from cmfnet_napari.gui.patient.opened import open_dicom, prepare, reopen
from tests.dicom_files import (
    CENTRE,
    MR_GRID,
    circles,
    write_patient,
    write_slices,
    write_structures,
)

GRID = Grid((8, 20, 22), (3.0, 2.0, 1.8))


@pytest.fixture(autouse=True)
def cases(tmp_path, monkeypatch):
    monkeypatch.setenv("CMFNET_CASES", str(tmp_path / "cases"))


def open_folder(folder):
    found = scan([folder])
    first, second = sorted(found.images, key=lambda image: image.origin.modality)
    opened = open_dicom(Choice(first, second), found, lambda _what, _share: True)
    opened.case.close()
    return opened.case.study


def test_a_header_goes_before_a_guess_but_not_before_what_was_said(tmp_path):
    rng = np.random.default_rng(0)
    ct, pet = (rng.integers(0, 900, GRID.shape).astype(dtype) for dtype in (np.int16, np.uint16))

    def units(_k, data):
        data.Units = "BQML"

    write_slices(tmp_path / "d" / "ct", ct - 500, GRID)
    write_slices(tmp_path / "d" / "pet", pet, GRID, "PT", edit=units)
    guessed = open_study(tmp_path / "d" / "ct", tmp_path / "d" / "pet", ("CT", "MR"))
    case_for(guessed).close()
    study = open_folder(tmp_path / "d")
    assert (study.kinds, study.units) == (("CT", "PT"), ("HU", "Bq/ml"))
    case = case_for(guessed)
    assert case.study.kinds == ("CT", "PT")  # kept with the case
    case.call_images(("", "MR"))  # the user has the last word
    case.close()
    assert open_folder(tmp_path / "d").kinds == ("CT", "MR")


def test_what_was_drawn_on_the_mr_lies_where_that_lies_now(tmp_path):
    """It stayed 12 mm behind, and came back there when its folder was opened again."""
    shift = np.array([7.0, -4.0, 9.0])
    folder = write_patient(tmp_path / "d", mr_shift=tuple(shift))
    rois = [{"name": "GTV MR", "contours": circles(MR_GRID, CENTRE + shift)}]
    write_structures(folder / "rs-mr.dcm", rois, on="T1")
    found = scan([folder])
    images = sorted(found.images, key=lambda image: image.origin.modality)
    choice = Choice(*images, objects=tuple(found.objects))

    def middles(opened):
        grid = opened.case.study.grid
        return {s.name: grid.to_patient(np.argwhere(s.mask).mean(0)) for s in opened.structures}

    opened = open_dicom(choice, found, lambda _what, _share: True)
    assert middles(opened)["GTV MR"] == pytest.approx(CENTRE + shift, abs=0.5)
    matrix = np.eye(4)
    matrix[:3, 3] = shift
    opened.case.register(Registration.of(matrix, "by hand"))
    again = reopen(opened)
    opened.case.close()
    assert middles(again)["GTV MR"] == pytest.approx(CENTRE, abs=1.5)  # the nearest of 3 mm
    assert middles(again)["GTV CT"] == pytest.approx(CENTRE, abs=0.5)
    again.case.close()
    later = open_dicom(choice, found, lambda _what, _share: True)
    later.case.close()
    assert middles(later)["GTV MR"] == pytest.approx(CENTRE, abs=0.5)
    assert middles(later)["GTV CT"] == pytest.approx(CENTRE, abs=0.5)


def test_an_image_that_shows_nothing_leaves_the_other_as_it_is():
    ct = GRID.to_image(np.random.default_rng(0).integers(-200, 200, GRID.shape).astype(np.int16))
    dark = np.zeros(GRID.shape, np.float32)
    dark[4, 10, 10] = 7
    study = study_from_images(ct, GRID.to_image(dark), modalities=("CT", "PT"))
    opened = prepare(study)
    opened.case.close()
    assert opened.limits == ((-160.0, 240.0), (0.0, 7.0))
