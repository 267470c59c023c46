"""Whether the demo's set-up holds the product and nothing else; run it before `make test`."""

from __future__ import annotations

import sys
import tomllib
from importlib import metadata
from pathlib import Path

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PRODUCT = "cmfnet-napari"
BUILDS = {"build", "editables", "hatchling", "setuptools"}  # backends that build packages
BROUGHT = {"pip", "setuptools", "wheel"}  # by `python -m venv`


def required(name: str, extras: frozenset[str] = frozenset()) -> set[str]:
    """Every installed package that one needs here, with what those need; itself too."""
    waiting, seen = [(name, extras)], set()
    while waiting:
        name, extras = waiting.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        for requirement in map(Requirement, metadata.requires(name) or []):
            if requirement.marker is None or any(
                requirement.marker.evaluate({**default_environment(), "extra": extra})
                for extra in extras | {""}
            ):
                waiting.append((canonicalize_name(requirement.name), frozenset(requirement.extras)))
    return {name for name, _ in seen}


def tools_for_tests() -> set[str]:
    """What the extras `test`, `dev` and `docs` name, without what builds packages."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    texts = extras["test"] + extras["dev"] + extras["docs"] + extras["docs"]
    return {canonicalize_name(Requirement(text).name) for text in texts} - BUILDS


def superfluous(installed: set[str], product: set[str], builds: set[str]) -> set[str]:
    """Packages that the demo does without: test tools, and what nobody asks for."""
    return (installed & tools_for_tests()) | (installed - product - builds - BROUGHT)


def main() -> int:
    """Name what is too much in this environment; 0: nothing is."""
    installed = {canonicalize_name(one.metadata["Name"]) for one in metadata.distributions()}
    product = required(PRODUCT, frozenset({"all"}))
    builds = set().union(*(required(name) for name in BUILDS & installed))
    found = superfluous(installed, product, builds)
    if found:
        print(f"The demo's set-up holds what it does not need: {', '.join(sorted(found))}.")
        return 1
    print(f"The demo's set-up holds {len(installed)} packages and no test tool.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
