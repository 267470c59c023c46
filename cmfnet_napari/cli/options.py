"""What several commands of ``cmfnet`` take, and how their results are printed."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cmfnet_napari import api
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.files import JsonObject
from cmfnet_napari.core.privacy import printable

if TYPE_CHECKING:
    from cmfnet_napari.core.images.study import Study


def _known(modality: str) -> str:
    """Refuse what is no modality as wrong use."""
    if not modality:
        return modality
    from cmfnet_napari.core.images.modality import parse_modalities

    try:
        parse_modalities(modality.split(","))
    except UserError as error:
        raise typer.BadParameter(str(error)) from error
    return modality


Image = Annotated[
    Path,
    typer.Argument(help="CT, MR or PET: NIfTI, NRRD, MHA/MHD or a DICOM series folder"),
]
Second = Annotated[
    Path | None,
    typer.Option(help="Second image of the patient, registered to the first: of any kind"),
]
Mr = Annotated[Path | None, typer.Option(help="The second image, if it is an MR")]
Modality = Annotated[
    str,
    typer.Option(
        callback=_known,
        help="What the images are: CT, MR or PT, two with a comma; else headers or values tell",
    ),
]
Subtract = Annotated[
    float, typer.Option(help="From a CT's values: 1024 where they are no Hounsfield units")
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="FIELD=VALUE", help="Change one setting of the preset; repeat"),
]
On = Annotated[str | None, typer.Option(metavar="HOST", help="On another computer, as in ssh HOST")]
Via = Annotated[str | None, typer.Option(help="Command that starts it there, as srun --gres=gpu:1")]
Scheduler = Annotated[
    str, typer.Option(help="Where jobs run: local, slurm, or a scheduler such as tcp://host:8786")
]
AtOnce = Annotated[
    int | None,
    typer.Option(min=1, help="Jobs at once; else two on this machine, where memory allows"),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object last")]


def second_image(second: Path | None, mr: Path | None, modality: str) -> tuple[Path | None, str]:
    """The second image, and what both are, however it was said.

    Raises
    ------
    typer.BadParameter
        Both options were given.
    """
    if second is not None and mr is not None:
        raise typer.BadParameter("there is one second image: give --second or --mr")
    if mr is None:
        return second, modality
    first, _, said = modality.partition(",")
    return mr, f"{first},{said or 'MR'}"


def open_images(
    first: Path, second: Path | None, mr: Path | None, modality: str, subtract: float
) -> Study:
    """A study from what a command was given; see `api.open_study`."""
    other, kinds = second_image(second, mr, modality)
    return api.open_study(first, other, modalities=kinds.split(","), subtract=subtract)


def check_via(on: str | None, via: str | None) -> None:
    """Refuse a way to start something elsewhere where nothing is started elsewhere.

    Raises
    ------
    UserError
        There is one, and no host.
    """
    if via and on is None:
        raise UserError("--via says what starts it on another computer: give --on HOST, too.")


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


def warn(sentence: str) -> None:
    """Print what is to be checked, on a line by itself beside the result."""
    print(f"cmfnet: warning: {printable(sentence)}", file=sys.stderr)


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
