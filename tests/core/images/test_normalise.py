import numpy as np
import pytest

from cmfnet_napari.core.errors import UserError
from cmfnet_napari.core.images.normalise import to_unit, usual_limits


def test_ct_window():
    hu = np.array([-1000, -160, 40, 240, 3000], np.int16)
    unit = to_unit(hu, usual_limits(hu, "CT", (-160.0, 240.0), (1.0, 99.0)))
    np.testing.assert_allclose(unit, [0, 0, 0.5, 1, 1])
    assert unit.dtype == np.float32


def test_mr_percentiles_are_taken_inside_the_field_of_view():
    values = np.zeros((3, 5, 21), np.float32)
    fov = np.zeros(values.shape, bool)
    fov[1, 2, :] = True
    values[1, 2, :] = np.arange(100, 121)
    values[0] = 5000  # outside: neither counted nor seen

    limits = usual_limits(values, "MR", (-160.0, 240.0), (10.0, 90.0), fov)
    assert limits == (102, 118)
    unit = to_unit(values, limits, fov)

    np.testing.assert_allclose(unit[1, 2], np.clip((np.arange(100, 121) - 102) / 16, 0, 1))
    assert (unit[~fov] == 0).all()


def test_flat_mr():
    values = np.full((3, 4, 5), 7.0)
    values[0, 0, 0] = 9.0
    with pytest.raises(UserError, match="The MR is 7 from its 1th to its 90th"):
        usual_limits(values, "MR", (-160.0, 240.0), (1.0, 90.0))


def test_a_pet_is_shown_from_nothing_to_what_takes_up_most():
    values = np.zeros((10, 10, 11), np.float32)
    values[5, 5, :5] = 20_000.0  # a small tumour: not one voxel of it may look like its rim
    values[4, :, :] = 5_000.0

    low, high = usual_limits(values, "PT", (-160.0, 240.0), (1.0, 99.0))

    assert low == 0
    assert high > 19_000
