"""Material on disk: made once, from a seed, and read through a memory map.

::

    OUT/material.json   seed, shares of the kinds, hashes of the patients
    OUT/samples.npy     uint8 (samples, 3, z, y, x), see `Sample.pack`
    OUT/made.json       how many of them are there; the same command goes on with the next

Every sample comes from chance of its own, seeded by its number, and any first part of the
material holds about the same shares of all kinds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.files import JsonObject, read_json, write_json
from cmfnet_napari.core.folder_lock import begun
from cmfnet_napari.learning.material.found_objects import find_object
from cmfnet_napari.learning.material.made_up import make_up
from cmfnet_napari.learning.material.patient_cubes import Source, around_contour
from cmfnet_napari.learning.material.sample import SIDE, Sample

_PLAN, _SAMPLES, _MADE = "material.json", "samples.npy", "made.json"
_FORMAT = 3  # 1 did not know how far the images reach, 2 did not name the patients
_NOTED = 25  # samples between two notes of how many there are


class Shares(NamedTuple):
    """How often each kind of sample comes; they are divided by their sum."""

    contours: float = 0.35
    found: float = 0.2
    made_up: float = 0.45


def make_material(
    out: Path,
    samples: int,
    sources: Sequence[Source],
    shares: Shares,
    seed: int = 0,
    show: Callable[[int], bool] = lambda made: True,
) -> int:
    """Make samples, or go on where that was broken off.

    Parameters
    ----------
    out : Path
        New folder, or one of the same material.
    samples : int
        How many there are to be.
    sources : sequence of Source
        Patients with contours; may be empty where only anatomy is made up.
    shares : Shares
        How often each kind comes.
    seed : int
        Same seed, same samples.
    show : callable
        Takes the number made so far; False: leave.

    Returns
    -------
    int
        How many are there.

    Raises
    ------
    UserError
        No patients for what is cut from patients; the folder holds other material, or
        is being filled.
    """
    _check(sources, shares)
    plan: JsonObject = {
        "samples": samples,
        "shares": list(shares),
        "seed": seed,
        "patients": [source.content_hash for source in sources],
        "side": SIDE,
        "format": _FORMAT,
    }
    with begun(out, _PLAN):
        made = _begin(out, plan)
        file = np.load(out / _SAMPLES, mmap_mode="r+", allow_pickle=False)
        while made < samples and show(made):
            file[made] = make_sample(made, sources, shares, seed).pack()
            made += 1
            if made % _NOTED == 0 or made == samples:
                file.flush()
                write_json(out / _MADE, {"made": made})
        return made


def make_sample(number: int, sources: Sequence[Source], shares: Shares, seed: int) -> Sample:
    """One sample; same number and seed, same sample."""
    rng = np.random.default_rng([seed, number])
    kind = rng.choice(3, p=np.array(shares) / sum(shares))
    if kind == 2:
        return make_up(rng)
    source = sources[int(rng.integers(len(sources)))]
    return find_object(source, rng) if kind == 1 else around_contour(source, rng)


class Material:
    """Samples that were made, read as they are asked for.

    Attributes
    ----------
    patients : tuple of str
        Hashes of the studies that they were cut from.

    Raises
    ------
    UserError
        The folder holds none, or that of an earlier version.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        if not (folder / _MADE).exists():
            raise UserError(f"{folder} holds no material. Make it with cmfnet material.")
        plan = read_json(folder / _PLAN)
        if plan.get("format") != _FORMAT:
            raise UserError(f"{folder} holds material of an earlier version. Make it again.")
        self.patients: tuple[str, ...] = tuple(plan["patients"])
        self._samples = np.load(folder / _SAMPLES, mmap_mode="r", allow_pickle=False)

    def __len__(self) -> int:
        return int(read_json(self._folder / _MADE)["made"])

    def __getitem__(self, number: int) -> Sample:
        return Sample.unpack(self._samples[number])


def _check(sources: Sequence[Source], shares: Shares) -> None:
    if min(shares) < 0 or not sum(shares) > 0:
        raise UserError(f"The shares are {tuple(shares)}; they must be 0 or more, one above 0.")
    if not sources and shares.contours + shares.found > 0:
        raise UserError("There are no patients to cut samples from. Give a cohort file.")
    if shares.contours > 0 and any(source.contour is None for source in sources):
        raise UserError("Every patient needs a contour (mask) for the share of contours.")


def _begin(out: Path, plan: JsonObject) -> int:
    if (out / _PLAN).exists():
        before = read_json(out / _PLAN)
        if before != plan:
            raise UserError(
                f"{out.name} holds other material ({_changes(before, plan)}). "
                "Choose another folder."
            )
        return int(read_json(out / _MADE)["made"]) if (out / _MADE).exists() else 0
    np.lib.format.open_memmap(
        out / _SAMPLES, "w+", np.uint8, (int(plan["samples"]), 3, SIDE, SIDE, SIDE)
    ).flush()
    write_json(out / _PLAN, plan)
    return 0


def _changes(before: JsonObject, plan: JsonObject) -> str:
    """What differs, with both values where they are short."""
    return ", ".join(
        "other patients" if name == "patients" else f"{name} {before.get(name)}, not {value}"
        for name, value in plan.items()
        if before.get(name) != value
    )
