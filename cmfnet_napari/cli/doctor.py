"""What this machine can do: facts, and plain sentences drawn from them (``cmfnet doctor``).

Nothing is sent anywhere. The report names no user and no path but the cases folder's.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from cmfnet_napari.core.case.find_case import cases_folder
from cmfnet_napari.core.files import JsonObject
from cmfnet_napari.core.isolation import python_command
from cmfnet_napari.gui.opengl import advice, last_words

Facts = JsonObject  # ready for JSON

GIB = 2**30
LOW_MEMORY_GIB = 4.0  # quick's training and the window together, with the system
LOW_DISK_GIB = 2.0  # a case with a few runs
OPENGL_SECONDS = 20.0
PACKAGES = ("cmfnet-napari", "monai", "numpy", "scipy", "scikit-image", "SimpleITK", "vispy")
BINDINGS = ("PyQt6", "PySide6", "PyQt5", "PySide2")
OLD_OPENGL = ("1.", "2.0")  # napari draws with shaders, which came with 2.0 and 2.1
SOFTWARE_RENDERERS = ("llvmpipe", "softpipe", "swrast", "GDI Generic", "Microsoft Basic Render")


def examine() -> Facts:
    """Look at the machine.

    Returns
    -------
    dict
        Ready for JSON: ``python``, ``system``, ``cores``, ``memory`` (GiB), ``torch``,
        ``window``, ``cases`` (free GiB), ``packages`` and ``sentences``, what it all means.
    """
    facts: Facts = {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} ({platform.machine()})",
        "cores": os.cpu_count(),
        "memory": _memory(),
        "torch": _torch(),
        "window": _window(),
        "cases": _cases(),
        "packages": {name: _version(name) for name in PACKAGES},
    }
    facts["sentences"] = sentences(facts)
    return facts


def sentences(facts: Facts) -> list[str]:
    """Say in words what a machine with these facts can do, the window first."""
    said = [_on_window(facts["window"]), _on_training(facts["torch"])]
    free = facts["memory"]["free_gib"]
    if free < LOW_MEMORY_GIB:
        said.append(
            f"Only {free:.1f} GiB of memory are free and {LOW_MEMORY_GIB:.0f} are needed: "
            "close other programs."
        )
    free = facts["cases"]["free_gib"]
    if free is not None and free < LOW_DISK_GIB:
        said.append(
            f"Only {free:.1f} GiB are free where cases are kept and {LOW_DISK_GIB:.0f} are "
            "needed: free some space, or name another folder in the variable CMFNET_CASES."
        )
    return said


def report(facts: Facts | None = None, console: Console | None = None) -> None:
    """Print the facts (by default those of this machine) as a table, then the sentences."""
    facts = examine() if facts is None else facts
    console = console or Console(markup=False)
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for row in _rows(facts):
        table.add_row(*row)
    console.print(table)
    console.print()
    for sentence in facts["sentences"]:
        console.print(sentence, highlight=False, markup=False, soft_wrap=True)


def _memory() -> Facts:
    memory = psutil.virtual_memory()
    return {"total_gib": memory.total / GIB, "free_gib": memory.available / GIB}


def _cases() -> Facts:
    """The cases folder, its home written as ~, and the space left on its disk."""
    folder = cases_folder()
    there = next((p for p in (folder, *folder.absolute().parents) if p.exists()), None)
    try:
        shown = str(Path("~") / folder.relative_to(Path.home()))
    except (ValueError, RuntimeError):  # elsewhere, or no home
        shown = str(folder)
    return {"folder": shown, "free_gib": shutil.disk_usage(there).free / GIB if there else None}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _torch() -> Facts:
    """What torch finds. A torch that cannot be loaded is a fact too, not a crash."""
    try:
        import torch
    except (ImportError, OSError) as error:  # OSError: a missing system library on Windows
        return {"version": _version("torch"), "error": str(error).splitlines()[0]}
    from cmfnet_napari.learning.engine.device import pick_device, pick_precision

    device = pick_device("auto")
    return {
        "version": torch.__version__,
        "threads": torch.get_num_threads(),
        "device": str(device),
        "precision": str(pick_precision("auto", device)).removeprefix("torch."),
        "cuda": [_cuda_device(number) for number in range(torch.cuda.device_count())],
        "mps": torch.backends.mps.is_available(),
    }


def _cuda_device(number: int) -> Facts:
    import torch

    free, total = torch.cuda.mem_get_info(number)
    return {
        "name": torch.cuda.get_device_name(number),
        "total_gib": total / GIB,
        "free_gib": free / GIB,
    }


def _window() -> Facts:
    facts: Facts = {
        "napari": _version("napari"),
        "qt": ", ".join(f"{name} {_version(name)}" for name in BINDINGS if _version(name)),
        "opengl": None,
        "why": "",
    }
    if facts["napari"] and facts["qt"]:
        facts["opengl"], facts["why"] = _opengl()
    return facts


def _opengl() -> tuple[Facts | None, str]:
    """What OpenGL says of itself in a process of its own, or None and why not."""
    command = python_command("-m", "cmfnet_napari.gui.opengl")
    try:
        done = subprocess.run(
            command, capture_output=True, encoding="utf-8", errors="replace", timeout=OPENGL_SECONDS
        )
    except subprocess.TimeoutExpired:
        return None, f"the graphics driver did not answer within {OPENGL_SECONDS:.0f} s"
    if done.returncode == 0:
        return json.loads(done.stdout.splitlines()[-1]), ""
    return None, last_words(done.stderr) or f"the test ended with code {done.returncode}"


def _on_window(window: Facts) -> str:
    headless = "Training works without it: `cmfnet demo --headless`, `cmfnet fit`."
    if not window["napari"] or not window["qt"]:
        lacking = "a Qt binding" if window["napari"] else "napari"
        return (
            f"The window cannot open: {lacking} is not installed. Install it with "
            f'`pip install "cmfnet-napari[all]"`. {headless}'
        )
    if window["opengl"] is None:
        why = window["why"]
        said = f"The window cannot open: no display with OpenGL ({why}). {advice(why)}"
        return said + headless
    renderer, number = window["opengl"]["renderer"], window["opengl"]["version"]
    if number.startswith(OLD_OPENGL):
        return (
            f"The window cannot open: OpenGL {number} of {renderer} is too old, 2.1 is needed. "
            "Install the graphics driver; a remote desktop may hide it, then sit down at the "
            f"computer itself. {headless}"
        )
    if any(name.lower() in renderer.lower() for name in SOFTWARE_RENDERERS):
        return f"The window can open. The processor draws it ({renderer}): 3D views are slow."
    return f"The window can open. It is drawn by {renderer}."


def _on_training(torch: Facts) -> str:
    if "error" in torch:
        why = torch["error"]
        return (
            f"Training cannot run: torch cannot be loaded ({why}). {advice(why)}Install it again."
        )
    if torch["device"].startswith("cuda"):
        return f"Training runs on the GPU {_cuda_text(torch['cuda'][0])}."
    said = f"Training runs on the processor ({_processor_text(torch)}): choose the preset quick."
    return said + (" The Apple GPU is used with `--device mps`." if torch["mps"] else "")


def _rows(facts: Facts) -> list[tuple[str, str]]:
    """Label and text of each line of the table."""
    memory, cases, torch, window = (facts[key] for key in ("memory", "cases", "torch", "window"))
    opengl = window["opengl"]
    free = "unknown" if cases["free_gib"] is None else f"{cases['free_gib']:.1f} GiB free"
    return [
        ("Python", facts["python"]),
        ("System", facts["system"]),
        ("Processor", f"{facts['cores']} cores"),
        ("Memory", f"{memory['free_gib']:.1f} of {memory['total_gib']:.1f} GiB free"),
        ("torch", _torch_text(torch)),
        *[("CUDA device", _cuda_text(device)) for device in torch.get("cuda", [])],
        ("napari", window["napari"] or "not installed"),
        ("Qt", window["qt"] or "not installed"),
        ("OpenGL", f"{opengl['renderer']}, {opengl['version']}" if opengl else "none"),
        ("Cases folder", f"{cases['folder']} ({free})"),
        *[(name, number or "not installed") for name, number in facts["packages"].items()],
    ]


def _torch_text(torch: Facts) -> str:
    if "error" in torch:
        return f"{torch['version'] or 'not installed'}, cannot be loaded"
    return f"{torch['version']}, {_processor_text(torch)}{', Apple GPU' * torch['mps']}"


def _processor_text(torch: Facts) -> str:
    threads = torch["threads"]
    return f"{threads} thread{'s' * (threads != 1)}, {torch['precision']}"


def _cuda_text(device: Facts) -> str:
    return f"{device['name']}, {device['free_gib']:.1f} of {device['total_gib']:.1f} GiB free"
