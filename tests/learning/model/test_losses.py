import math

import pytest
import torch

from cmfnet_napari.core.fit.config import make_config
from cmfnet_napari.core.strokes.scribbles import IGNORE
from cmfnet_napari.learning.model.cmfnet import Outputs
from cmfnet_napari.learning.model.loss_terms import TERMS, Term, loss_terms, total
from cmfnet_napari.learning.model.losses import (
    Batch,
    class_variance,
    consistency,
    guide_entropy,
    partial_cross_entropy,
    soft_dice,
)
from tests.learning.model.test_crf import brute_force


def line(values):
    """Scores of two classes (0 and value) along x: (1, 2, 1, 1, n)."""
    scores = torch.zeros(1, 2, 1, 1, len(values))
    scores[0, 1, 0, 0] = torch.tensor(values)
    return scores


def test_only_labelled_voxels_count():
    scores = line([0.0, 2.0, 100.0])
    targets = torch.tensor([0, 1, IGNORE]).reshape(1, 1, 1, 3)
    by_hand = (math.log(2) + math.log(1 + math.exp(-2))) / 2
    assert partial_cross_entropy(scores, targets).item() == pytest.approx(by_hand, rel=1e-6)


def test_nothing_labelled_is_zero_with_a_zero_gradient():
    scores = line([1.0, 2.0]).requires_grad_()
    loss = partial_cross_entropy(scores, torch.full((1, 1, 1, 2), IGNORE))
    loss.backward()
    assert loss.item() == 0
    assert scores.grad.abs().sum() == 0


def test_full_balance_is_the_mean_over_classes():
    scores = line([0.0, 0.0, 0.0, 3.0])
    targets = torch.tensor([0, 0, 0, 1]).reshape(1, 1, 1, 4)
    by_hand = (math.log(2) + math.log(1 + math.exp(-3))) / 2
    balanced = partial_cross_entropy(scores, targets, balance=1.0)
    assert balanced.item() == pytest.approx(by_hand, rel=1e-6)


def test_consistency_is_the_mean_square_inside_the_mask():
    a, b = torch.zeros(1, 2, 1, 1, 4), torch.zeros(1, 2, 1, 1, 4)
    b[0, :, 0, 0, 0] = torch.tensor([0.5, -0.5])
    b[0, :, 0, 0, 3] = 9.0
    mask = torch.tensor([1.0, 1, 1, 0]).reshape(1, 1, 1, 1, 4)
    assert consistency(a, b, mask).item() == pytest.approx(0.5 / 3 / 2)
    assert consistency(a, b).item() == pytest.approx(((a - b) ** 2).mean().item())


def make_batch(fov):
    torch.manual_seed(0)
    ct, mr = torch.rand(2, 1, 1, 3, 4, 5)
    targets = torch.full((1, 3, 4, 5), IGNORE)
    targets[0, 1, 1, 1], targets[0, 2, 3, 4] = 1, 0
    return Batch(ct, mr * fov, fov, targets, ct[:, :0], ct[:, :0])


def test_where_the_mr_has_no_data_its_branch_gets_no_gradient():
    fov = torch.ones(1, 1, 3, 4, 5)
    fov[..., 2:] = 0
    outputs = Outputs(*(torch.randn(1, 2, 3, 4, 5, requires_grad=True) for _ in range(3)))
    terms = loss_terms(outputs, make_batch(fov), make_config("paper"))
    total(terms).backward()
    assert outputs.mr.grad[..., 2:].abs().sum() == 0
    assert outputs.mr.grad[..., :2].abs().sum() > 0
    assert outputs.ct.grad[..., 2:].abs().sum() > 0


