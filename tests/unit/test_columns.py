import logging

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gormpo_density.data.columns import check_dims, from_arrays, from_columns, from_trajectories
from gormpo_density.data.transitions import DatasetInfo
from gormpo_density.errors import ConfigError, DataError, ShapeError

OBS = np.arange(12.0).reshape(6, 2)
ACTION = np.linspace(-1, 1, 6)[:, None]


def walk(lengths, width=2):
    """Make episodes that count up from 100, 200, ...: obs (n, width) and true next_obs."""
    starts = 100.0 * (1 + np.arange(len(lengths)))
    obs = np.concatenate([s + np.arange(n) for s, n in zip(starts, lengths, strict=True)])
    obs = np.repeat(obs[:, None], width, axis=1)
    return obs, obs + 1


def test_two_arrays_are_enough():
    data = from_arrays(OBS, ACTION)
    np.testing.assert_array_equal(data.obs, OBS[:5])
    np.testing.assert_array_equal(data.next_obs, OBS[1:])
    np.testing.assert_array_equal(data.action, ACTION[:5].astype(np.float32))
    np.testing.assert_array_equal(data.reward, np.zeros(5))
    assert data.n_episodes == 1
    assert not data.terminated.any()
    np.testing.assert_array_equal(data.truncated, [0, 0, 0, 0, 1])
    assert data.info == DatasetInfo("arrays", "arrays")
    assert [a.dtype.name for a in (data.obs, data.action, data.reward, data.next_obs)] == [
        "float32"
    ] * 4


def test_everything_given_stays_as_it_is():
    obs, next_obs = walk([3, 2])
    reward = np.arange(5.0)
    data = from_arrays(obs, obs[:, :1], reward, next_obs, [0, 0, 1, 0, 0], [0, 0, 0, 0, 1])
    np.testing.assert_array_equal(data.next_obs, next_obs)
    np.testing.assert_array_equal(data.reward, reward)
    np.testing.assert_array_equal(data.terminated, [0, 0, 1, 0, 0])
    np.testing.assert_array_equal(data.truncated, [0, 0, 0, 0, 1])
    np.testing.assert_array_equal(data.episode, [0, 0, 0, 1, 1])


@pytest.mark.parametrize("cause", ["terminated", "truncated", "episode"])
def test_next_obs_never_crosses_an_episode(cause, caplog):
    obs, next_obs = walk([3, 2])
    marks = {
        "terminated": [0, 0, 1, 0, 1],
        "truncated": [0, 0, 1, 0, 1],
        "episode": [7, 7, 7, 3, 3],
    }
    data = from_arrays(obs, obs, **{cause: marks[cause]})
    kept = [0, 1, 3]
    np.testing.assert_array_equal(data.obs, obs[kept])
    np.testing.assert_array_equal(data.next_obs, next_obs[kept])
    np.testing.assert_array_equal(data.episode, [0, 0, 1])
    np.testing.assert_array_equal(data.truncated, [0, 1, 1])
    lost = "arrays: 2 terminated rows are dropped" in caplog.text
    assert lost == (cause == "terminated")


def test_jumps_of_next_obs_end_episodes():
    obs, next_obs = walk([3, 2, 4])
    data = from_arrays(obs, obs, next_obs=next_obs)
    np.testing.assert_array_equal(data.episode, [0, 0, 0, 1, 1, 2, 2, 2, 2])
    np.testing.assert_array_equal(data.truncated, [0, 0, 1, 0, 1, 0, 0, 0, 1])


def test_rounding_is_not_a_jump():
    obs, next_obs = walk([20])
    data = from_arrays(obs, obs, next_obs=next_obs * (1 + 1e-7))
    assert data.n_episodes == 1


