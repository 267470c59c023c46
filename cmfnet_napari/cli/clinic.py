"""Commands for a department: effort over all cases; a model on patients of its own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cmfnet_napari.cli.options import Device, Json, Settings, print_result, read_settings, warn
from cmfnet_napari.core.errors import UserError

if TYPE_CHECKING:
    from cmfnet_napari.core.report.audit import Median


def audit(
    out: Annotated[Path, typer.Option(help="Folder for the tables and the picture")] = Path(
        "cmfnet-audit"
    ),
    cases: Annotated[
        Path | None, typer.Option(help="Folder with case folders; else this computer's")
    ] = None,
    as_json: Json = False,
) -> None:
    """Time, strokes, corrections and volumes of all cases: medians by model, what stands out."""
    from cmfnet_napari.cli.progress import step_progress
    from cmfnet_napari.core.case.find_case import cases_folder
    from cmfnet_napari.core.report.audit import audit_cases, medians, write_audit

    with step_progress() as show:
        found, left_out = audit_cases(
            cases or cases_folder(), lambda share: show("Reading the cases", share)
        )
    for sentence in left_out:
        warn(sentence)
    if not found:
        raise UserError(
            f"None of {len(left_out)} cases could be read, and nothing was written. Give another "
            "folder with --cases."
        )
    written, rows = [str(path) for path in write_audit(found, out)], medians(found)
    if as_json:
        said = [
            {
                "model": one.model,
                "measure": one.figure.name,
                "cases": one.cases,
                "median": round(one.median, 3),
                "quartiles": [round(one.low, 3), round(one.high, 3)],
                "cases_that_stand_out": list(one.outliers),
            }
            for one in rows
        ]
        result = {"cases": len(found), "left_out": left_out, "medians": said, "written": written}
        print_result(result, True)
        return
    _show(rows)
    print_result({"cases": len(found), "not counted": len(left_out), "written": written}, False)


def commission(
    folder: Annotated[Path, typer.Argument(help="Contoured patients as DICOM, ten or so")],
    out: Annotated[Path, typer.Option(help="Folder for the page; the same one to go on")],
    model: Annotated[str, typer.Option(help="Model: a name or a file")] = "limb-sarcoma",
    preset: Annotated[
        list[str] | None,
        typer.Option(help="Compared with the model, from strokes alone; repeat; none: no preset"),
    ] = None,
    users: Annotated[
        str, typer.Option(help="Simulated users, with commas")
    ] = "careful,hasty,sloppy",
    structure: Annotated[
        list[str] | None,
        typer.Option(
            help="Name of the contour; repeat where patients have others; else what begins with GTV"
        ),
    ] = None,
    register: Annotated[bool, typer.Option("--register", help="Register the second image")] = False,
    settings: Settings = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Try a model on patients of your own; write the page to sign. Killed, it goes on."""
    from cmfnet_napari.cli.progress import training_progress
    from cmfnet_napari.learning.study.commission import commission as run
    from cmfnet_napari.learning.study.commission_plan import Plan

    plan = Plan(
        folder, out, model,
        presets=tuple(name for name in preset or ["quick"] if name != "none"),
        users=tuple(name.strip() for name in users.split(",")),
        structures=tuple(structure or ()), register=register, changes=read_settings(settings),
        device=device,
    )  # fmt: skip
    with training_progress() as hooks:
        result = run(plan, hooks)
    if result is None:
        raise UserError(f"Stopped; {out} keeps what is done. Give the same command to go on.")
    for sentence in result["left_out"]:
        warn(sentence)
    print_result(result, as_json)


def _show(rows: list[Median]) -> None:
    """A row a model and measure."""
    from rich.console import Console
    from rich.table import Table

    table = Table("model", "measure", box=None)
    for title in ("cases", "median", "quartiles", "stand out"):
        table.add_column(title, justify="right")
    for one in rows:
        median, low, high = (
            f"{value:.{one.figure.digits}f}" for value in (one.median, one.low, one.high)
        )
        names = " ".join(one.outliers) or "–"
        table.add_row(
            one.model, one.figure.title, str(one.cases), median, f"{low} to {high}", names
        )
    Console(markup=False, highlight=False).print(table)
