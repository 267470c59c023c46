"""A case folder holds everything of a patient and nothing that names them."""

import json
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk

from cmfnet_napari.core.case.find_case import case_for, cases_folder
from cmfnet_napari.core.case.folder import create_case, image_kinds, open_case
from cmfnet_napari.core.case.structures import Structure, save_structures
from cmfnet_napari.core.contours.score_table import write_scores
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.files import append_line, read_json, write_json
from cmfnet_napari.core.images.grid import Grid
from cmfnet_napari.core.images.study import open_study, study_from_images
from cmfnet_napari.core.strokes.entries import difference
from cmfnet_napari.core.strokes.scribbles import DEFAULT_CLASSES, ScribbleClass
from tests.conftest import rotation


def make_study(grid, seed=0, mr=True):
    rng = np.random.default_rng(seed)
    ct = sitk.DICOMOrient(
        grid.to_image(rng.integers(-200, 200, grid.shape).astype(np.int16)), "RAS"
    )
    values = rng.uniform(50, 100, grid.shape).astype(np.float32)
    values[:, :4] = 0
    return study_from_images(ct, grid.to_image(values) if mr else None)


@pytest.fixture
def study(oblique_grid):
    return make_study(oblique_grid)


def paint(case, voxels, code):
    before = case.scribbles()
    after = before.copy()
    after[voxels] = code
    case.journal.append(difference(before, after))
    return after


def test_reopened_it_is_the_same(tmp_path, study):
    case = create_case(tmp_path / "a", study)
    painted = paint(case, (2, 3, slice(1, 7)), 2)
    classes = (*DEFAULT_CLASSES, ScribbleClass(3, "Oedema", "#009e73"))
    case.save_classes(classes)
    case.close()

    again = open_case(tmp_path / "a")

    assert again.study.content_hash == study.content_hash
    assert again.study.source_grid == study.source_grid
    assert again.study.grid.same_place(study.grid)
    np.testing.assert_array_equal(again.study.first.array, study.first.array)
    np.testing.assert_array_equal(again.study.second.array, study.second.array)
    np.testing.assert_array_equal(again.study.seen, study.seen)
    np.testing.assert_array_equal(again.scribbles(), painted)
    assert again.classes == classes
    assert again.class_names == ["Tumour", "Oedema"]


def test_ct_alone(tmp_path, oblique_grid):
    study = make_study(oblique_grid, mr=False)
    create_case(tmp_path / "a", study).close()
    again = open_case(tmp_path / "a").study
    assert again.second is None
    assert again.seen is None


def test_a_worker_reads_along(tmp_path, study):
    case = create_case(tmp_path / "a", study)
    worker = open_case(tmp_path / "a", read_only=True)
    painted = paint(case, (1, slice(2, 9), 4), 1)
    worker.journal.catch_up()
    np.testing.assert_array_equal(worker.scribbles(), painted)


def test_case_for_finds_the_strokes_again(tmp_path, study, monkeypatch):
    monkeypatch.setenv("CMFNET_CASES", str(tmp_path / "cases"))
    first = case_for(study)
    painted = paint(first, (2, 3, slice(1, 7)), 2)
    first.close()

    second = case_for(study)

    assert second.folder == first.folder
    assert second.folder.parent == cases_folder() == tmp_path / "cases"
    np.testing.assert_array_equal(second.scribbles(), painted)


def test_another_study_is_refused(tmp_path, study, oblique_grid):
    create_case(tmp_path / "a", study).close()
    with pytest.raises(UserError, match="the case of other images"):
        open_case(tmp_path / "a", make_study(oblique_grid, seed=1))


def test_a_case_is_not_overwritten(tmp_path, study):
    create_case(tmp_path / "a", study).close()
    with pytest.raises(UserError, match="a already holds a case"):
        create_case(tmp_path / "a", study)


@pytest.mark.parametrize("text", ["{", "[1, 2]", "", "\x00\x01"])
def test_damaged_card(tmp_path, study, text):
    create_case(tmp_path / "a", study).close()
    (tmp_path / "a" / "case.json").write_text(text)
    with pytest.raises(UserError, match=r"case\.json in a is (missing or )?damaged"):
        open_case(tmp_path / "a")


@pytest.mark.parametrize("field", ["study", "source_grid", "classes"])
def test_card_without_a_field(tmp_path, study, field):
    create_case(tmp_path / "a", study).close()
    card = read_json(tmp_path / "a" / "case.json")
    del card[field]
    write_json(tmp_path / "a" / "case.json", card)
    with pytest.raises(UserError, match=r"case\.json in a is damaged"):
        open_case(tmp_path / "a")


