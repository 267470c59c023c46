"""Which organ a structure is, as a code: RT ROI Identification Code (PS3.3 C.8.8.8), SEG's type."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydicom import Dataset

from cmfnet_napari.core.dicom.export.roi import Roi
from cmfnet_napari.core.nomenclature.name_rules import judge

if TYPE_CHECKING:
    from pydicom.sr.coding import Code

_SCHEME = "FMA"  # Foundational Model of Anatomy, PS3.16 8-1
_LONGEST_MEANING = 64  # characters of a long string (LO), PS3.5 6.2
_ANATOMY = ("ORGAN", "EXTERNAL")  # the same name as a target is no organ


def anatomy_code(roi: Roi) -> Code | None:
    """The code of the whole organ that a structure is by its name (TG-263) and its type.

    None for a target, for a part of an organ or a margin around it, for a name that is not in the
    table, and where the table has no code, or none that can be trusted.
    """
    verdict = judge(roi.name)
    structure = verdict.structure
    if roi.type not in _ANATOMY or structure is None or not verdict.whole or not structure.fma:
        return None
    from pydicom.sr.coding import Code  # with DICOM's dictionary of codes: 0.2 s

    meaning = structure.description or structure.name.replace("_", " ")
    return Code(structure.fma, _SCHEME, meaning[:_LONGEST_MEANING])


def code_item(code: Code) -> Dataset:
    """A code as an item of a code sequence (PS3.3 8.8)."""
    item = Dataset()
    item.CodeValue = code.value
    item.CodingSchemeDesignator = code.scheme_designator
    item.CodeMeaning = code.meaning
    return item
