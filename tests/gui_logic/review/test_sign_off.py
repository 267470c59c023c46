"""Two readers sign a contour off; the log of the case tells who saw and changed what."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cmfnet_napari.core.case.folder import open_case
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.report.facts import gather_facts
from cmfnet_napari.core.report.log_file import (
    compare_readers,
    export_end,
    export_log,
    read_log,
)
from cmfnet_napari.core.review.case_contour import case_log, case_stage
from cmfnet_napari.core.review.log_entry import LOG_FILE, entry_hash
from cmfnet_napari.core.review.record import REVIEW_FILE, digest
from cmfnet_napari.core.review.signer import own_signer
from cmfnet_napari.gui.patient.classes import add_class
from cmfnet_napari.gui.patient.opened import prepare_case, reopen
from tests.case_runs import write_run
from tests.gui_logic.stand_ins import CT_SHAPE, come, patient

BOX = np.s_[1:4, 2:6, 2:5]  # 36 voxels on axial slices 1, 2, 3
SPACING = (2.0, 1.0, 1.0)
ML = 0.002  # of a voxel


def box(where=BOX):
    labels = np.zeros(CT_SHAPE, np.uint8)
    labels[where] = 1
    return labels


@pytest.fixture(autouse=True)
def anna(monkeypatch):
    """The system's user."""
    monkeypatch.setattr("getpass.getuser", lambda: "anna")


@pytest.fixture
def opened():
    one = patient(spacing=SPACING)
    write_run(one.case, box())
    return one


@pytest.fixture
def shown(bench, opened):
    """A window that shows a contour which nobody has looked at."""
    come(bench.session, lambda: opened)
    return bench


@pytest.fixture
def sign_off(shown):
    return shown.sign_off


def edit(bench, where, code):
    bench.result.prediction.data_setitem(np.nonzero(box(where)), code)
    bench.session.record()
    bench.result._soon.fire()


def look(bench, *slices):
    for index in slices:
        bench.seen_slices.looked_at.emit("axial", index)


def told(sign_off):
    return [entry.what for entry in sign_off.entries]


def test_what_is_not_on_the_screen_is_not_signed(shown, sign_off):
    edit(shown, np.s_[2, 2, 2], 0)
    shown.result.show_own(True)
    with pytest.raises(UserError, match="The model's own contour is shown"):
        sign_off.sign("reviewed")
    shown.result.show_own(False)
    sign_off.sign("reviewed")
    assert sign_off.standing.stage == "reviewed"


def test_working_alone_asks_for_nothing(shown, sign_off, opened, said):
    folder = opened.case.folder
    assert not (folder / LOG_FILE).exists()  # nothing was looked at yet
    assert not Path(os.environ["CMFNET_REVIEW"]).exists()  # nor is there a key to sign with
    assert sign_off.standing.sentence == "Draft: nobody has signed it off."
    look(shown, 1, 1, 0, 2)
    assert told(sign_off) == ["began", "looked", "looked"]  # each once; slice 0 has no contour
    edit(shown, np.s_[2, 2, 2], 0)
    look(shown, 2)
    assert told(sign_off)[3:] == ["looked"] * 3  # another contour, on the planes of one voxel
    shown.close()
    check = case_log(folder)
    assert check.ok
    assert check.remembered
    assert [e.detail["index"] for e in check.entries if e.detail.get("plane") == "axial"] == [
        1, 2, 2,
    ]  # fmt: skip
    assert {e.reader for e in check.entries} == {"anna"}
    assert said == []


def test_reviewed_changed_and_brought_back(shown, sign_off, opened):
    look(shown, 1, 2)
    sign_off.sign("reviewed")
    assert sign_off.standing.stage == "reviewed"
    assert "by anna on " in sign_off.standing.sentence
    assert "1 axial slice not looked at" in sign_off.standing.sentence
    edit(shown, np.s_[2, 2, 2], 0)
    assert sign_off.standing.stage == "draft"
    assert sign_off.standing.sentence.startswith(
        "Draft again: the contour has changed since it was reviewed by anna on "
    )
    edit(shown, np.s_[2, 3, 3], 0)
    assert told(sign_off).count("changed") == 1  # said once
    shown.session.undo()
    shown.session.undo()
    shown.result._soon.fire()
    assert sign_off.standing.stage == "reviewed"  # it is that contour again
    sign_off.withdraw()
    assert sign_off.standing.sentence.startswith("Draft: anna took the review back on ")
    sign_off.read_by("Bert")
    with pytest.raises(UserError, match="Nobody has reviewed"):
        sign_off.sign("peer-reviewed")


