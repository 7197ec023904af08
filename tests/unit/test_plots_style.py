import numpy as np
import pytest

from gormpo_density.plots.style import robust_range, spread


def test_robust_range_holds_ordinary_values_and_drops_far_ones():
    values = np.arange(101.0)
    assert robust_range(values) == (-5.0, 105.0)
    assert robust_range(np.append(values, [1e9, np.nan, -np.inf])) == pytest.approx((-5, 105))
    assert robust_range(np.array([np.nan])) == (0.0, 1.0)
    low, high = robust_range(np.full(3, 7.0))
    assert low < 7 < high


def test_spread_keeps_both_ends():
    names = [str(i) for i in range(10)]
    assert spread(names, 4) == ["0", "3", "6", "9"]
    assert spread(names, 20) == names
    assert spread([], 3) == []
