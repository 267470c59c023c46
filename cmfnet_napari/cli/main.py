"""The ``cmfnet`` command: one small function a command.

Exit status: 0 done; 2 wrong use; 1 bad data, with one clear line on stderr. With ``--json`` the
last line on stdout is one JSON object.
"""

from __future__ import annotations

import os
import sys
import warnings
from importlib.metadata import version
from io import TextIOWrapper
from typing import Annotated, TextIO

import typer

from cmfnet_napari.cli import (
    clinic,
    cohorts,
    file_commands,
    fitting,
    other_computers,
    teaching,
    window,
)
from cmfnet_napari.cli.options import warn
from cmfnet_napari.cli.pacs import pacs
from cmfnet_napari.cli.reviews import review
from cmfnet_napari.core.errors import DataWarning, UserError
from cmfnet_napari.core.privacy import printable

DEBUG_VARIABLE = "CMFNET_DEBUG"

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

app.add_typer(pacs, name="pacs")
app.add_typer(review, name="review")
app.command()(window.demo)
app.command("open")(window.open_)
app.command()(fitting.fit)
app.command()(cohorts.train)
app.command()(cohorts.study)
app.command()(cohorts.batch)
app.command()(teaching.material)
app.command()(teaching.pretrain)
app.command()(fitting.describe)
app.command()(fitting.predict)
app.command()(file_commands.evaluate)
app.command()(file_commands.report)
app.command()(file_commands.scribble)
app.command("import")(file_commands.import_)
app.command()(file_commands.export)
app.command()(clinic.commission)
app.command()(clinic.audit)
app.command()(fitting.worker)
app.command("on")(other_computers.on)
app.command(hidden=True)(fitting.train_worker)
app.command(hidden=True)(other_computers.remote_serve)
app.command(hidden=True)(other_computers.remote_keep)
app.command()(window.doctor)


def main() -> None:
    """Run the command line; an error becomes one line and exit status 1."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a plain ASCII locale must not stop a table
    warnings.showwarning = _show_warning
    try:
        app()
    except UserError as error:
        print(f"cmfnet: {printable(str(error))}", file=sys.stderr)
    except Exception as error:
        if os.environ.get(DEBUG_VARIABLE):
            raise
        print(
            f"cmfnet: unexpected {type(error).__name__}: {printable(str(error))} "
            f"(set {DEBUG_VARIABLE}=1 and run again to see where).",
            file=sys.stderr,
        )
    sys.exit(1)


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """What is to be checked in a file is one line; warnings of libraries stay as they were."""
    if issubclass(category, DataWarning):
        warn(str(message))
    else:
        print(warnings.formatwarning(message, category, filename, lineno), file=sys.stderr, end="")


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"cmfnet {version('cmfnet-napari')}")
        raise typer.Exit


@app.callback()
def options(
    version_: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print it and exit"),
    ] = False,
) -> None:
    """From a few scribbles on a patient's CT and MR to a 3D tumour contour."""
