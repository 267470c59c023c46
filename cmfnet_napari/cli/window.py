"""Commands that open the window or say what it needs: demo, open, doctor."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cmfnet_napari.cli.options import (
    Json,
    Modality,
    Mr,
    On,
    Second,
    Via,
    check_via,
    print_result,
    second_image,
)


def demo(
    headless: Annotated[bool, typer.Option(help="Without a window; write files instead")] = False,
    out: Annotated[Path, typer.Option(help="Folder for what is written")] = Path("cmfnet-demo"),
    as_json: Json = False,
) -> None:
    """The main job on the built-in synthetic patient, end to end."""
    from cmfnet_napari.cli.demo import has_display, run_demo, show_demo

    if not headless and has_display():
        from cmfnet_napari.gui.app import open_window

        open_window(demo=True)
        return
    from cmfnet_napari.cli.progress import fit_progress

    with fit_progress() as progress:
        result = run_demo(out, progress)
    if as_json:
        print_result(result, True)
    else:
        show_demo(result)


def open_(
    image: Annotated[
        Path | None,
        typer.Argument(help="CT, MR or PET file or DICOM series folder; else an empty window"),
    ] = None,
    second: Second = None,
    mr: Mr = None,
    modality: Modality = "",
    scribbles: Annotated[Path | None, typer.Option(help="Scribbles drawn before")] = None,
    on: On = None,
    via: Via = None,
) -> None:
    """The window on a study, or the empty window."""
    check_via(on, via)
    other, kinds = second_image(second, mr, modality)
    if image is None and (other is not None or scribbles is not None):
        raise typer.BadParameter(
            "a second image or scribbles are opened together with the first: name it"
        )
    from cmfnet_napari.core.images.modality import parse_modalities
    from cmfnet_napari.gui.app import open_window

    modalities = parse_modalities(kinds.split(","))
    open_window(image, other, scribbles, modalities=modalities, on=on or "", via=via)


def doctor(as_json: Json = False, on: On = None, via: Via = None) -> None:
    """What this machine can do, or another one: GPU, memory, Qt, OpenGL, versions."""
    from cmfnet_napari.cli.doctor import examine, report

    check_via(on, via)
    if on is not None:
        from cmfnet_napari.cli.other_computers import show_doctor

        show_doctor(on, via, as_json)
        return
    if as_json:
        print_result(examine(), True)
    else:
        report()
