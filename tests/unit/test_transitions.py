from dataclasses import replace

import numpy as np
import pytest

from gormpo_density.data.transitions import DatasetInfo, Transitions
from gormpo_density.errors import ConfigError, DataError


@pytest.fixture
def data():
    obs = np.arange(8, dtype=np.float32).reshape(4, 2)
    return Transitions(
        obs=obs,
        action=-obs[:, :1],
        reward=np.array([1, 2, 4, 8], dtype=np.float32),
        next_obs=obs + 100,
        terminated=np.array([False, True, False, False]),
        truncated=np.array([False, False, False, True]),
        episode=np.array([3, 3, 7, 7]),
        info=DatasetInfo("toy", "arrays"),
    )


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("state_action", [2, 3, -2]),
        ("next_state_action", [102, 103, -2]),
        ("state", [2, 3]),
        ("transition", [2, 3, -2, 2, 102, 103]),
    ],
)
def test_rows(data, kind, expected):
    rows = data.rows(kind)
    assert rows.shape == (4, len(expected))
    assert rows.dtype == np.float32
    np.testing.assert_array_equal(rows[1], expected)


def test_unknown_rows_are_told(data):
    with pytest.raises(
        ConfigError, match=r"rows 'window' is unknown; choose from \('state_action'"
    ):
        data.rows("window")


def test_select_takes_every_array_and_the_info(data):
    for index in (np.array([2, 0]), np.array([True, False, True, False]), slice(1, 3)):
        part = data.select(index)
        np.testing.assert_array_equal(part.reward, data.reward[index])
        np.testing.assert_array_equal(part.next_obs, data.next_obs[index])
        np.testing.assert_array_equal(part.episode, data.episode[index])
        assert part.info == data.info


def test_episodes(data):
    assert len(data) == 4
    assert data.n_episodes == 2
    np.testing.assert_array_equal(data.episode_returns(), [3, 12])
    assert data.episode_returns().dtype == np.float64


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"reward": np.zeros(3)}, "reward has 3 rows, obs has 4"),
        ({"reward": np.zeros((4, 1))}, r"reward must have rank 1, got shape \(4, 1\)"),
        ({"obs": np.zeros((4, 3))}, r"next_obs is \(4, 2\), obs is \(4, 3\)"),
        ({"next_obs": np.array([[0, 0], [0, np.nan]] * 2)}, "next_obs column 1 row 1 is nan"),
        ({"reward": np.array([0, 0, np.inf, 0])}, "reward row 2 is inf"),
    ],
)
def test_arrays_that_do_not_fit_are_told(data, change, message):
    with pytest.raises(DataError, match=message):
        replace(data, **change)
