"""From images and strokes to a contour on another computer, without a window."""

from __future__ import annotations

import queue
import shutil
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from cmfnet_napari.core.arrays import Codes, Reals
from cmfnet_napari.core.case.folder import Case, create_case, open_case
from cmfnet_napari.core.contours.components import volumes_ml
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.files import JsonObject, hash_file, new_folder, read_json, write_json
from cmfnet_napari.core.fit import events
from cmfnet_napari.core.fit.config import Config
from cmfnet_napari.core.fit.model_card import model_path, read_card
from cmfnet_napari.core.fit.runs import begun_elsewhere
from cmfnet_napari.core.images.study import Study, load_values
from cmfnet_napari.core.strokes.entries import difference
from cmfnet_napari.core.strokes.scribbles import (
    FIRST_CLASS,
    ScribbleClass,
    class_color,
    scribbles_hash,
)
from cmfnet_napari.remote.errand import Errand
from cmfnet_napari.remote.hosts import Host
from cmfnet_napari.remote.relay import Relay
from cmfnet_napari.remote.run_files import MADE_FILE, WORKING

_ASKED = "asked.json"  # in that case: what it is for
Request = Callable[[], Literal["", "stop", "quit"]]
_LOOK_S = 0.1
_LEAVE_S = 90.0  # for a worker that saves its state; a line that is dead is not waited for


def _nothing() -> Literal["", "stop", "quit"]:
    return ""


def work_on(
    folder: Path,
    host: Host,
    command: events.Work,
    on_event: Callable[[events.Event], None] | None = None,
    request: Request = _nothing,
) -> events.Finished | None:
    """Let a case's command be worked on elsewhere, and wait for it.

    Parameters
    ----------
    folder : Path
        The case folder.
    host : Host
        Where.
    command : Fit, Refine, Predict or Choose
        What.
    on_event, request
        As in `api.fit`.

    Returns
    -------
    Finished, or None when the request was to quit

    Raises
    ------
    UserError
        The host cannot be reached, or it did not work there.
    """
    heard: queue.Queue[events.Event] = queue.Queue()
    found = follow(Relay(folder, host, heard.put), host, command, heard, on_event, request)
    assert found is None or isinstance(found, events.Finished)
    return found


def follow(
    errand: Errand,
    host: Host,
    command: events.Work,
    heard: queue.Queue[events.Event],
    on_event: Callable[[events.Event], None] | None = None,
    request: Request = _nothing,
) -> events.End | None:
    """Have a command worked on by an errand that speaks into `heard`; as `work_on`."""
    errand.take(command)
    thread = threading.Thread(target=errand.run, daemon=True)
    thread.start()
    stopped = done = False
    try:
        while True:
            wish = request()
            if wish == "quit":
                return None
            if wish == "stop" and not stopped:
                stopped = True
                errand.take(events.Stop())
            try:
                event = heard.get(timeout=_LOOK_S)
            except queue.Empty:
                if not thread.is_alive():
                    raise UserError(f"The line to {host.name} ended. Try again.") from None
                continue
            if isinstance(event, events.Failed):
                raise UserError(event.reason)
            if on_event is not None:
                on_event(event)
            if isinstance(event, events.End):
                done = True
                return event
    finally:
        errand.take(events.Quit(left=done))  # what was broken off goes on
        thread.join(_LEAVE_S)