def test_the_terms_carry_the_papers_weights():
    batch = make_batch(torch.ones(1, 1, 3, 4, 5))
    outputs = Outputs(*(torch.randn(1, 2, 3, 4, 5) for _ in range(3)))
    paper = loss_terms(outputs, batch, make_config("paper"))
    doubled = loss_terms(
        outputs,
        batch,
        make_config("paper", lambda_ct=0.4, lambda_mr=0.4, alpha_ct=1.6, alpha_mr=1.6),
    )
    y = [scores.softmax(dim=1) for scores in outputs]
    imc = 0.8 * sum(torch.nn.functional.mse_loss(y[2], other) for other in y[:2])
    assert paper["imc"].item() == pytest.approx(imc.item(), rel=1e-5)
    assert doubled["imc"].item() == pytest.approx(2 * paper["imc"].item(), rel=1e-5)
    assert doubled["imr"].item() == pytest.approx(2 * paper["imr"].item(), rel=1e-5)
    assert doubled["ssl"].item() == pytest.approx(paper["ssl"].item())


def test_the_presets_keep_the_sum_over_classes_that_they_were_tuned_with():
    batch = make_batch(torch.ones(1, 1, 3, 4, 5))
    outputs = Outputs(*(torch.randn(1, 3, 3, 4, 5) for _ in range(3)))
    paper, summed, quick = (
        loss_terms(outputs, batch, make_config(preset, guide=0.0, **changes))["imc"].item()
        for preset, changes in (("paper", {}), ("paper", {"consistency": "sum"}), ("quick", {}))
    )
    assert summed == quick == pytest.approx(3 * paper, rel=1e-6)


def variance_by_hand(y, image, mask):
    """PA-Seg's variance term, voxel by voxel in Python's own numbers."""
    whole = 0.0
    for patch in range(len(y)):
        inside = [
            (value, seen > 0, [float(p) for p in row])
            for value, seen, row in zip(
                image[patch].flatten().tolist(),
                mask[patch].flatten().tolist(),
                y[patch].flatten(1).T,
                strict=True,
            )
        ]
        darkest = min(value for value, seen, _ in inside if seen)
        for code in range(y.shape[1]):
            chosen = [
                (value, row[code])
                for value, seen, row in inside
                if seen and (code or value > darkest + 1e-5)
            ]
            size = sum(weight for _, weight in chosen)
            mean = sum(value * weight for value, weight in chosen) / size
            whole += sum(weight * (value - mean) ** 2 for value, weight in chosen) / size
    return whole / len(y)


def test_variance_is_that_inside_each_class():
    torch.manual_seed(8)
    y = torch.randn(2, 3, 2, 3, 4, dtype=torch.float64).softmax(1).requires_grad_()
    image = torch.rand(2, 1, 2, 3, 4, dtype=torch.float64)
    image[:, :, 0, :2] = 0.0  # air, as dark as it gets: no part of the background
    mask = (torch.rand(2, 1, 2, 3, 4) > 0.3).double()
    mask[:, :, 0, 0, 0] = 1
    for seen in (torch.ones_like(mask), mask):
        exact = variance_by_hand(y.detach(), image, seen)
        assert class_variance(y, image, seen).item() == pytest.approx(exact, rel=1e-9)
    assert class_variance(y, image).item() == class_variance(y, image, mask * 0 + 1).item()
    halves = (class_variance(y[i : i + 1], image[i : i + 1], None, 2.0).item() for i in range(2))
    assert sum(halves) == pytest.approx(class_variance(y, image).item(), rel=1e-9)
    assert torch.autograd.gradcheck(lambda v: class_variance(v, image, mask), (y,))


def test_the_variance_term_sees_both_images_and_is_off_in_the_paper():
    torch.manual_seed(9)
    fov = torch.ones(1, 1, 3, 4, 5)
    fov[..., 3:] = 0
    batch = make_batch(fov)
    outputs = Outputs(*(torch.randn(1, 2, 3, 4, 5) for _ in range(3)))
    y = outputs.mm.softmax(1).double()
    exact = variance_by_hand(y, batch.ct, torch.ones_like(fov))
    exact += variance_by_hand(y, batch.mr, fov)
    term = loss_terms(outputs, batch, make_config("paper", variance=0.1))["variance"]
    assert term.item() == pytest.approx(0.1 * exact, rel=1e-5)
    assert "variance" not in loss_terms(outputs, batch, make_config("paper"))


