"""Cases that were read once are the same for every training after it."""

import os
import stat

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from cmfnet_napari.core.folder_lock import alone
from cmfnet_napari.core.images.detached import detached_files
from cmfnet_napari.learning.cohort import patients
from cmfnet_napari.learning.cohort import prepared_cases as store
from cmfnet_napari.learning.cohort.cohort_file import Row, read_cohort
from cmfnet_napari.learning.cohort.data_hashes import hash_rows
from cmfnet_napari.learning.cohort.patients import prepare
from cmfnet_napari.learning.cohort.prepared_cases import prepared_cases, read_cases
from cmfnet_napari.learning.cohort.train import train
from tests.learning.cohort.test_train import cohort, small, table, write_cohort  # noqa: F401


def parts(case):
    """All arrays of a case."""
    inputs = case.inputs
    labels = [case.labels, *([] if case.contour is None else [case.contour])]
    known = [inputs.ct, inputs.mr, inputs.fov, *(each.targets for each in labels), case.body]
    return [np.asarray(part) for part in [*known, case.reference]]


def rest(case):
    labels = [case.labels, *([] if case.contour is None else [case.contour])]
    numbers = [(each.highest, each.data_hash) for each in labels]
    return (
        case.row,
        case.grid,
        case.kinds,
        case.content_hash,
        case.dense,
        case.inputs.frame,
        numbers,
    )


@pytest.mark.parametrize("images", [("ct", "mr"), ("ct",)])
def test_what_is_kept_is_what_was_read(cohort, tmp_path, monkeypatch, images):  # noqa: F811
    monkeypatch.setattr(patients, "USERS", 2)  # the clues of each take time
    wanted = {"case", "scribbles", "mask", *images}
    rows = [{n: cell for n, cell in row.items() if n in wanted} for row in table(cohort)]
    rows = read_cohort(write_cohort(cohort, rows))
    config = small(spacing=2.0, guide=0.5, stroke_maps=True)
    read = read_cases(rows, config, lambda share, note: None)
    prepared_cases(rows, config, tmp_path / "kept")
    monkeypatch.delattr(store, "load_cohort")  # nothing is read a second time
    kept = prepared_cases(rows, config, tmp_path / "kept")
    for ours, theirs in zip(kept, read, strict=True):
        assert rest(ours) == rest(theirs)
        for one, other in zip(parts(ours), parts(theirs), strict=True):
            assert one.dtype == other.dtype
            np.testing.assert_array_equal(one, other)
    assert (kept[0].inputs.mr is kept[0].inputs.ct) == (len(images) == 1)
    volumes = (prepare(cases[0], config, 2).volumes[1] for cases in (kept, read))
    assert all(torch.equal(one, other) for one, other in zip(*volumes, strict=True))
    (folder,) = (tmp_path / "kept").iterdir()
    modes = {stat.S_IMODE(path.stat().st_mode) for path in [folder / "voxels.bin", folder]}
    assert os.name != "posix" or modes == {0o600, 0o700}


def test_trainings_that_share_them_are_what_each_would_be(cohort, tmp_path):  # noqa: F811
    kept, ours, theirs = tmp_path / "kept", tmp_path / "ours", tmp_path / "theirs"
    prepared_cases(read_cohort(cohort), small(), kept)
    train(cohort, ours, small(steps=1), folds=2, device="cpu", prepared=kept)
    train(cohort, theirs, small(steps=1), folds=2, device="cpu")
    for name in ("results.csv", "plan.json", "fold-1/losses.csv"):
        assert (ours / name).read_bytes() == (theirs / name).read_bytes(), name


def test_other_voxels_windows_or_files_are_read_anew(cohort, tmp_path):  # noqa: F811
    rows, kept = read_cohort(cohort), tmp_path / "kept"

    def count(**changes):
        prepared_cases(rows, small(**changes), kept)
        return len(list(kept.iterdir()))

    assert [count(), count(width=3, lambda_ct=0.0), count(spacing=2.0)] == [1, 1, 2]
    assert [count(ct_low=-100.0), count(mr_percentiles=(2.0, 98.0))] == [3, 4]
    os.utime(tmp_path / "mask2.nii.gz", ns=(0, 0))
    assert count() == 5


def test_voxels_beside_their_header_count_as_the_image(tmp_path):
    """Their size and time ask for reading anew, and their bytes for another hash."""
    for ending in ("mhd", "nhdr"):
        image = tmp_path / f"ct.{ending}"
        sitk.WriteImage(sitk.Image(4, 3, 2, sitk.sitkInt16), str(image))
        (voxels,) = detached_files(image)
        row = Row("P1", image, None, None, None, "", 2)
        before, keys, known = hash_rows([row], {}), {store._key([row], small())}, {}
        assert hash_rows([row], known) == before
        voxels.write_bytes(bytes([7]) + voxels.read_bytes()[1:])
        os.utime(voxels, ns=(1, 1))
        keys.add(store._key([row], small()))
        assert len(keys) == 2
        assert hash_rows([row], known) != before
        voxels.unlink()  # stops no other patient before anything runs
        assert hash_rows([row], known) != before


def test_who_waits_for_another_that_reads_can_stop(cohort, tmp_path, monkeypatch):  # noqa: F811
    rows, kept, shown = read_cohort(cohort), tmp_path / "kept", []
    monkeypatch.setattr(store, "_ASKED_EVERY_S", 0.0)
    mine = kept / store._key(rows, small())
    mine.mkdir(parents=True)
    with alone(mine):
        found = prepared_cases(
            rows, small(), kept, lambda share, note: shown.append(note), lambda: len(shown) > 2
        )
    assert found is None
    assert set(shown) == {"another job reads the patients"}
