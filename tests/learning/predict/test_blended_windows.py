"""Windows that overlap, against MONAI's, which are imported here alone."""

import pytest
import torch
from monai.inferers import sliding_window_inference

from cmfnet_napari.learning.predict.blended_windows import blended


@pytest.mark.parametrize(
    ("size", "window", "overlap"),
    [
        ((9, 21, 17), (4, 8, 6), 0.5),
        ((8, 8, 8), (8, 8, 8), 0.5),  # one window
        ((7, 16, 33), (7, 8, 32), 0.25),  # as long as the volume; one voxel shorter
        ((5, 6, 40), (3, 5, 3), 0.9),  # steps of one voxel
    ],
)
def test_windows_are_blended_as_by_monai(size, window, overlap):
    torch.manual_seed(0)
    images = torch.rand(1, 2, *size)

    def ask(part):
        asked.append(tuple(part.shape[2:]))
        # as a network whose answers depend on where in its window a voxel lies
        return torch.cat([part.cumsum(dim=4), part[:, :1].sin()], dim=1)

    asked = []
    found = blended(ask, images, window, overlap)
    ours, asked = asked, []
    exact = sliding_window_inference(images, window, 1, ask, overlap=overlap, mode="gaussian")
    assert ours == asked
    torch.testing.assert_close(found, exact, rtol=1e-6, atol=1e-6)
