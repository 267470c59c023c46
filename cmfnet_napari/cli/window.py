"""Commands that open the window or say what it needs: demo, open, doctor."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cmfnet_napari.cli.options import Json, Mr, print_result


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
    ct: Annotated[
        Path | None, typer.Argument(help="CT file or DICOM series folder; else an empty window")
    ] = None,
    mr: Mr = None,
    scribbles: Annotated[Path | None, typer.Option(help="Scribbles drawn before")] = None,
) -> None:
    """The window on a study, or the empty window."""
    if ct is None and (mr is not None or scribbles is not None):
        raise typer.BadParameter("an MR or scribbles are opened together with their CT: name it")
    from cmfnet_napari.gui.app import open_window

    open_window(ct, mr, scribbles)


def doctor(as_json: Json = False) -> None:
    """What this machine can do: GPU, memory, Qt, OpenGL, versions."""
    from cmfnet_napari.cli.doctor import examine, report

    if as_json:
        print_result(examine(), True)
    else:
        report()
