"""Compare the lower bounds that pyproject.toml declares with what is installed here.

    python scripts/lowest_versions.py dependencies all test

`make lowest` runs it: a bound that is not the version installed was not tested, and fails.
"""

from __future__ import annotations

import sys
import tomllib
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version


def main(*groups: str) -> int:
    """Print a row for each package of some groups; 1 where one is not at its bound."""
    root = Path(__file__).parents[1]
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    texts = {"dependencies": project["dependencies"], **project["optional-dependencies"]}
    wrong = 0
    for requirement in (Requirement(text) for group in groups for text in texts[group]):
        (bound,) = requirement.specifier
        installed = metadata.version(requirement.name)
        same = Version(Version(installed).public) == Version(bound.version)
        wrong += not same
        print(f"{requirement.name:18} {bound!s:9} {installed}{'' if same else '  not its bound'}")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
