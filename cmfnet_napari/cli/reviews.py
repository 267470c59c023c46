"""``cmfnet review``: who looked at a case's contour, whether the log of it is whole, as a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cmfnet_napari.cli.options import Json, print_result
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.privacy import printable

review = typer.Typer(help="Who reviewed a case's contour: show, verify, compare, export the log.")

Folder = Annotated[Path, typer.Argument(metavar="CASE", help="Case folder")]


@review.command()
def show(case: Folder, as_json: Json = False) -> None:
    """Draft, reviewed or peer-reviewed; who looked at what, and when."""
    from cmfnet_napari.core.review.case_contour import case_stage
    from cmfnet_napari.core.review.log_words import log_rows

    found, log = case_stage(case)
    if as_json:
        rows = [entry.model_dump() for entry in log.entries]
        said = {"state": found.stage, "sentence": found.sentence, "fault": log.fault}
        print_result({**said, "entries": rows}, True)
        return
    print(printable(f"{found.sentence} {log.fault}".strip()))
    for when, who, what in log_rows(log.entries):
        print(printable(f"{when}  {who}: {what}"))


@review.command()
def verify(
    log: Annotated[Path, typer.Argument(help="Case folder, or a log exported as JSON")],
    against: Annotated[
        list[Path] | None, typer.Option(help="JSON exports of this log that were kept elsewhere")
    ] = None,
    as_json: Json = False,
) -> None:
    """Whether a review log is as it was written; exit status 1 and where, if it is not."""
    from cmfnet_napari.core.report.log_file import export_end, read_log
    from cmfnet_napari.core.review.case_contour import case_log

    ends = [export_end(path) for path in against or ()]
    found = read_log(log, ends) if log.is_file() else case_log(log, ends)
    if as_json:
        print_result({"ok": found.ok, "entries": len(found.entries), "said": found.sentences}, True)
    elif found.ok:
        print(printable("\n".join(found.sentences)))
    if not found.ok:
        raise UserError(" ".join(found.sentences))


@review.command()
def compare(
    case: Folder,
    out: Annotated[
        Path | None,
        typer.Option(help="Labels to write: 1 the first reader's alone, 2 the second's, 3 both"),
    ] = None,
    as_json: Json = False,
) -> None:
    """How the contours of the two readers differ: Dice, ml added and removed, slices."""
    from cmfnet_napari.core.files import check_outputs
    from cmfnet_napari.core.images.volume import WRITE_ENDINGS
    from cmfnet_napari.core.report.log_file import compare_readers

    check_outputs([(out, WRITE_ENDINGS)], [case])
    print_result(compare_readers(case, out), as_json)


@review.command()
def export(
    case: Folder,
    out: Annotated[Path, typer.Option(help="File to write: .pdf or .json")],
    as_json: Json = False,
) -> None:
    """The log as one file to archive, apart from all images."""
    from cmfnet_napari.core.files import check_outputs
    from cmfnet_napari.core.report.log_file import export_log

    check_outputs([(out, (".pdf", ".json"))], [case])
    print_result({"written": str(export_log(case, out))}, as_json)
