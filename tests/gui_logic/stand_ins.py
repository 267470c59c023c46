"""What controllers are given in place of a viewer, timers, threads and a worker."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import SimpleITK as sitk
from napari.layers import Layer
from qtpy.QtCore import QObject, Signal

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.fit.events import Finished
from cmfnet_napari.core.images.grid import Grid
from cmfnet_napari.core.images.study import study_from_images
from cmfnet_napari.core.registration.registrations import AS_IT_WAS
from cmfnet_napari.core.strokes.class_order import ClassOrder
from cmfnet_napari.core.strokes.scribbles import DEFAULT_CLASSES
from cmfnet_napari.gui.patient.layers import case_layers
from cmfnet_napari.gui.patient.opened import prepare
from cmfnet_napari.gui.patient.session import Session
from cmfnet_napari.gui.training import spare_worker
from cmfnet_napari.gui.training.where import Where

SHAPE = (4, 6, 5)  # z, y, x
CT_SHAPE = (5, 8, 7)
ORDER = ClassOrder(tuple(entry.code for entry in DEFAULT_CLASSES), {})
GRID = Grid(SHAPE, (3.0, 0.9, 1.1), (-20.0, 35.0, -400.0))


class Timer:
    """A QTimer whose time is up when a test says so."""

    def __init__(self, _parent=None, singleShot=False, interval=0):  # noqa: N803 (Qt's name)
        self.once, self.interval, self.on = singleShot, interval, False
        self._actions: list[Callable[[], None]] = []
        self.timeout = SimpleNamespace(connect=self._actions.append)

    soon: ClassVar[list[Callable[[], None]]] = []  # after the event that is being handled

    @classmethod
    def singleShot(cls, _ms, action):  # noqa: N802
        cls.soon.append(action)

    @classmethod
    def end_event(cls):
        """Do what was put off until the event is over."""
        while cls.soon:
            cls.soon.pop(0)()

    def setInterval(self, ms):  # noqa: N802
        self.interval = ms

    def start(self, ms=None):
        self.on = True

    def stop(self):
        self.on = False

    def isActive(self):  # noqa: N802
        return self.on

    def fire(self):
        """The time is up, if it runs."""
        if self.on:
            self.on = not self.once
            for action in self._actions:
                action()


class Background:
    """Work in the background is done at once, or when a test says so."""

    def __init__(self):
        self.held = False
        self._waiting: list[Callable[[], None]] = []

    def run(self, function, *arguments, done, failed):
        def work():
            try:
                answer = function(*arguments)
            except Exception as error:
                failed(error)
            else:
                done(answer)

        self._waiting.append(work) if self.held else work()

    def catch_up(self):
        """All that was held back is done."""
        waiting, self._waiting = self._waiting, []
        for work in waiting:
            work()


class StandInSession(QObject):
    """A session without viewer and layers: what is there is set by the test."""

    busy = Signal(str)
    arriving = Signal()
    opened = Signal()
    leaving = Signal()
    closed = Signal()
    strokes_changed = Signal()
    classes_changed = Signal()
    recoding = Signal()
    recoded = Signal(object)
    corrected = Signal(object)
    contour_added = Signal(object)

    def __init__(self, folder):
        super().__init__()
        self.folder = folder
        self.viewer = SimpleNamespace(layers=[])
        self.patient = self.second_layer = self.scribbles = None
        self.holds, self.class_holds, self.ended = [], [], False
        self.corrections = StandInCorrections()
        self.counts = np.zeros(17, int)
        self.recorder = SimpleNamespace(
            record=lambda: None,
            present=np.array([0, 1, 2], np.uint8),
            counts=self.counts,
            snapshot=lambda: np.zeros(SHAPE, np.uint8),
            recorded_scribbles=np.zeros(SHAPE, np.uint8),
        )

    @property
    def case(self):
        if self.patient is None:
            raise UserError("No patient is open. Open an image first.")
        return self.patient.case

    @property
    def writable(self):
        return self.patient is not None and not self.case.read_only

    image_names, is_ct, image_layer = Session.image_names, Session.is_ct, Session.image_layer

    def record(self):
        self.recorder.record()

    def recorder_of(self, layer):
        return None

    def open(self, kinds=("CT",), **patient):
        """There is a patient, one that may be written."""
        runs = self.folder / "runs"
        study = SimpleNamespace(grid=GRID, content_hash="0123", kinds=kinds, names=kinds)
        case = SimpleNamespace(
            folder=self.folder,
            key="key",
            study=study,
            classes=DEFAULT_CLASSES,
            read_only=False,
            notice="Another window has this case open.",
            runs=lambda: sorted(runs.iterdir()) if runs.exists() else [],
            order=ORDER,
            registrations=AS_IT_WAS,
            run_numbers=lambda _run: ORDER.numbers,  # no class was ever removed
            run_table=lambda _run: None,
            knows_classes=lambda _run, _classes: True,
        )
        known = {"contour": None, "limits": (), "images": None, **patient}
        self.patient = SimpleNamespace(case=case, **known)
        self.arriving.emit()
        self.opened.emit()

    def close(self):
        self.leaving.emit()
        self.patient = None
        self.closed.emit()


class StandInCorrections(QObject):
    """Nothing is corrected until a test says so."""

    changed = Signal(object)
    recorded = Signal(object)
    teach, version, taught_codes = True, 0, np.zeros(0, np.uint8)


class Client(QObject):
    """A worker that a test speaks for."""

    received = Signal(object)
    ended_badly = Signal(str, bool)
    ended = Signal()
    line_changed = Signal(object)
    process_id, details = 4711, "the end of its log"

    def __init__(self, command):
        super().__init__()
        self.command, self.sent, self.closed, self.killed = command, [], False, False
        self.running, self.left = True, False

    def send(self, command):
        self.sent.append(command)

    def close(self, left=False):
        self.closed, self.left = True, left

    def kill(self):
        self.killed = True


class StandInResult(QObject):
    """Remembers what it is told."""

    changed = Signal(object)
    edited = Signal()

    def __init__(self):
        super().__init__()
        self.preview = self.labels = self.probability = self.apart = self.prediction = None
        self.order = ORDER
        self.told, self.followed, self.run, self.updating = [], [], "", False
        self.own = False

    @property
    def exists(self):
        return self.labels is not None

    @property
    def model_labels(self):
        return self.labels

    @property
    def contours(self):
        return [] if self.prediction is None else [self.prediction]

    def show_preview(self, labels):
        self.preview = labels

    def remove_preview(self):
        self.preview = None

    def read(self, event):
        self.told.append(event)

    def follow(self, labels):
        self.followed.append(labels)

    def shown(self):
        return self.labels


class StandInTraining(QObject):
    """A fit that a test speaks for."""

    state_changed = Signal(str)
    launching = Signal()
    started = Signal(object)
    stepped = Signal(object)
    previewed = Signal(object)
    completed = Signal(object, object, str)
    finished = Signal(object)
    failed = Signal(str, str)

    def __init__(self):
        super().__init__()
        self.running, self.follow = False, True
        self.where = Where(self)
        self.spare = SimpleNamespace(take=lambda: spare_worker.WorkerClient(["worker"]))

    def command(self, folder):
        return ["worker", folder.name]


def finished(run="runs/0001-quick", **values):
    """The end of a fit or a refine."""
    return Finished(
        model=f"{run}/model.safetensors",
        labels=f"{run}/prediction.nii.gz",
        probabilities=f"{run}/probabilities.nii.gz",
        volumes_ml={"Tumour": 1.0},
        **values,
    )


def patient(value=40, strokes=None, shape=CT_SHAPE, spacing=(1.0, 1.0, 1.0)):
    """A CT with the case it has, or a new one."""
    ct = sitk.GetImageFromArray(np.arange(np.prod(shape), dtype=np.int16).reshape(shape) + value)
    ct.SetSpacing(spacing[::-1])
    image = sitk.Cast(ct, sitk.sitkInt16)
    return prepare(study_from_images(image, modalities=("CT", "")), strokes)


def come(session, load):
    """A patient is opened."""
    session.open(load)
    Timer.end_event()


def drop(bench, opened):
    """Its layers come as a sample's do."""
    for data, meta, kind in case_layers(opened):
        bench.session.viewer.add_layer(Layer.create(data, meta, kind))
    Timer.end_event()