def test_at_half_resolution_the_crf_sees_means_of_two_by_two_voxels():
    """Scores, then softmax, as PA-Seg has it; where half of four voxels have data, none count."""
    torch.manual_seed(10)
    fov = torch.ones(1, 1, 3, 4, 5)
    fov[..., 3:] = 0  # the second pair of columns has data on one side only
    batch = make_batch(fov)
    scores = torch.randn(1, 2, 3, 4, 5)
    config = make_config("paper", crf_half=True, crf_radius=2, crf_sigma_intensity=0.3)
    term = loss_terms(Outputs(scores, scores, scores), batch, config)["imr"].item()

    def halved(image):
        small = torch.zeros(*image.shape[:3], 2, 3, dtype=torch.float64)
        for row in range(2):
            for column in range(3):
                small[..., row, column] = image[
                    ..., 2 * row : 2 * row + 2, 2 * column : 2 * column + 2
                ].mean(dim=(-2, -1))
        return small

    y = halved(scores.double()).softmax(1)
    seen = torch.zeros(1, 1, 3, 2, 3, dtype=torch.float64)
    seen[..., 0] = 1
    ct, mr = (halved(image.double()) for image in (batch.ct, batch.mr))
    by_hand = 0.2 * brute_force(y, ct, torch.ones_like(seen), 2, 6.0, 0.3) * 18 / (60 / 4)
    by_hand += 0.2 * brute_force(y, mr, seen, 2, 6.0, 0.3) * 6 / (36 / 4)
    assert term == pytest.approx(by_hand.item(), rel=1e-5)


def test_the_crf_may_rise_at_a_pace_of_its_own():
    terms = {name: torch.tensor(1.0) for name in ("ssl", "imr", "imc", "variance")}
    assert total(terms, ramp=0.5).item() == pytest.approx(2.5)
    assert total(terms, ramp=0.5, crf=0.25).item() == pytest.approx(2.0)


def test_ramp_scales_only_the_unsupervised_terms():
    terms = {name: torch.tensor(1.0) for name in ("ssl", "imr", "imc")}
    assert total(terms, ramp=0.25).item() == pytest.approx(1.5)
    assert total(terms, ramp=0.25, guide=0.5).item() == pytest.approx(1.5)
    terms["guide"] = torch.tensor(1.0)
    assert total(terms, ramp=0.25, guide=0.5).item() == pytest.approx(2.0)


def test_a_term_is_a_row(monkeypatch):
    """It is told of by its name and counts in the sum."""
    batch = make_batch(torch.ones(1, 1, 3, 4, 5))
    outputs = Outputs(*(torch.randn(1, 2, 3, 4, 5) for _ in range(3)))
    without = loss_terms(outputs, batch, make_config("paper"))
    seven = Term(lambda answer: answer.probabilities.mm.sum() * 0 + 7, "ramp")
    monkeypatch.setitem(TERMS, "seven", seven)
    terms = loss_terms(outputs, batch, make_config("paper"))
    assert terms.keys() == without.keys() | {"seven"}
    assert (total(terms, ramp=0.5) - total(without, ramp=0.5)).item() == pytest.approx(3.5)


