"""Meshes lie where the voxels lie, close, and look outwards."""

from __future__ import annotations

import numpy as np

from cmfnet_napari.core.geometry.surface import meshes, shade
from cmfnet_napari.core.images.grid import Grid

GRID = Grid((20, 30, 25), (3.0, 1.0, 1.5), (-20.0, 35.0, -400.0))


def volume(vertices, faces):
    """Signed volume in x, y, z (divergence theorem): positive when triangles look outwards."""
    a, b, c = (vertices[faces[:, i]][:, ::-1].astype(float) for i in range(3))
    return np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6


def test_an_ellipsoid_has_its_place_and_volume():
    z, y, x = np.indices(GRID.shape)
    mask = ((z - 9) * 3 / 18) ** 2 + ((y - 14) / 9) ** 2 + ((x - 12) * 1.5 / 12) ** 2 <= 1
    found = meshes(mask.astype(np.uint8), GRID)
    assert list(found) == [1]
    mesh = found[1]
    vertices, faces = mesh.vertices, mesh.faces
    ball = 4 / 3 * np.pi * 18 * 9 * 12
    centre = vertices - vertices.mean(0)
    assert abs(volume(centre, faces) - ball) < 0.06 * ball
    np.testing.assert_allclose(vertices.mean(0), (-400 + 27, 35 + 14, -20 + 18), atol=0.3)
    np.testing.assert_allclose(np.ptp(vertices, axis=0), (36, 18, 24), atol=1.6)
    outward = centre / np.array([18, 9, 12]) ** 2  # gradient of the ellipsoid
    outward /= np.linalg.norm(outward, axis=1, keepdims=True)
    assert np.median((outward * mesh.normals).sum(1)) > 0.95


def test_a_mask_at_the_border_is_closed():
    labels = np.zeros(GRID.shape, np.uint8)
    labels[:6, :10, :8] = 2
    mesh = meshes(labels, GRID)[2]
    vertices, faces = mesh.vertices, mesh.faces
    edges = np.sort(np.vstack([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
    _, counts = np.unique(edges, axis=0, return_counts=True)
    assert (counts == 2).all()  # no open edge
    assert vertices[:, 0].min() < -400


def test_nothing_and_one_voxel():
    labels = np.zeros(GRID.shape, np.uint8)
    assert meshes(labels, GRID) == {}
    labels[3, 4, 5] = 1
    np.testing.assert_allclose(
        meshes(labels, GRID)[1].vertices.mean(0), (-391, 39, -12.5), atol=1e-3
    )


def test_the_front_is_lighter_than_the_back():
    labels = np.zeros(GRID.shape, np.uint8)
    labels[5:15, 8:22, 6:18] = 1
    mesh = meshes(labels, GRID)[1]
    colors = shade(mesh, np.array([1.0, 0.5, 0.0, 1.0]))
    back, front = (mesh.vertices[:, 1] == end(mesh.vertices[:, 1]) for end in (np.max, np.min))
    assert colors[front, 0].min() > colors[back, 0].max() > 0.2
    assert (colors[:, 3] == 1).all()
