"""Commands from files to files, without a network: import, scribble, evaluate, report, export."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from cmfnet_napari import api
from cmfnet_napari.cli.options import (
    Image,
    Json,
    Modality,
    Mr,
    Second,
    Subtract,
    open_images,
    print_result,
    warn,
)
from cmfnet_napari.core.files import JsonObject, check_outputs
from cmfnet_napari.core.privacy import printable


def evaluate(
    prediction: Annotated[Path, typer.Argument(help="Labels to judge")],
    reference: Annotated[Path, typer.Argument(help="Labels to judge by, on the same grid")],
    tolerance_mm: Annotated[float, typer.Option(help="Of the surface DSC")] = 2.0,
    tolerance: Annotated[
        list[str] | None,
        typer.Option(metavar="CLASS=MM", help='Of one class, such as "class 2=3"; repeat'),
    ] = None,
    as_json: Json = False,
) -> None:
    """DSC, distances, surface DSC, added path and volumes, per class and mean."""
    own = _tolerances(tolerance or ())
    result = api.evaluate(prediction, reference, tolerance_mm=tolerance_mm, tolerances_mm=own)
    if as_json:
        print_result(result.as_dict(), True)
    else:
        _show_metrics(result.as_dict())


def report(
    run: Annotated[Path, typer.Argument(help="Folder of a run that is complete")],
    image: Image,
    out: Annotated[Path, typer.Option(help="PDF to write")],
    second: Second = None,
    mr: Mr = None,
    modality: Modality = "",
    subtract: Subtract = 0.0,
    reference: Annotated[Path | None, typer.Option(help="Contour to compare with")] = None,
    as_json: Json = False,
) -> None:
    """One page of PDF: pictures, volumes, agreement, what was looked at."""
    from cmfnet_napari.core.report.from_run import report_run

    check_outputs([(out, (".pdf",))], [image, second, mr, reference])
    written = report_run(run, open_images(image, second, mr, modality, subtract), out, reference)
    print_result({"report": str(written)}, as_json)


def scribble(
    mask: Annotated[Path, typer.Argument(help="0 background, 1, 2… classes")],
    out: Annotated[Path, typer.Option(help="Scribbles to write, on the mask's grid")],
    image: Annotated[
        Path | None, typer.Option("--image", "--ct", help="Keeps background inside the body")
    ] = None,
    margin_mm: Annotated[float, typer.Option(help="Kept free around the masks")] = 10.0,
    coverage: Annotated[float, typer.Option(help="Background, percent of all voxels")] = 0.06,
    classes: Annotated[
        str, typer.Option(help="Classes that get strokes too: all, or numbers such as 1,3")
    ] = "",
    class_margin_mm: Annotated[float, typer.Option(help="Kept free inside the masks")] = 2.0,
    class_coverage: Annotated[float, typer.Option(help="A class, percent of all voxels")] = 0.04,
    whole: Annotated[bool, typer.Option(help="The whole eroded region, not strokes")] = False,
    modality: Modality = "",
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same strokes")] = 0,
    as_json: Json = False,
) -> None:
    """Erode masks into automatic background (and optional class) scribbles."""
    from cmfnet_napari.core.images.modality import parse_modalities
    from cmfnet_napari.core.images.volume import WRITE_ENDINGS
    from cmfnet_napari.core.strokes.from_masks import Erosion, scribble_masks

    wanted, kind = _numbers(classes), parse_modalities(modality.split(","))[0]
    check_outputs([(out, WRITE_ENDINGS)], [mask, image])
    background = Erosion(margin_mm, coverage / 100, whole, seed)
    foreground = Erosion(class_margin_mm, class_coverage / 100, whole, seed)
    result = scribble_masks(mask, out, image, wanted, background, foreground, kind)
    print_result(result, as_json)


def import_(
    paths: Annotated[
        list[Path], typer.Argument(help="DICOM folders or files; or one image file or two")
    ],
    case: Annotated[Path, typer.Option(help="New case folder")],
    first: Annotated[
        str | None,
        typer.Option("--first", "--ct", help="UID of the series that is drawn on; else proposed"),
    ] = None,
    second: Annotated[
        str | None, typer.Option("--second", "--mr", help="UID of the second series, or none")
    ] = None,
    structures: Annotated[
        bool, typer.Option("--structures", help="Load structure sets and segmentations too")
    ] = False,
    register: Annotated[
        bool, typer.Option("--register", help="Register the second image to the first, rigidly")
    ] = False,
    any_frame: Annotated[
        bool,
        typer.Option("--any-frame", help="Place contours of another frame of reference as written"),
    ] = False,
    modality: Modality = "",
    subtract: Subtract = 0.0,
    as_json: Json = False,
) -> None:
    """A case folder from a patient's DICOM: images, registration, structures."""
    from cmfnet_napari.cli.progress import step_progress
    from cmfnet_napari.core.dicom.importing.import_case import import_patient, read_patient
    from cmfnet_napari.core.images.modality import parse_modalities

    with step_progress() as progress:
        kinds = parse_modalities(modality.split(","))
        loaded, series = read_patient(
            paths, first, second, structures, register, any_frame, progress, kinds
        )
    result = {"series": series, **import_patient(loaded, case, subtract)}
    for warning in result.get("registration", {}).get("warnings", []):
        warn(warning)
    print_result(result, as_json)


