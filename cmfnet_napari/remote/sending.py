"""What goes to the other computer: files once, in parts, from where they stopped; strokes; runs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from cmfnet_napari.core.case.case_classes import RUN_CLASSES
from cmfnet_napari.core.case.folder import JOURNAL_FILE, Case
from cmfnet_napari.core.files import hash_file
from cmfnet_napari.core.fit.kept_previews import kept_path
from cmfnet_napari.core.fit.model_card import MODEL_FILE, model_path
from cmfnet_napari.core.fit.runs import CONFIG_FILE
from cmfnet_napari.core.strokes.journal import Journal
from cmfnet_napari.core.strokes.journal_file import JournalHeldError
from cmfnet_napari.remote import line_messages as frames
from cmfnet_napari.remote.journal_digest import digest_of, travelling
from cmfnet_napari.remote.line import Line
from cmfnet_napari.remote.run_files import base_path, maker_of

_AHEAD = 8  # parts that are on their way before an answer is awaited
_OF_A_RUN = (MODEL_FILE, "scribbles.nii.gz", RUN_CLASSES, CONFIG_FILE)


def send_file(
    line: Line,
    path: Path,
    sha: str,
    have: int,
    show: Callable[[int], None] | None = None,
    check: Callable[[], None] | None = None,
) -> None:
    """Send a file from its byte `have` on; `show` is told how much is there.

    `check` is called while an answer is awaited; what it raises ends that.

    Raises
    ------
    UserError
        There is no room for it, or it arrived damaged.
    LineLostError
        The line ended; what has arrived stays there.
    """
    total, awaited = path.stat().st_size, 0

    def hear() -> None:
        stored, _ = line.answer(frames.Stored, check=check)
        if show is not None:
            show(stored.have)

    with open(path, "rb") as file:
        file.seek(have)
        at = have
        while (data := file.read(frames.PART)) or (at == have == 0 and total == 0):
            payload, packed = frames.pack(data)
            blob = frames.Blob(sha=sha, offset=at, total=total, packed=packed)
            line.send(blob, payload)
            at, awaited = at + len(data), awaited + 1
            if awaited > _AHEAD:
                hear()
                awaited -= 1
            if not data:
                break
        if at == have and have == total and total:  # all of it, but not proved yet
            line.send(frames.Blob(sha=sha, offset=at, total=total, packed=False))
            awaited += 1
    for _ in range(awaited):
        hear()


class SentJournal:
    """The journal here, and how far it is known there.

    Parameters
    ----------
    journal : Journal
        Open for reading.
    folder : Path
        The case folder.
    """

    def __init__(self, journal: Journal, folder: Path) -> None:
        self._path, self._journal = folder / JOURNAL_FILE, journal
        self._last = 0

    def compare(self, line: Line, last: int, digest: str) -> None:
        """Begin after the last entry that both have; one that is another goes there."""
        if last and digest_of(self._path, last) != (last, digest):
            line.ask(frames.Anew(), frames.Done, patience=60)
            last = 0
        self._last = last

    def send(self, line: Line) -> None:
        """Send what is new."""
        with suppress(JournalHeldError):
            if self._journal.last_id() == self._last:
                return
            self._journal.catch_up()
            for number, stroke in self._journal.entries(self._last):
                row = travelling(stroke)
                _, _, source, target, kind, _, *parts, classes = row
                line.send(
                    frames.Entry(
                        number=number,
                        source=source,
                        target=target,
                        kind=kind,
                        classes=classes,
                        sizes=tuple(len(part) for part in parts),
                    ),
                    b"".join(parts),
                )
                self._last = number


def send_runs(line: Line, case: Case) -> None:
    """Tell which runs there are, so that the next one has the same number on both sides."""
    runs = {
        run.name: frames.RunOf(numbers=list(case.run_numbers(run)), made=maker_of(run))
        for run in case.runs()
        if frames.is_run_name(run.name)  # a user's copy of one is none
    }
    if runs:
        line.ask(frames.Runs(runs=runs), frames.Done)


def send_model(line: Line, case: Path, named: str) -> tuple[str, Path]:
    """Send a model to start from; return its path there and here."""
    path = model_path(case / named) if (case / named).exists() else model_path(named)
    sha = hash_file(path)
    _send_wanted(line, path, sha)
    line.ask(frames.Base(sha=sha), frames.Done)
    return base_path(sha), path


def send_run(line: Line, case: Path, run: str, step: int | None = None) -> None:
    """See to it that the other side has a run's model as it is here, or that of a preview."""
    names = list(_OF_A_RUN)
    if step is not None:
        for ending in (".safetensors", ".npz"):
            names.append(kept_path(Path(), step, ending).as_posix())
    theirs = {f.name: f.sha for f in line.ask(frames.List(run=run), frames.Files).files}
    for name in names:
        path = case / "runs" / run / name
        if not path.is_file() or (sha := hash_file(path)) == theirs.get(name):
            continue
        _send_wanted(line, path, sha)
        line.ask(frames.Put(run=run, name=name, sha=sha), frames.Done)


def run_named(model: str) -> str | None:
    """The run of the case that a command names, if it is one."""
    head, _, name = model.partition("/")
    return name if head == "runs" and name and "/" not in name else None


def _send_wanted(line: Line, path: Path, sha: str) -> None:
    there = line.ask(frames.Want(sha=sha), frames.Stored)
    if not there.whole:
        send_file(line, path, sha, there.have)
