"""Contoured patients in a folder of DICOM: each with its images and one structure by hand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cmfnet_napari.core.arrays import Mask
from cmfnet_napari.core.dicom.importing.import_case import choose
from cmfnet_napari.core.dicom.importing.patient import Choice, load
from cmfnet_napari.core.dicom.importing.unused import not_used
from cmfnet_napari.core.errors import UserError, list_names
from cmfnet_napari.core.images.series.scan import scan
from cmfnet_napari.core.images.series.scan_result import DicomObject, Scan
from cmfnet_napari.core.images.study import Study

USUAL_NAME = "GTV"  # what is contoured where nobody says otherwise
_Structure = tuple[DicomObject, str]


@dataclass(frozen=True, eq=False)
class ContouredPatient:
    """A patient with a contour by hand.

    Attributes
    ----------
    study : Study
        Its images.
    truth : bool array (z, y, x)
        The structure.
    name : str
        What it is called.
    notes : tuple of str
        What was not used or is worth a look, in sentences, which may hold names of files.
    """

    study: Study
    truth: Mask
    name: str
    notes: tuple[str, ...] = ()


def find_patients(folder: Path) -> list[Scan]:
    """What was found of every patient in a folder, in the order of their numbers.

    Raises
    ------
    UserError
        There is no image.
    """
    found = scan([folder])
    patients = sorted({image.origin.patient for image in found.images})
    if not patients:
        raise UserError(
            f"{folder} holds no DICOM image that can be read. Give the folder that the patients "
            "were exported to, images and structure sets."
        )
    return [_own(found, patient) for patient in patients]


def _own(found: Scan, patient: str) -> Scan:
    """What is of one patient; what was left out counts where it lies beside the images."""
    images = tuple(i for i in found.images if i.origin.patient == patient)
    folders = {one.path.parent for image in images for one in image.stack.slices}
    return replace(
        found,
        images=images,
        objects=tuple(o for o in found.objects if o.origin.patient == patient),
        left_out=tuple(e for e in found.left_out if e.path.parent in folders),
        others={},  # whose they are is not known
    )


def read_patient(
    found: Scan, structures: Sequence[str] = (), register: bool = False
) -> ContouredPatient:
    """Read a patient's images and the structure.

    Parameters
    ----------
    found : Scan
        Of one patient.
    structures : sequence of str
        Names that the structure may have, in any case: the first that the patient has. None: the
        one whose name begins with `USUAL_NAME`.
    register : bool
        Register the second image to the first.

    Raises
    ------
    UserError
        As `import_case.choose` and `patient.load`; none or several structures have the name; it
        cannot be placed, or is empty.
    """
    choice = choose(found, None, None, True, register, False)
    entry, name = _structure(choice, structures)
    only = replace(choice, objects=(entry,), names=frozenset({(entry.uid, name)}))
    loaded = load(only, found)
    if not loaded.structures or not loaded.structures[0].mask.any():
        why = " ".join(loaded.notes) or "It lies outside of the image."
        raise UserError(f"The structure {name} could not be placed on the image. {why}")
    used = [image for image in (choice.first, choice.second) if image is not None]
    notes = (*loaded.notes, *not_used([*used, entry], found))
    return ContouredPatient(loaded.study, loaded.structures[0].mask, name, notes)


def _structure(choice: Choice, wanted: Sequence[str]) -> _Structure:
    """The structure that is meant: of those drawn on the first image, where there are such."""
    every = [(entry, name) for entry in choice.objects for name in entry.names]
    meant: list[_Structure] = []
    for name in wanted or (USUAL_NAME,):
        meant = meant or list(_meant(every, name, exact=bool(wanted)))
    own = [one for one in meant if choice.first.origin.uid in one[0].series]
    meant = own or meant
    if len(meant) == 1:
        return meant[0]
    names = list_names(dict.fromkeys(name for _, name in meant or every), 9) or "none"
    if meant:
        raise UserError(
            f"Several structures may be meant: {names}. Say which with --structure, once for every "
            "name that patients have."
        )
    what = f"called {' or '.join(wanted)}" if wanted else f"whose name begins with {USUAL_NAME}"
    raise UserError(f"There is no structure {what}. There are: {names}.")


def _meant(every: list[_Structure], name: str, exact: bool) -> Iterator[_Structure]:
    same = [one for one in every if one[1].casefold() == name.casefold()]
    if same or exact:
        yield from same
        return
    yield from (one for one in every if one[1].casefold().startswith(name.casefold()))
