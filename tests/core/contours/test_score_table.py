"""The table to read and the table to keep."""

import csv

import numpy as np
import pytest

from cmfnet_napari.core.contours.metrics import evaluate
from cmfnet_napari.core.contours.score_table import score_rows, write_scores
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.images.grid import Grid

GRID = Grid((4, 10, 10), (5.0, 1.0, 2.0))


@pytest.fixture
def evaluation():
    """Class 1 is half of the reference; class 2 is missing."""
    ours, theirs = np.zeros((2, *GRID.shape), np.uint8)
    ours[1:3, 2:6, 2:4], theirs[1:3, 2:6, 2:6] = 1, 1
    theirs[3, 8, 8] = 2
    return evaluate(ours, theirs, GRID, ["Tumour", "Oedema, seen"])


def read(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_csv_of_an_evaluation(evaluation, tmp_path):
    rows = read(write_scores(tmp_path / "t.csv", {}, evaluation))
    assert [row["class"] for row in rows] == ["Tumour", "Oedema, seen", "Mean"]
    # 16 of 32 voxels of 10 mm³: 2 · 16 / 48
    assert float(rows[0]["dsc"]) == pytest.approx(2 / 3)
    assert float(rows[0]["volume_ml"]) == pytest.approx(0.16)
    assert float(rows[0]["reference_ml"]) == pytest.approx(0.32)
    assert float(rows[0]["volume_difference"]) == pytest.approx(-0.5)
    assert rows[1]["asd_mm"] == ""
    assert float(rows[2]["dsc"]) == pytest.approx(1 / 3)
    assert {row["tolerance_mm"] for row in rows} == {"2.0"}


def test_classes_with_tolerances_of_their_own(tmp_path):
    ours, theirs = np.zeros((2, *GRID.shape), np.uint8)
    ours[1, 2, 2], theirs[1, 5, 2] = 1, 1  # 3 mm apart
    ours[3, 2, 2], theirs[3, 5, 2] = 2, 2
    told = {"tolerances_mm": {"Node": 3.0}}
    evaluation = evaluate(ours, theirs, GRID, ["Tumour", "Node"], **told)
    assert [one.surface_dsc for one in evaluation.classes.values()] == [0.0, 1.0]
    _, rows = score_rows({}, evaluation)
    assert rows["Surface DSC"] == ["0.000", "1.000", "0.500"]
    assert rows["Tolerance, mm"] == ["2", "3", "–"]
    table = read(write_scores(tmp_path / "t.csv", {}, evaluation))
    assert [row["tolerance_mm"] for row in table] == ["2.0", "3.0", ""]
    assert evaluation.as_dict()["tolerances_mm"] == {"Node": 3.0}
    with pytest.raises(UserError, match="given for Nodes, but the classes are Tumour, Node"):
        evaluate(ours, theirs, GRID, ["Tumour", "Node"], tolerances_mm={"Nodes": 3.0})
    with pytest.raises(UserError, match="of Node is -1 mm; it must be 0 or more"):
        evaluate(ours, theirs, GRID, ["Tumour", "Node"], tolerances_mm={"Node": -1.0})
    with pytest.raises(UserError, match="is nan mm"):
        evaluate(ours, theirs, GRID, tolerance_mm=float("nan"))


def test_csv_of_volumes_alone(tmp_path):
    path = write_scores(tmp_path / "t.csv", {"Tumour": 12.5, "Oedema": 0.0}, None)
    assert read(path) == [
        {"class": "Tumour", "volume_ml": "12.5"},
        {"class": "Oedema", "volume_ml": "0.0"},
    ]


def test_rows_to_read(evaluation):
    names, rows = score_rows({}, evaluation)
    measures = ["DSC", "ASD, mm", "HD95, mm", "Surface DSC at 2 mm", "Added path, mm"]
    assert list(rows) == [*measures, "Added path, share", "Volume, ml", "Reference, ml"]
    assert names == ["Tumour", "Oedema, seen", "Mean"]
    assert rows["DSC"] == ["0.667", "0.000", "0.333"]
    assert rows["ASD, mm"][1] == "–"
    assert score_rows({"Tumour": 12.34}, None) == (["Tumour"], {"Volume, ml": ["12.3"]})


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match=r"t\.csv could not be written"):
        write_scores(tmp_path / "none" / "t.csv", {"Tumour": 1.0}, None)
