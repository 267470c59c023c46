"""The CRF against the published double sum, written out voxel by voxel in float64."""

import itertools
import math

import pytest
import torch

from cmfnet_napari.learning.model.crf import Kernel, gated_crf

PLANES = ((1, 2), (0, 1), (0, 2))


def brute_force(y, image, mask, radius, sigma_xy, sigma_intensity):
    voxels = list(itertools.product(*[range(n) for n in y.shape[2:]]))
    number = {p: i for i, p in enumerate(voxels)}
    offsets = [d for d in itertools.product(range(-radius, radius + 1), repeat=2) if d != (0, 0)]
    total = torch.zeros((), dtype=y.dtype)
    for labels, values, inside in zip(y, image.flatten(1), mask.flatten(1), strict=True):
        values, inside = values.tolist(), inside.tolist()
        kernel = torch.zeros(len(voxels), len(voxels), dtype=y.dtype)
        for p, plane, (i, j) in itertools.product(voxels, PLANES, offsets):
            q = list(p)
            q[plane[0]] += i
            q[plane[1]] += j
            if tuple(q) not in number:
                continue
            here, there = number[p], number[tuple(q)]
            k = math.exp(-(i * i + j * j) / (2 * sigma_xy**2))
            k *= math.exp(-((values[here] - values[there]) ** 2) / (2 * sigma_intensity**2))
            kernel[here, there] += k * inside[here] * inside[there] / 3
        labels = labels.flatten(1)
        total = total + (kernel * (1 - labels.T @ labels)).sum()
    return total / mask.sum()


@pytest.fixture
def patch():
    torch.manual_seed(3)
    shape = (3, 4, 5)
    y = torch.randn(2, 3, *shape, dtype=torch.float64).softmax(dim=1).requires_grad_()
    ct, mr = torch.rand(2, 2, 1, *shape, dtype=torch.float64)
    fov = (torch.rand(2, 1, *shape) > 0.3).double()
    return y, ct, mr, fov


def both(y, kernels, radius):
    """Loss and gradient of ours and of the double sum."""
    ours = gated_crf(y, kernels, radius)
    theirs = torch.zeros((), dtype=y.dtype)
    for k in kernels:
        mask = torch.ones_like(k.image) if k.mask is None else k.mask
        image = torch.where(mask > 0, k.image, 0.0)
        theirs = theirs + k.weight * brute_force(
            y, image, mask, radius, k.sigma_xy, k.sigma_intensity
        )
    return (ours, torch.autograd.grad(ours, y)[0]), (theirs, torch.autograd.grad(theirs, y)[0])


def assert_equal_sums(y, kernels, radius):
    (loss, slope), (exact, exact_slope) = both(y, kernels, radius)
    assert loss.item() == pytest.approx(exact.item(), rel=1e-12)
    torch.testing.assert_close(slope, exact_slope, rtol=1e-11, atol=1e-15)


def test_loss_and_gradient_equal_the_double_sum(patch):
    y, ct, mr, fov = patch
    kernels = [
        Kernel(ct, 0.2, sigma_xy=2.0, sigma_intensity=0.3),
        Kernel(mr, 0.3, fov, sigma_xy=1.0, sigma_intensity=0.1),
        Kernel(mr, 0.7, 1 - fov, sigma_xy=6.0, sigma_intensity=0.5),
    ]
    assert_equal_sums(y, kernels, 2)


@pytest.mark.parametrize("threads", [1, 3])
def test_the_number_of_threads_changes_nothing(patch, threads):
    y, ct, mr, fov = patch
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        assert_equal_sums(y, [Kernel(ct, 0.2), Kernel(mr, 0.3, fov)], 2)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("shape", [(1, 2, 7), (5, 1, 1), (2, 6, 3), (1, 1, 8)])
def test_volumes_thinner_than_the_window(shape):
    torch.manual_seed(4)
    y = torch.rand(2, 2, *shape, dtype=torch.float64, requires_grad=True)
    image = torch.rand(2, 1, *shape, dtype=torch.float64)
    mask = torch.ones_like(image)
    mask[:, :, 0, 0, 0] = 0
    kernels = [Kernel(image, 1.0, sigma_intensity=0.4), Kernel(image, 0.5, mask)]
    assert_equal_sums(y, kernels, 5)


