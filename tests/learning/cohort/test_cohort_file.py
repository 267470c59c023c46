"""The cohort file: what is read, what is refused, and how patients are dealt into folds."""

import random

import pytest

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.learning.cohort.cohort_file import folds, read_cohort

FULL = "case,ct,mr,scribbles,mask,split\n"


@pytest.fixture
def cohort(tmp_path):
    """Write a cohort file, and an empty file for every name in it that ends in .nii."""

    def write(text, encoding="utf-8"):
        for cell in text.replace(";", ",").replace("\n", ",").replace('"', "").split(","):
            if cell.strip().endswith(".nii"):
                (tmp_path / cell.strip()).touch()
        path = tmp_path / "cohort.csv"
        path.write_bytes(text.encode(encoding))
        return path

    return write


def refusal(path):
    with pytest.raises(UserError) as caught:
        read_cohort(path)
    return str(caught.value)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("separator", [",", ";"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_what_programs_write_is_read(cohort, tmp_path, encoding, separator, newline):
    text = (
        "Split, case ,ct,mask,mr,scribbles,,\n"
        "TEST,Jané,a.nii,am.nii,ar.nii,,,\n"
        ",,,,,,,\n"
        ",P2,b.nii,,br.nii,bs.nii\n"
        "val,P3,c.nii,cm.nii,cr.nii,cs.nii\n"
    )
    path = cohort(text)
    path.write_bytes(text.replace(",", separator).replace("\n", newline).encode(encoding))

    first, second, third = read_cohort(path)

    assert (first.case, first.split, first.line) == ("Jané", "test", 2)
    assert (first.first, first.second) == (tmp_path / "a.nii", tmp_path / "ar.nii")
    assert (first.scribbles, first.mask) == (None, tmp_path / "am.nii")
    assert (second.case, second.split, second.line) == ("P2", "train", 4)
    assert (second.scribbles, second.mask) == (tmp_path / "bs.nii", None)
    assert (third.split, third.scribbles, third.mask) == (
        "val",
        tmp_path / "cs.nii",
        tmp_path / "cm.nii",
    )


def test_columns_that_may_be_left_out_and_paths_elsewhere(cohort, tmp_path):
    inside = tmp_path / "deep" / "er"
    inside.mkdir(parents=True)
    for name in ("a, b.nii", "s.nii"):
        (inside / name).touch()
    path = cohort(f'case,ct,scribbles\nP1,"deep/er/a, b.nii",{inside / "s.nii"}\n')
    (row,) = read_cohort(path)
    assert row.first == inside / "a, b.nii"
    assert row.scribbles == inside / "s.nii"
    assert (row.second, row.mask, row.split) == (None, None, "train")


def test_several_rows_of_one_patient_may_share_files(cohort):
    path = cohort(FULL + "P,c.nii,t1.nii,s.nii,m.nii,2\nP,c.nii,t2.nii,s.nii,m.nii,02\n")
    assert [row.split for row in read_cohort(path)] == ["2", "2"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "cohort.csv names no case"),
        (FULL, "cohort.csv names no case"),
        (FULL + ",,,,,\n\n", "cohort.csv names no case"),
        ("case,mask\nP1,m.nii\n", "column ct is missing"),
        ("case,ct\nP1,c.nii\n", "column scribbles (or mask) is missing"),
        ("case,ct,mask,fold\nP1,c.nii,m.nii,1\n", "column fold is unknown"),
        ("case,,ct,mask\nP1,,c.nii,m.nii\n", "column (empty) is unknown"),
        ("case,ct,mask,CT\nP1,c.nii,m.nii,d.nii\n", "column ct is there 2 times"),
        (FULL + ",c.nii,,s.nii,,\n", "line 2 has no case"),
        (FULL + "P1,,,s.nii,,\n", "line 2 has no ct"),
        (FULL + "P1,c.nii,,,,\n", "P1 (line 2) has neither scribbles nor mask"),
        (FULL + "P1,c.nii,,s.nii,,dev\n", "P1 (line 2): split is dev;"),
        (FULL + "P1,c.nii,,s.nii,,0\n", "P1 (line 2): split is 0;"),
        (FULL + "P1,c.nii,,s.nii,,-1\n", "P1 (line 2): split is -1;"),
        (FULL + "P1,c,d.nii,,s.nii,,train\n", "line 2 has 7 cells, the header 6"),
        (FULL + 'P1,"c.nii,,s.nii,,\nP2,d.nii,,t.nii,,\n', "cannot be read as a table"),
        (FULL + "P1,c.nii,,s.nii,,val\nP2,d.nii,,t.nii,,test\n", "all 2 rows are val or test"),
        (
            FULL + "P1,c.nii,,s.nii,,train\nP2,d.nii,,t.nii,,\nP1,e.nii,,u.nii,,test\n",
            "P1 is in split train (line 2) and in split test (line 4)",
        ),
        (
            FULL + "P1,c.nii,,s.nii,,1\nP1,e.nii,,u.nii,,2\n",
            "P1 is in split 1 (line 2) and in split 2 (line 3)",
        ),
        (
            FULL + "P1,c.nii,,s.nii,,\nP1,c.nii,,s.nii,,\n",
            "P1 (line 2) and P1 (line 3) name the same files",
        ),
        (
            FULL + "P1,c.nii,,s.nii,,\nP2,c.nii,,t.nii,,test\n",
            "ct of P1 (line 2) and ct of P2 (line 3) are one file,",
        ),
        (
            FULL + "P1,c.nii,c.nii,s.nii,,\n",
            "ct of P1 (line 2) and mr of P1 (line 2) are one file,",
        ),
        (
            FULL + "P1,c.nii,m.nii,s.nii,,\nP2,d.nii,,t.nii,,\n",
            "mr is given for P1 (line 2) but not for P2 (line 3)",
        ),
        (
            FULL + "P1,c.nii,,s.nii,,2\nP2,d.nii,,t.nii,,\nP3,e.nii,,u.nii,,test\n",
            "P1 (line 2) is in fold 2, but P2 (line 3) in train",
        ),
    ],
)
def test_one_problem_is_one_sentence_with_case_and_value(cohort, text, words):
    said = refusal(cohort(text))
    assert words in said
    assert "\n" not in said


