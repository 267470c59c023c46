"""State of a training on disk: all that the next step depends on, while it is not complete."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cmfnet_napari.core.arrays import Codes
from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.files import write_safely
from cmfnet_napari.core.fit.runs import STATE_FILE

State = dict[str, Any]  # tensors, numbers and texts, in dicts and lists: what torch keeps
SAVE_VARIABLE = "CMFNET_SAVE_SECONDS"  # between states on disk


def save_seconds(usual: float) -> float:
    """Seconds between states: what the variable says, else what is usual."""
    return float(os.environ.get(SAVE_VARIABLE, usual))


def save_state(folder: Path, state: State) -> Path:
    """Write a state in place of the last one; a half-written file never replaces a good one."""
    return write_safely(folder / STATE_FILE, ".pt", lambda part: torch.save(state, part))


def load_state(folder: Path, device: torch.device) -> State:
    """Read a state; the file cannot run code.

    Raises
    ------
    UserError
        It is missing or damaged.
    """
    path = folder / STATE_FILE
    if not path.exists():
        raise UserError(f"{folder.name} holds no state to go on from. Train again.")
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # whatever a damaged file makes torch say
        raise damaged_state(folder) from error
    if not isinstance(state, dict):
        raise damaged_state(folder)
    return state


def damaged_state(folder: Path) -> UserError:
    """What to say of a state that cannot be used."""
    return UserError(
        f"The state of {folder.name} ({STATE_FILE}) is damaged. Delete that file to train "
        f"{folder.name} from the beginning."
    )


def pack_codes(codes: Codes) -> State:
    """An array of codes for a state: where runs of the same code begin, and which each has.

    As it is, one of a large study would take more room than the network.
    """
    flat = codes.reshape(-1)
    begins = np.flatnonzero(np.append(True, flat[1:] != flat[:-1]))
    return {"begins": torch.from_numpy(begins), "codes": torch.from_numpy(flat[begins])}


def unpack_codes(packed: State, shape: tuple[int, ...]) -> Codes:
    """What `pack_codes` has packed; ValueError where it is not of this shape."""
    lengths = np.diff(packed["begins"].numpy(), append=np.prod(shape))
    return np.repeat(packed["codes"].numpy(), lengths).reshape(shape)


def state_bytes(state: Any) -> int:
    """Room that a state needs on disk, roughly."""
    if isinstance(state, torch.Tensor):
        return state.nbytes
    if isinstance(state, dict):
        return sum(state_bytes(value) for value in state.values())
    if isinstance(state, list | tuple):
        return sum(state_bytes(value) for value in state)
    return 64
