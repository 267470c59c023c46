"""The images of a cohort: what comes out, and what is refused before any training."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.images.grid import Grid
from cmfnet_napari.core.images.study import open_study, save_labels
from cmfnet_napari.core.images.volume import write_image
from cmfnet_napari.core.strokes.scribbles import IGNORE
from cmfnet_napari.learning.cohort.cohort_file import Row, read_cohort
from cmfnet_napari.learning.cohort.loaded_cases import load_case, load_cohort

SHAPE = (6, 9, 11)


def labels(*codes):
    """Three voxels of each code, on the Study's Grid; 0 elsewhere."""
    array = np.zeros(SHAPE, np.uint8)
    for code in codes:
        array[code % 6, 2:5, code % 11] = code
    return array


@dataclass
class Folder:
    """Writes patients whose CT is turned away from the Study's axes, and rows that name them."""

    path: Path
    grid: Grid

    def images(self, name, seed):
        for kind, number, low in (("ct", seed, -200), ("mr", seed + 100, 10)):
            values = np.random.default_rng(number).integers(low, 200, SHAPE).astype(np.int16)
            write_image(sitk.DICOMOrient(self.grid.to_image(values), "PIR"), self.file(name, kind))
        return open_study(self.file(name, "ct"))

    def file(self, name, kind):
        return self.path / f"{name}_{kind}.nii.gz"

    def row(self, name, seed, scribbles=None, mask=None, split="train"):
        study = self.images(name, seed)
        files = {}
        for kind, array in (("scribbles", scribbles), ("mask", mask)):
            files[kind] = None
            if array is not None:
                files[kind] = save_labels(array, study, self.file(name, kind))
        ct, mr = self.file(name, "ct"), self.file(name, "mr")
        return Row(name, ct, mr, **files, split=split, line=seed + 1)


@pytest.fixture
def folder(tmp_path, oblique_grid):
    return Folder(tmp_path, Grid(SHAPE, (3.0, 1.2, 0.8), (4.0, 5.0, 6.0), oblique_grid.direction))


def refusal(rows):
    with pytest.raises(UserError) as caught:
        load_cohort(rows)
    return str(caught.value)


def test_scribbles_are_trained_from_and_the_mask_beside_them_judges(folder):
    case = load_case(folder.row("A", 1, scribbles=labels(1, 2, 3), mask=labels(1, 2)))

    expected = np.full(SHAPE, IGNORE)
    expected[1, 2:5, 1], expected[2, 2:5, 2], expected[3, 2:5, 3] = 0, 1, 2
    np.testing.assert_array_equal(case.targets, expected)
    np.testing.assert_array_equal(case.reference, labels(1, 2))
    assert case.targets.dtype == case.reference.dtype == np.uint8
    assert not case.dense
    assert case.study.second is not None
    assert case.study.grid.axis_letters == (("I", "S"), ("A", "P"), ("R", "L"))


def test_a_mask_alone_labels_every_voxel(folder):
    case = load_case(folder.row("A", 1, mask=labels(1).astype(np.float32)))
    np.testing.assert_array_equal(case.targets, labels(1))
    np.testing.assert_array_equal(case.reference, labels(1))
    assert case.targets.dtype == np.uint8
    assert case.dense


def test_scribbles_alone_have_no_reference(folder):
    assert load_case(folder.row("A", 1, scribbles=labels(1, 2))).reference is None


def test_a_mixed_cohort_comes_in_its_order_with_progress(folder):
    rows = [
        folder.row("A", 1, scribbles=labels(1, 2)),
        folder.row("B", 2, mask=labels(1)),
        folder.row("C", 3, scribbles=labels(1), split="val"),  # nothing to train on, and need not
        folder.row("D", 4, mask=labels(), split="test"),
    ]
    seen = []
    cases = load_cohort(rows, lambda done, total: seen.append((done, total)))
    assert [case.row for case in cases] == rows
    assert [case.dense for case in cases] == [False, True, False, True]
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


@pytest.mark.parametrize(
    ("scribbles", "mask", "words"),
    [
        ((2,), None, "the scribbles have no stroke of background (code 1)"),
        ((1,), None, "the scribbles have no stroke of class 1 (code 2)"),
        ((1, 2, 4), None, "the scribbles have no stroke of class 2 (code 3)"),
        (None, (), "the mask has no voxel of class 1 (code 1)"),
        (None, (2,), "the mask has no voxel of class 1 (code 1)"),
        ((1, 2), (1, 3), "the mask has class 3, but the cases to train on have labels up to"),
        ((1, 65), None, "The value 65 in the scribbles"),
        (None, (1, 64), "The value 64 in the mask B_mask.nii.gz is no code: 0 is background"),
    ],
)
def test_labels_that_cannot_be_trained_on_are_named_with_the_case(folder, scribbles, mask, words):
    given = {
        kind: None if codes is None else labels(*codes)
        for kind, codes in (("scribbles", scribbles), ("mask", mask))
    }
    said = refusal([folder.row("B", 7, **given)])
    assert said.startswith("The cohort: B (line 8): ")
    assert words in said
    assert "\n" not in said


