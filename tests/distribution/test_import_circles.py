"""Files of the package import each other one way only, imports for types included."""

from __future__ import annotations

from graphlib import TopologicalSorter

import pytest


def test_no_file_is_in_a_circle_of_imports():
    grimp = pytest.importorskip("grimp", reason="comes with import-linter: pip install '.[dev]'")
    graph = grimp.build_graph("cmfnet_napari", cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    assert len(imports) > 200
    TopologicalSorter(imports).prepare()  # CycleError names a circle
