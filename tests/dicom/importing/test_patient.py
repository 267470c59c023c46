"""From DICOM folders to a case: the proposed pair, its registration, its structures."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from pydicom.dataset import Dataset
from typer.testing import CliRunner

from cmfnet_napari.cli.main import app
from cmfnet_napari.core.case.folder import open_case
from cmfnet_napari.core.case.structures import Structure, load_structures, save_structures
from cmfnet_napari.core.dicom.importing.import_case import import_patient, read_patient
from cmfnet_napari.core.dicom.importing.pair import propose
from cmfnet_napari.core.dicom.importing.patient import (
    Choice,
    load,
    needs_registration,
    other_frames,
)
from cmfnet_napari.core.errors import CancelledError, UserError
from cmfnet_napari.core.files import read_json, write_json
from cmfnet_napari.core.images.series.scan import scan
from cmfnet_napari.core.images.series.scan_result import STRUCTURES
from cmfnet_napari.core.images.study import open_study, save_labels
from cmfnet_napari.core.registration.registrations import Registration
from tests.conftest import rotation
from tests.dicom_files import (
    CENTRE,
    CT_GRID,
    MR_GRID,
    RADIUS_MM,
    circles,
    rewrite,
    uid,
    write_patient,
    write_registration,
    write_slices,
    write_structures,
)

BALL_ML = 4 / 3 * np.pi * RADIUS_MM**3 / 1000


def middle(mask, grid):
    return grid.to_patient(np.argwhere(mask).mean(axis=0))


def test_the_pair_of_one_patient_in_one_frame_is_proposed(tmp_path):
    write_patient(tmp_path)
    small = np.random.default_rng(0).integers(0, 99, CT_GRID.shape).astype(np.int16)
    write_slices(tmp_path / "x", small, CT_GRID, "MR", series="other frame", frame="another")
    write_slices(tmp_path / "y", small, CT_GRID, "MR", series="somebody", patient="P2")
    more = np.concatenate([small, small])
    longer = type(CT_GRID)(more.shape, (1.5, 2.0, 1.8), CT_GRID.origin)
    write_slices(tmp_path / "z", more, longer, "CT", series="of somebody", patient="P3")
    found = scan([tmp_path])
    ct, mr = propose(found)
    assert (ct.origin.description, mr.origin.description) == ("planning CT", "T1")
    assert ct.origin.date == "2020-01-02"
    assert ct.stack.grid.shape == CT_GRID.shape
    sets = {s.names: s.series for s in found.of_kind(STRUCTURES)}
    assert set(sets) == {("GTV CT",), ("GTV MR",)}


def test_without_a_ct_an_mr_is_proposed(tmp_path):
    write_patient(tmp_path)
    first, second = propose(scan([tmp_path / "mr"]))
    assert (first.origin.description, second) == ("T1", None)


def test_a_ct_goes_with_a_pet_and_an_mr_with_another_sequence(tmp_path):
    write_patient(tmp_path)
    values = np.random.default_rng(0).integers(1, 900, MR_GRID.shape).astype(np.uint16)
    write_slices(tmp_path / "pet", values, MR_GRID, "PT", series="PET")
    write_slices(tmp_path / "t2", values, MR_GRID, "MR", series="T2")
    write_slices(tmp_path / "far", values, MR_GRID, "MR", series="T2 far", frame="other")
    loaded, _ = read_patient([tmp_path / "ct", tmp_path / "pet"])
    assert loaded.study.names == ("CT", "PT")
    loaded, _ = read_patient([tmp_path / "mr", tmp_path / "t2", tmp_path / "pet"])
    assert loaded.study.names == ("MR 1", "MR 2")
    assert loaded.registration.how == "frame of reference"
    first, second = propose(scan([tmp_path / "mr", tmp_path / "far"]))  # not of one examination
    assert (first.origin.modality, second) == ("MR", None)
    chosen, _ = read_patient([tmp_path], first=uid("series", "T2"), second=uid("series", "PET"))
    assert chosen.study.names == ("MR", "PT")
    with pytest.raises(UserError, match="was chosen twice"):
        read_patient([tmp_path], first=uid("series", "T2"), second=uid("series", "T2"))


def test_a_pet_does_not_decide_which_ct_is_drawn_on(tmp_path):
    write_patient(tmp_path)
    pet = np.random.default_rng(0).integers(1, 900, MR_GRID.shape).astype(np.uint16)
    write_slices(tmp_path / "pet", pet, MR_GRID, "PT", series="PET", frame="scanner")
    alone, _ = read_patient([tmp_path / "ct", tmp_path / "pet"])  # a CT that was read is read
    assert alone.study.names == ("CT",)
    low = np.random.default_rng(0).integers(-900, 900, MR_GRID.shape).astype(np.int16)
    small = low[: CT_GRID.shape[0] - 2]
    grid = type(MR_GRID)(small.shape, MR_GRID.spacing, MR_GRID.origin)
    write_slices(tmp_path / "low", small, grid, "CT", series="low dose", frame="scanner")
    first, second = propose(scan([tmp_path / name for name in ("ct", "low", "pet")]))
    assert (first.origin.description, second) == ("planning CT", None)


def of_type(*words):
    return lambda _k, data: setattr(data, "ImageType", list(words))


def in_units(kind):
    return lambda _k, data: setattr(data, "RescaleType", kind)


def studied(day):
    def edit(_k, data):
        data.StudyDate, data.StudyInstanceUID = day, uid("study", day)

    return edit


def values(grid, dtype=np.int16):
    return np.random.default_rng(0).integers(1, 900, grid.shape).astype(dtype)


def proposed(*paths):
    return [image and image.origin.description for image in propose(scan(paths))]


def refer_to(path, *series):
    """The series that a structure set says it was drawn on."""

    def name_them(data):
        study = Dataset()
        study.RTReferencedSeriesSequence = [Dataset() for _ in series]
        for item, name in zip(study.RTReferencedSeriesSequence, series, strict=True):
            item.SeriesInstanceUID = uid("series", name)
        frame = Dataset()
        frame.FrameOfReferenceUID = data.FrameOfReferenceUID
        frame.RTReferencedStudySequence = [study]
        data.ReferencedFrameOfReferenceSequence = [frame]

    rewrite(path, name_them)


@pytest.mark.parametrize("name", ["a", "b", "c", "d"])  # UIDs of series lie in another order
def test_what_was_contoured_is_proposed(tmp_path, name):
    write_slices(tmp_path / "plan", values(CT_GRID), CT_GRID, edit=of_type("DERIVED", "SECONDARY"))
    write_slices(tmp_path / name, values(CT_GRID), CT_GRID)
    refer_to(write_structures(tmp_path / "RS.dcm", []), "plan")
    assert proposed(tmp_path) == ["plan", None]
    write_slices(tmp_path / "mr", values(MR_GRID, np.uint16), MR_GRID, "MR")
    assert proposed(tmp_path) == ["plan", "mr"]
    assert proposed(tmp_path / "plan", tmp_path / name) == [name, None]  # nothing was contoured


@pytest.mark.parametrize("name", ["a", "b", "c", "d"])
def test_what_was_computed_is_proposed_last(tmp_path, name):
    made = of_type("DERIVED", "SECONDARY", "AXIAL", "CT_SOM5 MIP")
    write_slices(tmp_path / "plan", values(CT_GRID), CT_GRID)
    write_slices(tmp_path / name, values(CT_GRID), CT_GRID, edit=made)
    assert proposed(tmp_path) == ["plan", None]
    assert proposed(tmp_path / name) == [name, None]  # better than nothing
    scout = CT_GRID.shape[0] // 6
    grid = type(CT_GRID)((scout, *CT_GRID.shape[1:]), CT_GRID.spacing, CT_GRID.origin)
    write_slices(tmp_path / "scout", values(grid), grid)
    assert proposed(tmp_path / "scout", tmp_path / name) == [name, None]
    write_slices(tmp_path / "far", values(MR_GRID, np.uint16), MR_GRID, "MR", frame="another")
    write_slices(tmp_path / "near", values(MR_GRID, np.uint16), MR_GRID, "MR", edit=made)
    assert proposed(tmp_path) == ["plan", "near"]  # resampled onto the CT: needs no registration


def test_the_mr_of_the_nearer_date_is_proposed(tmp_path):
    fewer = type(MR_GRID)((MR_GRID.shape[0] - 2, *MR_GRID.shape[1:]), MR_GRID.spacing)
    write_slices(tmp_path / "ct", values(CT_GRID), CT_GRID, edit=studied("20240105"))
    old, new = studied("20190106"), studied("20240106")
    mr = values(MR_GRID, np.uint16)
    write_slices(tmp_path / "old", mr, MR_GRID, "MR", old, frame="2")
    write_slices(tmp_path / "new", mr[2:], fewer, "MR", new, frame="3")
    write_slices(tmp_path / "some day", mr, MR_GRID, "MR", studied(""), frame="4")
    assert proposed(tmp_path) == ["ct", "new"]


def test_a_ct_in_other_units_is_not_taken_for_one_in_hu(tmp_path):
    write_slices(tmp_path / "iodine", values(CT_GRID), CT_GRID, edit=in_units("MGML"))
    with pytest.raises(UserError, match=r"its values are MGML \(Rescale Type\), not the HU"):
        read_patient([tmp_path])
    with pytest.raises(UserError, match="its values are MGML"):
        open_study(tmp_path / "iodine")
    for kind in ("HU", "US", ""):
        write_slices(tmp_path / f"ct{kind}", values(CT_GRID), CT_GRID, edit=in_units(kind))
        loaded, keys = read_patient([tmp_path / "iodine", tmp_path / f"ct{kind}"])
        assert keys == [uid("series", f"ct{kind}")]
        assert "CT iodine" in loaded.notes[0]
    with pytest.raises(UserError, match="its values are MGML"):
        read_patient([tmp_path], first=uid("series", "iodine"))
    write_slices(tmp_path / "mr", values(MR_GRID, np.uint16), MR_GRID, "MR", in_units("normalized"))
    assert proposed(tmp_path / "mr") == ["mr", None]  # of an MR it means nothing


def test_of_two_mr_the_contoured_one_is_drawn_on(tmp_path):
    fewer = type(MR_GRID)((MR_GRID.shape[0] - 2, *MR_GRID.shape[1:]), MR_GRID.spacing)
    write_slices(tmp_path / "t1", values(fewer, np.uint16), fewer, "MR")
    write_slices(tmp_path / "t2", values(MR_GRID, np.uint16), MR_GRID, "MR")
    assert proposed(tmp_path) == ["t2", "t1"]
    refer_to(write_structures(tmp_path / "RS.dcm", []), "t1")
    assert proposed(tmp_path) == ["t1", "t2"]


def test_modalities_that_dicom_says_otherwise_are_refused(tmp_path):
    folder = write_patient(tmp_path)
    with pytest.raises(UserError, match="--modality says MR, and DICOM that the image is CT"):
        read_patient([folder], modalities=("MR", ""))
    assert read_patient([folder], modalities=("CT", "MR"))[0].study.kinds == ("CT", "MR")


def test_structures_of_ct_and_mr_lie_on_the_ct(tmp_path):
    loaded, series = read_patient([write_patient(tmp_path)], structures=True)
    assert series == [uid("series", "planning CT"), uid("series", "T1")]
    assert loaded.registration.how == "frame of reference"
    grid = loaded.study.grid
    for structure in loaded.structures:
        np.testing.assert_allclose(middle(structure.mask, grid), CENTRE, atol=0.5)
        assert structure.mask.sum() * grid.voxel_ml == pytest.approx(BALL_ML, rel=0.08)
    assert [s.name for s in loaded.structures] == ["GTV CT", "GTV MR"]
    assert loaded.structures[0].color == "#009e73"
    tumour = loaded.study.second.array[loaded.structures[0].mask]
    assert np.median(tumour) == 700


def test_a_registration_object_places_the_mr_and_what_is_drawn_on_it(tmp_path):
    shift = (400.0, -37.0, 12.0)
    write_patient(tmp_path, "mr frame", shift)
    found = scan([tmp_path])
    assert needs_registration(*propose(found), found)
    with pytest.raises(UserError, match="do not share a frame of reference"):
        read_patient([tmp_path])
    back = np.eye(4)
    back[:3, 3] = -np.array(shift)  # from the MR's frame to the CT's
    write_registration(tmp_path / "reg.dcm", [("mr frame", [back])], to="frame")
    found = scan([tmp_path])
    assert not needs_registration(*propose(found), found)
    loaded, _ = read_patient([tmp_path], structures=True)
    assert loaded.registration.how == "registration object"
    for structure in loaded.structures:
        np.testing.assert_allclose(middle(structure.mask, loaded.study.grid), CENTRE, atol=0.5)
    assert np.median(loaded.study.second.array[loaded.structures[0].mask]) == 700


def test_contours_in_another_frame_are_asked_about(tmp_path):
    write_patient(tmp_path)
    (tmp_path / "rs-mr.dcm").unlink()
    write_structures(tmp_path / "far.dcm", [{"name": "Far", "contours": _ball()}], frame="unknown")
    with pytest.raises(UserError, match="PLAN lies in another frame of reference"):
        read_patient([tmp_path], structures=True)
    loaded, _ = read_patient([tmp_path], structures=True, any_frame=True)
    assert {s.name for s in loaded.structures} == {"GTV CT", "Far"}
    found = scan([tmp_path])
    ct, mr = propose(found)
    asked = other_frames(Choice(ct, mr, tuple(found.of_kind(STRUCTURES))), found)
    assert asked == ["Far of PLAN"]


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("taken", [None, "none"])
def test_each_structure_of_a_set_lies_in_its_own_frame(tmp_path, order, taken):
    """One set, three frames: the CT's, the MR's, and that of a scan which is not there."""
    shift = np.array([20.0, -7.0, 3.0])
    write_patient(tmp_path, "elsewhere", tuple(shift))
    for old in tmp_path.glob("rs-*"):
        old.unlink()
    moves = {"frame": 0 * shift, "elsewhere": shift, "old scan": -2 * shift}
    rois = [
        {"name": frame, "contours": [ring + move for ring in _ball()]}
        for frame, move in list(moves.items())[::order]
    ]
    path = write_structures(tmp_path / "rs.dcm", rois)

    def own_frames(data):
        for entry in data.StructureSetROISequence:
            entry.ReferencedFrameOfReferenceUID = uid("frame", entry.ROIName)

    rewrite(path, own_frames)

    def back(move):
        matrix = np.eye(4)
        matrix[:3, 3] = -move
        return [matrix]

    items = [(frame, back(move)) for frame, move in moves.items() if frame != "old scan"]
    write_registration(tmp_path / "reg.dcm", items, to="frame")
    with pytest.raises(UserError, match="old scan of PLAN lies in another frame of reference"):
        read_patient([tmp_path], second=taken, structures=True)
    items = [(frame, back(move)) for frame, move in moves.items()]
    write_registration(tmp_path / "reg.dcm", items, to="frame")
    loaded, _ = read_patient([tmp_path], second=taken, structures=True)
    assert len(loaded.structures) == 3
    for structure in loaded.structures:
        np.testing.assert_allclose(middle(structure.mask, loaded.study.grid), CENTRE, atol=0.5)


def _ball(aside=0.0):
    return circles(CT_GRID, CENTRE + np.array([aside, 0, 0]))


def test_structures_of_another_patient_are_refused(tmp_path):
    write_patient(tmp_path / "a")
    rewrite(tmp_path / "a" / "rs-ct.dcm", lambda data: setattr(data, "PatientID", "P9"))
    found = scan([tmp_path])
    ct, mr = propose(found)
    other = replace(mr, origin=replace(mr.origin, patient="P9||"))
    with pytest.raises(UserError, match="CT and MR are of two patients"):
        load(Choice(ct, other), found)
    with pytest.raises(UserError, match="of another patient than the CT"):
        load(Choice(ct, mr, tuple(found.of_kind(STRUCTURES))), found)
    loaded, _ = read_patient([tmp_path], structures=True)  # takes the patient's own only
    assert [s.name for s in loaded.structures] == ["GTV MR"]


def nobody(_number, data, name=""):
    data.PatientID, data.PatientName = name, name


@pytest.mark.parametrize("name", ["", "Anonymized"])
def test_images_that_say_not_whose_they_are(tmp_path, monkeypatch, name):
    """Two people: CT and MR of one share a study, of the other a frame, that a REG relates."""
    edit = partial(nobody, name=name)
    voxels = np.arange(np.prod(CT_GRID.shape), dtype=np.int16).reshape(CT_GRID.shape)
    for series, modality, study, frame in (
        ("ct 1", "CT", "1", "frame 1"), ("mr 1", "MR", "1", "frame 2"),
        ("ct 2", "CT", "2", "frame 3"), ("mr 2", "MR", "3", "frame 4"),
    ):  # fmt: skip
        write_slices(tmp_path / series, voxels, CT_GRID, modality, edit, patient=study, frame=frame)
    own = {"name": "GTV", "contours": circles(CT_GRID, CENTRE)}
    rewrite(
        write_structures(tmp_path / "rs.dcm", [own], patient="4", frame="frame 3"),
        lambda data: edit(0, data),
    )
    found = scan([tmp_path])
    assert len({image.origin.patient for image in found.images}) == 3  # mr 2 hangs on nothing yet
    ct, mr = found.image(uid("series", "ct 1")), found.image(uid("series", "mr 2"))
    with pytest.raises(UserError, match="do not share a frame"):  # chosen by a person: not refused
        load(Choice(ct, mr), found)
    where = "cmfnet_napari.core.dicom.importing.patient.register"
    monkeypatch.setattr(where, lambda *_: np.eye(4))
    notes = load(Choice(ct, mr, register=True), found).notes
    assert sum("neither Patient ID nor name" in note for note in notes) == 1
    reg = write_registration(tmp_path / "reg.dcm", [("frame 4", [np.eye(4)])], to="frame 3")
    rewrite(reg, lambda data: edit(0, data))
    found = scan([tmp_path])
    pairs = {}
    for image in found.images:
        pairs.setdefault(image.origin.patient, []).append(image.origin.description)
    assert sorted(map(sorted, pairs.values())) == [["ct 1", "mr 1"], ["ct 2", "mr 2"]]
    (structures,) = found.of_kind(STRUCTURES)
    assert structures.origin.patient == found.image(uid("series", "ct 2")).origin.patient
    assert propose(found)[0].origin.patient == propose(found)[1].origin.patient
    loaded, _ = read_patient([tmp_path], uid("series", "ct 1"), "none")
    assert any("of another patient, or of nobody named: " in note for note in loaded.notes)


def test_only_the_structures_that_were_chosen_and_what_could_not_be_placed_is_said(tmp_path):
    write_patient(tmp_path)
    far = _ball(500.0)
    path = write_structures(
        tmp_path / "more.dcm",
        [
            {"name": "GTV CT", "contours": _ball()},
            {"name": "Empty", "contours": []},
            {"name": "Far", "contours": far},
            {"name": "Unwanted", "contours": _ball()},
        ],
    )
    found = scan([tmp_path])
    ct, mr = propose(found)
    sets = tuple(entry for entry in found.of_kind(STRUCTURES) if "Unwanted" in entry.names)
    (entry,) = sets
    assert entry.path == path
    names = frozenset((entry.uid, name) for name in ("GTV CT", "Empty", "Far"))
    loaded = load(Choice(ct, mr, sets, names), found)
    assert [s.name for s in loaded.structures] == ["GTV CT"]
    assert "The structure Empty is empty" in loaded.notes[0]
    assert "The structure Far lies outside the image" in loaded.notes[1]


def test_structures_of_one_name_keep_apart_and_come_back_with_the_case(tmp_path):
    write_patient(tmp_path / "d")
    write_structures(tmp_path / "d" / "b.dcm", [{"name": "GTV CT", "contours": _ball()}])
    loaded, _ = read_patient([tmp_path / "d"], structures=True)
    assert sorted(s.name for s in loaded.structures) == ["GTV CT", "GTV CT (PLAN)", "GTV MR"]
    import_patient(loaded, tmp_path / "case")
    case = open_case(tmp_path / "case")
    again = load_structures(case)
    assert [s.name for s in again] == [s.name for s in loaded.structures]
    for kept, given in zip(again, loaded.structures, strict=True):
        np.testing.assert_array_equal(kept.mask, given.mask)
        assert kept.color == given.color
    empty = Structure("GTV MR", "#000000", np.zeros(case.study.grid.shape, bool))
    save_structures(case, [empty])
    assert len(load_structures(case)) == 3  # replaced, not added
    assert not load_structures(case)[-1].mask.any() or not load_structures(case)[1].mask.any()
    (case.folder / "structures" / "structures.json").write_text('{"structures": [{"name": 3}]}')
    with pytest.raises(UserError, match=r"structures\.json in case is damaged"):
        load_structures(case)
    save_structures(case, [empty])  # the message asks for it
    assert [s.name for s in load_structures(case)] == ["GTV MR"]
    assert len(list((case.folder / "structures").glob("*.nii.gz"))) == 4  # none written over
    case.close()


def by(x, y, z, turn=0.0):
    """A registration by a turn about the patient's z (degrees) and a shift (mm)."""
    matrix = np.eye(4)
    matrix[:3, :3] = np.reshape(rotation(0, 0, turn), (3, 3))
    matrix[:3, 3] = x, y, z
    return Registration.of(matrix, "by hand")


