"""No code from the current folder, which is often a patient's.

Python looks for modules there when it is started with ``-m`` or ``-c``, or when PYTHONPATH has an
empty entry; Windows looks there for programs. This file imports only what every Python has loaded
already (so no ``from __future__``), since it comes before anything in that folder can run.
"""

import os
import sys

_PROGRAM_ENDINGS = ("", ".exe")


def leave_current_folder() -> None:
    """Look for no code in the current folder from here on; what is started looks nowhere else."""
    sys.path[:] = _elsewhere(sys.path)
    if path := os.environ.get("PYTHONPATH"):
        os.environ["PYTHONPATH"] = os.pathsep.join(_elsewhere(path.split(os.pathsep)))
    os.environ["PYTHONSAFEPATH"] = "1"  # for Pythons that a library starts
    os.environ["NODEFAULTCURRENTDIRECTORYINEXEPATH"] = "1"  # for programs, on Windows


def python_command(*arguments: str) -> list[str]:
    """Command that starts this Python, with modules of the current folder left out.

    Parameters
    ----------
    arguments : str
        Such as ``"-m"`` and a module.
    """
    return [sys.executable, "-P", *arguments]


def find_program(name: str) -> str | None:
    """Path of a program in the folders of PATH, the current one left out; None if there is none.

    ``shutil.which`` looks in the current folder first on Windows, whatever it is told.
    """
    for folder in _elsewhere(os.get_exec_path()):
        for ending in _PROGRAM_ENDINGS:
            path = os.path.join(folder, name + ending)
            if os.path.isfile(path) and os.access(path, os.X_OK):
                return os.path.abspath(path)
    return None


def _elsewhere(folders: list[str]) -> list[str]:
    """Without the current folder; but it stays where this package lies in it, as in a checkout."""
    try:
        here = _real(os.getcwd())
    except OSError:  # it is gone
        return [folder for folder in folders if folder]
    if here == _real(os.path.join(os.path.dirname(__file__), "..", "..")):
        return list(folders)
    return [folder for folder in folders if folder and _real(folder) != here]


def _real(folder: str) -> str:
    return os.path.normcase(os.path.realpath(folder))
