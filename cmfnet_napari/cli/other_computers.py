"""Commands about other computers: what is put there and deleted, and what ssh starts there."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from cmfnet_napari.cli.options import Json, Via, print_result
from cmfnet_napari.core.errors import UserError


def on(
    host: Annotated[str, typer.Argument(help="As in ssh HOST")],
    what: Annotated[
        Literal["install", "delete", "stop"],
        typer.Argument(
            help="This version of cmfnet; all images and results of your account; its trainings "
            "that nobody follows, their states kept"
        ),
    ],
    wheel: Annotated[
        Path | None, typer.Option(help="Package to send along, where there is no registry")
    ] = None,
    via: Via = None,
    as_json: Json = False,
) -> None:
    """Prepare another computer, or end or delete what is there."""
    from cmfnet_napari.remote.hosts import host_called
    from cmfnet_napari.remote.installing import delete, install, stop

    there = host_called(host, via)
    if what == "install":
        print(f"Installing on {host}; this takes some minutes.", file=sys.stderr)
        install(there, wheel)
        print_result({"installed on": host}, as_json)
    elif what == "stop":
        print_result({"trainings stopped": stop(there)}, as_json)
    else:
        print_result({"cases deleted": delete(there)}, as_json)


def show_doctor(on: str, via: str | None, as_json: bool) -> None:
    """What another computer can do."""
    from cmfnet_napari.cli.doctor import report
    from cmfnet_napari.remote.hosts import host_called
    from cmfnet_napari.remote.installing import ask_doctor, useful_sentences

    welcome, facts, skew = ask_doctor(host_called(on, via))
    room = {"disk_free_gib": welcome.disk / 2**30, "cases_there": welcome.cases}
    sentences = [*useful_sentences(facts), *([skew] if skew else [])]
    facts = {**facts, **room, "sentences": sentences}
    if as_json:
        print_result(facts, True)
        return
    try:
        report(facts)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"What cmfnet doctor says on {on} cannot be read. Install it there again: 'cmfnet on "
            f"{on} install'."
        ) from error
    free = welcome.disk / 2**30
    print(f"{free:.1f} GiB are free there for images; {welcome.cases} cases lie there.")


def remote_serve() -> None:
    """Our end on another computer, which ssh starts."""
    from cmfnet_napari.remote.serving import serve_there

    raise typer.Exit(serve_there())


def remote_keep(root: Path, case: str, start: int) -> None:
    """Keeps a worker alive while nobody is on the line."""
    from cmfnet_napari.remote.keeper import keep

    raise typer.Exit(keep(root, case, start))