def test_card_of_another_version(tmp_path, study):
    create_case(tmp_path / "a", study).close()
    card = tmp_path / "a" / "case.json"
    write_json(card, {**read_json(card), "format": 99})
    with pytest.raises(
        UserError, match=r"format 99, this version reads 1 to 4\. Open it with the version that"
    ):
        open_case(tmp_path / "a")


def test_lost_ct(tmp_path, study):
    create_case(tmp_path / "a", study).close()
    (tmp_path / "a" / "study" / "ct.nrrd").unlink()
    with pytest.raises(UserError, match="has lost its CT"):
        open_case(tmp_path / "a")


def test_folder_without_a_case(tmp_path):
    with pytest.raises(UserError, match="is no case folder"):
        open_case(tmp_path)


def test_folder_that_cannot_be_made(tmp_path, study):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be made"):
        create_case(tmp_path / "file" / "a", study)


def test_a_case_half_made_is_no_case(tmp_path, study, monkeypatch):
    def fail(*_):
        raise UserError("the disk is full")

    monkeypatch.setattr("cmfnet_napari.core.case.folder.write_json", fail)
    with pytest.raises(UserError, match="full"):
        create_case(tmp_path / "a", study)
    monkeypatch.undo()
    create_case(tmp_path / "a", study).close()  # and can be made again
    assert open_case(tmp_path / "a").study.content_hash == study.content_hash


def test_runs_are_numbered_in_order(tmp_path, study):
    case = create_case(tmp_path / "a", study)
    assert case.runs() == []
    names = [case.new_run(name).name for name in ("quick", "paper", "quick")]
    assert names == ["0001-quick", "0002-paper", "0003-quick"]
    (case.folder / "runs" / "notes").mkdir()
    assert [run.name for run in case.runs()] == names


def test_nothing_in_it_tells_where_the_images_lay(tmp_path, study):
    case = create_case(tmp_path / "a", study)
    text = (case.folder / "case.json").read_text()
    assert str(tmp_path) not in text
    known = {"format", "study", "source_grid", "classes", "notes", "voxels", "grid", "mr_grid"}
    assert set(json.loads(text)) == known | {"images", "modalities", "units", "weightings"}
    images = ["ct.nrrd", "mr.nrrd", "mr_fov.nrrd", "mr_source.nrrd"]
    assert sorted(os.listdir(case.folder / "study")) == images


def test_a_json_file_half_written_does_not_replace_a_good_one(tmp_path):
    path = write_json(tmp_path / "x.json", {"a": 1})
    with pytest.raises(TypeError):
        write_json(path, {"a": replace})  # cannot be written as JSON
    assert read_json(path) == {"a": 1}
    assert os.listdir(tmp_path) == ["x.json"]


@pytest.mark.parametrize(
    ("name", "older"),  # cases of earlier versions know no files' hashes, but one of CT and MR
    [(name, False) for name in ("ct", "mr", "mr_source", "mr_fov")] + [("ct", True), ("mr", True)],
)
def test_images_of_another_patient_in_a_case_are_noticed(
    tmp_path, study, oblique_grid, name, older
):
    """The same grid, so that nothing but the voxels tells."""
    create_case(tmp_path / "a", study).close()
    create_case(tmp_path / "b", make_study(oblique_grid, seed=1)).close()
    if older:
        card = read_json(tmp_path / "a" / "case.json")
        for later in ("images", "voxels", "grid", "mr_grid"):
            del card[later]
        write_json(tmp_path / "a" / "case.json", card)
    image = f"study/{name}.nrrd"
    values = sitk.ReadImage(str(tmp_path / "b" / image))
    if name == "mr_fov":
        values = 1 - values
    sitk.WriteImage(values, str(tmp_path / "a" / image), useCompression=True)
    with pytest.raises(UserError, match="not those it was made with"):
        open_case(tmp_path / "a", read_only=True)


def test_what_a_file_manager_leaves_beside_the_images_is_none(tmp_path, study):
    case = create_case(tmp_path / "a", study)
    case.close()
    for name in (".DS_Store", "._ct.nrrd", "Thumbs.db"):
        (tmp_path / "a" / "study" / name).write_bytes(b"thumbnails")
    open_case(tmp_path / "a", read_only=True).close()


