"""The documentation as a site: it builds without a warning, holds all names, fetches nothing."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import typer.main

import cmfnet_napari as cmfnet
from cmfnet_napari.cli.main import app

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("mkdocs") is None and "CI" not in os.environ,
    reason="mkdocs is not installed here (the extra `docs`)",
)
Build = Callable[[Path], subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Build a site into a folder from some checkout."""

    def run(checkout: Path, out: Path | None = None) -> subprocess.CompletedProcess[str]:
        out = out or tmp_path_factory.mktemp("site")
        command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(out)]
        return subprocess.run(
            command, cwd=checkout, capture_output=True, encoding="utf-8", timeout=300,
            env={**os.environ, "NO_MKDOCS_2_WARNING": "1", "NO_COLOR": "1"},
        )  # fmt: skip

    return run


@pytest.fixture(scope="module")
def site(root: Path, build: Build, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "site"
    done = build(root, out)
    assert done.returncode == 0, done.stderr
    return out


def pages(site: Path) -> Iterator[tuple[str, str]]:
    for path in sorted(site.rglob("*.html")):
        yield path.relative_to(site).as_posix(), path.read_text(encoding="utf-8")


def test_every_document_is_a_page(root: Path, site: Path) -> None:
    written = {path.relative_to(root / "docs") for path in (root / "docs").rglob("*.md")}
    assert {path.with_suffix(".html").as_posix() for path in written} <= {n for n, _ in pages(site)}


def test_pages_fetch_nothing(site: Path) -> None:
    fetching = re.compile(
        r"""<(?:script|img|link|iframe|source)\b[^>]*?\b(?:src|href)=["']?(https?:)?//""", re.I
    )
    for name, text in pages(site):
        assert not fetching.search(text), name
    for style in site.rglob("*.css"):
        assert not re.search(r"(?:@import|url\()\s*[\"']?https?:", style.read_text("utf-8")), style


def test_search_works_without_a_server(site: Path) -> None:
    assert (site / "search" / "search_index.js").read_text("utf-8").startswith("var __index = ")
    assert "javascripts/iframe-worker.js" in (site / "index.html").read_text("utf-8")
    assert "IFrameWorker" in (site / "javascripts" / "iframe-worker.js").read_text("utf-8")


def test_every_command_and_option_is_there(site: Path) -> None:
    text = (site / "command-line.html").read_text(encoding="utf-8")
    commands = typer.main.get_command(app).commands
    pacs = commands["pacs"].commands
    for name, command in {
        **commands,
        **{f"pacs {name}": one for name, one in pacs.items()},
    }.items():
        start = text.index(f'id="cmfnet-{name.replace(" ", "-")}"')
        part = text[start : text.find("<h3", start)]
        for option in command.params:
            shown = option.opts[0] if option.opts[0].startswith("-") else option.name
            assert shown in part, (name, shown)


def test_every_public_name_is_there(site: Path) -> None:
    text = (site / "python.html").read_text(encoding="utf-8")
    for name in cmfnet.__all__:
        assert f'id="cmfnet_napari.{name}"' in text
    assert "Contour a patient from Python" in text  # the example
    assert "8&lt;" not in text


@pytest.mark.parametrize(
    "faults",
    [
        {
            "[a](nowhere.md)": "nowhere.md",
            "[a](dicom.md#nowhere)": "#nowhere",
            "![a](images/nowhere.png)": "nowhere.png",
        },
        {"::: cmfnet_napari.nowhere": "nowhere"},
    ],
    ids=["links", "name"],
)
def test_what_is_not_there_breaks_the_build(
    root: Path, build: Build, tmp_path: Path, faults: dict[str, str]
) -> None:
    for name in ("docs", "scripts", "examples"):
        shutil.copytree(root / name, tmp_path / name)
    shutil.copy(root / "mkdocs.yml", tmp_path)
    shutil.copytree(root / "cmfnet_napari", tmp_path / "cmfnet_napari")
    with open(tmp_path / "docs" / "tutorial.md", "a", encoding="utf-8") as file:
        file.writelines(f"\n{words}\n" for words in faults)
    done = build(tmp_path)
    assert done.returncode != 0
    for said in faults.values():
        assert said in done.stderr
