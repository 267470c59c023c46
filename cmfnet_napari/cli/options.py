"""What several commands of ``cmfnet`` take, and how their results are printed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from cmfnet_napari.core.files import JsonObject

Ct = Annotated[Path, typer.Argument(help="CT: NIfTI, NRRD, MHA/MHD or a DICOM series folder")]
Mr = Annotated[Path | None, typer.Option(help="MR of the same patient, registered to the CT")]
Subtract = Annotated[
    float, typer.Option(help="From the CT's values: 1024 where they are no Hounsfield units")
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="FIELD=VALUE", help="Change one setting of the preset; repeat"),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object last")]


def read_settings(settings: list[str] | None) -> JsonObject:
    """``["width=8", "fusion=none"]`` → {"width": 8, "fusion": "none"}; values are JSON or text.

    Raises
    ------
    typer.BadParameter
        A text without an equals sign.
    """
    changes: JsonObject = {}
    for text in settings or []:
        field, equals, value = text.partition("=")
        if not equals:
            raise typer.BadParameter(f"{text!r} is not FIELD=VALUE, such as width=8")
        try:
            changes[field.strip()] = json.loads(value)
        except ValueError:
            changes[field.strip()] = value
    return changes


def print_result(result: Mapping[str, object], as_json: bool) -> None:
    """Print a result as one JSON object, or as a table."""
    if as_json:
        print(json.dumps(result))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(show_header=False, box=None)
    for key, value in result.items():
        text = json.dumps(value) if isinstance(value, dict | list) else str(value)
        table.add_row(key.replace("_", " "), text)
    Console(markup=False, highlight=False).print(table)