@pytest.fixture
def moving(tmp_path):
    """A case with a structure on each image, which share a frame of reference."""
    folder = write_patient(tmp_path / "d")
    rings = [{"name": "GTV MR", "contours": _ball()}]
    write_structures(folder / "rs-mr.dcm", rings, on="T1")
    loaded, _ = read_patient([folder], structures=True)
    import_patient(loaded, tmp_path / "case")
    case = open_case(tmp_path / "case")
    yield case
    case.close()


def masks(case):
    return {structure.name: structure.mask for structure in load_structures(case)}


def test_what_was_drawn_on_the_second_image_moves_with_it(moving):
    """By whole voxels of the CT (1.8, 2 and 3 mm), so that every voxel is known."""
    before = masks(moving)
    moving.register(by(2 * 1.8, -3 * 2.0, 1 * 3.0))  # the MR's points lie there: it goes back
    after = masks(moving)
    np.testing.assert_array_equal(after["GTV CT"], before["GTV CT"])
    expected = np.roll(before["GTV MR"], (-1, 3, -2), axis=(0, 1, 2))
    np.testing.assert_array_equal(after["GTV MR"], expected)
    moving.undo_registration()
    np.testing.assert_array_equal(masks(moving)["GTV MR"], before["GTV MR"])


def test_many_moves_add_up_no_error(moving):
    before = masks(moving)["GTV MR"]
    for turn in range(1, 40):
        moving.register(by(0.3 * turn, 0.2 * turn, 0.1 * turn, turn))
        masks(moving)
    moving.register(by(0, 0, 0))
    np.testing.assert_array_equal(masks(moving)["GTV MR"], before)


