"""Clues of the same strokes are found once: many tests fit the same patient."""

from __future__ import annotations

from copy import deepcopy
from hashlib import sha256
from multiprocessing import get_context

import numpy as np

from cmfnet_napari.core.clues.chances import Clues, find_clues
from cmfnet_napari.core.clues.features import Scene
from cmfnet_napari.learning.data import volumes
from cmfnet_napari.learning.fit.training_data import Material

_known: dict[bytes, Clues] = {}


def find(scene: Scene, classes: int) -> Clues:
    """As `find_clues`, which stands for it."""
    parts = (*scene.images, scene.strokes, scene.body, np.array([*scene.spacing, classes]))
    digest = sha256()
    for part in parts:
        digest.update(f"{part.dtype} {part.shape}".encode() + part.tobytes())
    if (key := digest.digest()) not in _known:
        _known[key] = find_clues(scene, classes)
    return deepcopy(_known[key])


def remember() -> None:
    """Have fits ask here."""
    volumes.find_clues = find


def know_ball() -> None:
    """Know those of the ball's strokes from here on, also in what is forked from this process.

    They are found in another one: libraries whose threads have worked do not stand a fork.
    """
    context = get_context("fork")
    here, there = context.Pipe(duplex=False)
    child = context.Process(target=lambda: there.send(_of_the_ball()))
    child.start()
    there.close()
    _known.update(here.recv())
    child.join()


def _of_the_ball() -> dict[bytes, Clues]:
    """Those of all strokes, and of those that the first steps of a fit learn from."""
    from tests.learning.conftest import coarse_ball  # not before: it imports this file

    remember()
    ball = coarse_ball()
    for maps in (False, True):
        config = ball.config.model_copy(update={"stroke_maps": maps})
        material = Material(ball.study, ball.scribbles, config)
        material.hold_out(1)
        material.volumes(2)
        material.seen(2)
    return _known
