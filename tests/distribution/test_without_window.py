"""The core, the training and the command line work where napari and Qt are not installed."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from tests.forked import Forked

IMPORT_ALL = """
import importlib, pkgutil
import cmfnet_napari
skipped = ("cmfnet_napari.gui", "cmfnet_napari.__main__")
for module in pkgutil.walk_packages(cmfnet_napari.__path__, "cmfnet_napari."):
    if not module.name.startswith(skipped):
        importlib.import_module(module.name)
        print(module.name)
"""
COMMAND_LINE = """
import sys
from cmfnet_napari.cli.main import main
sys.argv = ["cmfnet", *sys.argv[1:]]
main()
"""
MARK = "----- next -----"
HELP = f"""
import sys
from cmfnet_napari.cli.main import main
for number, command in enumerate(["", *sys.argv[1:]]):
    sys.argv = ["cmfnet", *filter(None, [command]), "--help"]
    if number:
        print("{MARK}")
    try:
        main()
    except SystemExit as end:
        assert not end.code, command
"""


def run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run code in a process that has imported torch and other large packages, but none of ours."""
    target = "tests.distribution.other_packages:run_without_window"
    process = Forked("training", target, code, *arguments)
    said, wrong = process.stdout.read(), process.stderr.read()
    status = process.wait(120)
    process.close()
    return subprocess.CompletedProcess([code, *arguments], status, said, wrong)


def test_the_block_blocks() -> None:
    done = run("import qtpy")
    assert done.returncode == 1
    assert "No module named 'qtpy'" in done.stderr


def test_every_module_but_the_windows_imports() -> None:
    done = run(IMPORT_ALL)
    assert done.returncode == 0, done.stderr
    imported = set(done.stdout.split())
    assert {
        "cmfnet_napari.core.images.grid",
        "cmfnet_napari.cli.main",
        "cmfnet_napari.cli.doctor",
    } <= imported
    assert any(name.startswith("cmfnet_napari.learning.") for name in imported)


def test_help_names_every_command_and_each_has_its_own() -> None:
    commands = ("demo", "open", "fit", "predict", "evaluate", "scribble", "doctor", "worker")
    done = run(HELP, *commands)
    assert done.returncode == 0, done.stderr
    whole, *each = done.stdout.split(MARK)
    assert all(command in whole for command in commands)
    assert len(each) == len(commands)
    assert all("--help" in text for text in each)


def test_evaluate_works(tmp_path: Path) -> None:
    reference = np.zeros((4, 5, 6), np.uint8)
    reference[1:3, 1:3, 1:3] = 1
    prediction = reference.copy()
    prediction[1:3, 1:3, 2] = 0  # half of it
    for name, array in (("reference", reference), ("prediction", prediction)):
        sitk.WriteImage(sitk.GetImageFromArray(array), str(tmp_path / f"{name}.nii.gz"))
    files = [str(tmp_path / f"{name}.nii.gz") for name in ("prediction", "reference")]
    done = run(COMMAND_LINE, "evaluate", *files, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["mean"]["dsc"] == pytest.approx(2 * 4 / (4 + 8))


def test_open_says_what_to_install(tmp_path: Path) -> None:
    array = np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6)
    sitk.WriteImage(sitk.GetImageFromArray(array), str(tmp_path / "ct.nii.gz"))
    done = run(COMMAND_LINE, "open", str(tmp_path / "ct.nii.gz"))
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "cmfnet-napari[all]" in done.stderr
