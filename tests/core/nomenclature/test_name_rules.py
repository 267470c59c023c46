"""Names by TG-263: examples of the report itself, and names that break one rule each."""

from __future__ import annotations

import pytest

from cmfnet_napari.core.nomenclature.name_rules import judge
from cmfnet_napari.core.nomenclature.propose import nearest
from cmfnet_napari.core.nomenclature.tg263 import structures

# AAPM report 263, examples in 7.2 and 8.2, and more of each kind.
REPORT = """
Femur_Head_L Ear_External_R Kidney_R Kidney_Cortex_L Kidney_Hilum_R Lung_L Lung_LUL A_Aorta
LN_Ax_L1_L CN_IX_L Glnd_Submand_L VB_T05 Lungs^Ex Brain~ Lung~_L Lungs~
SpinalCord_PRV05 Brainstem_PRV03 Brainstem_PRV OpticNrv_PRV03_L OpticChiasm_PRV3
R_Hilum_Kidney L_Lung PRV05_SpinalCord Aorta_A L_Kidney-GTV
Lungs-GTV Body-PTV E-PTV_5000 Bolus_05mm IDL_5000 Liver-CTV zPTVopt _ring
GTVp GTVn CTVsb GTVpar CTVv CTVvas PTV1 GTVp2 PTVp1_CT1PT1 GTV_CT2 CTV_A_Aorta CTV_A_Celiac
GTV_Preop PTV_Boost PTV_Eval PTV_MR2_Prostate PTV_High CTV_Low GTV_Mid PTV_Mid01 PTV_5040
PTV_50.4Gy PTV_50p4Gy PTV_Liver_2000x3 PTV_Liver_20Gyx3 PTV_Eval_7000-08 PTV-03 CTVp2-05
PTV^Physician1 GTV_Liver^ICG PTV! IGTV ICTVn ITV
"""


@pytest.mark.parametrize("name", REPORT.split())
def test_names_of_the_report_are_allowed(name: str) -> None:
    verdict = judge(name)
    assert verdict.allowed, verdict.why
    assert verdict.about


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "missing"),
        ("Left lung", "no spaces"),
        ("Größe", "“ö”"),
        ("GTV\u202elinks", "does not allow"),
        ("OpticChiasm_PRV03", "17 characters; TG-263 allows 16"),
        ("heart", "writes it Heart"),
        ("Lump", "not in the list"),
        ("GTV_links", "begins like a target"),
        ("PTVx2", "begins like a target"),
        ("GTV_High_Low", "begins like a target"),
        ("Bolus_xxmm", "xx stands for digits"),
        ("Lungs^", "follows ^"),
        ("Lung~~_L", "not in the list"),
        ("Bolus_05mm_PRV", "not in the list"),
        ("zebra", "not in the list"),
    ],
)
def test_others_are_told_why(name: str, why: str) -> None:
    assert why in judge(name).why


@pytest.mark.parametrize(
    ("name", "kind", "fma", "whole"),
    [
        ("GTVn1", "GTV", None, False),
        ("ITV", "CTV", None, False),
        ("PTV!_High", "PTV", None, False),
        ("Lung_R", "ORGAN", "7309", True),
        ("L_Lung", "ORGAN", "7310", True),
        ("Lung~_L", "ORGAN", "7310", False),
        ("SpinalCord_PRV05", "ORGAN", "7647", False),
        ("Body", "EXTERNAL", "256135", True),
        ("Lungs-GTV", "", "", True),
    ],
)
def test_what_a_name_means(name: str, kind: str, fma: str | None, whole: bool) -> None:
    verdict = judge(name)
    code = None if verdict.structure is None else verdict.structure.fma
    assert (verdict.roi_type, code, verdict.whole) == (kind, fma, whole)


@pytest.mark.parametrize(
    ("written", "first"),
    [
        ("Tumour", "GTV"),
        ("tumor 2", "GTV2"),
        ("tumor 60 Gy", "GTV"),
        ("Lymph node 3 mm", "GTVn"),
        ("Lymph node", "GTVn"),
        ("GTV 1", "GTV1"),
        ("gtv primary", "GTVp"),
        ("CTV high", "CTV_High"),
        ("PTV 50 Gy", "PTV_5000"),
        ("PTV 145 Gy", "PTV_14500"),
        ("PTV1 50,4Gy", "PTV1_5040"),
        ("PTV 5040 cGy", "PTV_5040"),
        ("GTV_MRT", "GTV^MRT"),
        ("heart", "Heart"),
        ("left lung", "Lung_L"),
        ("Lt Parotid", "Parotid_L"),
        ("kidney", "Kidneys"),
        ("spinal cord", "SpinalCord"),
        ("spinal cord PRV 5 mm", "SpinalCord_PRV05"),
        ("optic nerve prv03 r", "OpticNrv_PRV03_R"),
        ("urinary bladder", "Bladder"),
        ("Oesophagus", "Esophagus"),
        ("femoral head right", "Femur_Head_R"),
        ("small bowel", "Bowel_Small"),
        ("Lungs - gtv", "Lungs-GTV"),
        ("L_Lung", "L_Lung"),
    ],
)
def test_the_nearest_allowed_name_comes_first(written: str, first: str) -> None:
    assert nearest(written)[0] == first


@pytest.mark.parametrize(
    "written",
    [
        "", "xyz", "腫瘍", "Größe 2", "\N{BOMB}" * 300, "$x^2$", "(([", "PTV 50.4", "PTV 60/30",
        "PTV 60/30 Gy", "PTV 1145 Gy", "PTV 3 mm", "PTV 3mm 50 Gy", "PTV 54 Gy in 30",
    ],
)  # fmt: skip
def test_nothing_near_is_no_proposal(written: str) -> None:
    assert nearest(written) == []


def test_a_proposal_is_never_of_the_other_side_and_always_allowed() -> None:
    for row in structures().values():
        if not row.side:
            continue
        words = row.name.replace("_", " ").lower()
        for found in nearest(words, most=30):
            verdict = judge(found)
            assert verdict.allowed, (words, found)
            near = verdict.structure
            assert near is None or near.side in ("", row.side), (words, found)
    assert all(judge(one).structure.side == "" for one in nearest("left and right lung"))


def test_the_table_holds_no_code_of_two_sides_or_two_vessels() -> None:
    rows = list(structures().values())
    assert len(rows) == 695
    assert all(
        judge(row.name).structure is row
        for row in rows
        if row.kind != "Target" and "xx" not in row.name
    )
    for one in rows:
        for other in rows:
            if one is not other and one.fma and one.fma == other.fma:
                assert one.side == other.side, (one, other)
                assert one.name[:2] == other.name[:2] or "V_" not in one.name + other.name
    pairs = [(r, structures().get(f"{r.name[:-1]}r".casefold())) for r in rows if r.side == "L"]
    codes = [(a.fma, b.fma) for a, b in pairs if b is not None and a.fma and b.fma]
    assert len(codes) > 100
    assert all(int(left) > int(right) for left, right in codes)  # as everywhere in the model
    wrong = {"L": "right", "R": "left"}
    for row in rows:
        if row.side and row.fma:
            words = row.description.casefold().split()
            assert wrong[row.side] not in words or {"L": "left", "R": "right"}[row.side] in words
