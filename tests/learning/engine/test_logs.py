"""Curves of a training: whole after any break, also where a score is not defined."""

import math

from cmfnet_napari.learning.engine.logs import SCORES_FILE, Logs, read_curve


def logs(folder, steps):
    made = Logs(folder, steps)
    made.close()  # TensorBoard's thread
    return made


def test_a_score_that_is_not_defined_takes_no_point_from_others(tmp_path):
    begun = logs(tmp_path, 0)
    begun.scores(1, {"dsc": 0.0, "asd_mm": math.nan, "surface_dsc": 0.1})
    begun.scores(2, {"dsc": 0.5, "asd_mm": 7.0, "surface_dsc": 0.6})
    logs(tmp_path, 2)  # goes on after a break
    curve = read_curve(tmp_path / SCORES_FILE)
    assert curve["step"] == [1, 2]
    assert curve["surface_dsc"] == [0.1, 0.6]
    assert math.isnan(curve["asd_mm"][0])
    assert curve["asd_mm"][1] == 7.0


def test_rows_after_the_state_and_one_that_was_cut_off_go(tmp_path):
    begun = logs(tmp_path, 0)
    for step in (1, 2, 3):
        begun.scores(step, {"dsc": step / 10, "asd_mm": 1.0})
    with open(tmp_path / SCORES_FILE, "a", encoding="utf-8") as file:
        file.write("2,0.9,1.")
    logs(tmp_path, 2)
    assert read_curve(tmp_path / SCORES_FILE)["dsc"] == [0.1, 0.2]


def test_the_same_step_judged_again_is_there_once(tmp_path):
    begun = logs(tmp_path, 0)
    begun.scores(4, {"dsc": 0.1})
    begun.scores(4, {"dsc": 0.2})
    assert read_curve(tmp_path / SCORES_FILE) == {"step": [4], "dsc": [0.2]}


def test_a_file_in_which_nothing_was_written_yet_is_begun_anew(tmp_path):
    (tmp_path / SCORES_FILE).touch()
    begun = logs(tmp_path, 0)
    begun.scores(1, {"dsc": 0.1})
    assert read_curve(tmp_path / SCORES_FILE) == {"step": [1], "dsc": [0.1]}
