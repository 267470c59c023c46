"""The papers for a clinic name tests, objects and tools that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from pydicom.uid import UID

PAPERS = "docs/clinic"
NAMED = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")


def paper(root: Path, name: str) -> str:
    return (root / PAPERS / f"{name}.md").read_text(encoding="utf-8")


def test_every_test_that_a_paper_names_exists(root: Path) -> None:
    named = [
        (path.name, *found)
        for path in sorted((root / PAPERS).glob("*.md"))
        for found in NAMED.findall(path.read_text(encoding="utf-8"))
    ]
    assert len(named) > 40
    functions: dict[str, set[str]] = {}
    missing = []
    for page, file, test in named:
        if file not in functions:
            functions[file] = collected(root / file)
        if test and test not in functions[file]:
            missing.append(f"{page}: {file}::{test}")
    assert not missing


def collected(path: Path) -> set[str]:
    """Tests that pytest finds in a file: by their names, at the top or in a class of tests."""
    if not path.name.startswith("test_"):
        return set()
    top = ast.parse(path.read_text(encoding="utf-8")).body
    classes = [n for n in top if isinstance(n, ast.ClassDef) and n.name.startswith("Test")]
    every = [*top, *(n for one in classes for n in one.body)]
    return {n.name for n in every if isinstance(n, ast.FunctionDef) and n.name.startswith("test_")}


def test_what_pytest_does_not_find_proves_nothing(tmp_path: Path) -> None:
    text = "def test_a():\n    def test_b(): ...\ndef helper(): ...\nclass TestC:\n"
    text += "    def test_d(self): ...\nclass Other:\n    def test_e(self): ...\n"
    for name, found in (("test_x.py", {"test_a", "test_d"}), ("x.py", set())):
        (tmp_path / name).write_text(text)
        assert collected(tmp_path / name) == found


def test_every_hazard_is_prevented_and_proved(root: Path) -> None:
    rows = [line for line in paper(root, "hazards").splitlines() if line.startswith("| ")]
    hazards = rows[1:]
    assert len(hazards) >= 25
    for row in hazards:
        hazard, prevented, proved = (cell.strip() for cell in row.strip("|").split("|"))
        assert hazard
        assert prevented
        assert any(test for _, test in NAMED.findall(proved)), hazard


def test_classes_of_objects_are_called_as_dicom_calls_them(root: Path) -> None:
    objects = paper(root, "conformance").partition("## 3.")[0]
    rows = re.findall(r"^\| ([^|]+) \| (1\.2\.840[\d.]+) \|", objects, re.MULTILINE)
    assert len(rows) >= 10
    for name, uid in rows:
        known = UID(uid).name.replace(" Storage", "")
        assert known == re.sub(r" \(.*\)", "", name), uid


def test_what_is_written_is_what_the_statement_says(root: Path) -> None:
    written = re.findall(
        r"^\| ([^|]+) \| 1\.2\.840[\d.]+ \| yes \| yes \|", paper(root, "conformance"), re.M
    )
    assert written == ["RT Structure Set", "Segmentation"]


def test_the_status_is_plain(root: Path) -> None:
    """It stands in the first lines of what departments hand on by itself."""
    for page in ("index", "conformance", "security"):
        head = paper(root, page).split("\n## ")[0].split("\n|")[0]
        assert "research software" in head.lower(), page
        assert "no medical device" in head, page
    index = paper(root, "index")
    others = {path.name for path in (root / PAPERS).glob("*.md")} - {"index.md"}
    assert not [name for name in others if f"({name})" not in index]


def test_tools_of_the_sbom_are_pinned_and_apart_from_what_they_list(root: Path) -> None:
    pins = (root / "constraints.txt").read_text(encoding="utf-8")
    tools = (root / "scripts" / "sbom-tools.txt").read_text(encoding="utf-8").splitlines()
    named = dict(line.split("==") for line in tools if not line.startswith("#"))
    assert "cyclonedx-bom" in named
    both = {name: at for name, at in named.items() if f"\n{name}==" in pins}
    assert not {name for name, at in both.items() if f"\n{name}=={at}\n" not in pins}
    makefile = (root / "Makefile").read_text(encoding="utf-8")
    assert "scripts/sbom-tools.txt" in makefile
    assert "requirements --pyproject pyproject.toml" in makefile
