"""Small valid files of every kind that the readers read; what the mutations start from."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK as sitk
import torch
from pydicom.uid import DeflatedExplicitVRLittleEndian

from cmfnet_napari.core.case.folder import create_case
from cmfnet_napari.core.case.structures import Structure, save_structures
from cmfnet_napari.core.dicom.export.provenance import Maker
from cmfnet_napari.core.dicom.export.reference import read_reference
from cmfnet_napari.core.dicom.export.roi import make_rois
from cmfnet_napari.core.dicom.export.seg import new_segmentation, write_segmentation
from cmfnet_napari.core.files import write_json
from cmfnet_napari.core.fit import events
from cmfnet_napari.core.fit.config import make_config
from cmfnet_napari.core.fit.model_card import Card
from cmfnet_napari.core.images.grid import Grid
from cmfnet_napari.core.images.study import study_from_images
from cmfnet_napari.core.registration.registrations import Registration
from cmfnet_napari.core.review.places import Place
from cmfnet_napari.core.review.record import Record, write_record
from cmfnet_napari.core.strokes.entries import Stroke
from cmfnet_napari.learning.model.checkpoint import save_model
from cmfnet_napari.learning.model.cmfnet import build
from tests.dicom_files import kept_locale, write_structures

SHAPE, SPACING = (6, 9, 8), (3.0, 0.9, 1.1)  # z, y, x
SMALLEST = make_config("quick", width=2, patch=(16, 16, 16))
VIEWS = {
    "plane": "axial",
    "slices": [3, 4, 4],
    "center": [9.0, 4.5, 4.5],
    "zoom": 3.0,
    "brush": 2.0,
    "class": 2,
    "keep other classes": True,
    "layers": {"ct": {"visible": True, "opacity": 1.0, "limits": [-160.0, 240.0]}},
}
REAL = Path(__file__).parents[3] / "shared" / "data" / "sts" / "dicom_STS_025" / "CT"


def write_samples(root: Path) -> dict[str, list[Path]]:
    """Write a folder for each sample; return the samples' folders by kind.

    What a reader is given is the folder's only file, or the folder ``open`` in it, or the file
    whose name begins with ``open``.
    """
    makers: dict[str, list[Callable[[Path], None]]] = {
        "NIfTI": [lambda f: _image(f / "open.nii"), lambda f: _image(f / "open.nii.gz")],
        "NRRD": [
            lambda f: _image(f / "open.nrrd"),
            lambda f: _image(f / "open.nrrd", False),
            lambda f: _image(f / "open.nhdr", False),
        ],
        "MHA": [
            lambda f: _image(f / "open.mha"),
            lambda f: _image(f / "open.mhd", False),
            _listed,
        ],
        "DICOM": [
            write_series,
            _bare_series,
            _deflated_series,
            _mr_series,
            _oblique_series,
            *([_real_series] if REAL.exists() else []),
        ],
        "RTSTRUCT": [_structures, *([_real_structures] if REAL.exists() else [])],
        "SEG": [_segmentation],
        "scribbles": [
            lambda f: _scribbles(f / "open.nii.gz"),
            lambda f: _scribbles(f / "open.nrrd"),
        ],
        "model": [_model],
        "state": [_state],
        "preview": [_preview],
        "case": [_case],
        "cohort": [_cohort],
    }
    samples: dict[str, list[Path]] = {}
    for kind, several in makers.items():
        for number, make in enumerate(several):
            folder = root / f"{kind}-{number}"
            folder.mkdir(parents=True)
            make(folder)
            samples.setdefault(kind, []).append(folder)
    return samples


def opened(folder: Path) -> Path:
    """What a reader is given of a sample."""
    (path,) = (path for path in folder.glob("open*") if path.suffix != ".raw")
    return path


def ct() -> sitk.Image:
    """A CT of a few voxels, int16."""
    rng = np.random.default_rng(0)
    image = sitk.GetImageFromArray(rng.integers(-1000, 1000, SHAPE).astype(np.int16))
    image.SetSpacing(SPACING[::-1])
    image.SetOrigin((-4.0, 5.0, 60.0))
    return image


def scribbles() -> sitk.Image:
    """Scribbles of two classes on the CT's grid."""
    image = sitk.Image(ct()) * 0
    image[2:5, 3, 2], image[1:7, 1, 2] = 2, 1
    result = sitk.Cast(image, sitk.sitkUInt8)
    result.CopyInformation(ct())
    return result


