"""A contour from a file of any kind: structure set, DICOM segmentation, or an image of labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydicom.tag import Tag

from cmfnet_napari.core.arrays import Codes, Doubles
from cmfnet_napari.core.dicom.importing.onto_open import place_on_open
from cmfnet_napari.core.dicom.importing.patient import Choice
from cmfnet_napari.core.errors import UserError, list_names
from cmfnet_napari.core.images.dicom_file import read_dicom
from cmfnet_napari.core.images.series.scan import scan
from cmfnet_napari.core.images.series.scan_result import SEGMENTATION, STRUCTURES
from cmfnet_napari.core.images.study import Study, load_labels


class SeveralStructuresError(UserError):
    """The file holds several structures, and none has the name of a class.

    Attributes
    ----------
    names : list of str
        To choose one of.
    """

    def __init__(self, file: str, names: list[str]) -> None:
        self.names = names
        super().__init__(
            f"{file} holds {len(names)} structures ({list_names(names)}), and none is called like "
            "a class. Choose one of them."
        )


def read_contour(
    path: str | Path,
    study: Study,
    classes: Sequence[str],
    chosen: str = "",
    images: Choice | None = None,
    matrix: Doubles | None = None,
) -> tuple[Codes, list[str]]:
    """Read a contour onto the Study's Grid.

    Parameters
    ----------
    path : path
        RTSTRUCT or SEG, placed as one that is dropped on the patient; or an image of labels on
        the first image's grid.
    study : Study
        The patient's.
    classes : sequence of str
        Names of the classes 1, 2, …: structures of the same name become them, whatever the case
        of their letters. A file's only structure becomes class 1.
    chosen : str
        The structure that becomes class 1, in place of that.
    images, matrix
        As `place_on_open`: the series that the study's images are, and where the second lies now.

    Returns
    -------
    labels : uint8 array (z, y, x)
    notes : list of str
        What of the structures was left out or is worth a look, in sentences.

    Raises
    ------
    SeveralStructuresError
        It is not clear which structure is meant.
    UserError
        Unreadable, of another patient, in another place, or without what was chosen.
    """
    path = Path(path)
    if _modality(path) not in (STRUCTURES, SEGMENTATION):
        return load_labels(path, study.grid), []
    (entry,) = scan([path]).objects
    meant = _meant(entry.names, classes, chosen, path.name)
    names = [name for _, name in meant]
    structures, notes = place_on_open(entry, study, images, matrix, names)
    masks = {structure.name: structure.mask for structure in structures}
    if missing := [name for name in names if name not in masks]:
        raise UserError(" ".join(notes) or f"{path.name} holds no structure {missing[0]}.")
    labels: Codes = np.zeros(study.grid.shape, dtype=np.uint8)
    for code, name in meant:
        labels[masks[name]] = code
    return labels, notes


def _modality(path: Path) -> str:
    """Of a DICOM file; empty for another."""
    try:
        header = read_dicom(path, stop_before_pixels=True, specific_tags=[Tag("Modality")])
    except Exception:  # pydicom raises what it stumbles over; the readers say it in words
        return ""
    return str(header.get("Modality") or "")


def _meant(
    parts: Sequence[str], classes: Sequence[str], chosen: str, file: str
) -> list[tuple[int, str]]:
    """Codes and names of the structures that become them."""
    names = {name.casefold(): name for name in reversed(parts)}
    if chosen:
        if chosen.casefold() not in names:
            raise UserError(f"{file} holds no structure {chosen}.")
        return [(1, names[chosen.casefold()])]
    found = [(k, names.get(name.casefold())) for k, name in enumerate(classes, start=1)]
    meant = [(code, name) for code, name in found if name is not None]
    if meant:
        return meant
    if len(parts) == 1:
        return [(1, parts[0])]
    raise SeveralStructuresError(file, list(parts))