def test_terminated_rows_that_lead_to_a_reset_are_dropped(caplog):
    """As `d4rl.qlearning_dataset` returns them."""
    obs, next_obs = walk([3, 3, 2])
    next_obs[2] = obs[3]
    data = from_arrays(obs, obs, next_obs=next_obs, terminated=[0, 0, 1, 0, 0, 1, 0, 1])
    np.testing.assert_array_equal(data.obs, np.delete(obs, 2, axis=0))
    np.testing.assert_array_equal(data.terminated, [0, 0, 0, 0, 1, 0, 1])
    np.testing.assert_array_equal(data.truncated, [0, 1, 0, 0, 0, 0, 0])
    assert "1 terminated rows are dropped" in caplog.text


def test_shuffled_rows_are_told(caplog):
    obs, next_obs = walk([30])
    order = np.random.default_rng(0).permutation(30)
    data = from_arrays(obs[order], obs[order], next_obs=next_obs[order])
    assert data.n_episodes >= 28
    assert "look shuffled" in caplog.text


@settings(max_examples=50, derandomize=True, deadline=None)
@given(st.lists(st.integers(1, 5), min_size=1, max_size=6), st.booleans(), st.data())
def test_next_obs_is_true_whatever_the_episodes(lengths, is_given, data):
    obs, next_obs = walk(lengths)
    ends = np.cumsum(lengths) - 1
    terminated = np.zeros(len(obs), dtype=bool)
    terminated[ends] = data.draw(st.lists(st.booleans(), min_size=len(ends), max_size=len(ends)))
    truncated = np.zeros(len(obs), dtype=bool)
    truncated[ends] = ~terminated[ends]
    if not is_given and max(lengths) == 1:
        with pytest.raises(DataError, match="single row"):
            from_arrays(obs, obs, terminated=terminated, truncated=truncated)
        return
    made = from_arrays(
        obs,
        obs,
        next_obs=next_obs if is_given else None,
        terminated=terminated,
        truncated=truncated,
    )
    np.testing.assert_array_equal(made.next_obs, made.obs + 1)
    assert len(made) == len(obs) - (0 if is_given else len(lengths))
    assert (made.terminated | made.truncated).sum() == made.n_episodes


def test_vectors_and_columns_are_the_same():
    data = from_arrays(np.arange(3.0), [1, 2, 3], reward=np.ones((3, 1)))
    assert data.obs.shape == data.action.shape == (2, 1)
    assert data.reward.shape == (2,)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"obs": OBS[:4]}, ShapeError, "action has 6 rows, obs has 4"),
        (
            {"obs": np.zeros((6, 2, 2))},
            ShapeError,
            r"obs must have shape \(N, features\).*6, 2, 2",
        ),
        ({"reward": np.zeros((6, 2))}, ShapeError, r"reward must have shape \(N,\), got \(6, 2\)"),
        ({"next_obs": np.zeros((6, 3))}, ShapeError, "obs has 2 features, next_obs 3"),
        ({"obs": OBS[:0], "action": ACTION[:0]}, DataError, "no rows"),
        ({"obs": OBS * np.nan}, DataError, "obs column 0 row 0 is nan"),
        ({"reward": [0, 0, 0, np.inf, 0, 0]}, DataError, "reward row 3 is inf"),
        ({"action": ACTION * 1e300}, DataError, "action column 0 row 0 is -inf"),
        ({"terminated": [0, 0, 2, 0, 0, 0]}, DataError, "terminated row 2 is 2, not 0 or 1"),
        ({"truncated": [0, 0, 0, np.nan, 0, 0]}, DataError, "truncated row 3 is nan"),
        ({"obs": np.full((6, 2), "a")}, DataError, "obs holds <U1 values, not numbers"),
        ({"obs": OBS.astype(object)}, DataError, "obs holds object values"),
        ({"episode": [0, 0, 1, 1, 0, 0]}, DataError, "episode 0 are not adjacent"),
        ({"episode": np.arange(6)}, DataError, "every episode has a single row"),
    ],
)
def test_bad_arrays_are_one_clear_error(change, error, message):
    with pytest.raises(error, match=message) as caught:
        from_arrays(**{"obs": OBS, "action": ACTION, **change})
    assert len(caught.value.problems) == 1


