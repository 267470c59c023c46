"""Compare the lower bounds that pyproject.toml declares with what is installed here.

`make lowest` runs it: a bound that is not the version installed was not tested, and fails.
"""

from __future__ import annotations

import sys
import tomllib
from importlib import metadata
from itertools import chain
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version


def main() -> int:
    """Print a row for each direct dependency; 1 where one is not at its bound."""
    root = Path(__file__).parents[1]
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    texts = chain(project["dependencies"], *project["optional-dependencies"].values())
    wrong = 0
    for requirement in map(Requirement, texts):
        (bound,) = requirement.specifier
        installed = metadata.version(requirement.name)
        same = Version(Version(installed).public) == Version(bound.version)
        wrong += not same
        print(f"{requirement.name:18} {bound!s:9} {installed}{'' if same else '  not its bound'}")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
