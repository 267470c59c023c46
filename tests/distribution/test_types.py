"""Where types are taken on trust, it is counted: in `[tool.mypy]`, and here."""

import re
from pathlib import Path

import cmfnet_napari

PACKAGE = Path(cmfnet_napari.__file__).parent


def places(pattern):
    return {
        path.relative_to(PACKAGE).as_posix(): len(found)
        for path in sorted(PACKAGE.rglob("*.py"))
        if (found := re.findall(pattern, path.read_text(encoding="utf-8")))
    }


def test_no_error_of_mypy_is_ignored_in_the_code():
    assert places(r"#\s*type:\s*ignore") == {}


def test_types_are_claimed_only_where_another_library_says_too_little():
    assert places(r"\bcast\(") == {
        "learning/engine/device.py": 1,  # Fabric.all_reduce gives back what it gets
        "learning/model/blocks.py": 1,  # a part of an nn.Sequential
    }
