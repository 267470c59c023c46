"""Tables as CSV files."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from cmfnet_napari.core.files import write_safely


def write_table(path: Path, rows: Iterable[Sequence[object]]) -> Path:
    """Write rows, the first of which names the columns; texts from outside go through `cell`.

    Raises
    ------
    UserError
        The file cannot be written.
    """
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return write_safely(path, ".csv", lambda part: part.write_text(text.getvalue(), "utf-8"))