def test_an_image_too_many_or_too_few_is_noticed(tmp_path, study, oblique_grid):
    create_case(tmp_path / "a", study).close()
    create_case(tmp_path / "b", make_study(oblique_grid, mr=False)).close()
    for name in ("mr.nrrd", "mr_fov.nrrd"):
        shutil.copy(tmp_path / "a" / "study" / name, tmp_path / "b" / "study")
        (tmp_path / "a" / "study" / name).unlink()
    for folder in ("a", "b"):
        with pytest.raises(UserError, match="not those it was made with"):
            open_case(tmp_path / folder)


def test_a_killed_import_leaves_nothing_to_the_next_patient(tmp_path, study, oblique_grid):
    (tmp_path / "a" / "study").mkdir(parents=True)  # as earlier versions were killed
    sitk.WriteImage(study.second.image(), str(tmp_path / "a" / "study" / "mr.nrrd"))
    create_case(tmp_path / "a", make_study(oblique_grid, mr=False)).close()
    assert open_case(tmp_path / "a").study.second is None
    assert sorted(os.listdir(tmp_path)) == ["a"]


def test_strokes_of_a_lost_card_do_not_go_to_the_next_patient(tmp_path, study, oblique_grid):
    case = create_case(tmp_path / "a", study)
    paint(case, (2, 3, slice(1, 7)), 2)
    case.close()
    (tmp_path / "a" / "case.json").unlink()
    with pytest.raises(UserError, match=r"holds strokes of a case that has lost its case\.json"):
        create_case(tmp_path / "a", make_study(oblique_grid, seed=1))
    with pytest.raises(UserError, match=r"has lost its case\.json"):
        open_case(tmp_path / "a")


def test_a_lost_card_among_the_cases_is_said_and_passed_by(tmp_path, study, monkeypatch):
    monkeypatch.setenv("CMFNET_CASES", str(tmp_path))
    case = case_for(study)
    paint(case, (2, 3, slice(1, 7)), 2)
    case.close()
    (case.folder / "case.json").unlink()
    new = case_for(study)
    assert not new.scribbles().any()
    assert f"The folder {case.folder.name} beside the cases has lost its case.json" in new.notice
    assert (case.folder / "strokes.sqlite").exists()
    new.close()
    assert case_for(study).folder == new.folder


def test_a_folder_of_other_things_is_left_alone(tmp_path, study):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "thesis.txt").write_text("precious")
    with pytest.raises(UserError, match="a already holds something"):
        create_case(tmp_path / "a", study)
    assert (tmp_path / "a" / "thesis.txt").read_text() == "precious"


def test_one_case_whatever_format_the_images_came_in(tmp_path, monkeypatch):
    """Twenty oblique CTs with an MR on a grid of its own; numbers differ in their last bits."""
    monkeypatch.setenv("CMFNET_CASES", str(tmp_path / "cases"))
    rng = np.random.default_rng(5)
    for number in range(20):
        turn = rotation(*rng.uniform(-40, 40, 3))
        spacing, origin = rng.uniform(0.5, 4, 3), rng.normal(0, 300, 3)
        ct = Grid((5, 6, 7), tuple(spacing), tuple(origin), turn)
        mr = Grid((5, 6, 7), tuple(spacing * 1.07), tuple(origin + rng.normal(0, 0.2, 3)), turn)
        images = {
            "ct": ct.to_image(rng.integers(-900, 900, ct.shape).astype(np.int16)),
            "mr": mr.to_image(rng.uniform(0, 900, ct.shape).astype(np.float32)),
        }
        folders = set()
        for ending in ("nrrd", "mha", "nii" if number % 2 else "nii.gz"):
            files = [tmp_path / f"{name}.{ending}" for name in images]
            for path, image in zip(files, images.values(), strict=True):
                sitk.WriteImage(image, str(path))
            opened = open_study(*files)
            case = case_for(opened)
            folders.add(case.folder)
            assert case.study.source_grid == opened.source_grid
            if not case.journal.last_id():
                painted = paint(case, (2, 3, slice(1, 7)), 2)
            np.testing.assert_array_equal(case.scribbles(), painted)
            case.close()
        assert len(folders) == 1, number


def test_the_same_voxels_elsewhere_are_another_case(tmp_path, oblique_grid, monkeypatch):
    monkeypatch.setenv("CMFNET_CASES", str(tmp_path))
    values = np.random.default_rng(0).integers(-200, 200, oblique_grid.shape).astype(np.int16)
    first = case_for(study_from_images(oblique_grid.to_image(values)))
    moved = replace(oblique_grid, origin=(0.0, 0.0, 0.0))
    second = case_for(study_from_images(moved.to_image(values)))
    assert second.folder.name == f"{first.folder.name}-2"
    assert case_for(study_from_images(moved.to_image(values))).folder == second.folder