def test_a_missing_file_is_named_with_case_column_and_path(cohort, tmp_path):
    said = refusal(cohort(FULL + "P1,c.nii,,gone/s.nrrd,,\n"))
    assert said == f"cohort.csv: P1 (line 2): scribbles {tmp_path}/gone/s.nrrd does not exist."


def test_a_file_under_a_second_name_is_the_same_file(cohort, tmp_path):
    path = cohort(FULL + "P1,c.nii,,s.nii,,\nP2,link.nii,,t.nii,,test\n")
    (tmp_path / "link.nii").unlink()
    (tmp_path / "link.nii").symlink_to(tmp_path / "c.nii")
    assert "ct of P1 (line 2) and ct of P2 (line 3) are one file," in refusal(path)


def test_all_problems_are_named_at_once_one_a_line(cohort):
    said = refusal(
        cohort(FULL + "P1,c,,s.nii,,\n,x.nii,,y.nii,,\nP2,d.nii,,,,dev\nP1,e.nii,,u.nii,,val\n")
    )
    head, *lines = said.split("\n")
    assert head.startswith("cohort.csv has 5 problems")
    for words in ("line 3 has no case", "P1 (line 2): ct", "neither", "is dev", "P1 is in split"):
        assert sum(words in line for line in lines) == 1
    assert len(lines) == 5


def test_many_problems_are_cut_off_with_their_number(cohort):
    rows = "".join(f"P{i},gone{i},,s{i}.nii,,\n" for i in range(13))
    head, *lines = refusal(cohort(FULL + rows)).split("\n")
    assert "13 problems" in head
    assert len(lines) == 11
    assert lines[-1].strip() == "and 3 more"


