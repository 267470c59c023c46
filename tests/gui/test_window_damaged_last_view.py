"""A views.json that is damaged, or somebody else's: the case opens as if there were none."""

from __future__ import annotations

import json

import numpy as np

from cmfnet_napari.core.case.view_state import VIEWS_FILE

BROKEN = [
    {},
    {"plane": 7},
    {"zoom": float("nan")},
    {"zoom": 0},
    {"zoom": 1e300},
    {"zoom": -1},
    {"center": [float("inf"), 0, 0]},
    {"center": "xyz"},
    {"slices": [10**400, 0, 0]},
    {"slices": [float("inf"), 0, 0]},
    {"slices": "x"},
    {"brush": float("inf")},
    {"brush": None},
    {"class": -1},
    {"class": 300},
    {"class": float("inf")},
    {"layout": 5},
    {"layout": "mosaic"},
    {"blend": 101},
    {"blend": float("nan")},
    {"checkerboard": 3},
    {"crosshair": None},
    {"layers": 3},
    {"layers": {"ct": {"visible": 1, "opacity": 9, "limits": [5, 5]}}},
    {"layers": {"ct": {"visible": 1, "opacity": 1, "limits": [float("nan"), 5]}}},
    {"layers": {"ct": {"visible": 1, "opacity": float("nan")}}},
]


def test_damaged_views_are_passed_over(opened, qtbot):
    session = opened.session
    path, codes = session.case.folder / VIEWS_FILE, [e.code for e in session.case.classes]
    session.viewer.scene.camera.zoom = 3.0
    views = opened.workbench.last_view
    good = views._views()
    for change in BROKEN:
        path.write_text(json.dumps({**good, **change} if change else {}))
        views.open()
        views.close()
        assert opened.workbench.layouts.name == "one", change
        assert 0 <= opened.workbench.fusion.blend <= 100, change
        camera = session.viewer.scene.camera
        assert 0.001 < camera.zoom < 1e6, change
        assert np.isfinite(camera.center).all(), change
        assert session.scribbles.selected_label in codes, change
        assert 1 <= session.scribbles.brush_size <= 1000, change
        for layer in session.viewer.layers:
            assert 0 <= layer.opacity <= 1, change
            assert np.isfinite(getattr(layer, "contrast_limits", (0, 1))).all(), change
    path.write_text("{")
    views.open()
    views.close()
    qtbot.wait(100)  # it is drawn with them