def test_a_case_of_an_earlier_version_is_found_by_its_bits(tmp_path, study, monkeypatch):
    monkeypatch.setenv("CMFNET_CASES", str(tmp_path))
    create_case(tmp_path / study.content_hash[:16], study).close()
    card = read_json(tmp_path / study.content_hash[:16] / "case.json")
    for later in ("images", "voxels", "grid", "mr_grid", "notes"):
        del card[later]
    write_json(tmp_path / study.content_hash[:16] / "case.json", card)
    assert case_for(study).folder.name == study.content_hash[:16]


@pytest.mark.skipif(os.name != "posix", reason="Windows has no modes")
def test_a_case_is_the_users_alone_whatever_the_umask(tmp_path, study):
    before = os.umask(0)
    try:
        case = create_case(tmp_path / "cases" / "a", study)
        paint(case, (2, 3, slice(1, 7)), 2)
        case.save_classes(case.classes)
        append_line(case.new_run("quick") / "events.jsonl", "{}")
        write_scores(case.folder / "scores.csv", {"Tumour": 1.0}, None)
        save_structures(case, [Structure("Bladder", "#00ff00", study.first.array > 40)])
        case.journal._opened = None  # as another program replaces the file
        with pytest.raises(UserError, match=r"strokes\.open-1\.sqlite"):
            paint(case, (2, 3, slice(1, 7)), 3)
        paths = [tmp_path / "cases", *(tmp_path / "cases").rglob("*")]
        modes = {path.name: oct(path.stat().st_mode & 0o777) for path in paths}
        case.close()
    finally:
        os.umask(before)
    assert len(modes) > 10
    assert set(modes.values()) == {"0o700", "0o600"}, modes


def test_any_pair_is_kept_with_what_it_is_and_the_case_knows_best(
    tmp_path, monkeypatch, oblique_grid
):
    monkeypatch.setenv("CMFNET_CASES", str(tmp_path))
    pair = make_study(oblique_grid).known_as("MR", "PT", ("", "Bq/ml"))
    case = case_for(pair)
    assert sorted(os.listdir(case.folder / "study")) == [
        "first.nrrd",
        "second.nrrd",
        "second_source.nrrd",
        "seen.nrrd",
    ]
    assert read_json(case.folder / "case.json")["format"] == 4  # earlier versions would err
    case.close()

    again = open_case(case.folder)
    assert (again.study.names, again.study.units) == (("MR", "PT"), ("", "Bq/ml"))
    assert again.study.content_hash == pair.content_hash
    assert image_kinds(case.folder) == ("MR", "PT")
    again.call_images(("", "MR"))  # the user says what the second is
    assert again.study.names == ("MR 1", "MR 2")
    assert again.study.second_source.modality == "MR"
    again.call_images(("", ""))  # nothing is said
    again.close()

    for guessed in (pair, make_study(oblique_grid)):  # the same voxels, taken for something else
        found = case_for(guessed)
        assert found.folder == case.folder
        assert found.study.kinds == ("MR", "MR")
        found.close()
    lost = case.folder / "study" / "first.nrrd"
    lost.unlink()
    with pytest.raises(UserError, match=r"has lost its first image \(study/first\.nrrd\)"):
        open_case(case.folder)


def test_a_ct_with_an_mr_is_kept_as_ever_until_it_is_called_something_else(tmp_path, study):
    case = create_case(tmp_path / "a", study)
    card = read_json(tmp_path / "a" / "case.json")
    assert (card["format"], card["modalities"]) == (1, [])
    looker = open_case(tmp_path / "a", read_only=True)
    with pytest.raises(UserError, match="another window"):
        looker.call_images(("MR", ""))
    looker.close()
    case.call_images(("MR", ""))
    assert image_kinds(tmp_path / "a") == ("MR", "MR")
    before = case.study.content_hash
    case.close()
    again = open_case(tmp_path / "a", study)  # in memory as it was
    assert again.study.content_hash == before != study.content_hash
    again.call_images(("CT", ""))
    assert again.study.content_hash == study.content_hash
    again.close()


def test_a_pair_without_its_names_or_with_too_many_is_refused(tmp_path, study):
    create_case(tmp_path / "a", study.known_as("MR", "MR")).close()
    path = tmp_path / "a" / "case.json"
    card = read_json(path)
    for wrong in (["MR", "MR", "MR"], ["XA", "MR"], ["MR"]):
        write_json(path, {**card, "modalities": wrong})
        with pytest.raises(UserError, match="damaged"):
            open_case(tmp_path / "a")
