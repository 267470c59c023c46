"""Every term against its definition, voxel by voxel in Python's own float64, and its gradient."""

import itertools
import math

import pytest
import torch

from cmfnet_napari.learning.rivals.regularisers import (
    contour_length,
    entropy,
    joint_crf,
    mumford_shah,
    soft_cross_entropy,
    sure_consistency,
    uncertainty,
)

SHAPE = (2, 3, 4)
VOXELS = list(itertools.product(*map(range, SHAPE)))
N = 2 * len(VOXELS)  # of two patches


@pytest.fixture
def scores():
    torch.manual_seed(4)
    return torch.randn(2, 4, *SHAPE, dtype=torch.float64, requires_grad=True)


@pytest.fixture
def images():
    torch.manual_seed(5)
    ct, mr = torch.rand(2, 2, 1, *SHAPE, dtype=torch.float64)
    fov = (torch.rand(2, 1, *SHAPE) > 0.3).double()
    return ct, mr * fov, fov


def probabilities(scores):
    """Python lists of every patch, class and voxel, by hand."""
    y, known = {}, scores.detach()
    for patch, voxel in itertools.product(range(2), VOXELS):
        raised = [math.exp(float(known[(patch, code, *voxel)])) for code in range(4)]
        for code in range(4):
            y[(patch, code, *voxel)] = raised[code] / sum(raised)
    return y


def around(voxel, reach=1):
    """The voxels of the window, itself included, inside the patch."""
    steps = itertools.product(range(-reach, reach + 1), repeat=3)
    found = (tuple(v + s for v, s in zip(voxel, step, strict=True)) for step in steps)
    return [other for other in found if other in set(VOXELS)]


def same(term, exact, scores, check):
    """Value to 1e-6 of the definition's, and the gradient that differences give."""
    assert term.item() == pytest.approx(exact, rel=1e-6)
    assert torch.autograd.gradcheck(check, (scores,), fast_mode=True)


def test_entropy(scores):
    y = probabilities(scores)
    exact = -sum(p * math.log(p) for p in y.values()) / math.log(4) / N
    same(entropy(scores, N), exact, scores, lambda s: entropy(s, N))
    assert entropy(torch.zeros(1, 4, 1, 1, 1), 1).item() == pytest.approx(1)
    sure = torch.tensor([0.0, 200.0], requires_grad=True)
    loss = entropy(sure.reshape(1, 2, 1, 1, 1), 1)
    loss.backward()
    assert loss.item() == 0  # and no NaN where a class is certain
    assert torch.isfinite(sure.grad).all()


def test_contour_length_is_that_of_the_classes_not_of_the_batch(scores):
    """Public code slices the batch: its first patch is left out, and the background counts."""
    y = probabilities(scores)
    exact = 0.0
    for patch, code in itertools.product(range(2), range(1, 4)):
        eroded = {v: min(y[(patch, code, *u)] for u in around(v)) for v in VOXELS}
        exact += sum(max(eroded[u] for u in around(v)) - eroded[v] for v in VOXELS)

    def length(s):
        return contour_length(s.softmax(dim=1), N)

    same(length(scores), exact / 3 / N, scores, length)
    alone = torch.rand(1, 2, 5, 5, 5, dtype=torch.float64)
    assert contour_length(alone, 125) > 0  # a batch of one has contours too
    changed = alone.clone()
    changed[:, 0] = 0
    assert contour_length(alone, 125) == contour_length(changed, 125)


def test_contour_length_counts_the_rim_of_a_cube():
    """A cube of 3: its erosion is one voxel, the opening all 27."""
    y = torch.zeros(1, 2, 7, 7, 7)
    y[0, 1, 2:5, 2:5, 2:5] = 1
    assert contour_length(y, 1).item() == 26


