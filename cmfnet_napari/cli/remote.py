"""Commands about other computers: what lies there, and what we start there and here ourselves."""

from __future__ import annotations

from pathlib import Path

import typer


def remote_serve() -> None:
    """Our end on another computer, which ssh starts."""
    from cmfnet_napari.remote.serving import serve_there

    raise typer.Exit(serve_there())


def remote_keep(root: Path, case: str, start: int) -> None:
    """Keeps a worker alive while nobody is on the line."""
    from cmfnet_napari.remote.keeper import keep

    raise typer.Exit(keep(root, case, start))