def test_a_structure_that_is_imported_again_lies_by_the_place_of_that_time(moving):
    moving.register(by(9.0, 0, 0))
    now = moving.registrations.current.array
    mask = ~masks(moving)["GTV CT"]
    save_structures(moving, [Structure("GTV MR", "#000000", mask, now)])
    np.testing.assert_array_equal(masks(moving)["GTV MR"], mask)
    moving.undo_registration()
    np.testing.assert_array_equal(masks(moving)["GTV MR"][:, :, 5:], mask[:, :, :-5])
    save_structures(moving, [Structure("GTV MR", "#000000", mask)])  # drawn on the CT after all
    moving.register(by(5.4, 0, 0))
    np.testing.assert_array_equal(masks(moving)["GTV MR"], mask)
    assert len(list((moving.folder / "structures").glob("*.nii.gz"))) == 2  # none is left over


def test_lists_of_earlier_versions_are_read_and_damaged_places_are_refused(moving):
    path = moving.folder / "structures" / "structures.json"
    before, listed = masks(moving), read_json(path)
    for entry in listed["structures"]:
        del entry["placed"]
    write_json(path, listed)
    moving.register(by(9.0, 0, 0))
    np.testing.assert_array_equal(masks(moving)["GTV MR"], before["GTV MR"])
    for damaged in ([1.0] * 16, [0.0] * 15, "here"):
        listed["structures"][0]["placed"] = damaged
        write_json(path, listed)
        with pytest.raises(UserError, match=r"structures\.json in case is damaged"):
            load_structures(moving)


