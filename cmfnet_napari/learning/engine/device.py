"""Where a fit runs, and in which precision."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar, cast

import torch
from torch import Tensor

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.fit.config import Precision
from cmfnet_napari.core.fit.cost_estimate import has_bfloat16

if TYPE_CHECKING:
    from lightning_fabric import Fabric

T = TypeVar("T", Tensor, dict[str, Tensor])


def pick_device(name: str = "auto") -> torch.device:
    """The device asked for; ``auto`` takes a CUDA GPU when there is one, else the CPU.

    Raises
    ------
    UserError
        The device is unknown or not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UserError(f"There is no device {name!r}; use auto, cpu, cuda or cuda:N.") from error
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            raise UserError(
                f"The GPU {name} was asked for, but this machine shows {count} CUDA GPUs. "
                "Use --device cpu, or look at `cmfnet doctor`."
            )
    elif device.type == "mps" and not torch.backends.mps.is_available():
        raise UserError("The GPU mps was asked for, but this machine has none. Use --device cpu.")
    elif device.type not in ("cpu", "cuda", "mps"):
        raise UserError(f"The device {name!r} is not supported; use auto, cpu, cuda or cuda:N.")
    return device


def pick_precision(wish: Precision, device: torch.device) -> torch.dtype:
    """``auto``: bfloat16 where the processor computes in it, else float32."""
    if wish == "float32":
        return torch.float32
    return torch.bfloat16 if wish == "bfloat16" or _has_bfloat16(device) else torch.float32


def make_fabric(
    device: torch.device, precision: torch.dtype, devices: int = 1, nodes: int = 1
) -> Fabric:
    """Return what runs a training: one device, or several that share each step's patches.

    Parameters
    ----------
    device : torch.device
        Kind of device; with an index, this one.
    precision : torch.dtype
        float32, or bfloat16 for autocast.
    devices, nodes : int
        Processes a node (one a device), and nodes; under torchrun and SLURM they must be those
        of the launch.

    Raises
    ------
    UserError
        A single device was named but several are asked for, or there are not so many.
    """
    from lightning_fabric import Fabric  # here: it takes seconds, and only a training needs it

    if devices > 1 and device.index is not None:
        raise UserError(f"{device} is one device, but {devices} are asked for. Name cuda only.")
    if device.type == "cuda" and devices > torch.cuda.device_count():
        raise UserError(
            f"{devices} GPUs were asked for, but this machine shows {torch.cuda.device_count()}."
        )
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    return Fabric(
        accelerator=device.type,
        devices=devices if device.index is None else [device.index],
        num_nodes=nodes,
        strategy="ddp" if devices * nodes > 1 else "auto",
        precision="32-true" if precision == torch.float32 else "bf16-mixed",
    )


def device_name(device: torch.device) -> str:
    """What a training ran on, in words: a GPU by its own name, a processor with its threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type != "cpu":
        return device.type
    threads = torch.get_num_threads()
    return f"cpu, {threads} {'thread' if threads == 1 else 'threads'}"


@contextmanager
def one_core() -> Iterator[None]:
    """Torch computes with one thread: trainings beside each other must not wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def summed(fabric: Fabric, values: T) -> T:
    """Sum a tensor, or every tensor of a dict, over the processes of a training."""
    return cast(T, fabric.all_reduce(values, reduce_op="sum"))


def _has_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        return has_bfloat16()
    return False
