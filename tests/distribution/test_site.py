"""The documentation as a site: it builds without a warning, holds all names, fetches nothing."""

from __future__ import annotations

import importlib.util
import io
import logging
import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
import typer.main
from click import ClickException

import cmfnet_napari as cmfnet
from cmfnet_napari.cli.main import app

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("mkdocs") is None and "CI" not in os.environ,
    reason="mkdocs is not installed here (the extra `docs`)",
)
Build = Callable[..., str]
FewPages = Callable[[Iterable[str]], str]


@pytest.fixture(scope="module")
def build(root: Path) -> Iterator[Build]:
    """Build a site by the checkout's configuration, parts of which may be changed."""
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    def run(out: Path, **changes: object) -> str:
        """Return what was said, raise where `mkdocs build` ends with an error."""
        said = io.StringIO()
        handler = logging.StreamHandler(said)
        logging.getLogger("mkdocs").addHandler(handler)
        try:
            build(load_config(str(root / "mkdocs.yml"), site_dir=str(out), **changes))
        except ClickException as error:  # as all of theirs are
            error.add_note(said.getvalue())
            raise
        finally:
            logging.getLogger("mkdocs").removeHandler(handler)
        return said.getvalue()

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.setenv("NO_MKDOCS_2_WARNING", "1")
        yield run


@pytest.fixture(scope="module")
def site(build: Build, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "site"
    build(out)
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


@pytest.fixture
def few_pages(build: Build, tmp_path: Path) -> FewPages:
    """Build a site of two pages, with these words on the first."""
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "dicom.md").write_text("# DICOM\n", encoding="utf-8")

    def run(words: Iterable[str]) -> str:
        (docs / "index.md").write_text("\n\n".join(["# Home", *words]), encoding="utf-8")
        nav = [{"Home": "index.md"}, {"DICOM": "dicom.md"}]
        return build(tmp_path / "site", docs_dir=str(docs), nav=nav)

    return run


def test_what_is_there_does_not_break_the_build(few_pages: FewPages) -> None:
    assert few_pages(["[a](dicom.md)", "[a](dicom.md#dicom)"]) == ""


@pytest.mark.parametrize(
    "faults",
    [
        {
            "[a](nowhere.md)": "nowhere.md",
            "[a](dicom.md#nowhere)": "#nowhere",
            "![a](images/nowhere.png)": "nowhere.png",
        },
        {"::: html.nowhere": "nowhere"},  # of a small package
    ],
    ids=["links", "name"],
)
def test_what_is_not_there_breaks_the_build(few_pages: FewPages, faults: dict[str, str]) -> None:
    with pytest.raises(ClickException) as broken:
        few_pages(faults)
    for said in faults.values():
        assert said in broken.value.__notes__[0]