def _image(path: Path, packed: bool = True) -> None:
    image = ct() if path.suffix != ".mha" else sitk.Cast(ct(), sitk.sitkFloat32)
    sitk.WriteImage(image, str(path), useCompression=packed)


def _listed(folder: Path) -> None:
    """A MetaImage whose slices are files of their own (``LIST``)."""
    names = []
    for k, plane in enumerate(sitk.GetArrayFromImage(ct())):
        names.append(f"slice{k}.raw")
        (folder / names[-1]).write_bytes(plane.tobytes())
    size = " ".join(map(str, SHAPE[::-1]))
    spacing = " ".join(map(str, SPACING[::-1]))
    head = f"ObjectType = Image\nNDims = 3\nDimSize = {size}\nElementSpacing = {spacing}\n"
    head += "Offset = -4 5 60\nElementType = MET_SHORT\nElementDataFile = LIST\n"
    (folder / "open.mhd").write_text(head + "\n".join(names) + "\n")


def _scribbles(path: Path) -> None:
    sitk.WriteImage(scribbles(), str(path), useCompression=True)


def write_series(
    folder: Path, tags: dict[str, str] | None = None, image: sitk.Image | None = None
) -> Path:
    """An image (the CT) as a DICOM series in the folder ``open``; `tags` go into every file."""
    out, image = folder / "open", ct() if image is None else image
    out.mkdir(parents=True)
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    number = "1.2.826.0.1.3680043.2.1125.4"
    for k in range(image.GetDepth()):
        plane = image[:, :, k]
        position = image.TransformIndexToPhysicalPoint((0, 0, k))
        own = {
            "0008|0060": "CT",
            "0008|0016": "1.2.840.10008.5.1.4.1.1.2",
            "0008|0018": f"{number}.{k + 1}",
            "0020|000d": f"{number}.998",
            "0020|000e": f"{number}.999",
            "0020|0013": str(k + 1),
            "0020|0032": "\\".join(f"{v:.6f}" for v in position),
            "0020|0037": "1\\0\\0\\0\\1\\0",
            "0018|0050": f"{image.GetSpacing()[2]:.6f}",
        }
        for key, value in {**own, **(tags or {})}.items():
            plane.SetMetaData(key, value)
        writer.SetFileName(str(out / f"slice{k:03d}.dcm"))
        with kept_locale():
            writer.Execute(plane)
    return out


def _mr_series(folder: Path) -> None:
    tags = {"0008|0060": "MR", "0008|0016": "1.2.840.10008.5.1.4.1.1.4", "0018|0081": "90"}
    write_series(folder, tags, sitk.Abs(ct()))


def _oblique_series(folder: Path) -> None:
    """Slices that lie aslant in the patient."""
    image = ct()
    turned = sitk.Euler3DTransform((0, 0, 0), 0.2, 0.1, 0.0).GetMatrix()
    image.SetDirection(turned)
    for path in sorted(write_series(folder, image=image).iterdir()):
        data = pydicom.dcmread(path)
        data.ImageOrientationPatient = [turned[k] for k in (0, 3, 6, 1, 4, 7)]
        data.save_as(path)


def _segmentation(folder: Path) -> None:
    """A segmentation beside its series."""
    series = write_series(folder, {"0020|0052": "1.2.826.0.1.3680043.2.1125.4.997"})
    reference = read_reference(series)
    labels = np.zeros(SHAPE, np.uint8)
    labels[1:4, 2:6, 1:7], labels[3:5, 6:8, 2:4] = 1, 2
    found = new_segmentation(reference, labels, make_rois([1, 2]), Maker())
    write_segmentation(found, series / "SEG.dcm")


def _bare_series(folder: Path) -> None:
    """Without preamble and file meta information, as old archives keep it."""
    for path in sorted(write_series(folder).iterdir()):
        data = pydicom.dcmread(path)
        data.add_new(0x00280120, "SS", -1000)  # padding
        del data.file_meta
        data.preamble = None
        data.save_as(path, implicit_vr=True, little_endian=True, enforce_file_format=False)


def _deflated_series(folder: Path) -> None:
    for path in sorted(write_series(folder).iterdir()):
        data = pydicom.dcmread(path)
        data.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
        data.save_as(path, enforce_file_format=True)


