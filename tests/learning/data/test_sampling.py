import pytest
import torch

from cmfnet_napari.core.fit.config import make_config
from cmfnet_napari.core.strokes.scribbles import IGNORE
from cmfnet_napari.learning.data.prepare import make_frame, make_inputs
from cmfnet_napari.learning.data.sampling import Sampler
from cmfnet_napari.learning.model.losses import Batch


def volume(ball, config, targets=None):
    inputs = make_inputs(ball.study, make_frame(ball.study.grid, None, config), config)
    if targets is None:
        targets = inputs.targets(ball.scribbles)
    nothing = inputs.ct[:, :0]
    return Batch(inputs.ct, inputs.mr, inputs.fov, targets, nothing, nothing)


def constant(value, size, classes=0):
    """A volume whose CT says which it is."""
    ct = torch.full((1, 1, *size), value)
    targets = torch.zeros(1, *size, dtype=torch.uint8)
    targets[0, 0, 0, 0] = 1
    guide = torch.rand(1, classes, *size)
    return Batch(ct, ct.clone(), torch.ones_like(ct), targets, guide, ct[:, :0])


@pytest.mark.parametrize("augment", [False, True])
def test_every_patch_holds_a_stroke_and_both_classes_come(ball, augment):
    config = ball.config.model_copy(update={"augment": augment, "patch": (16, 16, 16), "batch": 4})
    sampler = Sampler([volume(ball, config)], config)
    seen = set()
    for step in range(10):
        batch = sampler.draw(step)
        assert batch.ct.shape == (4, 1, 16, 16, 16)
        for targets in batch.targets:
            codes = set(targets.unique().tolist()) - {IGNORE}
            assert codes
            seen |= codes
    assert seen == {0, 1}


def test_flips_move_images_and_targets_together(ball):
    config = ball.config.model_copy(update={"augment": True, "patch": (16, 32, 32)})
    bright = volume(ball, config)
    bright = Batch(*bright.to("cpu"))
    targets = torch.where(bright.ct[:, 0] > 0.55, 1, 0)  # a label that follows the image
    sampler = Sampler([volume(ball, config, targets)], config)
    for step in range(8):
        batch = sampler.draw(step)
        inside, outside = (batch.ct[0, 0][batch.targets[0] == code] for code in (1, 0))
        assert inside.mean() - outside.mean() > 0.08


def test_patches_of_a_step_do_not_depend_on_what_was_drawn_before(ball):
    config = ball.config.model_copy(update={"augment": True, "batch": 3})
    first, second = (Sampler([volume(ball, config)], config) for _ in range(2))
    for step in range(4):
        first.draw(step)
    for early, late in zip(first.draw(4), second.draw(4), strict=True):
        assert torch.equal(early, late)


def test_two_processes_draw_the_patches_of_one(ball):
    config = ball.config.model_copy(update={"batch": 4})
    sampler = Sampler([volume(ball, config)], config)
    whole, shares = sampler.draw(7), [sampler.draw(7, range(rank, 4, 2)) for rank in range(2)]
    for rank, share in enumerate(shares):
        assert torch.equal(share.ct, whole.ct[rank::2])
        assert torch.equal(share.targets, whole.targets[rank::2])


def test_every_case_comes_once_before_any_comes_again():
    config = make_config("paper", batch=2, patch=(16, 16, 16))
    values = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    sampler = Sampler([constant(v, (16, 16, 16)) for v in values], config)
    drawn = [round(float(x), 1) for step in range(6) for x in sampler.draw(step).ct[:, 0, 0, 0, 0]]
    assert sorted(drawn[:6]) == sorted(drawn[6:]) == values
    assert drawn[:6] != drawn[6:]


def test_a_case_smaller_than_the_other_of_its_step_is_padded_and_teaches_nothing_there():
    config = make_config("paper", batch=2, patch=(16, 32, 16))
    cases = [constant(0.5, (5, 20, 16), 2), constant(0.5, (16, 30, 16), 2)]
    patches = Sampler(cases, config).draw(0)
    assert patches.ct.shape == (2, 1, 16, 30, 16)
    assert (patches.ct == 0.5).all()
    small = next(i for i in range(2) if (patches.targets[i] == IGNORE).any())
    taught = patches.targets[small] != IGNORE
    assert int(taught.sum()) == int(patches.fov[small].sum()) == 5 * 20 * 16
    guide = patches.guide[small]
    assert (guide[(~taught).expand_as(guide)] == 0.5).all()


@pytest.mark.parametrize("share", [[0], [1], None])
def test_the_patches_of_a_step_are_as_large_as_its_largest_case(share):
    """However the step is shared; and a small case alone has no border."""
    config = make_config("paper", batch=2, patch=(16, 32, 32))
    sizes = [(5, 20, 40), (4, 40, 8), (16, 16, 16), (8, 24, 24)]
    sampler = Sampler([constant(0.1 * i, size) for i, size in enumerate(sizes)], config)
    for step in range(8):
        whole = sampler.draw(step)
        drawn = [sizes[round(10 * float(v))] for v in whole.ct[:, 0, 0, 0, 0]]
        largest = [max(sides) for sides in zip(*drawn, strict=True)]
        expected = [min(p, n) for p, n in zip(config.patch, largest, strict=True)]
        assert list(sampler.draw(step, share).ct.shape[2:]) == expected
    alone = config.model_copy(update={"batch": 1})
    shapes = {
        tuple(Sampler([constant(0, s) for s in sizes], alone).draw(i).ct.shape) for i in range(4)
    }
    assert shapes == {
        (1, 1, *(min(p, n) for p, n in zip(config.patch, s, strict=True))) for s in sizes
    }


def test_preferred_voxels_get_most_patches_for_a_while():
    config = make_config("paper", batch=4, patch=(16, 16, 16))
    case = constant(0.5, (40, 48, 56))  # with background everywhere
    sampler, plain = Sampler([case, case], config), Sampler([case, case], config)
    place = torch.zeros(40, 48, 56, dtype=torch.bool)
    place[37, 44, 52] = True
    marked = torch.zeros_like(case.ct)
    marked[0, 0, 37, 44, 52] = 1
    shows = Batch(case.ct, case.mr, marked, case.targets, case.guide, case.maps)
    sampler.use([shows, shows])  # a patch shows by it where it lies
    sampler.prefer(place, until=60)
    holds = [bool(patch.any()) for step in range(60) for patch in sampler.draw(step).fov]
    assert 0.7 < sum(holds) / len(holds) < 0.9
    for step in (60, 61):  # afterwards as if nothing had been
        assert torch.equal(sampler.draw(step).targets, plain.draw(step).targets)
    sampler.prefer(torch.zeros_like(place), until=100)  # strokes that are outside of the region
    assert torch.equal(sampler.draw(7).targets, plain.draw(7).targets)


def test_a_preferred_voxel_of_a_padded_case_is_where_it_was():
    config = make_config("paper", batch=2, patch=(16, 32, 16))
    sampler = Sampler([constant(0.5, (5, 20, 16)), constant(0.5, (16, 32, 16))], config)
    place = torch.zeros(5, 20, 16, dtype=torch.bool)
    place[4, 19, 15] = True
    sampler.prefer(place, until=10)
    assert all(sampler.draw(step).ct.shape == (2, 1, 16, 32, 16) for step in range(10))