def test_dice_knows_the_classes_apart():
    """Against a loop in float64; classes that took each other's place are as bad as can be."""
    torch.manual_seed(0)
    scores, targets = torch.randn(2, 4, 3, 4, 5), torch.randint(-1, 4, (2, 3, 4, 5))
    targets[targets < 0] = IGNORE
    mask = (torch.rand(2, 1, 3, 4, 5) > 0.3).float()
    y, missed = scores.double().softmax(1), []
    for patch in range(2):
        counts = (targets[patch] != IGNORE) & (mask[patch, 0] > 0)
        for label in (1, 2, 3):
            found, wanted = y[patch, label][counts], (targets[patch] == label)[counts].double()
            missed.append(1 - (2 * (found * wanted).sum() + 1) / (found.sum() + wanted.sum() + 1))
    expected = torch.stack(missed).mean()
    assert soft_dice(scores, targets, mask).item() == pytest.approx(expected.item(), abs=1e-6)
    whole = torch.randint(0, 4, (1, 6, 6, 6))
    sure = 50 * torch.nn.functional.one_hot(whole, 4).movedim(-1, 1).float()
    swapped = torch.where(whole > 0, whole % 3 + 1, whole)
    assert soft_dice(sure, whole).item() < 1e-3
    assert soft_dice(sure, swapped).item() > 0.9


def test_guide_entropy_weighs_soft_targets_by_how_sure_they_are():
    scores = line([0.0, 3.0])
    guide = torch.tensor([[0.25, 0.0], [0.75, 1.0]]).reshape(1, 2, 1, 1, 2)
    sure = 0.5**2
    by_hand = (sure * math.log(2) + math.log(1 + math.exp(-3))) / (sure + 1)
    assert guide_entropy(scores, guide).item() == pytest.approx(by_hand, rel=1e-6)
    mask = torch.tensor([1.0, 0.0]).reshape(1, 1, 1, 1, 2)
    assert guide_entropy(scores, guide, mask).item() == pytest.approx(math.log(2), rel=1e-6)


def test_the_paper_has_no_guide():
    terms = loss_terms(
        Outputs(*(torch.randn(1, 2, 3, 4, 5) for _ in range(3))),
        make_batch(torch.ones(1, 1, 3, 4, 5)),
        make_config("paper"),
    )
    assert set(terms) == {"ssl", "imr", "imc"}
    assert make_config("paper").guide == 0


def test_partial_cross_entropy_of_eight_classes_is_torchs_with_an_ignored_label():
    torch.manual_seed(1)
    scores = torch.randn(2, 8, 3, 4, 5)
    targets = torch.randint(0, 8, (2, 3, 4, 5))
    targets[torch.rand(2, 3, 4, 5) < 0.7] = IGNORE
    theirs = torch.nn.functional.cross_entropy(scores, targets, ignore_index=IGNORE)
    torch.testing.assert_close(partial_cross_entropy(scores, targets), theirs)


@pytest.mark.parametrize(
    ("switched_off", "term"),
    [
        ({"ce_weight": 0}, "ssl"),
        ({"lambda_ct": 0, "lambda_mr": 0}, "imr"),
        ({"alpha_ct": 0, "alpha_mr": 0}, "imc"),
    ],
)
def test_each_term_can_be_switched_off(switched_off, term):
    batch = make_batch(torch.ones(1, 1, 3, 4, 5))
    outputs = Outputs(*(torch.randn(1, 2, 3, 4, 5) for _ in range(3)))
    whole = loss_terms(outputs, batch, make_config("paper"))
    less = loss_terms(outputs, batch, make_config("paper", **switched_off))
    assert less[term].item() == 0
    for other in {"ssl", "imr", "imc"} - {term}:
        assert less[other].item() == whole[other].item() != 0


def test_only_the_mr_half_of_imr_and_imc_leaves_out_voxels_without_mr():
    fov = torch.ones(1, 1, 3, 4, 5)
    fov[..., 2:] = 0
    batch = make_batch(fov)
    torch.manual_seed(5)
    outputs = Outputs(*(torch.randn(1, 2, 3, 4, 5) for _ in range(3)))
    changed = outputs._replace(mr=outputs.mr.clone())
    changed.mr[..., 2:] += 3.0
    before, after = (loss_terms(o, batch, make_config("paper")) for o in (outputs, changed))
    assert {name: v.item() for name, v in before.items()} == {
        name: v.item() for name, v in after.items()
    }
    ct_changed = outputs._replace(ct=changed.mr)
    assert loss_terms(ct_changed, batch, make_config("paper"))["imc"] != before["imc"]