def test_what_is_no_table(cohort, tmp_path):
    assert "cannot be read as a table" in refusal(cohort(FULL + "Pé,c.nii", encoding="utf-16"))
    assert "No such file" in refusal(tmp_path / "none.csv")
    assert str(tmp_path) in refusal(tmp_path)


def ten_patients(cohort, split=""):
    """Ten patients, three of them with two rows, and one to test on."""
    names = [f"P{i}" for i in range(10)] + ["P1", "P5", "P5"]
    rows = [f"{name},c{i}.nii,,s{i}.nii,,{split}\n" for i, name in enumerate(names)]
    return read_cohort(cohort(FULL + "".join(rows) + "T,ct.nii,,st.nii,,test\n"))


def names(parts):
    return [{row.case for row in part} for part in parts]


@pytest.mark.parametrize("count", [2, 3, 4, 10])
def test_a_patient_is_in_one_fold_and_folds_are_even(cohort, count):
    rows = ten_patients(cohort)
    parts = folds(rows, count, seed=1)
    patients = names(parts)
    assert sum(map(len, patients)) == 10  # none twice
    assert set().union(*patients) == {f"P{i}" for i in range(10)}
    assert max(map(len, patients)) - min(map(len, patients)) <= 1
    assert len(parts) == count
    assert {row for part in parts for row in part} == {row for row in rows if row.case != "T"}
    assert all([row.line for row in part] == sorted(row.line for row in part) for part in parts)


def test_folds_hang_on_the_seed_and_not_on_the_order_of_rows(cohort):
    rows = ten_patients(cohort)
    shuffled = random.Random(3).sample(rows, len(rows))
    assert shuffled != list(rows)
    assert names(folds(shuffled, 3, seed=7)) == names(folds(rows, 3, seed=7))
    assert names(folds(rows, 3, seed=8)) != names(folds(rows, 3, seed=7))


def numbered(cohort, *splits):
    rows = [f"P{i},c{i}.nii,,s{i}.nii,,{split}\n" for i, split in enumerate(splits)]
    return read_cohort(cohort(FULL + "".join(rows)))


def test_fold_numbers_of_the_file_are_kept(cohort):
    rows = numbered(cohort, "2", "1", "2", "test", "3")
    assert names(folds(rows, 3, seed=5)) == [{"P1"}, {"P0", "P2"}, {"P4"}]


@pytest.mark.parametrize(
    ("splits", "count", "words"),
    [
        (("", "", "test"), 3, "2 patients cannot be split into 3 folds"),
        (("", "", ""), 1, "3 patients cannot be split into 1 folds"),
        (("1", "2", "4"), 3, r"P2 \(line 4\) is in fold 4, but there are 3 folds"),
        (("1", "1", "3"), 3, "fold 2 of 3 has no case"),
        (("", "val", ""), 2, r"P1 \(line 3\) is in split val"),
    ],
)
def test_folds_that_cannot_be_made(cohort, splits, count, words):
    with pytest.raises(UserError, match=words):
        folds(numbered(cohort, *splits), count)


def test_images_of_any_kind_have_columns_of_their_own(cohort, tmp_path):
    (row,) = read_cohort(cohort("case,first,second,modality,mask\nP,a.nii,b.nii,MR+PET,m.nii\n"))
    assert (row.first, row.second) == (tmp_path / "a.nii", tmp_path / "b.nii")
    assert row.modalities == ("MR", "PT")
    (row,) = read_cohort(cohort('case,ct,mr,modality,mask\nP,a.nii,b.nii,"MR, MR",m.nii\n'))
    assert row.modalities == ("MR", "MR")  # said in the cell, whatever the columns are called
    for columns, kinds in (("ct,mr", ("CT", "MR")), ("first,second", ("", ""))):
        (row,) = read_cohort(cohort(f"case,{columns},mask\nP,a.nii,b.nii,m.nii\n"))
        assert row.modalities == kinds
    path = cohort("case,first,modality,mask\nP,a.nii,XA,m.nii\n")
    assert "line 2: 'XA' is no modality" in refusal(path)
    assert "column ct is there 2 times" in refusal(cohort("case,ct,first,mask\nP,a,a,m\n"))