def renamed(session, **names):
    """Other names for classes by what they are called."""
    session.set_classes(
        tuple(
            replace(entry, name=names.get(entry.name, entry.name)) for entry in session.case.classes
        )
    )


def stages(bench, tmp_path):
    """How far it is signed off by the window, the command line, the report and an export."""
    case = bench.session.case
    found, log = case_stage(case.folder)
    facts = gather_facts(case.study, bench.result.shown(), classes=case.classes, log=log)
    export_log(case.folder, tmp_path / "log.json")
    assert read_log(tmp_path / "log.json").ok
    said = {bench.sign_off.standing.sentence, found.sentence, facts.sign_off}
    assert len(said) == 1
    exported = json.loads((tmp_path / "log.json").read_text())
    assert exported["sentence"] in said
    assert found.stage == bench.sign_off.standing.stage == exported["state"]
    return found


@pytest.fixture
def two_classes(bench):
    """A contour of two classes, and a third class without a voxel, signed off."""
    one = patient(spacing=SPACING)
    come(bench.session, lambda: one)
    bench.session.set_classes(add_class(add_class(one.case.classes, "Node"), "Oedema"))
    labels = box()
    labels[4, 7, 6] = 2
    bench.result.read(write_run(one.case, labels))
    bench.sign_off.sign("reviewed")
    return bench


def test_a_signature_names_its_classes_and_counts_while_they_are_the_same(two_classes, tmp_path):
    sign_off, session = two_classes.sign_off, two_classes.session
    assert sign_off.standing.mark.detail["classes"] == [
        {"label": 1, "number": 2, "name": "Tumour"},
        {"label": 2, "number": 3, "name": "Node"},
    ]
    renamed(session, Oedema="Bladder")  # it has no voxel
    session.remove_class(4)
    assert stages(two_classes, tmp_path).stage == "reviewed"
    renamed(session, Tumour="Node", Node="Tumour")
    found = stages(two_classes, tmp_path)
    assert found.sentence.startswith("Draft again: classes were renamed or merged since it was rev")
    assert told(sign_off)[-1] == "changed"
    renamed(session, Tumour="Node", Node="Tumour")
    assert stages(two_classes, tmp_path).stage == "reviewed"
    assert told(sign_off).count("changed") == 1
    renamed(session, Tumour="GTVp")
    assert stages(two_classes, tmp_path).stage == "draft"
    sign_off.sign("reviewed")
    assert stages(two_classes, tmp_path).stage == "reviewed"


def test_a_signature_does_not_pass_to_the_class_that_another_is_merged_into(
    two_classes, opened, tmp_path
):
    session = two_classes.session
    come(session, lambda: opened)  # of one class
    session.set_classes(add_class(session.case.classes, "Bladder"))
    two_classes.sign_off.sign("reviewed")
    session.remove_class(2, into=3)
    two_classes.result._soon.fire()
    np.testing.assert_array_equal(two_classes.result.shown(), box())  # voxel by voxel the same
    assert stages(two_classes, tmp_path).stage == "draft"
    session.undo()
    two_classes.result._soon.fire()
    assert stages(two_classes, tmp_path).stage == "reviewed"


def test_a_signature_of_an_earlier_version_names_no_classes(shown, sign_off, tmp_path):
    log = sign_off._writing()
    log.append("reviewed", {"unseen": 0, "open": 0}, digest(shown.result.shown()), "anna")
    renamed(shown.session, Tumour="GTVp")
    assert stages(shown, tmp_path).stage == "reviewed"