def test_mumford_shah_smooths_the_answer_not_the_image(scores, images):
    """Public code of one method takes the differences of the image, which teaches nothing."""
    ct, mr, fov = images
    y, exact = probabilities(scores), 0.0
    for image, seen in ((ct, torch.ones_like(ct)), (mr, fov)):
        for patch, code in itertools.product(range(2), range(4)):
            of = [
                (y[(patch, code, *v)] * float(seen[(patch, 0, *v)]), float(image[(patch, 0, *v)]))
                for v in VOXELS
            ]
            mean = sum(p * i for p, i in of) / sum(p for p, _ in of)
            exact += sum(p * (i - mean) ** 2 for p, i in of)
    for patch, code, voxel, axis in itertools.product(range(2), range(4), VOXELS, range(3)):
        after = tuple(v + (a == axis) for a, v in enumerate(voxel))
        if after in set(VOXELS):
            exact += abs(y[(patch, code, *after)] - y[(patch, code, *voxel)])
    both = [(ct, None), (mr, fov)]

    def functional(s):
        return mumford_shah(s.softmax(dim=1), both, N)

    same(functional(scores), exact / N, scores, functional)
    flat = [(torch.zeros_like(ct), None)]
    slope = torch.autograd.grad(mumford_shah(scores.softmax(dim=1), flat, N), scores)[0]
    assert slope.abs().max() > 0


def test_the_joint_crf_asks_both_images_on_axial_planes(scores, images):
    ct, mr, _ = images
    y, exact = probabilities(scores), 0.0
    for patch, (z, row, column) in itertools.product(range(2), VOXELS):
        here = (z, row, column)
        for i, j in itertools.product(range(-2, 3), repeat=2):
            there = (z, row + i, column + j)
            if (i, j) == (0, 0) or there not in set(VOXELS):
                continue
            apart = sum(
                float(image[(patch, 0, *here)] - image[(patch, 0, *there)]) ** 2
                for image in (ct, mr)
            )
            k = math.exp(-(i * i + j * j) / (2 * 6.0**2) - apart / (2 * 0.3**2))
            alike = sum(y[(patch, c, *here)] * y[(patch, c, *there)] for c in range(4))
            exact += k * (1 - alike)

    def energy(s):
        both = torch.cat([ct, mr], dim=1)
        return joint_crf(s.softmax(dim=1), both, 2, N, sigma_xy=6.0, sigma_intensity=0.3)

    same(energy(scores), exact / N, scores, energy)


def test_agreement_with_the_teacher_counts_where_it_is_sure(scores):
    torch.manual_seed(6)
    taught = torch.randn(2, 4, *SHAPE, dtype=torch.float64).softmax(dim=1)
    doubt = uncertainty(taught)
    threshold = float(doubt.median())
    y, exact, count = probabilities(scores), 0.0, 0
    for patch, voxel in itertools.product(range(2), VOXELS):
        p = [float(taught[(patch, code, *voxel)]) for code in range(4)]
        own = -sum(q * math.log(q) for q in p)
        assert own == pytest.approx(float(doubt[(patch, 0, *voxel)]), rel=1e-9)
        if own < threshold:
            count += 4
            exact += sum((y[(patch, code, *voxel)] - p[code]) ** 2 for code in range(4))

    def agreement(s):
        return sure_consistency(s.softmax(dim=1), taught, doubt, threshold)

    same(agreement(scores), exact / count, scores, agreement)
    assert sure_consistency(scores.softmax(dim=1), taught, doubt, 0.0).item() == 0


def test_soft_labels(scores):
    torch.manual_seed(7)
    wanted = torch.randn(2, 4, *SHAPE, dtype=torch.float64).softmax(dim=1)
    y = probabilities(scores)
    exact = -sum(float(wanted[place]) * math.log(p) for place, p in y.items()) / N
    same(soft_cross_entropy(scores, wanted, N), exact, scores,
         lambda s: soft_cross_entropy(s, wanted, N))  # fmt: skip


def test_soft_labels_that_are_the_answer_itself_teach_nothing(scores):
    """Public code takes the softmax of a softmax: it then pulls certain answers apart."""
    loss = soft_cross_entropy(scores, scores.softmax(dim=1).detach(), N)
    assert torch.autograd.grad(loss, scores)[0].abs().max() < 1e-12
