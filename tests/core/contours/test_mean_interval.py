"""Intervals of means over patients, against SciPy's."""

import numpy as np
import pytest
from scipy import stats

from cmfnet_napari.core.contours.mean_interval import mean_interval, score_interval


def test_the_interval_is_students():
    values = [0.81, 0.9, 0.77, 0.95, 0.6]
    found = mean_interval(values)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert (found.mean, found.patients) == (pytest.approx(np.mean(values)), 5)
    assert mean_interval([0.3]) == (0.3, 0.3, 0.3, 1)


def test_it_ends_where_scores_do():
    assert score_interval("dsc", [0.99, 0.7]).high == 1
    assert score_interval("hd95_mm", [1.0, 9.0]).low == 0
    assert score_interval("hd95_mm", [1.0, 9.0]).high > 50
    assert mean_interval([0.99, 0.7]).high > 1
