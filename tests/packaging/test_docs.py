"""What the documents say exists, does."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main

from cmfnet_napari.cli import app

DOCUMENTS = (
    "README.md",
    "CHANGELOG.md",
    "docs/architecture.md",
    "docs/dicom.md",
    "docs/installing.md",
)
LINK = re.compile(r"\]\((?!https?:|#)([^)\s]+)\)")


def command_lines(text: str) -> Iterator[list[str]]:
    """Every line of a code block that calls cmfnet, as words."""
    for block in re.findall(r"^```\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        for line in block.splitlines():
            if line.startswith("cmfnet "):
                yield shlex.split(line)[1:]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(root: Path, document: str) -> None:
    path = root / document
    links = LINK.findall(path.read_text(encoding="utf-8"))
    missing = [link for link in links if not (path.parent / link.split("#")[0]).exists()]
    assert not missing


def test_readme_shows_commands_and_options_that_exist(root: Path) -> None:
    commands = typer.main.get_command(app).commands
    shown = list(command_lines((root / "README.md").read_text(encoding="utf-8")))
    assert {line[0] for line in shown} == set(commands) - {"worker"}  # told of in a sentence
    for name, *words in shown:
        known = {text for option in commands[name].params for text in option.opts}
        assert {word for word in words if word.startswith("--")} <= known, name


def test_map_names_every_module_and_none_that_is_gone(root: Path) -> None:
    text = (root / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = set(re.findall(r"\b(\w+\.py)\b", text))
    there = {path.name for path in (root / "cmfnet_napari").rglob("*.py")} - {"__init__.py"}
    assert named == there
