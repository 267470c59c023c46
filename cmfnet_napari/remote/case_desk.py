"""What our end there does for a case: strokes as they are drawn, runs and models."""

from __future__ import annotations

import shutil
import zlib
from collections.abc import Mapping
from math import prod

from cmfnet_napari.core.case.case_classes import RUN_CLASSES
from cmfnet_napari.core.files import private_folder, write_json
from cmfnet_napari.core.strokes.entries import entry_of
from cmfnet_napari.core.strokes.journal import Journal
from cmfnet_napari.remote import line_messages as frames
from cmfnet_napari.remote.desk import Desk
from cmfnet_napari.remote.far_store import FarStore, check_card
from cmfnet_napari.remote.holder import Holder
from cmfnet_napari.remote.journal_digest import digest_of
from cmfnet_napari.remote.line_messages import BadFrameError, FileOf, Message, Sender
from cmfnet_napari.remote.run_files import base_path, files_of, maker_of, note_maker, travels


class CaseDesk(Desk):
    """See `Desk`."""

    def __init__(
        self, store: FarStore, holder: Holder, sender: Sender, client: str, message: frames.Attach
    ) -> None:
        super().__init__(store, holder, sender, client, message)
        self._card, self._registration = check_card(message.card), message.registration
        grid = self._card.grid
        self._shape = (self._card.source_grid if grid is None else grid).shape
        self._journal: Journal | None = None

    @property
    def _files(self) -> Mapping[str, int]:
        return dict.fromkeys(self._card.images.values(), 0)

    def _journal_known(self) -> tuple[int, str]:
        return digest_of(self.case.journal) if self.case.journal.exists() else (0, "")

    def _offered(self, run: str, part: str) -> list[FileOf]:
        if part:
            raise BadFrameError("a part of a run that has none")
        return files_of(self.case.run(run))

    def _may_go(self, name: str) -> bool:
        return travels(name)

    def close(self) -> None:
        """Let go of the case and its journal; its worker stays."""
        self._close_journal()
        super().close()

    def _take(self, message: Message, payload: bytes) -> None:
        case = self.case
        match message:
            case frames.Ready():
                case.write_card(self._card, self._registration)
                self._open_journal()
                self.worker.start()
                self._done()
            case frames.Entry():
                self._write_entry(message, payload)
            case frames.Anew():
                self._forget_journal()
                self._done()
            case frames.Runs():
                self._note_runs(message)
                self._done()
            case frames.Put():
                if not travels(message.name):
                    raise BadFrameError("a file that stays where it is")
                self._store.link(message.sha, case.run(message.run) / message.name)
                self._done()
            case frames.Base():
                self._store.link(message.sha, case.case / base_path(message.sha))
                self._done()
            case frames.Recover():
                self._done(case.can_go_on(message.run, message.drop))
            case _:
                raise BadFrameError("what is said on the other side, or of a cohort")

    def _open_journal(self) -> Journal:
        if self._journal is None:
            self._journal = Journal(self.case.journal)
        return self._journal

    def _close_journal(self) -> None:
        if self._journal is not None:
            self._journal.close()
            self._journal = None

    def _forget_journal(self) -> None:
        self.worker.dismiss()
        self._close_journal()
        journal = self.case.journal
        for ending in ("", "-wal", "-shm"):
            journal.with_name(journal.name + ending).unlink(missing_ok=True)

    def _write_entry(self, message: frames.Entry, payload: bytes) -> None:
        """Write an entry under its own number, once it is proved to be one of this case."""
        if sum(message.sizes) != len(payload):
            raise BadFrameError("an entry of another size than it says")
        first, second, _ = message.sizes
        parts = payload[:first], payload[first : first + second], payload[first + second :]
        source, target, kind = message.source, message.target, message.kind
        journal = self._open_journal()
        try:
            entry = entry_of(0.0, "", source, target, kind, "", *parts, message.classes)
            journal.check_inside(entry, prod(self._card.source_grid.shape))
        except (ValueError, TypeError, zlib.error) as error:
            raise BadFrameError("an entry of the journal that is none") from error
        if message.number > journal.last_id():
            row = (message.number, 0.0, "", source, target, kind, "", *parts, message.classes)
            journal.restore([row])

    def _note_runs(self, message: frames.Runs) -> None:
        """Have the runs that there are; one that is only called the same makes room.

        Else its previews, or its state, would be taken for those of the run that is meant.
        """
        for name, told in message.runs.items():
            run = self.case.run(name)
            made = maker_of(run)
            if made and made != told.made:
                self.worker.dismiss()  # it may be at it
                shutil.rmtree(run)
            if not run.is_dir():
                private_folder(run)
                write_json(run / RUN_CLASSES, {"numbers": told.numbers})
                note_maker(run, told.made)
