"""What the package says of itself, and that the pinned set-up covers all of it."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from tests.distribution.demo_setup import required

BINDINGS = {"pyqt5", "pyqt6", "pyside2", "pyside6"}
WINDOW_ONLY = {"app-model", "napari", "vispy"}  # come with the extra `all`


@pytest.fixture(scope="module")
def project(root: Path) -> dict:
    return tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture(scope="module")
def pins(root: Path) -> dict[str, str]:
    lines = (root / "constraints.txt").read_text(encoding="utf-8").splitlines()
    entries = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in entries}


def names(requirements: list[str]) -> set[str]:
    return {canonicalize_name(Requirement(text).name) for text in requirements}


def test_no_qt_binding_and_no_napari_without_an_extra(project: dict) -> None:
    assert not names(project["dependencies"]) & (BINDINGS | {"napari"})


def test_extras(project: dict) -> None:
    extras = project["optional-dependencies"]
    assert set(extras) == {"all", "test", "dev", "docs", "rivals", "slurm", "nnunet"}
    (napari,) = (Requirement(text) for text in extras["all"])
    assert napari.name == "napari"
    assert napari.extras <= BINDINGS
    assert napari.extras


def test_installed_metadata(project: dict) -> None:
    installed = metadata.metadata("cmfnet-napari")
    assert installed["Version"] == project["version"]
    assert installed["License-Expression"] == "BSD-3-Clause"
    assert installed["Requires-Python"] == ">=3.11"
    assert "Framework :: napari" in installed.get_all("Classifier")
    points = {(p.group, p.name) for p in metadata.distribution("cmfnet-napari").entry_points}
    assert points == {("console_scripts", "cmfnet"), ("napari.manifest", "cmfnet-napari")}


def test_changelog_knows_this_version(root: Path, project: dict) -> None:
    changelog = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(rf"^## \[{re.escape(project['version'])}\]", changelog, re.MULTILINE)


def imported_packages(folder: Path) -> Iterator[tuple[str, str]]:
    """Each outside package imported under a folder, with the room it is imported in."""
    for path in folder.rglob("*.py"):
        room = path.relative_to(folder).parts[0]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                modules = [node.module or ""]
            else:
                continue
            for module in {module.split(".")[0] for module in modules}:
                if module not in sys.stdlib_module_names | {"cmfnet_napari"}:
                    yield module, room


def test_every_import_is_declared(root: Path, project: dict) -> None:
    declared = names(project["dependencies"])
    owners = metadata.packages_distributions()
    undeclared = set()
    for module, room in imported_packages(root / "cmfnet_napari"):
        owned_by = {canonicalize_name(name) for name in owners.get(module, [module])}
        allowed = declared | WINDOW_ONLY if room == "gui" else declared
        if not owned_by & allowed:
            undeclared.add((module, room))
    assert not undeclared


def test_pins_satisfy_what_is_declared(project: dict, pins: dict[str, str]) -> None:
    texts = chain(project["dependencies"], *project["optional-dependencies"].values())
    for requirement in map(Requirement, texts):
        assert pins[canonicalize_name(requirement.name)] in requirement.specifier, requirement


# The last release with each hole.
HOLES = [
    ("torch", "2.5.1"),  # CVE-2025-32434: torch.load runs code in spite of weights_only
    ("requests", "2.32.3"),  # CVE-2024-47081: passwords of .netrc go to another host
    ("filelock", "3.20.0"),  # CVE-2025-68146: a lock follows a link, and empties the file there
    ("monai", "1.5.0"),  # CVE-2025-58755 to 58757: bundles and pickles write files and run code
]


@pytest.mark.parametrize(("name", "version"), HOLES)
def test_no_version_with_a_known_hole_is_allowed(project: dict, name: str, version: str) -> None:
    (requirement,) = (r for r in map(Requirement, project["dependencies"]) if r.name == name)
    assert version not in requirement.specifier


@pytest.mark.skipif(sys.platform != "linux", reason="the pins are those of a set-up on Linux")
def test_everything_the_set_up_installs_is_pinned(pins: dict[str, str]) -> None:
    everything = required("cmfnet-napari", frozenset({"all", "test", "dev", "docs"}))
    unpinned = everything - set(pins) - {"cmfnet-napari"}
    assert not unpinned


def test_every_pin_is_for_every_python_that_the_package_allows(project: dict) -> None:
    """Also its first releases: Debian 12 has 3.11.2, and some packages ask for 3.11.5."""
    lowest = project["requires-python"].removeprefix(">=") + ".0"
    needed = {
        name: metadata.metadata(name).get("Requires-Python", "")
        for name in required("cmfnet-napari", frozenset({"all", "test", "dev", "docs"}))
    }
    assert not [name for name, text in needed.items() if lowest not in SpecifierSet(text)]