@pytest.mark.parametrize(
    "names",
    [
        ("obs", "action", "reward", "next_obs", "terminated", "truncated"),
        ("observations", "actions", "rewards", "next_observations", "terminals", "timeouts"),
    ],
)
def test_columns_are_found_under_their_usual_names(names):
    obs, next_obs = walk([2, 2])
    arrays = [obs, obs, np.arange(4.0), next_obs, [0, 1, 0, 0], [0, 0, 0, 1]]
    data = from_columns({**dict(zip(names, arrays, strict=True)), "infos/qpos": None})
    expected = from_arrays(*arrays)
    np.testing.assert_array_equal(data.rows("transition"), expected.rows("transition"))
    np.testing.assert_array_equal(data.episode, [0, 0, 1, 1])


def test_the_last_observation_may_be_appended():
    data = from_columns({"observations": np.arange(4.0), "actions": np.zeros(3)})
    np.testing.assert_array_equal(data.obs[:, 0], [0, 1, 2])
    np.testing.assert_array_equal(data.next_obs[:, 0], [1, 2, 3])


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({}, "no obs or observations; found nothing"),
        ({"observatons": 0, "x": 1}, "found observatons, x, is 'observatons' meant"),
        ({"obs": OBS, "acts": ACTION}, "no action or actions; found obs, acts"),
        ({"obs": OBS, "observations": OBS, "action": 0}, "obs, observations mean the same"),
        ({"obs": OBS, "action": ACTION, "dones": 0}, "does not tell why"),
        ({"obs": 1, "action": 2}, r"obs must have shape \(N, features\), got \(\)"),
    ],
)
def test_wrong_names_are_told(columns, message):
    with pytest.raises(DataError, match=message):
        from_columns(columns)


def test_trajectories_are_episodes():
    obs, next_obs = walk([3, 1])
    first = {"observations": obs[:3], "actions": np.zeros(3), "next_observations": next_obs[:3]}
    second = {"observations": [obs[3], next_obs[3]], "actions": [0.0]}
    data = from_trajectories([first, second])
    np.testing.assert_array_equal(data.obs, obs)
    np.testing.assert_array_equal(data.next_obs, next_obs)
    np.testing.assert_array_equal(data.episode, [0, 0, 0, 1])


@pytest.mark.parametrize(
    ("trajectories", "message"),
    [
        ([], "no trajectories"),
        ([{"obs": OBS, "action": ACTION}, {"obs": OBS}], "trajectory 1: no action"),
        (
            [{"obs": OBS, "action": ACTION}, {"obs": OBS, "action": ACTION, "reward": ACTION}],
            "trajectory 1 has obs, action, reward, 0 has obs, action",
        ),
        (
            [{"obs": OBS, "action": ACTION}, {"obs": OBS[:, :1], "action": ACTION}],
            "obs differs in width between trajectories",
        ),
    ],
)
def test_bad_trajectories_are_told(trajectories, message):
    with pytest.raises(DataError, match=message):
        from_trajectories(trajectories)


def test_dims_that_contradict_the_data_are_all_named():
    data = from_arrays(OBS, ACTION)
    check_dims(data)
    check_dims(data, 2, 1)
    with pytest.raises(ConfigError) as caught:
        check_dims(data, obs_dim=11, action_dim=3)
    assert caught.value.problems == (
        "obs_dim is 11, but arrays has 2",
        "action_dim is 3, but arrays has 1",
    )


def test_nothing_is_logged_for_clean_data(caplog):
    obs, next_obs = walk([3, 2])
    with caplog.at_level(logging.DEBUG):
        from_arrays(obs, obs, next_obs=next_obs)
    assert not caplog.records
