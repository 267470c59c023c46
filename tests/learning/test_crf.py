"""The CRF against the published double sum, written out voxel by voxel in float64."""

import itertools
import math

import pytest
import torch

from cmfnet_napari.learning.crf import Kernel, gated_crf

PLANES = ((1, 2), (0, 1), (0, 2))


def brute_force(y, image, mask, radius, sigma_xy, sigma_intensity):
    total = torch.zeros((), dtype=y.dtype)
    shape = y.shape[2:]
    for b, plane, p in itertools.product(
        range(len(y)), PLANES, itertools.product(*[range(n) for n in shape])
    ):
        for i, j in itertools.product(range(-radius, radius + 1), repeat=2):
            q = list(p)
            q[plane[0]] += i
            q[plane[1]] += j
            inside = all(0 <= at < n for at, n in zip(q, shape, strict=True))
            if (i, j) == (0, 0) or not inside:
                continue
            here, there = (b, 0, *p), (b, 0, *q)
            apart = float(image[here] - image[there])
            k = math.exp(-(i * i + j * j) / (2 * sigma_xy**2))
            k *= math.exp(-(apart**2) / (2 * sigma_intensity**2))
            k *= float(mask[here] * mask[there])
            y_p, y_q = y[(b, slice(None), *p)], y[(b, slice(None), *q)]
            total = total + k * (1 - (y_p * y_q).sum())
    return total / 3 / mask.sum()


@pytest.fixture
def patch():
    torch.manual_seed(3)
    shape = (3, 4, 5)
    y = torch.randn(2, 3, *shape, dtype=torch.float64).softmax(dim=1).requires_grad_()
    ct, mr = torch.rand(2, 2, 1, *shape, dtype=torch.float64)
    fov = (torch.rand(2, 1, *shape) > 0.3).double()
    return y, ct, mr, fov


def test_loss_and_gradient_equal_the_double_sum(patch):
    y, ct, mr, fov = patch
    ours = gated_crf(
        y,
        [
            Kernel(ct, 0.2, sigma_xy=2.0, sigma_intensity=0.3),
            Kernel(mr, 0.3, fov, sigma_xy=2.0, sigma_intensity=0.3),
        ],
        2,
    )
    theirs = 0.2 * brute_force(y, ct, torch.ones_like(ct), 2, 2.0, 0.3)
    theirs = theirs + 0.3 * brute_force(y, mr, fov, 2, 2.0, 0.3)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-12)
    torch.testing.assert_close(
        torch.autograd.grad(ours, y)[0], torch.autograd.grad(theirs, y)[0], rtol=1e-12, atol=1e-15
    )


def test_float32_gradient_is_close_to_float64(patch):
    y, ct, _, _ = patch
    exact = torch.autograd.grad(gated_crf(y, [Kernel(ct, 1.0)], 2), y)[0]
    single = y.detach().float().requires_grad_()
    rough = torch.autograd.grad(gated_crf(single, [Kernel(ct.float(), 1.0)], 2), single)[0]
    assert (rough.double() - exact).abs().max() < 1e-5 * exact.abs().max()


def test_gradcheck(patch):
    y, ct, mr, fov = patch
    kernels = [Kernel(ct, 1.0), Kernel(mr, 1.0, fov)]
    assert torch.autograd.gradcheck(lambda v: gated_crf(v, kernels, 1), (y,))


def test_voxels_without_data_change_nothing(patch):
    y, _, mr, fov = patch
    before = gated_crf(y, [Kernel(mr, 1.0, fov)], 2)
    after = gated_crf(y, [Kernel(torch.where(fov > 0, mr, 7.0), 1.0, fov)], 2)
    assert before.item() == after.item()


def test_agreeing_neighbours_cost_nothing():
    y = torch.zeros(1, 2, 4, 5, 6)
    y[:, 1] = 1
    image = torch.rand(1, 1, 4, 5, 6)
    assert gated_crf(y, [Kernel(image, 1.0)]).item() == pytest.approx(0, abs=1e-5)


def test_term_switched_off_is_zero_and_still_differentiable():
    y = torch.rand(1, 2, 3, 3, 3, requires_grad=True)
    loss = gated_crf(y, [Kernel(torch.rand(1, 1, 3, 3, 3), 0.0)]) + y.sum()
    loss.backward()
    assert torch.equal(y.grad, torch.ones_like(y))
