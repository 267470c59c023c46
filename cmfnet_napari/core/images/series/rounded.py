"""Positions that a scanner rounded, told from a lost slice by all positions together.

A slice every 1.25 mm, written in whole millimetres, lies at 0, 1, 2, 4, 5, 6, 8 …: gaps of 1 and
2 mm, and none is missing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cmfnet_napari.core.arrays import Doubles
from cmfnet_napari.core.images.series.headers import Slice

_UNITS_MM = (1.0, 0.5, 0.1, 0.05, 0.01)
_COSINES = (1e-3, 1e-4, 1e-5)
_EXACT = 1e-4  # of a millimetre: what a DS of 16 letters and a sum of three products leave
_FEW_UNITS = 1.5  # nearer slices, in units: a lost one and rounding look alike


def reach(slices: Sequence[Slice], axis: Doubles) -> float:
    """How far rounding may have moved a slice along a direction (3,), mm; 0 where none is seen."""
    positions = np.array([one.position for one in slices])
    units = np.array([_unit(np.diff(values), _UNITS_MM) for values in positions.T])
    length = float(np.linalg.norm(np.ptp(positions, axis=0)))
    cosines = np.array(slices[0].orientation)
    turned = np.abs(cosines - np.rint(cosines)).max() > _EXACT
    tilt = _unit(cosines, _COSINES) / 2 if turned else 0.0
    return float(np.abs(axis) @ units / 2 + tilt * length)


def even_places(places: Doubles, most: float, said: Sequence[float]) -> tuple[float, float] | None:
    """Even places that are those given but for a rounding of at most so many mm.

    Parameters
    ----------
    places : float array (n,)
        Along the normal, mm, rising; n ≥ 3.
    most : float
        See `reach`.
    said : sequence of float
        Distances that the header says; the first that fits is taken as it is.

    Returns
    -------
    tuple of float, or None
        Distance of the slices and the first one's place, mm; None: rounding does not explain it.
    """
    count = np.arange(len(places))
    one = np.ones(len(places))
    rows = np.vstack([np.column_stack([one, count, -one]), np.column_stack([-one, -count, -one])])
    from scipy.optimize import linprog  # here: it would delay every start of a program by 0.2 s

    found = linprog(
        (0, 0, 1), A_ub=rows, b_ub=np.concatenate([places, -places]), bounds=(None, None)
    )
    if not most or not found.success or found.x[2] > most + _EXACT or found.x[1] <= 0:
        return None
    for step in said:
        rest = places - count * step
        if np.ptp(rest) <= 2 * (most + _EXACT):
            return float(step), float(rest.max() + rest.min()) / 2
    return float(found.x[1]), float(found.x[0])


def is_rounding(slices: Sequence[Slice], places: Doubles, step: float, most: float) -> bool:
    """Whether uneven gaps come from rounding and not from a lost slice, by what headers say too.

    A slice number that is left out where the gap is widest says that one is lost. Where slices
    lie about as near as the digits allow, either would look the same: the distance that the
    header says, or slice numbers without a gap, must speak for rounding then.

    Parameters
    ----------
    slices : sequence of Slice
        In order.
    places : float array (n,)
        See `even_places`, as is `most`.
    step : float
        What `even_places` gave.
    """
    numbers = [one.number for one in slices if one.number is not None]
    jumps = np.abs(np.diff(numbers)) if len(numbers) == len(slices) else np.array([])
    usual = float(np.median(np.diff(places)))
    if jumps.size and jumps[int(np.argmax(np.diff(places)))] > np.median(jumps):
        return False
    if step >= _FEW_UNITS * 2 * most:
        return True
    said = [mm for mm in slices[0].distances if mm > 0]
    if said:
        return min(abs(mm - step) for mm in said) < min(abs(mm - usual) for mm in said)
    return bool(jumps.size and np.ptp(jumps) == 0)


def _unit(values: Doubles, units: Sequence[float]) -> float:
    """The largest unit that all values are multiples of; 0 where there is none, or all are 0."""
    if not np.abs(values).max() > _EXACT:
        return 0.0
    for unit in units:
        if np.abs(values / unit - np.rint(values / unit)).max() * unit <= min(_EXACT, unit / 100):
            return unit
    return 0.0
