"""Files and folders dropped onto napari, or opened from its menu: layers in millimetres."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import napari
import numpy as np
import SimpleITK as sitk

from cmfnet_napari.core.case.structures import Structure
from cmfnet_napari.core.dicom.importing.onto_open import place_on_open
from cmfnet_napari.core.dicom.importing.pair import propose
from cmfnet_napari.core.dicom.importing.patient import Choice
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.images.series.read_stack import read_stack
from cmfnet_napari.core.images.series.scan import scan
from cmfnet_napari.core.images.series.scan_result import DicomObject, Scan
from cmfnet_napari.core.images.study import Study, turn
from cmfnet_napari.core.images.volume import Volume, file_ending, from_image, read_image
from cmfnet_napari.gui.patient.classes import one_color
from cmfnet_napari.gui.patient.layers import (
    GRID,
    OPENED,
    PLACED,
    LayerData,
    case_layers,
    placement,
)
from cmfnet_napari.gui.patient.opened import Opened, open_dicom
from cmfnet_napari.gui.shared.markup import plain
from cmfnet_napari.gui.shared.messages import show_info

_LABELS = 64  # values at most, and no negative ones: labels
_SEEN_VOXELS = 0.1  # nobody sees that an image lies so little off


def get_reader(path: str | list[str]) -> Callable[[str | list[str]], list[LayerData]] | None:
    """npe2 reader: image files, DICOM folders, structure sets and segmentations."""
    paths = [path] if isinstance(path, str) else path
    known = all(Path(p).is_dir() or file_ending(p) or p.lower().endswith(".dcm") for p in paths)
    return read if known and paths else None


def read(path: str | list[str]) -> list[LayerData]:
    """Layers of files and folders.

    A folder with a CT, an MR or a PET opens as a patient: the images that are proposed, the case
    with its strokes.
    Contours are placed on the patient that is open.

    Raises
    ------
    UserError
        Nothing that can be read; napari shows the sentence.
    """
    paths = [Path(path)] if isinstance(path, str) else [Path(p) for p in path]
    slices = [one for one in paths if not (one.is_dir() or file_ending(one))]
    layers = [layer for one in paths if one not in slices for layer in _layers(one)]
    return layers + (_of_files(slices) if slices else [])


def _layers(path: Path) -> list[LayerData]:
    if not path.is_dir():
        return [_layer(read_image(path), path.name.split(".")[0], may_be_labels=True)]
    found = scan([path])
    if found.images and propose(found)[0] is None:
        return [_layer(read_image(path), path.name.split(".")[0])]
    return _of_scan(found)


def _of_files(paths: list[Path]) -> list[LayerData]:
    """Layers of DICOM files, looked at together: a series is many files."""
    found = scan(paths)
    if found.images and all(len(image.stack.slices) == 1 for image in found.images):
        raise UserError(
            f"{found.images[0].stack.slices[0].path.name} is one slice of a series. Drop the "
            "folder that holds all of its slices."
        )
    if found.images and propose(found)[0] is None:
        return [
            _layer(read_stack(image.stack, image.origin.modality, image.name), image.name)
            for image in found.images
        ]
    return _of_scan(found)


def _of_scan(found: Scan) -> list[LayerData]:
    """Layers of the proposed images with their case; without images, of contours."""
    first, second = propose(found)
    if first is None:
        return [layer for entry in found.objects for layer in _contours(entry)]
    layers = case_layers(open_dicom(Choice(first, second), found, lambda _what, _share: True))
    viewer = napari.current_viewer()
    if viewer is not None:
        viewer.window.add_plugin_dock_widget("cmfnet-napari", "CmFNet")
    return layers


def _layer(image: sitk.Image, name: str, may_be_labels: bool = False) -> LayerData:
    volume = from_image(turn(image))
    whole = may_be_labels and np.issubdtype(volume.array.dtype, np.integer)
    labels = whole and volume.array.min() >= 0 and len(np.unique(volume.array)) <= _LABELS
    if (patient := _open_patient()) is not None:
        volume = _beside(volume, patient.case.study, name, labels)
    shown = {**placement(volume.grid), "name": name, "metadata": {GRID: volume.grid}}
    if labels:
        return volume.array, shown, "labels"
    return volume.array, {**shown, "colormap": "gray"}, "image"


def _beside(volume: Volume, study: Study, name: str, labels: bool) -> Volume:
    """An image that napari shows at its place beside the patient's.

    Layers lie along the planes of the patient's own images, and napari cuts no slices out of a
    layer that is turned against them: an image is put on the patient's grid. Labels are not, since
    they may be edited and saved.
    """
    off = volume.grid.shown_apart(study.grid)
    if off <= _SEEN_VOXELS * min(volume.grid.spacing):
        return volume
    first = study.names[0]
    grids = f"{name} {volume.grid}; {first} {study.grid}"
    if labels:
        raise UserError(
            f"{name} has other axes than the {first} that is open, and would be shown up to "
            f"{off:.0f} mm off ({grids}). Put these labels on the grid of the {first}, or drop "
            "them on a napari window without a patient."
        )
    onto = volume.on(study.grid)
    if onto.array.min() == onto.array.max():
        raise UserError(
            f"{name} lies outside the {first} that is open ({grids}). Check that both are of one "
            "patient, or drop it on a napari window without a patient."
        )
    show_info(
        plain(
            f"{name} has other axes than the {first}: it is shown on the {first}'s voxels, "
            "interpolated, and saved so."
        )
    )
    return onto


def _contours(entry: DicomObject) -> list[LayerData]:
    patient = _open_patient()
    if patient is None:
        raise UserError("Open the image of these contours first; they are placed on it.")
    study, matrix = patient.case.study, patient.case.registrations.current.array
    structures, notes = place_on_open(entry, study, patient.images, matrix)
    for note in notes:
        show_info(plain(note))
    return [
        (
            structure.mask.astype(np.uint8),
            {
                **placement(study.grid),
                "name": structure.name,
                "colormap": one_color(structure.color),
                "metadata": _metadata(structure, study),
            },
            "labels",
        )
        for structure in structures
    ]


def _metadata(structure: Structure, study: Study) -> dict[str, object]:
    """What its layer knows: its grid, and where the second image lay, if it was drawn on that."""
    placed = {} if structure.placed is None else {PLACED: structure.placed}
    return {GRID: study.grid, **placed}


def _open_patient() -> Opened | None:
    """The patient that is shown."""
    viewer = napari.current_viewer()
    layers = viewer.layers if viewer is not None else ()
    return next((x.metadata[OPENED] for x in layers if OPENED in x.metadata), None)