def test_a_mask_without_background(folder):
    said = refusal([folder.row("B", 7, mask=np.ones(SHAPE, np.uint8))])
    assert "B (line 8): the mask has no voxel of background (code 0)" in said


@pytest.mark.parametrize(("value", "shown"), [(0.5, "0.5"), (-1, "-1")])
def test_a_mask_of_values_that_are_no_codes(folder, value, shown):
    mask = labels(1).astype(np.float32)
    mask[0, 0, 0] = value
    assert f"B (line 8): The value {shown} in the mask B_mask.nii.gz is no code" in refusal(
        [folder.row("B", 7, mask=mask)]
    )


def test_different_numbers_of_classes_are_named_with_the_cases(folder):
    rows = [
        folder.row("A", 1, scribbles=labels(1, 2)),
        folder.row("B", 2, mask=labels(1, 2)),
        folder.row("C", 3, scribbles=labels(1, 2, 3)),
        folder.row("D", 4, mask=labels(1, 2, 3), split="test"),  # not trained on: not counted
    ]
    assert refusal(rows) == (
        "The cohort: the cases differ in their number of classes: 1 in A (line 2); "
        "2 in B (line 3), C (line 4)."
    )


def test_a_reference_to_test_on_with_a_class_nobody_has_labelled(folder):
    rows = [
        folder.row("A", 1, scribbles=labels(1, 2, 3)),
        folder.row("B", 2, mask=labels(3), split="test"),
    ]
    assert "B (line 3): the mask has class 3, but the cases to train on" in refusal(rows)
    rows[1] = folder.row("B", 2, mask=labels(2), split="test")
    assert len(load_cohort(rows)) == 2


def test_one_ct_under_two_names(folder):
    rows = [
        folder.row("A", 1, scribbles=labels(1, 2)),
        folder.row("B", 1, mask=labels(1), split="test"),
        folder.row("C", 3, scribbles=labels(1, 2)),
    ]
    write_image(sitk.ReadImage(str(folder.file("C", "mr"))), folder.file("B", "mr"))  # another MR
    assert "A (line 2) and B (line 2) hold the same CT" in refusal(rows)


def test_one_ct_of_one_patient_with_two_mrs(folder):
    first = folder.row("A", 1, scribbles=labels(1, 2))
    folder.images("other", 2)
    second = Row("A", first.first, folder.file("other", "mr"), first.scribbles, None, "train", 3)
    assert len(load_cohort([first, second])) == 2


def test_all_problems_are_named_together(folder):
    rows = [
        folder.row("A", 1, scribbles=labels(1)),
        folder.row("B", 2, scribbles=labels(1, 2)),
        folder.row("C", 3, mask=labels(1)),
        folder.row("D", 4, mask=labels(1)),
        folder.row("E", 5, mask=labels(1)),
    ]
    other = Grid(SHAPE, (3.0, 1.2, 0.8), (40.0, 5.0, 6.0))
    write_image(other.to_image(labels(1, 2)), rows[1].scribbles)
    rows[2].first.write_bytes(b"no image")
    flat = sitk.ReadImage(str(rows[3].first)) * 0
    write_image(flat, rows[3].first)

    head, *lines = refusal(rows).split("\n")

    assert head.startswith("The cohort has 4 problems")
    assert "B (line 3): B_scribbles.nii.gz is on another grid than the CT" in lines[0]
    assert "C (line 4): C_ct.nii.gz cannot be read" in lines[1]
    assert "D (line 5): The first image is 0 in every voxel" in lines[2]
    assert "A (line 2): the scribbles have no stroke of class 1" in lines[3]
    assert len(lines) == 4


def test_real_patients(test_data, tmp_path):
    cases = test_data / "sts" / "cases"
    table = ["case,ct,mr,mask,split"]
    for name, split in (("STS_002", "train"), ("STS_042", "test")):
        files = ",".join(str(cases / name / f"{kind}.nii.gz") for kind in ("ct", "mr", "gtv"))
        table.append(f"{name},{files},{split}")
    (tmp_path / "cohort.csv").write_text("\n".join(table))

    first, second = load_cohort(read_cohort(tmp_path / "cohort.csv"))

    assert [first.row.case, second.row.split] == ["STS_002", "test"]
    gtv = sitk.GetArrayFromImage(sitk.ReadImage(str(cases / "STS_002" / "gtv.nii.gz")))
    assert (first.targets == 1).sum() == (gtv == 1).sum() > 0
    assert first.targets.shape == first.study.first.array.shape


def test_cases_have_the_same_kinds_of_images(folder):
    rows = [
        replace(folder.row(name, seed, mask=labels(0, 1)), modalities=kinds)
        for name, seed, kinds in (("A", 1, ("CT", "MR")), ("B", 2, ("MR", "MR")))
    ]
    words = "differ in what their images are: CT and MR in A (line 2); MR and MR in B (line 3)"
    assert words in refusal(rows)
