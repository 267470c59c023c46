"""What our end there does for a cohort: its files under codes, its training's results."""

from __future__ import annotations

from collections.abc import Mapping

from cmfnet_napari.core.files import private_folder
from cmfnet_napari.core.tables import write_table
from cmfnet_napari.remote import line_messages as frames
from cmfnet_napari.remote.desk import Desk
from cmfnet_napari.remote.far_store import COHORT_FILE, FarStore
from cmfnet_napari.remote.holder import Holder
from cmfnet_napari.remote.line_messages import BadFrameError, FileOf, Message, Sender
from cmfnet_napari.remote.run_files import comes_back, trained_files

_COLUMNS = "first", "second", "scribbles", "mask"


class CohortDesk(Desk):
    """See `Desk`."""

    is_cohort = True

    def __init__(
        self, store: FarStore, holder: Holder, sender: Sender, client: str, message: frames.Cohort
    ) -> None:
        super().__init__(store, holder, sender, client, message)
        self._rows, self._sizes = message.rows, message.files
        named = {sha for row in message.rows for sha in _files_of(row).values()}
        if named != set(message.files):
            raise BadFrameError("a cohort of other files than it says")

    @property
    def _files(self) -> Mapping[str, int]:
        return self._sizes

    def _offered(self, run: str, part: str) -> list[FileOf]:
        return trained_files(self.case.run(run), part)

    def _may_go(self, name: str) -> bool:
        return comes_back(name)

    def _take(self, message: Message, payload: bytes) -> None:
        if not isinstance(message, frames.Ready) or payload:
            raise BadFrameError("what is said on the other side, or of a case")
        self._write()
        self.worker.start()
        self._done()

    def _write(self) -> None:
        """Write the cohort file: every row on the line that it has on the other side."""
        folder = self.case.case
        images = private_folder(folder / "images")
        table: list[list[str]] = [["case", "split", "modality", *_COLUMNS]]
        at, names = 1, set[str]()
        for row in sorted(self._rows, key=lambda row: row.line):
            table += [[]] * (row.line - at - 1)
            at = max(at + 1, row.line)
            cells = dict.fromkeys(_COLUMNS, "")
            for column, sha in _files_of(row).items():
                name = f"{row.line}-{column}-{sha[:16]}.nrrd"  # another file, another name
                cells[column] = f"images/{name}"
                names.add(name)
                if not (images / name).exists():
                    self._store.link(sha, images / name)
            table.append([row.patient, row.split, " ".join(row.modalities), *cells.values()])
        write_table(folder / COHORT_FILE, table)
        for path in images.iterdir():
            if path.name not in names:  # it was corrected, or taken out, before it was trained on
                path.unlink()


def _files_of(row: frames.CohortRow) -> dict[str, str]:
    """Hash of each file of a row, by its column."""
    found = {column: getattr(row, column) for column in _COLUMNS}
    return {column: sha for column, sha in found.items() if sha is not None}
