"""Writes strokes and corrections into a journal at random, as fast as it can, until it is killed.

Every line it prints is the number of an entry, once it is written, and the checksums of scribbles
and corrections that it then had in memory.
"""

from __future__ import annotations

import random
import zlib
from pathlib import Path

import numpy as np

from cmfnet_napari.core.strokes.corrections import Corrections
from cmfnet_napari.core.strokes.entries import Correction, Stroke
from cmfnet_napari.core.strokes.journal import Journal
from tests.faults.checksum import checksum

SHAPE = (6, 9, 11)


def state(scribbles: np.ndarray, corrections: Corrections) -> tuple[int, int]:
    """What a user would see, as two numbers."""
    return zlib.crc32(scribbles), checksum(corrections.words(scribbles))


def follow(scribbles: np.ndarray, corrections: Corrections, number: int, entry: Stroke) -> None:
    """Take an entry of the journal over."""
    corrections.take(number, entry)
    if not isinstance(entry, Correction):
        scribbles.reshape(-1)[entry.voxels] = entry.new


def main(path: str, seed: int) -> None:
    journal, chance = Journal(Path(path)), random.Random(seed)
    scribbles, corrections = np.zeros(SHAPE, np.uint8), Corrections(SHAPE)
    for number, entry in journal.entries():
        follow(scribbles, corrections, number, entry)
    while True:
        kind = chance.choices(["stroke", "correction", "undo", "redo"], [8, 8, 5, 3])[0]
        if kind in ("undo", "redo"):
            entry = journal.undo() if kind == "undo" else journal.redo()
            if entry is None:
                continue
            number = journal.last_id()
        else:
            made, now = (Stroke, scribbles) if kind == "stroke" else (Correction, corrections.codes)
            size = chance.randrange(1, 40)
            voxels = np.sort(chance.sample(range(now.size), size))
            new = np.array([chance.randrange(4) for _ in voxels], np.uint8)
            entry = made(voxels, now.reshape(-1)[voxels], new)
            number = journal.append(entry)
        follow(scribbles, corrections, number, entry)
        print(number, *state(scribbles, corrections), flush=True)