def _real_series(folder: Path) -> None:
    (folder / "open").mkdir()
    for file in sorted((REAL / "image").glob("*.dcm"))[:3]:
        shutil.copy(file, folder / "open")


def _structures(folder: Path) -> None:
    """A structure set beside a series, as exports have it: a box with a hole, and a line."""
    write_series(folder)
    rings = [
        np.array([(a, b, 60.0 + 3 * k) for a, b in corners])
        for k in range(1, 4)
        for corners in (
            [(-3, 6), (2, 6), (2, 11), (-3, 11)],
            [(-2, 7), (1, 7), (1, 9), (-2, 9)],
        )
    ]
    rois = [{"name": "GTV", "contours": rings}, {"name": "Line", "contours": [rings[0][:2]]}]
    write_structures(folder / "open" / "RS.dcm", rois)


def _real_structures(folder: Path) -> None:
    write_series(folder)
    shutil.copy(REAL / "mask" / "RS.dcm", folder / "open" / "RS.dcm")


def _model(folder: Path) -> None:
    card = Card(config=SMALLEST, classes=2, steps=5, metrics={"dsc": 0.8}, data=("ab",))
    save_model(build(SMALLEST, 2), card, folder / "open.safetensors")


def _state(folder: Path) -> None:
    state = {"weights": build(SMALLEST, 2).state_dict(), "step": 7, "best": {"agreement": 0.9}}
    (folder / "open").mkdir()
    torch.save(state, folder / "open" / "state.pt")


def _preview(folder: Path) -> None:
    np.save(folder / "open.npy", sitk.GetArrayFromImage(scribbles()))


def _case(folder: Path) -> None:
    case = create_case(folder / "open", study_from_images(ct(), sitk.Cast(ct(), sitk.sitkFloat32)))
    codes = sitk.GetArrayFromImage(scribbles())
    voxels = np.flatnonzero(codes)
    case.journal.append(Stroke(voxels, np.zeros(voxels.size, np.uint8), codes.ravel()[voxels]))
    case.journal.undo()
    case.journal.redo()
    case.register(Registration.of(np.eye(4), "by hand"))
    save_structures(case, [Structure("GTV", "#ff0000", case.scribbles() > 1)])
    run = case.new_run("quick")
    case.close()
    (case.folder / "in-use.json").write_text('{"user": "a", "computer": "b", "process": 1}')
    write_json(case.folder / "views.json", VIEWS)
    write_record(_review(), case.folder)
    write_json(run / "config.json", {"config": SMALLEST.model_dump(mode="json"), "study": "ab"})
    np.save(run / "preview.npy", codes)
    for name in ("prediction.nii.gz", "probabilities.nii.gz"):
        sitk.WriteImage(scribbles(), str(run / name))
    names = {name: f"runs/{run.name}/{name}" for name in ("preview.npy", "prediction.nii.gz")}
    said = [
        events.Started(run=f"runs/{run.name}", device="cpu", precision="x", steps=9, parameters=1),
        events.Preview(step=3, labels=names["preview.npy"], agreement=0.5),
        events.Finished(
            model="", labels=names["prediction.nii.gz"], probabilities="", volumes_ml={"Tumour": 1}
        ),
    ]
    text = "".join(events.encode(event) + "\n" for event in said)
    (run / "events.jsonl").write_text(text, encoding="utf-8")


def _review() -> Record:
    labels = np.ones((3, 4, 5), dtype=np.uint8)
    place = Place((1, 1, 1), np.s_[0:2, 0:2, 0:2], 0.1, 0.9, 0.5, "border", 45.0)
    record = Record().with_seen("axial", 1, "0123456789abcdef")
    return record.with_decision(place, "accepted", labels, Grid(labels.shape))


def _cohort(folder: Path) -> None:
    rows = []
    for number, split in enumerate(("train", "val")):
        image = ct() + number
        sitk.WriteImage(image, str(folder / f"ct{number}.nii.gz"))
        sitk.WriteImage(scribbles(), str(folder / f"s{number}.nii.gz"))
        rows.append((f"case {number}", f"ct{number}.nii.gz", f"s{number}.nii.gz", split))
    with open(folder / "open.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("case", "ct", "scribbles", "split"), *rows])
