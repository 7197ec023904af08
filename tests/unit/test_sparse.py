import logging

import numpy as np
import pytest

from gormpo_density.data.columns import from_arrays
from gormpo_density.data.sparse import sparsify
from gormpo_density.data.transitions import DatasetInfo
from gormpo_density.errors import ConfigError, DataError

LENGTH = 10


def make(n_episodes=40, n_in_box=20):
    """Episodes of ten rows; one row of each of the first ones is gentle and well rewarded."""
    n = n_episodes * LENGTH
    rng = np.random.default_rng(0)
    action = rng.uniform(0.5, 1, size=(n, 2))
    reward = rng.uniform(0, 1, size=n)
    chosen = np.arange(n_in_box) * LENGTH + rng.integers(LENGTH, size=n_in_box)
    action[chosen], reward[chosen] = 0.01, 5
    return from_arrays(
        np.arange(n),
        action,
        reward,
        next_obs=np.arange(n) + 1,
        episode=np.repeat(np.arange(n_episodes), LENGTH),
        info=DatasetInfo("toy", "arrays"),
    )


def left(data):
    return {int(obs) // LENGTH for obs in data.obs[:, 0]}


def test_half_of_the_trajectories_through_the_box_are_dropped(caplog):
    data = make()
    with caplog.at_level(logging.INFO):
        sparse = sparsify(data)
    assert len(left(sparse) & set(range(20))) == 10
    assert left(sparse) >= set(range(20, 40))
    assert len(sparse) == 30 * LENGTH  # whole trajectories only
    assert sparse.info.name == "toy-sparse75"
    assert "20 of 40 trajectories pass through the box, 10 are dropped with 25.0 %" in caplog.text
    assert len(data) == 400


@pytest.mark.parametrize(("drop", "expected"), [(0.25, 15), (1.0, 0), (1e-9, 19)])
def test_drop_is_a_share_of_those_trajectories(drop, expected):
    assert len(left(sparsify(make(), drop=drop)) & set(range(20))) == expected


def test_the_box_is_given_by_quantiles():
    data = make(n_in_box=0)
    norms = np.linalg.norm(data.action, axis=1)
    sparse = sparsify(data, drop=1, action_norm=(0.99, 1), reward=(0, 1))
    through = set(np.flatnonzero(norms >= np.quantile(norms, 0.99)) // LENGTH)
    assert left(sparse) == set(range(40)) - through


def test_the_seed_fixes_what_is_dropped():
    data = make()
    assert left(sparsify(data, seed=3)) == left(sparsify(data, seed=3))
    assert len({frozenset(left(sparsify(data, seed=seed))) for seed in range(10)}) == 10


def test_boxes_that_leave_nothing_or_hold_nothing():
    with pytest.raises(DataError, match="toy: no trajectory passes through the box"):
        sparsify(make(n_in_box=0), action_norm=(0, 0.001), reward=(0.999, 1))
    with pytest.raises(DataError, match="toy: no trajectory is left"):
        sparsify(make(), drop=1, action_norm=(0, 1), reward=(0, 1))


def test_all_that_is_out_of_range_is_told():
    with pytest.raises(ConfigError) as caught:
        sparsify(make(), drop=0, action_norm=(0.5, 0.5), reward=(0, 95))
    assert caught.value.problems == (
        "action_norm (0.5, 0.5) must be two quantiles 0 <= low < high <= 1",
        "reward (0, 95) must be two quantiles 0 <= low < high <= 1",
        "drop 0 must be in (0, 1]",
    )
