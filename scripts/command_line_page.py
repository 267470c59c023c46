"""Fill the page on the command line from the commands themselves, when mkdocs builds the site."""

from __future__ import annotations

import re

import typer.main
from click import Context
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page
from typer.cli import get_docs_for_click

from cmfnet_napari.cli.main import app

MARK = re.compile(r"<!-- commands:.*?-->", re.DOTALL)


def commands() -> str:
    """Every command with its arguments and options, as Markdown below a second-level heading."""
    command = typer.main.get_command(app)
    text = get_docs_for_click(obj=command, ctx=Context(command, info_name="cmfnet"), name="cmfnet")
    first = text.index("\n## ")  # what comes before is a list of the commands
    return re.sub(r"^(#+ )", r"#\1", text[first:], flags=re.MULTILINE)


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Called by mkdocs for every page."""
    return MARK.sub(lambda _: commands(), markdown)
