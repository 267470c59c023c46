"""Commands for a department: effort over all cases."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cmfnet_napari.cli.options import Json, print_result

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
        print(f"cmfnet: warning: {sentence}", file=sys.stderr)
    written = [str(path) for path in write_audit(found, out)] if found else []
    rows = medians(found) if found else []
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
