import numpy as np
import torch

from cmfnet_napari.core.fit.config import make_config
from cmfnet_napari.core.images.grid import Grid
from cmfnet_napari.core.strokes.scribbles import IGNORE
from cmfnet_napari.learning.data.prepare import Frame, make_frame, make_inputs


def whole(shape):
    return tuple(slice(0, n) for n in shape)


def test_coarse_voxels_are_block_means_and_come_back_to_their_place():
    shape = (5, 7, 9)
    frame = Frame(shape, whole(shape), (1, 2, 3))
    ramp = np.broadcast_to(np.arange(9.0), shape).astype(np.float32)
    coarse = frame.coarsen(ramp)
    assert coarse.shape == (1, 1, 5, 4, 3)
    assert coarse[0, 0, 0, 0].tolist() == [1, 4, 7]
    fine = frame.refine(coarse)[0].numpy()
    assert fine.shape == shape
    # A linear ramp is kept where there are block centres on both sides: no shift by a voxel.
    np.testing.assert_allclose(fine[:, :, 1:8], ramp[:, :, 1:8], atol=1e-5)


def test_region_is_the_tumour_strokes_and_a_margin_in_millimetres():
    scribbles = np.zeros((20, 40, 50), dtype=np.uint8)
    scribbles[10, 20:23, 5] = 2
    scribbles[9, 16, 14] = 1
    grid = Grid(scribbles.shape, spacing=(5.0, 2.0, 1.0))
    config = make_config("paper", region_margin=10.0)
    assert make_frame(grid, scribbles, config).region == (slice(8, 13), slice(15, 28), slice(0, 16))
    # Background drawn further out belongs to it: something large is marked in its middle alone.
    scribbles[9, 16, 14], scribbles[9, 16, 20] = 0, 1  # 15 mm away
    assert make_frame(grid, scribbles, config).region == (slice(6, 15), slice(10, 33), slice(0, 26))


def test_paste_puts_the_region_back_in_the_whole():
    frame = Frame((4, 5, 6), (slice(1, 3), slice(2, 5), slice(0, 2)), (1, 1, 1))
    whole_array = frame.paste(np.ones((2, 3, 2), dtype=np.uint8))
    assert whole_array.sum() == 12
    assert whole_array[1:3, 2:5, 0:2].all()


def test_a_thin_tumour_stroke_survives_in_a_coarse_voxel(ball):
    config = ball.config.model_copy(update={"spacing": 3.0})
    inputs = make_inputs(ball.study, make_frame(ball.study.grid, None, config), config)
    scribbles = np.zeros(ball.study.grid.shape, dtype=np.uint8)
    scribbles[9, 16, 18:21] = 1
    scribbles[9, 17, 19] = 2
    targets = inputs.targets(scribbles)
    assert inputs.frame.factors == (1, 2, 3)
    assert targets[0, 9, 8, 6] == 1
    assert (targets != IGNORE).sum() == 1


def test_without_an_mr_the_ct_goes_into_both_branches(ball):
    from cmfnet_napari.core.images.study import study_from_images

    study = study_from_images(ball.study.first.image())
    inputs = make_inputs(study, make_frame(study.grid, None, ball.config), ball.config)
    assert torch.equal(inputs.ct, inputs.mr)
    assert inputs.fov.min() == 1


def test_images_are_in_0_to_1(ball):
    inputs = make_inputs(ball.study, make_frame(ball.study.grid, None, ball.config), ball.config)
    for image in (inputs.ct, inputs.mr):
        assert image.min() >= 0
        assert image.max() <= 1
    ct = np.clip((ball.study.first.array + 160) / 400, 0, 1)
    np.testing.assert_allclose(inputs.ct[0, 0].numpy(), ct, atol=1e-6)
