"""Series with what real ones lack or write their own way: a SEG comes out like a structure set."""

from __future__ import annotations

import numpy as np
import pydicom
import pytest
from pydicom.config import disable_value_validation
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

from cmfnet_napari.core.dicom.export.checked_export import export
from cmfnet_napari.core.dicom.export.reference import read_reference
from cmfnet_napari.core.dicom.export.roi import make_rois
from cmfnet_napari.core.images.grid import Grid
from tests.dicom_files import write_slices

GRID = Grid((3, 12, 14), (3.0, 1.0, 1.0), (-5.0, -6.0, 10.0))
# fmt: off
OPTIONAL = (
    "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID",
    "StudyDate", "StudyTime", "ReferringPhysicianName", "Manufacturer", "SliceThickness",
    "PositionReferenceIndicator", "SeriesNumber", "SeriesDescription", "InstanceNumber",
    "PhotometricInterpretation", "RescaleSlope",
)
ODD = {
    "PatientBirthDate": ("01/02/1950", "1950", "unknown"),
    "StudyDate": ("2020.01.02", "20201399"),
    "StudyTime": ("25:99", "10:10:10"),
    "PatientSex": ("female", ""),
    "PatientID": ("x" * 100, "a\\b"),
    "StudyID": ("x" * 40,),
    "PatientAge": ("45",),
    "PatientWeight": ("unknown",),
    "SliceThickness": ("unknown", "1\\2", "0"),
    "SpacingBetweenSlices": ("unknown",),
    "SpecificCharacterSet": ("ISO-8859-1", "nonsense"),
}
NAMES = {
    "ISO 2022 IR 87": "Yamada^Tarou=山田^太郎",
    "ISO 2022 IR 149": "Hong^Gildong=洪^吉洞=홍^길동",
    "ISO 2022 IR 13\\ISO 2022 IR 87": "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎",
    "GB18030": "Wang^XiaoDong=王^小东",
    "ISO_IR 144": "Иванов^Иван",
    "ISO_IR 100": "Müller^Jürgen",
}
# fmt: on


def both(tmp_path, change):
    """Structure set and segmentation of a changed series."""
    array = np.random.default_rng(0).integers(0, 99, GRID.shape).astype(np.int16)
    with disable_value_validation():
        write_slices(tmp_path / "in", array, GRID, edit=lambda _k, data: change(data))
    labels = np.zeros(GRID.shape, np.uint8)
    labels[1:, 3:9, 4:10] = 1
    written = []
    for kind in ("rtstruct", "seg"):
        out = tmp_path / f"{kind}.dcm"
        receipt = export(
            GRID.to_image(labels), read_reference(tmp_path / "in"), make_rois([1]), kind, out
        )
        assert receipt.lines[0].dice == 1
        written.append(pydicom.dcmread(out))
    return written


def say_the_same(structures, segmentation):
    for keyword in ("PatientName", "PatientID", "PatientSex", "StudyID", "StudyInstanceUID"):
        assert structures.get(keyword) == segmentation.get(keyword)
    raw = [data.get_item("PatientBirthDate").value or b"" for data in (structures, segmentation)]
    texts = [value.decode() if isinstance(value, bytes) else str(value) for value in raw]
    assert texts[0].strip() == texts[1].strip()


@pytest.mark.parametrize("keyword", OPTIONAL)
def test_without_an_optional_attribute(tmp_path, keyword):
    say_the_same(*both(tmp_path, lambda data: data.pop(keyword, None)))


@pytest.mark.parametrize(
    ("keyword", "value"), [(keyword, value) for keyword in ODD for value in ODD[keyword]]
)
def test_odd_values(tmp_path, keyword, value):
    def change(data):
        tag, kind = Tag(keyword), dictionary_VR(keyword)
        data[tag] = RawDataElement(tag, kind, len(value), value.encode(), 0, False, True)

    say_the_same(*both(tmp_path, change))


@pytest.mark.parametrize("letters", NAMES)
def test_names_in_every_script(tmp_path, letters):
    def change(data):
        before = [] if "\\" in letters or "2022" not in letters else [""]
        data.SpecificCharacterSet = [*before, *letters.split("\\")]
        data.PatientName = NAMES[letters]

    written = both(tmp_path, change)
    for data in written:
        assert str(data.PatientName) == NAMES[letters]
        assert data.SpecificCharacterSet == "ISO_IR 192"
