"""What the documents say exists, does."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main

from cmfnet_napari.cli.main import app

ROOT = Path(__file__).parents[2]
PAGES = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md"))
DOCUMENTS = ["README.md", "CHANGELOG.md", "cmfnet_napari/models/README.md", *PAGES]
PACKAGE = "cmfnet_napari"
ROOMS = "core|learning|remote|gui|cli|tests|benchmarks|scripts|examples"
PATH = re.compile(rf"(?<![\w/])(?:{ROOMS})/[\w/]+\.\w+")
LINK = re.compile(r"\]\((?!https?:|#)([^)\s]+)\)")


def blocks(text: str) -> list[str]:
    """What is in code blocks without a language."""
    found = re.findall(r"^```([^\n]*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [block for language, block in found if not language]


def command_lines(text: str) -> Iterator[list[str]]:
    """Every line of a code block that calls cmfnet, as words."""
    for block in blocks(text):
        for line in block.replace("\\\n", " ").splitlines():
            if line.startswith("cmfnet "):
                yield shlex.split(line)[1:]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(root: Path, document: str) -> None:
    path = root / document
    links = LINK.findall(path.read_text(encoding="utf-8"))
    missing = [link for link in links if not (path.parent / link.split("#")[0]).exists()]
    assert not missing


def read(root: Path, *documents: str) -> str:
    """All that is said in these documents."""
    return "\n".join((root / name).read_text(encoding="utf-8") for name in documents)


def test_documents_show_commands_and_options_that_exist(root: Path) -> None:
    commands = typer.main.get_command(app).commands
    shown = list(command_lines(read(root, "README.md", *PAGES)))
    on_its_page = {line[0] for line in command_lines(read(root, "docs/command-line.md"))}
    offered = {name for name, command in commands.items() if not command.hidden}
    assert on_its_page == offered - {"worker"}  # told of in a sentence
    for name, *words in shown:
        known = {text for option in commands[name].params for text in option.opts}
        if hasattr(commands[name], "commands"):  # a group of them
            known = {text for one in commands[name].commands[words[0]].params for text in one.opts}
        assert {word for word in words if word.startswith("--")} <= known, name


def test_readme_is_short(root: Path) -> None:
    readme = read(root, "README.md")
    assert len(readme.splitlines()) < 120
    assert "make demo" in readme
    assert "make test" in readme
    assert "](docs/images/" in readme


def test_windows_list_needs_no_make_and_names_what_is_there(root: Path) -> None:
    text = read(root, "README.md", *PAGES)
    (block,) = (block for block in blocks(text) if "py -3" in block)
    first, *lines = block.splitlines()
    assert first.endswith(" -m venv .venv")
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    needed = project["project"]["requires-python"].removeprefix(">=")
    assert first.split()[1] == f"-{needed}"  # the one that the pins were made with
    pins = (root / "constraints.txt").read_text(encoding="utf-8")
    programs = {line.split()[0] for line in lines}
    assert programs == {r".venv\Scripts\python", r".venv\Scripts\cmfnet"}
    installs = [line for line in lines if " -m pip install -c constraints.txt " in line]
    assert installs[0].split()[-1] == project["build-system"]["build-backend"].split(".")[0]
    assert f"{installs[0].split()[-1]}==" in pins
    (extra,) = re.findall(r'"\.\[(\w+)\]"', installs[1])
    assert extra in project["project"]["optional-dependencies"]
    commands = typer.main.get_command(app).commands
    assert {line.split()[1] for line in lines if "cmfnet " in line} <= set(commands)


def files_in_tables(text: str) -> Iterator[str]:
    """The files of a table: the folder is in its first column, names are in its second."""
    for folder, names in re.findall(r"^\| `([\w./]+)/` \| ([^|]+) \|", text, re.MULTILINE):
        for name in re.findall(r"`([^`]+)`", names):
            yield (Path(folder) / name).as_posix()


def test_map_names_every_file_once_and_none_that_is_gone(root: Path) -> None:
    package = root / "cmfnet_napari"
    named = list(files_in_tables((root / "docs" / "architecture.md").read_text(encoding="utf-8")))
    there = {path.relative_to(package).as_posix() for path in package.rglob("*.py")}
    assert set(named) == {name for name in there if not name.endswith("__init__.py")}
    assert len(named) == len(set(named))


@pytest.mark.parametrize("document", DOCUMENTS)
def test_files_named_in_the_text_exist(root: Path, document: str) -> None:
    """In the repository, or in the package when a path begins with one of its folders."""
    named = PATH.findall((root / document).read_text(encoding="utf-8"))
    missing = [n for n in named if not any((base / n).exists() for base in (root, root / PACKAGE))]
    assert not missing
