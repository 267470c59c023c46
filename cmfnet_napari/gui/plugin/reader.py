"""Files and folders dropped onto napari, or opened from its menu: layers in millimetres."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import napari
import numpy as np
import SimpleITK as sitk

from cmfnet_napari.core.case.structures import Structure
from cmfnet_napari.core.dicom.importing.pair import propose
from cmfnet_napari.core.dicom.importing.patient import (
    Choice,
    check_objects,
    other_frames,
    place_structures,
)
from cmfnet_napari.core.dicom.importing.rasterise import rasterise
from cmfnet_napari.core.dicom.importing.segments import read_segments
from cmfnet_napari.core.dicom.importing.structure_sets import read_structures
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.images.series.read_stack import read_stack
from cmfnet_napari.core.images.series.scan import scan
from cmfnet_napari.core.images.series.scan_result import REGISTRATION, STRUCTURES, DicomObject, Scan
from cmfnet_napari.core.images.study import Study, turn
from cmfnet_napari.core.images.volume import file_ending, from_image, read_image
from cmfnet_napari.gui.patient.classes import one_color
from cmfnet_napari.gui.patient.layers import GRID, OPENED, LayerData, case_layers, placement
from cmfnet_napari.gui.patient.opened import Opened, open_dicom
from cmfnet_napari.gui.shared.markup import plain
from cmfnet_napari.gui.shared.messages import show_info

_LABELS = 64  # values at most, and no negative ones: labels


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
    shown = {**placement(volume.grid), "name": name}
    shown["metadata"] = {GRID: volume.grid}
    whole = may_be_labels and np.issubdtype(volume.array.dtype, np.integer)
    if whole and volume.array.min() >= 0 and len(np.unique(volume.array)) <= _LABELS:
        return volume.array, shown, "labels"
    return volume.array, {**shown, "colormap": "gray"}, "image"


def _contours(entry: DicomObject) -> list[LayerData]:
    patient = _open_patient()
    study = patient.case.study
    if entry.origin.modality == REGISTRATION:
        raise UserError(f"{entry.path.name} is a registration: open the folder with its images.")
    structures = _placed(entry, patient) if patient.images else _by_position(entry, study)
    return [
        (
            structure.mask.astype(np.uint8),
            {
                **placement(study.grid),
                "name": structure.name,
                "colormap": one_color(structure.color),
                "metadata": {GRID: study.grid},
            },
            "labels",
        )
        for structure in structures
    ]


def _placed(entry: DicomObject, patient: Opened) -> list[Structure]:
    """Structures of the patient whose images are open, in one of their frames of reference."""
    choice = replace(patient.images, objects=(entry,))
    found = Scan((), (entry,))
    if other_frames(choice, found) and entry.origin.patient == choice.first.origin.patient:
        raise UserError(
            f"{entry.label or entry.path.name} lies in another frame of reference than the "
            "images: its contours may be at the wrong place. Open its folder with 'DICOM folder…' "
            "and choose it there, if it was drawn on these images."
        )
    check_objects(choice, found)
    matrix = patient.case.registrations.current.array
    structures, notes = place_structures(choice, found, patient.case.study, matrix)
    if not structures:
        raise UserError(" ".join(notes))
    for note in notes:
        show_info(plain(note))
    return structures


def _by_position(entry: DicomObject, study: Study) -> list[Structure]:
    """Structures on an image of which nothing is known but where it lies."""
    if entry.origin.modality == STRUCTURES:
        if len(set(entry.frames)) > 1:
            raise UserError(
                f"{entry.label or entry.path.name} was drawn in {len(set(entry.frames))} frames of "
                "reference. Open the folder with its images, which says where they lie."
            )
        structures = []
        for roi in read_structures(entry.path):
            mask, note = rasterise(roi.contours, study.grid, roi.name)
            structures.append(Structure(roi.name, roi.color, mask))
            for words in filter(None, (roi.note, note)):
                show_info(plain(words))
    else:
        structures = [
            Structure(segment.name, segment.color, segment.on(study.grid))
            for segment in read_segments(entry.path)
        ]
    show_info("Placed by position alone: check that it belongs to this patient.")
    return structures


def _open_patient() -> Opened:
    """The patient that is shown: contours alone have no voxels."""
    viewer = napari.current_viewer()
    for layer in viewer.layers if viewer is not None else ():
        if OPENED in layer.metadata:
            return layer.metadata[OPENED]
    raise UserError("Open the image of these contours first; they are placed on it.")
