"""Names from outside: on one line, no formula in a spreadsheet, none in a figure."""

from __future__ import annotations

import csv

import pytest

from cmfnet_napari.core.case.structures import Structure
from cmfnet_napari.core.contours.score_table import write_scores
from cmfnet_napari.core.dicom.export.roi import make_rois
from cmfnet_napari.core.dicom.importing.structure_sets import read_structures
from cmfnet_napari.core.images.series.scan import scan
from cmfnet_napari.core.report.curves import save_training
from cmfnet_napari.core.strokes.scribbles import ScribbleClass
from cmfnet_napari.core.words import cell, clean, drawn, from_cell
from tests.dicom_files import write_structures

ODD = "GTV\0\n\r\t\x1b[31m 1\u202e"
CLEAN = "GTV [31m 1"


@pytest.mark.parametrize("name", ["GTV 腫瘍", "Größe (2)", "عظم", "a\u200db", "µ²"])
def test_names_that_stay(name):
    assert clean(name) == cell(name) == drawn(name) == name


def test_names_are_cleaned_where_they_come_in(tmp_path):
    assert clean(ODD) == CLEAN
    assert ScribbleClass(2, ODD, "#000000").name == CLEAN
    assert Structure(ODD, "#000000", None).name == CLEAN
    assert make_rois([1], [ODD])[0].name == CLEAN
    path = write_structures(tmp_path / "rs.dcm", [{"name": ODD[:-1], "contours": []}])
    (roi,) = read_structures(path)
    (entry,) = scan([path]).objects
    assert entry.names == (roi.name,) == (CLEAN,)


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t=", "\n@", " -", "\0="])
def test_no_cell_begins_a_formula(tmp_path, start):
    name = f'{start}HYPERLINK("http://x")'
    write_scores(tmp_path / "a.csv", {name: 12.5, "GTV": -1.0}, None)
    with open(tmp_path / "a.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert rows[1][0] == "'" + clean(name)
    assert from_cell(rows[1][0]) == clean(name)
    assert rows[2] == ["GTV", "-1.0"]


@pytest.mark.parametrize("name", [r"$\foo$", "$x^$", "a$b", "$$", "\0$\n"])
def test_a_name_is_drawn_as_it_is(tmp_path, name):
    curves = {name: ({"step": [1, 2], "total": [1.0, 0.5]}, {"step": [1], "dsc": [0.5]})}
    save_training(curves, tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 1000
