"""Our penalty on a model of the environment that steps as OfflineRL-Kit's does."""

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from gormpo_density import KNN, OODPenalty
from gormpo_density.compat import penalise
from gormpo_density.errors import ConfigError


class Dynamics:
    """Steps as OfflineRL-Kit's EnsembleDynamics: arrays of float32, reward and terminal (B, 1)."""

    def __init__(self, penalty_coef: float = 0.0) -> None:
        self.model = nn.Linear(1, 1)
        self._penalty_coef = penalty_coef

    def step(self, obs: np.ndarray, action: np.ndarray) -> tuple[Any, Any, Any, dict[str, Any]]:
        next_obs = (obs + 1).astype(np.float32)
        raw = obs.sum(1, keepdims=True).astype(np.float32)
        info = {"raw_reward": raw}
        reward = raw
        if self._penalty_coef:
            info["penalty"] = np.ones_like(raw)
            reward = raw - self._penalty_coef * info["penalty"]
        return next_obs, reward, raw > 1e9, info

    def save(self, path: str) -> str:
        return f"saved to {path}"


OBS = np.array([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]], dtype=np.float32)
ACTION = np.array([[10.0], [20.0], [30.0]], dtype=np.float32)


def first_column(rows: torch.Tensor) -> torch.Tensor:
    return rows[:, 0]


@pytest.mark.parametrize(
    ("rows", "penalty"), [("state_action", [0, 2, 4]), ("next_state_action", [1, 3, 5])]
)
def test_the_reward_pays_for_the_row(rows, penalty):
    plain = Dynamics().step(OBS, ACTION)
    next_obs, reward, terminal, info = penalise(Dynamics(), first_column, 0.5, rows).step(
        OBS, ACTION
    )
    np.testing.assert_array_equal(next_obs, plain[0])
    np.testing.assert_array_equal(terminal, plain[2])
    np.testing.assert_array_equal(info["raw_reward"], [[1], [5], [9]])
    np.testing.assert_array_equal(info["penalty"], np.array(penalty)[:, None])
    np.testing.assert_array_equal(reward, info["raw_reward"] - 0.5 * info["penalty"])
    assert (reward.shape, reward.dtype, info["penalty"].dtype) == ((3, 1), np.float32, np.float32)


def test_their_own_penalty_stays_on():
    _, reward, _, info = penalise(Dynamics(penalty_coef=2.0), first_column).step(OBS, ACTION)
    np.testing.assert_array_equal(reward, [[1 - 2 - 0], [5 - 2 - 2], [9 - 2 - 4]])
    np.testing.assert_array_equal(info["raw_reward"], [[1], [5], [9]])


def test_a_model_without_a_word_for_it_gets_raw_reward():
    class Bare(Dynamics):
        def step(self, obs, action):
            next_obs, reward, terminal, _ = super().step(obs, action)
            return next_obs, reward, terminal, {"own": 1}

    _, _, _, info = penalise(Bare(), first_column).step(OBS, ACTION)
    assert sorted(info) == ["own", "penalty", "raw_reward"]
    np.testing.assert_array_equal(info["raw_reward"], [[1], [5], [9]])


def test_every_other_attribute_is_the_wrapped_ones():
    dynamics = Dynamics()
    wrapped = penalise(dynamics, first_column)
    assert wrapped.model is dynamics.model
    assert wrapped.save("there") == "saved to there"
    wrapped._penalty_coef = 3.0
    assert dynamics._penalty_coef == 3.0
    with pytest.raises(AttributeError, match="nothing"):
        wrapped.nothing  # noqa: B018
    copied = copy.deepcopy(wrapped)
    assert copied.model is not dynamics.model
    np.testing.assert_array_equal(copied.step(OBS, ACTION)[1], wrapped.step(OBS, ACTION)[1])


def test_a_calibrated_model_makes_far_rows_pay_and_bad_ones_most():
    rng = np.random.default_rng(0)
    data = rng.normal(size=(300, 3)).astype(np.float32)
    model = KNN(3)
    model.fit(data[:200])
    model.calibrate(data[200:])
    near, far = np.zeros((1, 2), np.float32), np.full((1, 2), 50, np.float32)
    obs = np.concatenate([near, far, far * np.nan])
    _, _, _, info = penalise(Dynamics(), OODPenalty(model, cap=7.0)).step(obs, 0 * ACTION)
    assert info["penalty"][:, 0].tolist() == [0.0, 7.0, 7.0]


def test_what_is_wrong_is_told_at_once():
    with pytest.raises(ConfigError) as error:
        penalise(Dynamics(), first_column, coef=math.nan, rows="state")
    assert error.value.problems == (
        "coef must be finite and not negative, got nan",
        "rows must be one of state_action, next_state_action, got 'state'",
    )