def export(
    segmentation: Annotated[
        Path, typer.Argument(help="0 background, 1, 2… classes; or a case folder: as corrected")
    ],
    reference: Annotated[Path, typer.Option(help="Folder with the DICOM series it was drawn on")],
    out: Annotated[Path, typer.Option(help="File to write: .dcm, or .nii.gz for nifti")],
    kind: Annotated[str, typer.Option("--format", help="rtstruct, seg or nifti")] = "rtstruct",
    add_to: Annotated[
        Path | None, typer.Option(help="Structure set to take over; that file stays as it is")
    ] = None,
    name: Annotated[list[str] | None, typer.Option(help="Structure's name; one a class")] = None,
    type_: Annotated[
        list[str] | None,
        typer.Option("--type", help="GTV, CTV, PTV, ORGAN, AVOIDANCE, EXTERNAL; else by its name"),
    ] = None,
    model: Annotated[
        str, typer.Option(help="Name of the model that made it; else what the case says, or CmFNet")
    ] = "",
    automatic: Annotated[
        bool, typer.Option("--automatic", help="The model saw no stroke of this patient")
    ] = False,
    manual: Annotated[
        bool, typer.Option("--manual", help="Drawn by hand, without a model")
    ] = False,
    series: Annotated[str, typer.Option(help="Series Instance UID, if there are several")] = "",
    overwrite: Annotated[bool, typer.Option(help="Replace the file if it is there")] = False,
    image: Annotated[
        Path | None,
        typer.Option("--image", "--ct", help="What was contoured: its voxels must be the series'"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write contours as a structure set or DICOM SEG, once they read back as they should."""
    from cmfnet_napari.core.dicom.export.formats import FORMATS
    from cmfnet_napari.core.dicom.export.roi import types_for
    from cmfnet_napari.core.nomenclature.propose import remark
    from cmfnet_napari.core.review.case_contour import superseded

    if automatic and manual:
        raise typer.BadParameter("a contour is --automatic or --manual, not both: give one")
    if superseded(segmentation):
        warn(
            "this is the model's own contour, which was corrected by hand since, or lost a class. "
            "Give the case folder to export the contour of record."
        )
    receipt = api.export_as(
        kind,
        segmentation,
        reference,
        out,
        names=name or (),
        types=type_ or (),
        model=model,
        add_to=add_to,
        how="MANUAL" if manual else "AUTOMATIC" if automatic else None,
        series=series,
        overwrite=overwrite,
        drawn_on=image,
    )
    if FORMATS[kind].dicom:
        names = [structure.name for structure in receipt.lines]
        for written, roi_type in zip(names, types_for(names, type_ or ()), strict=True):
            if said := remark(written, roi_type):
                print(f"cmfnet: note: {printable(said)}", file=sys.stderr)
    print_result({"written": str(out), **receipt.as_dict()}, as_json)


def _numbers(text: str) -> list[int] | None:
    """``all`` → None, ``""`` → [], ``1,3`` → [1, 3]."""
    if text.strip() == "all":
        return None
    try:
        return [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise typer.BadParameter(f"{text!r} is neither 'all' nor numbers such as 1,3") from None


def _tolerances(texts: Sequence[str]) -> dict[str, float]:
    """``["class 2=3"]`` → {"class 2": 3.0}."""
    found = {}
    for text in texts:
        name, _, mm = text.rpartition("=")
        if not name.strip():
            raise typer.BadParameter(f"{text!r} is not CLASS=MM; --tolerance-mm is for all classes")
        try:
            found[name.strip()] = float(mm)
        except ValueError:
            raise typer.BadParameter(f"{text!r} is not CLASS=MM, such as 'class 2=3'") from None
    return found


def _show_metrics(values: JsonObject) -> None:
    """One row a class, and their mean."""
    from rich.console import Console
    from rich.table import Table

    rows = {**values["classes"], "mean": values["mean"]}
    names = list(values["mean"])
    table = Table("class", *(name.replace("_", " ") for name in names), box=None)
    for row, numbers in rows.items():
        cells = ("–" if numbers[n] is None else f"{numbers[n]:.3f}" for n in names)
        table.add_row(row, *cells)
    Console(markup=False, highlight=False).print(table)
    own = (f"{name}: {mm:g} mm" for name, mm in values["tolerances_mm"].items())
    print("; ".join([f"Surface DSC at {values['tolerance_mm']:g} mm", *own]) + ".")
