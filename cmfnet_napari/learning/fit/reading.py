"""A run of a model that reads strokes anywhere: nothing is trained, and new strokes are read anew.

Such a model works on voxels that follow what is drawn (`predict.any_structure`), for any number
of classes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path

from cmfnet_napari.core.arrays import Codes
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.fit import events
from cmfnet_napari.core.fit.model_card import software_versions
from cmfnet_napari.core.images.study import Study, load_labels
from cmfnet_napari.core.strokes.scribbles import check_trainable
from cmfnet_napari.learning.engine.device import pick_device, pick_precision
from cmfnet_napari.learning.fit.callbacks import Hooks, InterruptedFitError, Interrupter, Request
from cmfnet_napari.learning.fit.loop import agreement
from cmfnet_napari.learning.fit.output import Report
from cmfnet_napari.learning.fit.run_folder import CHANCES_FILE, RunFolder, run_scribbles
from cmfnet_napari.learning.model.checkpoint import load_model
from cmfnet_napari.learning.predict.any_structure import Pair, read_strokes
from cmfnet_napari.learning.predict.last_contour import Contoured, Last, load_last, save_last


class Reading:
    """A model at hand for one study; `read` contours it from strokes, as often as these change.

    Parameters
    ----------
    study : Study
        CT, or CT and MR.
    run : RunFolder
        Where contours are written.
    model : path or str
        What `load_model` takes.
    device : str
        ``auto``, ``cpu``, ``cuda``, ``cuda:N``.
    names : sequence of str, optional
        Names of the classes 1, 2, … for the volumes.
    """

    def __init__(
        self,
        study: Study,
        run: RunFolder,
        model: str | Path,
        device: str = "auto",
        names: Sequence[str] | None = None,
    ) -> None:
        self.run, self._study, self.names = run, study, names
        self._device = pick_device(device)
        self._model, card = load_model(model, self._device)
        known = run_scribbles(run.folder, card, study) if card.study else None
        before = None if known is None else load_labels(known, study.grid)
        self._last: Last | None = None
        if before is not None and before.any():
            self._last = load_last(run.folder / CHANCES_FILE, before)
        self._card = card
        self._pair = Pair.of(study, card.config)
        self._request: Callable[[], Request] = _nothing
        self._interrupter = Interrupter(lambda: self._request())
        self._interrupter.watch(self._model)  # once: what a hook holds on to stays

    def read(self, scribbles: Codes, hooks: Hooks) -> events.Finished | None:
        """Contour the study, and again while strokes come; None when the request was to quit.

        Parameters
        ----------
        scribbles : uint8 array (z, y, x) on the Study's Grid
            All strokes.
        hooks : Hooks
            Where events go, and requests and strokes come from.

        Raises
        ------
        UserError
            A class or the background has no stroke.
        """
        report, began = Report(self.run, hooks), time.monotonic()
        came: list[Codes] = []

        def request() -> Request:
            if asked := hooks.request():
                return asked
            newest = hooks.new_scribbles()
            came.extend([] if newest is None or not _trains(newest) else [newest])
            return "again" if came else ""

        self._request = request
        try:
            while True:
                try:
                    with self._interrupter.listening("quit", "again"):
                        prediction = self._contour(scribbles)
                    break
                except InterruptedFitError:
                    if not came:
                        return None
                    scribbles = came.pop()
                    came.clear()
        finally:
            self._request = _nothing
        self._last = prediction.last
        agreed = agreement(prediction.labels, scribbles)
        path = report.write(
            lambda: self.run.save_preview(prediction.labels), prediction.labels.nbytes
        )
        report.tell(events.Preview(step=0, labels=path, agreement=agreed))
        return self._write(prediction, scribbles, agreed, time.monotonic() - began, report)

    def started(self) -> events.Started:
        """What is told before the first contour."""
        precision = pick_precision(self._card.config.precision, self._device)
        return events.Started(
            run=self.run.path(),
            device=str(self._device),
            precision=str(precision).removeprefix("torch."),
            steps=0,
            parameters=sum(p.numel() for p in self._model.parameters()),
            from_step=0,
        )

    def _contour(self, scribbles: Codes) -> Contoured:
        return read_strokes(
            self._model,
            self._card.config,
            self._study,
            scribbles,
            self._last,
            pair=self._pair,
            branches=True,
        )

    def _write(
        self,
        prediction: Contoured,
        scribbles: Codes,
        agreed: float,
        seconds: float,
        report: Report,
    ) -> events.Finished:
        facts = {
            "study": self._study.content_hash,
            "agreement": agreed,
            "created": date.today().isoformat(),
            "software": software_versions(),
        }
        self._card = self._card.model_copy(update=facts)
        report.write(lambda: self.run.save_model(self._model, self._card))
        if last := prediction.last:
            report.write(lambda: save_last(last, self.run.folder / CHANCES_FILE))
        written = report.write(
            lambda: self.run.save_prediction(prediction, scribbles, self._study, self.names)
        )
        finished = written.model_copy(update={"seconds": round(seconds, 1), "agreement": agreed})
        report.tell(finished)
        return finished


def _nothing() -> Request:
    return ""


def _trains(scribbles: Codes) -> bool:
    """Whether there is something to read: all of a class may be erased for a moment."""
    try:
        check_trainable(scribbles)
    except UserError:
        return False
    return True