def test_nothing_of_the_patient_gets_into_the_case_or_the_log(tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    loaded, _ = read_patient([write_patient(tmp_path / "Secret^Name")], structures=True)
    import_patient(loaded, tmp_path / "case")
    for path in (tmp_path / "case").rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            for word in (b"Made^Up", b"P1", b"20200102", b"Secret", uid("series", "T1").encode()):
                assert word not in content or path.suffix == ".gz", path
    assert "Made" not in caplog.text
    assert "Secret" not in caplog.text
    assert "Made^Up" not in repr(scan([tmp_path / "Secret^Name"]).images[0].origin)


def test_import_can_be_ended(tmp_path):
    write_patient(tmp_path)
    with pytest.raises(CancelledError):
        read_patient([tmp_path], progress=lambda what, _share: what != "Reading the MR")


def run(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def test_command(tmp_path):
    folder = write_patient(tmp_path / "d")
    result = run("import", folder, "--case", tmp_path / "case", "--structures", "--json")
    assert result.exit_code == 0, result.output
    values = json.loads(result.stdout.splitlines()[-1])
    assert values["series"] == [uid("series", "planning CT"), uid("series", "T1")]
    assert values["registration"]["how"] == "frame of reference"
    assert values["structures_ml"]["GTV CT"] == pytest.approx(BALL_ML, rel=0.08)
    case = open_case(tmp_path / "case")
    assert case.registrations.current.how == "frame of reference"
    assert len(load_structures(case)) == 2
    case.close()
    again = run("import", folder, "--case", tmp_path / "case")
    assert "already holds a case" in str(again.exception)


def test_command_with_chosen_series(tmp_path):
    folder = write_patient(tmp_path / "d")
    key = uid("series", "planning CT")
    result = run("import", folder, "--case", tmp_path / "c", "--ct", key, "--mr", "none", "--json")
    assert json.loads(result.stdout.splitlines()[-1])["series"] == [key]
    wrong = run("import", folder, "--case", tmp_path / "d2", "--ct", "1.2.3")
    assert f"{key} (CT planning CT)" in str(wrong.exception)


def test_command_with_files(tmp_path):
    loaded, _ = read_patient([write_patient(tmp_path / "d")])
    study = loaded.study
    for name, volume in (("ct", study.first), ("mr", study.second)):
        save_labels(volume.array, study, tmp_path / f"{name}.nii.gz")
    files = tmp_path / "ct.nii.gz", tmp_path / "mr.nii.gz"
    result = run("import", *files, "--case", tmp_path / "case", "--json")
    assert result.exit_code == 0, result.output
    assert open_case(tmp_path / "case").study.second is not None