def fit_elsewhere(
    study: Study,
    scribbles: Codes,
    out: Path,
    config: Config,
    host: Host,
    base: Path | str | None = None,
    device: str = "auto",
    names: Sequence[str] | None = None,
    on_event: Callable[[events.Event], None] | None = None,
    request: Request | None = None,
) -> events.Finished | None:
    """As `api.fit`, on a host; its files lie in `out` as those of a fit here.

    Returns
    -------
    Finished
        Its paths are relative to `out`; None when the request was to quit.

    Raises
    ------
    UserError
        As `work_on`, or `out` holds something else.
    """
    folder = out / WORKING
    asked: JsonObject = {
        "config": config.model_dump(mode="json"),
        "study": study.content_hash,
        "scribbles": scribbles_hash(scribbles),
        "base": "" if base is None else hash_file(model_path(base)),
    }
    if folder.exists():
        if read_json(folder / _ASKED) != asked:
            raise UserError(
                f"{out.name} holds another training that was broken off: its images, strokes or "
                "settings differ. Give the same again to go on with it, or choose a new folder."
            )
        case = open_case(folder)
    else:
        new_folder(out)
        case = _make_case(folder, study, scribbles, names)
        write_json(folder / _ASKED, asked)
    try:
        finished = work_on(
            folder, host, _command(case, config, base, device, host), on_event, request or _nothing
        )
    finally:
        case.close()
    if finished is None:
        return None
    run = folder / Path(finished.labels).parent
    for path in run.iterdir():
        if path.name not in ("previews", MADE_FILE):
            shutil.move(path, out / path.name)
    shutil.rmtree(folder)
    paths = {n: Path(getattr(finished, n)).name for n in ("model", "labels", "probabilities")}
    paths["disagreement"] = Path(finished.disagreement).name if finished.disagreement else ""
    volumes = finished.volumes_ml
    if names is None:  # classes are called as where no case gives them names
        labels = load_values(out / paths["labels"], study.grid, study.names[0])
        volumes = volumes_ml(labels.astype(np.uint8), study.grid)
    return finished.model_copy(update={**paths, "volumes_ml": volumes})


def predict_elsewhere(
    model: str | Path,
    study: Study,
    scribbles: Codes | None,
    host: Host,
    device: str = "auto",
    on_event: Callable[[events.Event], None] | None = None,
) -> tuple[Codes, Reals]:
    """As `api.predict`, on a host: labels and probability on the study's grid.

    Raises
    ------
    UserError
        As `work_on`.
    """
    path = model_path(model)
    if scribbles is None:
        scribbles = _run_scribbles(path, study)
    with tempfile.TemporaryDirectory(prefix="cmfnet-") as temporary:
        folder = Path(temporary) / "case"
        strokes = np.zeros(study.grid.shape, np.uint8) if scribbles is None else scribbles
        case = _make_case(folder, study, strokes, None)
        try:
            command = events.Predict(model=str(path.absolute()), device=device)
            finished = work_on(folder, host, command, on_event)
        finally:
            case.close()
        assert finished is not None
        labels = load_values(folder / finished.labels, study.grid, study.names[0])
        probability = load_values(folder / finished.probabilities, study.grid, study.names[0])
    return labels.astype(np.uint8), probability.astype(np.float32)


def _make_case(folder: Path, study: Study, scribbles: Codes, names: Sequence[str] | None) -> Case:
    case = create_case(folder, study)
    classes = list(case.classes[:FIRST_CLASS])
    for code in range(FIRST_CLASS, max(FIRST_CLASS, int(scribbles.max())) + 1):
        place = code - FIRST_CLASS
        known = names is not None and place < len(names)
        name = names[place] if names is not None and known else f"Class {place + 1}"
        classes.append(ScribbleClass(code, name, class_color(code)))
    case.save_classes(tuple(classes))
    drawn = difference(np.zeros_like(scribbles), scribbles, "import")
    if drawn is not None:
        case.journal.append(drawn)
    return case


def _command(
    case: Case, config: Config, base: Path | str | None, device: str, host: Host
) -> events.Fit:
    """The fit, or the one that was broken off."""
    runs = case.runs()
    if runs and begun_elsewhere(runs[-1]) == host.name:
        return events.Fit(config={}, device=device, resume=f"runs/{runs[-1].name}")
    path = "" if base is None else str(model_path(base).absolute())
    return events.Fit(config=config.model_dump(mode="json"), device=device, base=path)


def _run_scribbles(model: Path, study: Study) -> Codes | None:
    """The strokes that a run's own prediction of this study was made from, if there are any."""
    file = model.parent / "scribbles.nii.gz"
    if read_card(model).study != study.content_hash or not file.is_file():
        return None
    return load_values(file, study.grid, study.names[0]).astype(np.uint8)
