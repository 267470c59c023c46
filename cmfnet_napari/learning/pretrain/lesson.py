"""A lesson: a simulated user who contours one object, stroke after stroke.

The network learns from the first strokes. Of some lessons, as a user would, up to `MOST_STROKES`
more are drawn before, each into one of the largest errors of what the network makes of those
before. So corrections are learnt from the network's own mistakes.
"""

from __future__ import annotations

import numpy as np
import torch

from cmfnet_napari.core.arrays import Floats, Mask
from cmfnet_napari.core.strokes.scribbles import IGNORE
from cmfnet_napari.learning.material.sample import Sample
from cmfnet_napari.learning.material.users import correction, first_strokes
from cmfnet_napari.learning.model.losses import Batch
from cmfnet_napari.learning.model.nearness import Strokes

PATCH = 48  # voxels along every side
MOST_STROKES = 8  # corrections of a lesson
_FIRST_ALONE = 0.9  # of the lessons are over after the first strokes
_LEAST = 20  # voxels of an object in a patch
_INVERTED = 0.05  # of the images
_EXCHANGED = 0.3  # of the pairs: which is first does not matter
_ALL_SEEN = 0.98  # of what is there: then the second image may be the first


class Lesson:
    """One object and its user.

    Parameters
    ----------
    sample : Sample
        Larger than a patch.
    rng : numpy Generator
        Same state, same lesson, as long as the network says the same.
    corrections : int, optional
        At most so many; by chance when not given.

    Attributes
    ----------
    left : int
        Corrections that it still has.
    strokes : Strokes
        What is drawn.
    """

    def __init__(
        self, sample: Sample, rng: np.random.Generator, corrections: int | None = None
    ) -> None:
        self._rng = rng
        self._sample = vary(sample, rng)
        alone = rng.random() < _FIRST_ALONE
        drawn = 0 if alone else int(rng.integers(1, MOST_STROKES + 1))
        self.left = drawn if corrections is None else corrections
        codes = first_strokes(self._sample.object, rng)
        codes[~self._sample.there] = IGNORE  # nobody draws where there is no image
        self.strokes = Strokes.on(
            self._sample.first, self._sample.second, self._sample.seen, codes, codes != codes
        )

    @property
    def object(self) -> Mask:
        """What is to be contoured, bool (z, y, x)."""
        return self._sample.object

    @property
    def there(self) -> Mask:
        """Where there are images, bool (z, y, x)."""
        return self._sample.there

    def batch(self) -> Batch:
        """What the network sees and is taught, as a batch of one; beyond the images, nothing."""
        targets = np.where(self.there, self.object, IGNORE).astype(np.int64)
        first, second, seen, taught = (
            torch.from_numpy(np.ascontiguousarray(part))[None, None]
            for part in (
                self._sample.first,
                self._sample.second,
                self._sample.seen.astype(np.float32),
                targets,
            )
        )
        maps = torch.from_numpy(self.strokes.maps())[None]
        return Batch(first, second, seen, taught[0], first[:, :0], maps)

    def correct(self, found: Mask) -> bool:
        """Draw the next stroke against a contour (bool, z, y, x); False: the lesson is over."""
        if not self.left:
            return False
        self.left -= 1
        wrong = (found ^ self.object) & self.there
        stroke, code = correction(wrong, self.object, self.strokes.codes, self._rng)
        stroke &= self.there
        if not stroke.any():
            return False
        self.strokes = self.strokes.with_stroke(stroke, code)
        return True


def vary(sample: Sample, rng: np.random.Generator) -> Sample:
    """A patch of a sample, turned, flipped, with other intensities."""
    for _ in range(10):
        corner = rng.integers(0, sample.object.shape[0] - PATCH + 1, 3)
        z, y, x = (slice(at, at + PATCH) for at in corner)
        if sample.object[z, y, x].sum() >= _LEAST:
            break
    axes = [int(axis) for axis in rng.permutation(3)]
    flips = tuple(int(axis) for axis in np.flatnonzero(rng.integers(0, 2, 3)))
    first: Floats = np.flip(sample.first[z, y, x].transpose(axes), flips)
    second: Floats = np.flip(sample.second[z, y, x].transpose(axes), flips)
    seen: Mask = np.flip(sample.seen[z, y, x].transpose(axes), flips)
    inside: Mask = np.flip(sample.object[z, y, x].transpose(axes), flips)
    there: Mask = np.flip(sample.there[z, y, x].transpose(axes), flips)
    if (first == second).all():
        first = second = np.where(there, _other_contrast(first, rng), 0).astype(np.float32)
    else:
        first = np.where(there, _other_contrast(first, rng), 0).astype(np.float32)
        second = np.where(seen & there, _other_contrast(second, rng), 0).astype(np.float32)
        if seen[there].mean() > _ALL_SEEN and rng.random() < _EXCHANGED:
            first, second = second, first
    seen, inside, there = (np.ascontiguousarray(part) for part in (seen, inside, there))
    return Sample(first, second, seen, inside, there)


def _other_contrast(image: Floats, rng: np.random.Generator) -> Floats:
    contrast, brightness, gamma = (
        rng.uniform(0.6, 1.3),
        rng.uniform(-0.15, 0.15),
        rng.normal(0, 0.25),
    )
    if rng.random() < _INVERTED:
        image = 1 - image
    changed = np.clip(image, 0, 1) ** np.exp(gamma)
    shaded: Floats = np.clip((changed - 0.5) * contrast + 0.5 + brightness, 0, 1).astype(np.float32)
    return shaded


def joined(batches: list[Batch]) -> Batch:
    """Several batches as one."""
    return Batch(*(torch.cat(part) for part in zip(*batches, strict=True)))
