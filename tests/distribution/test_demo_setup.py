"""The main job is installed from wheels, without anything for tests."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.distribution.demo_setup import PRODUCT, required, superfluous, tools_for_tests


def test_test_tools_are_known() -> None:
    assert {"pytest", "hypothesis", "mypy", "ruff", "dcmrtstruct2nii"} <= tools_for_tests()


def test_the_product_needs_no_test_tool() -> None:
    assert not required(PRODUCT, frozenset({"all"})) & tools_for_tests()


@pytest.mark.parametrize(
    ("installed", "product"),
    [({"numpy", "pytest"}, {"numpy"}), ({"numpy", "pytest"}, {"numpy", "pytest"})],
)
def test_a_test_tool_is_found_also_when_the_product_names_it(installed, product) -> None:
    assert superfluous(installed, product, set()) == {"pytest"}


def test_what_nobody_asks_for_is_found() -> None:
    assert superfluous({"numpy", "pip", "left"}, {"numpy"}, set()) == {"left"}


def test_this_environment_which_is_for_tests_is_told_from_the_demos(root: Path) -> None:
    command = [sys.executable, "-m", "tests.distribution.demo_setup"]
    done = subprocess.run(command, cwd=root, capture_output=True, encoding="utf-8")
    assert done.returncode == 1
    assert "pytest" in done.stdout


def rule(root: Path, target: str) -> str:
    """The commands of a rule of the Makefile."""
    text = (root / "Makefile").read_text(encoding="utf-8")
    (found,) = re.findall(rf"^{re.escape(target)}:.*\n((?:\t.*\n)+)", text, re.MULTILINE)
    return found


def test_the_demo_is_installed_from_wheels_alone(root: Path) -> None:
    text = (root / "Makefile").read_text(encoding="utf-8")
    assert re.search(r"^INSTALL := .*--only-binary :all:$", text, re.MULTILINE)
    commands = rule(root, "$(PRODUCT)")
    assert "--no-binary" not in commands
    assert re.findall(r"'\.\[(.*)\]'", commands) == ["all"]
    assert "$(TESTS)" not in rule(root, "demo")
    assert re.search(r"^demo: \$\(PRODUCT\)$", text, re.MULTILINE)
    ci = (root / ".ci" / "run").read_text(encoding="utf-8")
    order = [ci.index(words) for words in ("make demo", "demo_setup", "make test")]
    assert order == sorted(order)