def test_a_second_reader_and_how_the_two_differ(shown, sign_off, opened, tmp_path, monkeypatch):
    look(shown, 1, 2, 3)
    sign_off.sign("reviewed")
    with pytest.raises(UserError, match="anna has reviewed it already"):
        sign_off.sign("peer-reviewed")
    sign_off.read_by("ANNA")
    with pytest.raises(UserError, match="somebody else"):
        sign_off.sign("peer-reviewed")
    sign_off.read_by(' Bert "$x$"\nvan Öst {')  # odd letters
    look(shown, 1, 2)
    edit(shown, np.s_[2, 2, 2:4], 0)  # takes 2 voxels away
    edit(shown, np.s_[4, 2, 2], 1)  # adds 1 on another slice
    sign_off.sign("peer-reviewed")
    standing = sign_off.standing
    assert standing.stage == "peer-reviewed"
    detail = standing.mark.detail
    assert detail["slices"] == 2
    assert detail["difference"] == {
        "Tumour": {
            "dice": round(2 * 34 / (36 + 35), 4),
            "added_ml": ML,
            "removed_ml": 2 * ML,
        }
    }
    assert detail["unseen"] == 1  # slice 3; 2 and 4 were edited, and so seen
    assert 'by Bert "$x$" van Öst { (at the account anna) on ' in standing.sentence
    assert "2 axial slices: Tumour: Dice 0.958, +0.00 −0.00 ml" in standing.sentence
    sign_off.compare()
    np.testing.assert_array_equal(shown.comparison.other, box())  # the first reader's
    assert shown.comparison.kind == "reading"
    shown.close()

    case = opened.case.folder
    log = (case / LOG_FILE).read_text("ascii")
    assert str(tmp_path) not in log
    assert tmp_path.name not in log
    stage, log = case_stage(case)
    assert (stage.stage, log.fault) == ("peer-reviewed", "")
    numbers = compare_readers(case, tmp_path / "both.nrrd")
    assert (numbers["first"], numbers["slices"]) == ("anna", 2)
    for ending in ("pdf", "json"):
        export_log(case, tmp_path / f"log.{ending}")
    assert (tmp_path / "log.pdf").read_bytes().startswith(b"%PDF")
    exported = tmp_path / "log.json"
    found = read_log(exported)
    assert found.ok
    assert found.remembered  # by this computer
    assert found.sentences[-2].startswith("State by its entries: Peer-reviewed by Bert")
    assert "(this account's on this computer) signed the file as a whole." in found.sentences[-1]
    with monkeypatch.context() as patch:
        patch.setenv("CMFNET_REVIEW", str(tmp_path / "another computer"))
        found = read_log(exported)
        assert not found.remembered  # by its own word nothing is
        assert "of another account or computer) signed the file" in found.sentences[-1]
    values = json.loads(exported.read_text())
    assert values["state"] == "peer-reviewed"
    assert case_log(case, [export_end(exported)]).ok
    values["entries"][4]["reader"] = "Carl"
    exported.write_text(json.dumps(values))
    assert "line 5" in read_log(exported).broken
    values["entries"][4]["reader"] = log.entries[4].reader
    values["state"] = "draft"
    exported.write_text(json.dumps(values))
    assert "was changed after it was exported" in read_log(exported).broken
    values["state"] = "peer-reviewed"
    forger = {  # each signed as a whole by a key that is right, which anybody has
        "says something else of its entries": {"state": "reviewed"},
        "is the log of another case": {"case": "0" * 16},
        "says something else of its": {"end": values["end"] | {"entries": 3}},
        "no review log that was exported": {"end": values["end"] | {"entries": -100}},
    }
    for found, change in forger.items():
        other = values | change
        other["signature"] = own_signer().sign(entry_hash(other))
        exported.write_text(json.dumps(other))
        if "exported" in found:
            for read in (read_log, export_end):
                with pytest.raises(UserError, match=found):
                    read(exported)
        else:
            assert found in read_log(exported).broken
    exported.write_text('{"format": "cmfnet review log 1", "entries": 7}')
    with pytest.raises(UserError, match="no review log that was exported"):
        read_log(exported)
    with pytest.raises(UserError, match=r"neither \.pdf nor \.json"):
        export_log(case, tmp_path / "log.txt")


def test_it_comes_back_with_the_patient_and_a_changed_log_is_said(
    shown, sign_off, opened, said, tmp_path
):
    look(shown, 1, 2, 3)
    sign_off.sign("reviewed")
    come(shown.session, lambda: reopen(opened))
    assert sign_off.standing.stage == "reviewed"
    look(shown, 2)
    assert told(sign_off).count("looked") == 3  # it was seen before
    come(shown.session, lambda: patient(value=50))
    assert sign_off.entries == []
    path = opened.case.folder / LOG_FILE
    path.write_bytes(path.read_bytes().replace(b'"unseen": 0', b'"unseen": 5'))
    come(shown.session, lambda: reopen(opened))
    assert sign_off.fault.startswith("The review log was changed at line 5: entry 5 is not what")
    assert told(sign_off)[-1] == "noticed"
    assert sign_off.standing.stage == "draft"  # what is not as it was written does not count
    assert case_stage(opened.case.folder)[0].stage == "draft"
    sign_off.sign("reviewed")
    assert sign_off.standing.stage == "reviewed"  # it can be signed anew
    stage, log = case_stage(opened.case.folder)
    assert stage.stage == "reviewed"
    export_log(opened.case.folder, tmp_path / "log.json")
    exported = read_log(tmp_path / "log.json")  # with the line that was changed
    assert (exported.entries, exported.broken) == (log.entries, log.broken)
    come(shown.session, lambda: patient(value=50))
    come(shown.session, lambda: reopen(opened))
    assert told(sign_off).count("noticed") == 1
    assert said == []


