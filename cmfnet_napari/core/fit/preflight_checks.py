"""Preflight: what speaks against a fit before it begins. Errors block it, warnings never do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import psutil

from cmfnet_napari.core.arrays import Codes, Mask, Wholes, three
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.fit.cost_estimate import Expected
from cmfnet_napari.core.geometry.plane import VIEWS, View
from cmfnet_napari.core.images.body import air_level, body_mask
from cmfnet_napari.core.images.grid import Grid
from cmfnet_napari.core.images.study import Study
from cmfnet_napari.core.registration.likeness import doubts, likeness
from cmfnet_napari.core.strokes.entries import Stroke
from cmfnet_napari.core.strokes.scribbles import (
    BACKGROUND,
    DEFAULT_CLASSES,
    UNLABELLED,
    check_trainable,
)
from cmfnet_napari.core.strokes.taken_for_strokes import look_whole

_THIN_MM = 3.0
_LEAST_OVERLAP = 0.1  # of the body; docs/measurements.md tells what real pairs have
# Share of a code's stroke voxels outside body or second image that is worth a word. A brush slips
# over the skin; background beyond that image is normal, some in air does no harm.
_SLIPPED = {"class": {"air": 0.05, "unseen": 0.05}, "background": {"air": 0.5, "unseen": 1.0}}
_EFFECT = {
    "air": "are in air. Erase them, or check that the images are right",
    "unseen": "are outside the {other}'s field of view, where only the {one} tells",
}
_GIB = 2**30

Voxel = tuple[int, int, int]


@dataclass(frozen=True)
class Finding:
    """One thing that speaks against a fit.

    Attributes
    ----------
    severity : str
        ``error``: the fit cannot begin; ``warning``: it can.
    text : str
        One or two plain sentences.
    voxel : tuple of int or None
        Where to look, (z, y, x) on the Study's Grid.
    plane : str
        ``axial``, ``coronal`` or ``sagittal`` to look at; empty: any.
    """

    severity: Literal["error", "warning"]
    text: str
    voxel: Voxel | None = None
    plane: View | Literal[""] = ""


@dataclass(frozen=True, eq=False)
class StudyLook:
    """What the images alone tell, so that it is found once however often strokes change.

    Attributes
    ----------
    body : bool array (z', y', x')
        The patient on every few voxels.
    steps : tuple of int
        How many voxels (z, y, x) make one of them.
    findings : tuple of Finding
        Of both images.
    air : float
        What is no higher in the first image is air, in its units.
    """

    body: Mask
    steps: Voxel
    findings: tuple[Finding, ...]
    air: float

    def in_body(self, at: tuple[Wholes, ...]) -> Mask:
        """Whether voxels of the Study's Grid (three index arrays) lie in the patient."""
        cells = zip(at, self.steps, self.body.shape, strict=True)
        within: Mask = self.body[tuple(np.minimum(i // step, n - 1) for i, step, n in cells)]
        return within


def look_at(study: Study) -> StudyLook:
    """Find the body, and whether the second image lies on the first."""
    grid = study.grid
    steps = three(
        min(n, max(1, round(_THIN_MM / s))) for n, s in zip(grid.shape, grid.spacing, strict=True)
    )
    thin = three(slice(step // 2, None, step) for step in steps)
    array = study.first.array[thin]
    spacing = three(s * step for s, step in zip(grid.spacing, steps, strict=True))
    coarse = replace(grid, shape=three(array.shape), spacing=spacing)
    body = body_mask(replace(study.first, array=array, grid=coarse))
    fov = study.seen
    findings = () if fov is None else tuple(_pair(study, body, fov, fov[thin]))
    return StudyLook(body, steps, findings, air_level(study.first))


def preflight(
    study: Study,
    scribbles: Codes,
    *,
    strokes: Iterable[Stroke] = (),
    names: Mapping[int, str] | None = None,
    expected: Expected | None = None,
    look: StudyLook | None = None,
    drawn_alone: Codes | None = None,
) -> list[Finding]:
    """Look for what speaks against a fit; errors come first.

    Parameters
    ----------
    study : Study
        One image or two.
    scribbles : uint8 array (z, y, x) on the Study's Grid
        Scribble codes.
    strokes : iterable of Stroke
        Strokes that stand, in order (`Journal.standing`).
    names : mapping of int to str, optional
        Names of the codes there should be; when not given, of background and tumour.
    expected : Expected, optional
        What the fit will take.
    look : StudyLook, optional
        Of the same study; found anew when not given.
    drawn_alone : uint8 array (z, y, x), optional
        The strokes, where `scribbles` holds corrections, too, which fill areas.
    """
    look = look or look_at(study)
    names = names or {entry.code: entry.name for entry in DEFAULT_CLASSES}
    drawn = np.flatnonzero(scribbles)
    codes = scribbles.reshape(-1)[drawn]
    findings = [*_codes(codes, names)]
    if whole := look_whole(scribbles if drawn_alone is None else drawn_alone, study):
        findings.append(Finding("warning", whole))
    for code in np.unique(codes):
        where = drawn[codes == code]
        name = names.get(int(code), f"class {code}")
        findings += _outside(study, look, where, int(code), name)
        findings += _one_slice(study.grid, where, name)
    findings += _overdrawn(scribbles, strokes)
    findings += look.findings
    findings += [] if expected is None else _memory(expected)
    return findings


def _codes(codes: Codes, names: Mapping[int, str]) -> Iterable[Finding]:
    present = np.unique(codes)
    try:
        highest = check_trainable(present)
    except UserError as error:
        yield Finding("error", str(error))
        return
    for code, name in names.items():
        if code > highest:
            yield Finding("warning", f"{name} has no stroke yet: it will not be learnt.")


def _outside(
    study: Study, look: StudyLook, where: Wholes, code: int, name: str
) -> Iterable[Finding]:
    """Strokes in air, and strokes the second image does not see."""
    at = np.unravel_index(where, study.grid.shape)
    out = {"air": ~look.in_body(at) & (study.first.array[at] <= look.air)}
    if study.seen is not None:
        out["unseen"] = ~study.seen[at] & ~out["air"]  # once is enough
    least = _SLIPPED["background" if code == BACKGROUND else "class"]
    for kind, slipped in out.items():
        if slipped.any() and slipped.mean() >= least[kind]:
            one, other = study.names[0], study.names[-1]
            effect = _EFFECT[kind].format(one=one, other=other)
            text = f"{slipped.sum()} of {len(where)} stroke voxels of {name} {effect}."
            yield Finding("warning", text, _middle(where[slipped], study.grid.shape))


def _one_slice(grid: Grid, where: Wholes, name: str) -> Iterable[Finding]:
    for axis, index in enumerate(np.unravel_index(where, grid.shape)):
        if index.min() == index.max() and grid.shape[axis] > 1:
            plane = VIEWS[axis]
            text = f"All strokes of {name} are in one {plane} slice. Draw in some others too."
            yield Finding("warning", text, _middle(where, grid.shape), plane)
            return


def _overdrawn(scribbles: Codes, strokes: Iterable[Stroke]) -> Iterable[Finding]:
    """Voxels where a stroke lies over one of another class; an import replaces on purpose."""
    twice = np.zeros(scribbles.size, dtype=bool)
    for stroke in strokes:
        over = (stroke.old != UNLABELLED) & (stroke.old != stroke.new)
        over &= stroke.source not in ("import", "classes")
        twice[stroke.voxels] = (twice[stroke.voxels] | over) & (stroke.new != UNLABELLED)
    where = np.flatnonzero(twice)
    if where.size:
        text = (
            f"{where.size} voxel{'s were' if where.size > 1 else ' was'} drawn in two classes; the "
            "later one counts. Check that it was meant."
        )
        yield Finding("warning", text, _middle(where, scribbles.shape))


def _pair(study: Study, body: Mask, fov: Mask, thin_fov: Mask) -> Iterable[Finding]:
    """Whether both images overlap, and look registered."""
    covered = float(thin_fov[body].mean()) if body.any() else 1.0
    one, other = study.names
    if covered < _LEAST_OVERLAP:
        text = (
            f"The {other} covers {100 * covered:.1f} % of the patient in the {one}. Check that "
            f"both are of one patient and registered; elsewhere only the {one} tells."
        )
        where = np.flatnonzero(fov)
        place = _middle(where, study.grid.shape) if where.size else None
        yield Finding("warning", text, place)
    if doubt := doubts(likeness(study), study.names):
        yield Finding("warning", doubt)


def _memory(expected: Expected) -> Iterable[Finding]:
    free = psutil.virtual_memory().available
    if expected.memory > free:
        yield Finding(
            "warning",
            f"Training on the processor needs about {expected.memory / _GIB:.1f} GiB of memory, "
            f"but {free / _GIB:.1f} GiB are free. Close other programs or choose a smaller preset.",
        )


def _middle(where: Wholes, shape: Voxel) -> Voxel:
    """The voxel to look at: in the axial slice that has most of them, one in the middle."""
    slices = where // (shape[1] * shape[2])
    here = where[slices == np.bincount(slices).argmax()]
    z, y, x = np.unravel_index(here[len(here) // 2], shape)
    return int(z), int(y), int(x)
