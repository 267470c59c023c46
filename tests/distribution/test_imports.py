"""How files import each other: in no circle; and no name stands twice."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import grimp
import numpy as np
import pytest
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components


def imports(package: str) -> grimp.ImportGraph:
    """All imports between files of a package, those for type checking and in functions too."""
    return grimp.build_graph(package, cache_dir=None)


def circles(graph: grimp.ImportGraph) -> set[frozenset[str]]:
    """Every largest set of files of which each imports each other one by some way."""
    files = sorted(graph.modules)
    number = {name: k for k, name in enumerate(files)}
    edges = [
        (number[name], number[other])
        for name in files
        for other in graph.find_modules_directly_imported_by(name)
    ]
    rows, columns = np.array(edges).T
    matrix = csr_array((np.ones(len(edges)), (rows, columns)), shape=(len(files), len(files)))
    count, group = connected_components(matrix, directed=True, connection="strong")
    members = [frozenset(files[k] for k in np.flatnonzero(group == g)) for g in range(count)]
    return {files for files in members if len(files) > 1}


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return imports("cmfnet_napari")


def test_files_import_each_other_in_no_circle(graph: grimp.ImportGraph) -> None:
    assert len(graph.modules) > 200
    assert circles(graph) == set()


def test_a_circle_would_be_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that only type checking and a function close."""
    package = tmp_path / "round_about"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "a.py").write_text("from round_about import b\n")
    (package / "b.py").write_text(
        "from typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n    from round_about.c import C\n"
    )
    (package / "c.py").write_text("def c():\n    import round_about.a\n")
    (package / "d.py").write_text("import round_about.a\n")
    monkeypatch.syspath_prepend(tmp_path)
    expected = {frozenset(f"round_about.{name}" for name in "abc")}
    assert circles(imports("round_about")) == expected


def test_no_two_files_share_a_name(root: Path) -> None:
    package = root / "cmfnet_napari"
    names = Counter(path.stem for path in package.rglob("*.py") if path.name != "__init__.py")
    assert [name for name, count in names.items() if count > 1] == []