def test_one_voxel_has_no_neighbours():
    y = torch.rand(1, 2, 1, 1, 1, requires_grad=True)
    loss = gated_crf(y, [Kernel(torch.rand(1, 1, 1, 1, 1), 1.0)])
    loss.backward()
    assert loss.item() == 0
    assert not y.grad.any()


def test_no_data_anywhere_costs_nothing():
    """Every two voxels without data within the window look alike to nobody, not to each other."""
    torch.manual_seed(5)
    shape = (6, 13, 14)
    y = torch.rand(1, 3, *shape, requires_grad=True)
    image = torch.rand(1, 1, *shape)
    loss = gated_crf(y, [Kernel(image, 1.0, torch.zeros_like(image), sigma_intensity=10.0)])
    loss.backward()
    assert loss.item() == 0
    assert not y.grad.any()


def test_float32_gradient_is_close_to_the_double_sum():
    torch.manual_seed(6)
    y = torch.randn(1, 2, 4, 7, 8, dtype=torch.float64).softmax(dim=1).requires_grad_()
    ct, mr = torch.rand(2, 1, 1, 4, 7, 8, dtype=torch.float64)
    fov = torch.ones_like(mr)
    fov[..., :2] = 0
    kernels = [Kernel(ct, 0.2), Kernel(mr, 0.2, fov)]
    _, (_, exact) = both(y, kernels, 3)
    single = y.detach().float().requires_grad_()
    rough = torch.autograd.grad(gated_crf(single, kernels, 3), single)[0]
    assert (rough.double() - exact).abs().max() < 1e-5 * exact.abs().max()


def test_gradcheck(patch):
    y, ct, mr, fov = (part[..., :2, :3] for part in patch)
    kernels = [Kernel(ct, 1.0), Kernel(mr, 1.0, fov, sigma_xy=2.0)]
    y = y.detach().requires_grad_()
    assert torch.autograd.gradcheck(lambda v: gated_crf(v, kernels, 1), (y,))


def test_the_energy_is_divided_by_the_voxels_of_the_whole_batch(patch):
    y, ct, mr, fov = patch
    whole = gated_crf(y, [Kernel(ct, 0.2), Kernel(mr, 0.3, fov)], 2)
    parts = [
        gated_crf(
            y[i : i + 1],
            [
                Kernel(ct[i : i + 1], 0.2, voxels=float(ct.numel())),
                Kernel(mr[i : i + 1], 0.3, fov[i : i + 1], voxels=float(fov.sum())),
            ],
            2,
        )
        for i in range(len(y))
    ]
    assert sum(parts).item() == pytest.approx(whole.item(), rel=1e-12)
    torch.testing.assert_close(
        torch.autograd.grad(sum(parts), y)[0], torch.autograd.grad(whole, y)[0]
    )


def test_voxels_without_data_change_nothing(patch):
    y, _, mr, fov = patch
    before = gated_crf(y, [Kernel(mr, 1.0, fov)], 2)
    for value in (0.5, 7.0, math.inf, math.nan):
        after = gated_crf(y, [Kernel(torch.where(fov > 0, mr, value), 1.0, fov)], 2)
        assert before.item() == after.item()


def test_a_kernel_of_weight_zero_changes_nothing(patch):
    y, ct, mr, _ = patch
    alone = gated_crf(y, [Kernel(ct, 0.2)], 2)
    assert gated_crf(y, [Kernel(ct, 0.2), Kernel(mr, 0.0)], 2).item() == alone.item()


def test_upstream_gradient_scales_the_slope(patch):
    y, ct, _, _ = patch
    slope = torch.autograd.grad(gated_crf(y, [Kernel(ct, 1.0)], 2), y)[0]
    tripled = torch.autograd.grad(3 * gated_crf(y, [Kernel(ct, 1.0)], 2), y)[0]
    torch.testing.assert_close(tripled, 3 * slope)


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