def test_a_log_that_was_cut_off_stays_known_as_such(shown, sign_off, opened):
    look(shown, 1, 2, 3)
    sign_off._disk.fire()
    come(shown.session, lambda: patient(value=50))
    path = opened.case.folder / LOG_FILE
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:2]))
    come(shown.session, lambda: reopen(opened))
    assert "2 of 4 entries are missing at its end" in sign_off.fault
    look(shown, 3)
    shown.close()
    check = case_log(opened.case.folder)  # it has gone on; the entry tells of it for good
    assert check.ok
    assert "2 of 4 entries" in next(e for e in check.entries if e.what == "noticed").detail["fault"]


def test_a_log_that_is_gone_is_missed_and_that_stays_known(shown, sign_off, opened):
    look(shown, 1, 2, 3)
    sign_off.sign("reviewed")
    come(shown.session, lambda: patient(value=50))
    assert sign_off.fault == ""  # of another patient
    (opened.case.folder / LOG_FILE).unlink()
    come(shown.session, lambda: reopen(opened))
    assert "with 5 entries, which this computer has written, is not here" in sign_off.fault
    assert told(sign_off) == ["began", "noticed"]
    other = open_case(opened.case.folder, read_only=True)
    try:
        come(shown.session, lambda: replace(opened, case=other))
        assert sign_off.fault == ""
        come(shown.session, lambda: patient(value=51))
    finally:
        other.close()


def test_a_contour_that_was_kept_and_changed_is_not_compared(shown, sign_off, opened, said):
    look(shown, 1)
    sign_off.sign("reviewed")
    write_run(opened.case, box(), "0009-odd")
    kept = opened.case.folder / "readings" / "0001" / "contour.nii.gz"
    other = opened.case.folder / "runs" / "0009-odd" / "probabilities.nii.gz"
    edit(shown, np.s_[2, 2, 2], 0)
    shown.result.read(write_run(opened.case, box(np.s_[1:3, 2:6, 2:5]), "0010-quick"))
    (opened.case.folder / "runs/0010-quick/prediction.nii.gz").replace(kept)
    assert other.exists()
    sign_off.read_by("Bert")
    sign_off.sign("peer-reviewed")
    assert "is not the contour that anna signed off" in said[-1]
    assert sign_off.standing.stage == "draft"
    sign_off.compare()
    assert "it was changed since" in said[-1]


def test_a_case_of_an_earlier_version_and_one_to_look_at(bench, opened):
    folder = opened.case.folder
    kept = {"format": 1, "seen": {"axial": {"1": "0" * 16, "2": "1" * 16}}}
    (folder / REVIEW_FILE).write_text(json.dumps(kept))
    come(bench.session, lambda: opened)
    look(bench, 3)
    assert bench.sign_off.entries[0].detail["before"] == {"slices": {"axial": 2}, "decisions": 0}
    bench.sign_off.sign("reviewed")
    come(bench.session, lambda: patient(value=50))
    other = open_case(folder, read_only=True)
    try:
        come(bench.session, lambda: prepare_case(other))
        assert not bench.sign_off.writable
        assert bench.sign_off.standing.stage == "reviewed"
        before = (folder / LOG_FILE).read_bytes()
        look(bench, 1, 2)
        for act in (bench.sign_off.withdraw, lambda: bench.sign_off.sign("reviewed")):
            with pytest.raises(UserError):
                act()
        assert (folder / LOG_FILE).read_bytes() == before
    finally:
        other.close()


def test_without_an_account_a_name_is_asked_for_and_a_full_disk_is_said_once(
    shown, sign_off, said, monkeypatch
):
    sign_off._account = ""
    with pytest.raises(UserError, match="Say who reads"):
        sign_off.sign("reviewed")
    with pytest.raises(UserError, match="64 characters"):
        sign_off.read_by("x" * 65)
    sign_off._account = "anna"

    def full(*_):
        raise UserError("The disk is full.")

    with monkeypatch.context() as patch:
        patch.setattr("cmfnet_napari.core.review.review_log.append_line", full)
        look(shown, 1, 2, 3)
        assert said == ["What is reviewed is not logged: The disk is full."]
        sign_off.sign("reviewed")
        sign_off.sign("reviewed")
        assert said[1:] == ["The disk is full."] * 2  # whoever signs is told each time
        assert sign_off.entries == []
        assert sign_off.standing.stage == "draft"
    look(shown, 1, 2)  # once there is room
    assert told(sign_off) == ["began", "looked", "looked"]


def test_no_name_gets_into_the_programs_own_log(shown, sign_off, caplog):
    caplog.set_level("DEBUG")
    sign_off.read_by("Dr. Rosalind Unnamed")
    look(shown, 1, 2)
    sign_off.sign("reviewed")
    shown.close()
    assert "Unnamed" not in caplog.text
    assert "anna" not in caplog.text
