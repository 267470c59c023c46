"""In a process that was forked: our package, as if it had not been imported here."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import invalidate_caches
from pathlib import Path

ROOT = Path(__file__).parents[2]
OURS = "cmfnet_napari"


def forget(*packages: str) -> set[str]:
    """Import these packages anew where they are asked for; return those that had been imported."""
    gone = [name for name in sys.modules if name.split(".")[0] in packages]
    for name in gone:
        del sys.modules[name]
    invalidate_caches()
    return {name.split(".")[0] for name in gone}


def run_with(packages: str, code: str) -> None:
    """Run code with what lies in a folder of packages, before and without the checkout."""
    sys.path[:] = [packages, *(part for part in sys.path if part and Path(part).resolve() != ROOT)]
    forget(OURS, "tests")
    exec(code, {})


class Others:
    """As if the window's packages were not installed: the other finders are not even asked."""

    absent = {"napari", "npe2", "vispy", "qtpy", "magicgui", "superqt", "pyqtgraph"} | {
        "PyQt5", "PyQt6", "PySide2", "PySide6"
    }  # fmt: skip

    def __init__(self) -> None:
        self.finders = sys.meta_path[:]

    def find_spec(self, name: str, path: object = None, target: object = None) -> object:
        if name.split(".")[0] not in self.absent:
            specs = (finder.find_spec(name, path, target) for finder in self.finders)
            return next((spec for spec in specs if spec), None)
        return None

    def find_distributions(self, *context: object) -> Iterator[object]:
        for finder in self.finders:
            yield from getattr(finder, "find_distributions", lambda *context: ())(*context)


def run_without_window(code: str, *arguments: str) -> None:
    """Run code where the window's packages are not installed."""
    sys.meta_path[:] = [Others()]
    there = forget(OURS, *Others.absent)
    if there != {OURS}:  # what trains has imported them
        raise SystemExit(f"imported already: {there}")
    sys.argv = ["-c", *arguments]
    exec(code, {"__name__": "__main__"})
