"""napari finds the plugin from an editable install and from a wheel."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

from tests.distribution.conftest import packages_of
from tests.forked import Forked

FIND = """
import json
import cmfnet_napari
from npe2 import PluginManager
manager = PluginManager()
manager.discover()
manifest = manager.get_manifest("cmfnet-napari")
"""
SAY = """
contributions = manifest.contributions
print(json.dumps({
    "from": cmfnet_napari.__file__,
    "display_name": manifest.display_name,
    "widgets": [widget.display_name for widget in contributions.widgets or []],
    "samples": [sample.key for sample in contributions.sample_data or []],
    "commands": [command.python_name for command in contributions.commands or []],
}))
"""


def check_manifest(found: dict) -> None:
    assert "CmFNet" in found["display_name"]
    assert found["widgets"]
    assert len(found["samples"]) >= 2  # the synthetic patient and the real one
    assert all(name.startswith("cmfnet_napari.") for name in found["commands"])


def test_editable_install_is_found(root: Path, run_python) -> None:
    """That what it names is there, tests/gui/opening asks: it has imported all of it."""
    found = json.loads(run_python(sys.executable, FIND + SAY))
    assert Path(found["from"]) == root / "cmfnet_napari" / "__init__.py"
    check_manifest(found)


@pytest.mark.slow
def test_wheel_is_found(wheel_python: Path, tmp_path: Path) -> None:
    environment = wheel_python.parents[1]
    target, packages = "tests.distribution.other_packages:run_with", packages_of(environment)
    code = f"{FIND}manifest.validate_imports()\n{SAY}"
    process = Forked("window", target, packages, code, folder=tmp_path)
    said, wrong = process.stdout.read(), process.stderr.read()
    assert process.wait() == 0, wrong
    process.close()
    found = json.loads(said)
    assert Path(found["from"]).is_relative_to(environment)
    check_manifest(found)


@pytest.mark.slow
def test_command_works_from_the_wheel(wheel_python: Path, tmp_path: Path) -> None:
    command = wheel_python.with_name("cmfnet" + wheel_python.suffix)
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [command, "doctor", "--json"],
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        cwd=tmp_path,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout.splitlines()[-1])
    assert facts["packages"]["cmfnet-napari"] == metadata.version("cmfnet-napari")
    assert facts["sentences"]


def test_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert "cmfnet_napari/napari.yaml" in names
    assert "cmfnet_napari/py.typed" in names
    assert any(name.endswith("dist-info/licenses/LICENSE") for name in names)
    assert {name.split("/")[0].split("-")[0] for name in names} == {"cmfnet_napari"}


def test_root_manifest_is_the_packages(root: Path) -> None:
    at_root, in_package = root / "napari.yaml", root / "cmfnet_napari" / "napari.yaml"
    assert in_package.is_file()
    if at_root.is_symlink():
        assert at_root.resolve() == in_package.resolve()
    else:  # git on Windows writes the link's target as text
        assert at_root.read_text().strip() == "cmfnet_napari/napari.yaml"
