"""``cmfnet pacs``: the known PACS, and what goes to and comes from them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from cmfnet_napari.core.dicom.pacs.transfer import Progress

pacs = typer.Typer(help="Find, fetch and send DICOM: DICOMweb and C-FIND, C-MOVE, C-STORE.")

Name = Annotated[str, typer.Argument(help="Name of a PACS that was added")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object last")]


@pacs.command("list")
def list_(as_json: Json = False) -> None:
    """The PACS that are known here."""
    from cmfnet_napari.core.dicom.pacs.nodes import load_nodes

    _show("pacs", [{"name": n.name, "address": n.address} for n in load_nodes().values()], as_json)


@pacs.command()
def add(
    name: Annotated[str, typer.Argument(help="What it is called here")],
    url: Annotated[str, typer.Option(help="Of its DICOMweb service")] = "",
    host: Annotated[str, typer.Option(help="Else: its address for DICOM messages")] = "",
    port: Annotated[int, typer.Option(help="Its port")] = 104,
    title: Annotated[str, typer.Option(help="Its application entity title")] = "",
    our_title: Annotated[
        str, typer.Option(help="This computer's, as the PACS knows it")
    ] = "CMFNET",
    our_port: Annotated[int, typer.Option(help="Where it sends what is fetched")] = 11112,
    tls: Annotated[bool, typer.Option(help="Encrypt DICOM messages")] = False,
    ca_file: Annotated[str, typer.Option(help="PEM file of whom to trust")] = "",
    cert_file: Annotated[str, typer.Option(help="PEM file of this computer's certificate")] = "",
    key_file: Annotated[str, typer.Option(help="PEM file of its key")] = "",
    proxy: Annotated[str, typer.Option(help="URL of a proxy to DICOMweb; none else is used")] = "",
    user: Annotated[
        str, typer.Option(help="The password is asked for, or CMFNET_PACS_PASSWORD")
    ] = "",
    timeout_s: Annotated[float, typer.Option(help="Longest wait for an answer, seconds")] = 30.0,
) -> None:
    """Add a PACS to the list, or change it; a password goes to the system's keyring."""
    from cmfnet_napari.core.dicom.pacs.nodes import PASSWORD_VARIABLE, make_node, save_node

    node = make_node(
        name=name,
        url=url,
        host=host,
        port=port,
        title=title,
        our_title=our_title,
        our_port=our_port,
        tls=tls,
        ca_file=ca_file,
        cert_file=cert_file,
        key_file=key_file,
        proxy=proxy,
        user=user,
        timeout_s=timeout_s,
    )
    ask = user and not os.environ.get(PASSWORD_VARIABLE)
    save_node(node, typer.prompt("Password", hide_input=True, err=True) if ask else "")


@pacs.command()
def remove(name: Name) -> None:
    """Forget a PACS and its password."""
    from cmfnet_napari.core.dicom.pacs.nodes import remove_node

    remove_node(name)


@pacs.command()
def echo(name: Name) -> None:
    """Ask whether a PACS is there and lets us in."""
    from cmfnet_napari.core.dicom.pacs.nodes import find_node
    from cmfnet_napari.core.dicom.pacs.transfer import connect

    connect(find_node(name)).echo()
    print(f"{name} answers.")


@pacs.command()
def find(
    name: Name,
    patient_id: Annotated[str, typer.Option(help="With * and ?")] = "",
    patient_name: Annotated[str, typer.Option(help="With * and ?")] = "",
    date: Annotated[str, typer.Option(help="YYYYMMDD, or a range YYYYMMDD-YYYYMMDD")] = "",
    modality: Annotated[str, typer.Option(help="Such as CT")] = "",
    study: Annotated[str, typer.Option(help="List the series of this study UID instead")] = "",
    as_json: Json = False,
) -> None:
    """Look for studies, or list the series of one."""
    from cmfnet_napari.core.dicom.pacs import transfer as service
    from cmfnet_napari.core.dicom.pacs.nodes import find_node
    from cmfnet_napari.core.dicom.pacs.query import Query

    node = find_node(name)
    if study:
        found = [asdict(series) for series in service.find_series(node, study)]
        _show("series", found, as_json)
        return
    query = Query(patient_id, patient_name, date, modality)
    _show("studies", [asdict(one) for one in service.find(node, query)], as_json)


@pacs.command()
def fetch(
    name: Name,
    study: Annotated[str, typer.Argument(help="Study UID, as `find` shows it")],
    out: Annotated[Path, typer.Option(help="New folder; holds all files or none")],
    series: Annotated[str, typer.Option(help="Only this series UID")] = "",
    as_json: Json = False,
) -> None:
    """Fetch a study, or one of its series."""
    from cmfnet_napari.core.dicom.pacs import transfer as service
    from cmfnet_napari.core.dicom.pacs.nodes import find_node

    with _bar("Fetching") as progress:
        count = service.fetch(find_node(name), study, out, series, progress)
    _show("fetched", [{"folder": str(out), "files": count}], as_json)


@pacs.command()
def send(
    name: Name,
    paths: Annotated[list[Path], typer.Argument(help="DICOM files, or folders of them")],
    as_json: Json = False,
) -> None:
    """Send DICOM files."""
    from cmfnet_napari.core.dicom.pacs import transfer as service
    from cmfnet_napari.core.dicom.pacs.nodes import find_node

    with _bar("Sending") as progress:
        count = service.send(find_node(name), paths, progress)
    _show("sent", [{"pacs": name, "files": count}], as_json)


@contextmanager
def _bar(words: str) -> Iterator[Progress]:
    """A bar on a terminal; elsewhere nothing."""
    from rich.console import Console
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    with Bar(console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(words, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _show(what: str, rows: Sequence[Mapping[str, object]], as_json: bool) -> None:
    """One row each, or one JSON object."""
    if as_json:
        print(json.dumps({what: list(rows)}))
        return
    from rich.console import Console
    from rich.table import Table

    if not rows:
        print("Nothing found.")
        return
    table = Table(*(key.replace("_", " ") for key in rows[0]), box=None)
    for row in rows:
        table.add_row(*("" if value is None else str(value) for value in row.values()))
    Console(markup=False, highlight=False).print(table)
