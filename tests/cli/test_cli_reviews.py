"""cmfnet review, as a script meets it."""

from __future__ import annotations

import json

import numpy as np
import pytest
import SimpleITK as sitk

from cmfnet_napari.core.case.folder import create_case, open_case
from cmfnet_napari.core.images.study import study_from_images
from cmfnet_napari.core.review.log_entry import LOG_FILE
from cmfnet_napari.core.review.readings import reader_difference, save_reading
from cmfnet_napari.core.review.record import digest
from cmfnet_napari.core.review.review_log import ReviewLog
from tests.case_runs import write_run
from tests.cli.test_cli import run

SHAPE = (6, 8, 7)


@pytest.fixture
def case(tmp_path):
    """A contour that Anna reviewed and Bert peer-reviewed after he took a slice away."""
    image = sitk.GetImageFromArray(np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE))
    case = create_case(tmp_path / "case", study_from_images(image, modalities=("CT", "")))
    first = np.zeros(SHAPE, np.uint8)
    first[1:4, 2:6, 2:5] = 1
    second = first.copy()
    second[3] = 0
    write_run(case, second)
    log = ReviewLog(case.folder, case.key)
    study, order = case.study, case.order
    for index in (1, 2, 3):
        log.append("looked", {"plane": "axial", "index": index}, "aa", "Anna")
    reading = save_reading(case.folder, study, order, first)
    log.append("reviewed", {"unseen": 0, "open": 0, "reading": reading}, digest(first), "Anna")
    differs = reader_difference(first, second, study.grid, case.class_names)
    detail = {"first": 5, "reading": save_reading(case.folder, study, order, second), **differs}
    log.append("peer-reviewed", detail, digest(second), "Bert")
    log.to_disk()
    case.close()
    return case.folder


def test_show_verify_compare_export(case, tmp_path, capsys) -> None:
    status, out, _ = run(capsys, "review", "show", case)
    assert status == 0
    assert out.startswith("Peer-reviewed by Bert")
    assert "looked at axial slices 1–3" in out
    assert "1 axial slice: Tumour: Dice 0.800, +0.00 −0.01 ml" in out
    status, out, _ = run(
        capsys, "review", "compare", case, "--out", tmp_path / "both.nrrd", "--json"
    )
    numbers = json.loads(out)["difference"]["Tumour"]
    assert (status, numbers) == (0, {"dice": 0.8, "added_ml": 0.0, "removed_ml": 0.012})
    both = sitk.GetArrayFromImage(sitk.ReadImage(tmp_path / "both.nrrd"))
    assert np.bincount(both.ravel()).tolist() == [both.size - 36, 12, 0, 24]
    for name in ("log.json", "log.pdf"):
        assert run(capsys, "review", "export", case, "--out", tmp_path / name)[0] == 0
    status, out, _ = run(capsys, "review", "verify", case, "--against", tmp_path / "log.json")
    assert (status, out.splitlines()[0]) == (0, "6 entries, as written.")
    assert run(capsys, "review", "verify", tmp_path / "log.json")[0] == 0


def test_a_changed_log_is_one_line_and_status_1(case, capsys) -> None:
    path = case / LOG_FILE
    path.write_bytes(path.read_bytes().replace(b"Bert", b"Bart"))
    status, out, err = run(capsys, "review", "verify", case)
    assert (status, out) == (1, "")
    assert err.startswith("cmfnet: The review log was changed at line 6: entry 6 is not what was")
    status, out, _ = run(capsys, "review", "verify", case, "--json")
    assert (status, json.loads(out)["ok"]) == (1, False)
    status, out, _ = run(capsys, "review", "show", case)
    assert status == 0
    assert out.startswith("Draft again: ")
    assert "The review log was changed at line 6" in out.splitlines()[0]
    assert "Bart" not in out


def test_no_log_and_one_reader(case, tmp_path, capsys, monkeypatch) -> None:
    path = case / LOG_FILE
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]))
    for command in (["compare", case], ["verify", case]):
        status, _, err = run(capsys, "review", *command)
        assert status == 1
        assert "not peer-reviewed" in err or "1 of 6 entries are missing" in err
    path.unlink()
    status, _, err = run(capsys, "review", "verify", case)
    assert (status, "which this computer has written, is not here" in err) == (1, True)
    monkeypatch.setenv("CMFNET_REVIEW", str(tmp_path / "another computer"))
    for command in ("show", "verify", "compare"):
        status, _, err = run(capsys, "review", command, case)
        assert (status, "case has no review log" in err) == (1, True)
    open_case(case).close()  # as ever
