import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from gormpo_density.errors import DataError
from rl.model_error import ModelErrors, ModelProbe
from rl.simulator import open_simulator
from rl.termination import RULES, never

STD = torch.tensor([0.5, 2.0])


class Line:
    """A simulator in the plane: every entry moves by the action; the second is a velocity."""

    action_low, action_high = np.array([-1.0]), np.array([1.0])

    def advance(self, state: Any, action: Any) -> Any:
        return state + action

    def observe(self, state: Any) -> Any:
        return np.column_stack([state[:, 0], state[:, 1].clip(-10, 10)])

    def is_state(self, obs: Any) -> Any:
        return np.abs(obs[:, 1]) < 10


class Biased:
    """A model of the line that is off by the same vector in each step."""

    obs_std = STD

    def __init__(self, bias: list[float], noise: float = 0.0) -> None:
        self.bias, self.noise = torch.tensor(bias), noise

    def elite_mean(self, obs: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
        return obs + action + self.bias, obs[:, 0]

    def sample(
        self, obs: Tensor, action: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        mean, reward = self.elite_mean(obs, action)
        return mean + self.noise * torch.randn(mean.shape, generator=generator), reward


def still(obs: Tensor) -> Tensor:
    return torch.zeros(len(obs), 1)


def probe(dynamics: Any, **changes: Any) -> ModelProbe:
    parts = {
        "simulator": Line(),
        "penalties": lambda obs, action, next_obs, memory: ({}, memory),
        "termination": never,
        "generator": torch.Generator().manual_seed(0),
    }
    return ModelProbe(dynamics, **(parts | changes))


def test_error_is_that_of_one_step_and_drift_that_of_all() -> None:
    errors = probe(Biased([0.3, 1.6])).measure(torch.zeros(3, 2), {"still": still}, horizon=4)
    one = math.hypot(0.3 / 0.5, 1.6 / 2.0)
    assert len(errors) == 12
    assert errors.error == pytest.approx(np.full(12, one), rel=1e-5)
    assert errors.drift == pytest.approx(one * errors.step, rel=1e-5)
    assert errors.step.tolist() == [1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4]
    assert errors.start.tolist() == 4 * [0, 1, 2]


def test_the_models_noise_counts_for_the_drift_alone() -> None:
    noisy = probe(Biased([0.0, 0.0], noise=0.1))
    errors = noisy.measure(torch.zeros(4, 2), {"still": still}, horizon=2)
    assert errors.error == pytest.approx(np.zeros(8), abs=1e-6)
    assert errors.drift.min() > 0


def test_starts_with_a_clipped_velocity_are_left_out_and_keep_their_numbers() -> None:
    starts = torch.tensor([[0.0, 10.0], [0.0, 0.0], [0.0, -10.0], [0.0, 5.0]])
    errors = probe(Biased([0.1, 0.0])).measure(starts, {"still": still}, horizon=1)
    assert errors.start.tolist() == [1, 3]
    with pytest.raises(DataError, match="none of 2 start states can be set in the simulator"):
        probe(Biased([0.1, 0.0])).measure(starts[::2], {"still": still}, horizon=1)


def test_states_that_got_as_fast_are_left_out_but_go_on() -> None:
    starts = torch.tensor([[0.0, 8.0]])
    faster = probe(Biased([0.0, 1.5]))
    errors = faster.measure(starts, {"still": still}, horizon=3)
    assert errors.step.tolist() == [1, 2]  # the third would start at 11
    slower_again = probe(Biased([0.0, 1.5]), termination=lambda o, a, n: n[:, 1] > 9)
    assert slower_again.measure(starts, {"still": still}, horizon=3).step.tolist() == [1]


def test_a_rollout_ends_in_a_terminal_state_or_beyond_a_hundred() -> None:
    starts = torch.tensor([[0.0, 0.0], [97.0, 0.0]])
    biased = probe(Biased([2.0, 0.0]), termination=lambda obs, action, n: n[:, 0] == 4)
    errors = biased.measure(starts, {"still": still}, horizon=9)
    assert errors.start.tolist() == [0, 1, 0, 1]
    assert errors.step.tolist() == [1, 1, 2, 2]


def test_every_policy_acts_within_the_bounds_and_is_scored() -> None:
    seen = []

    def score(obs: Tensor, action: Tensor, next_obs: Tensor, memory: Any) -> Any:
        seen.append(action)
        return {"mine": obs[:, 0] + 10 * action[:, 0], "next": next_obs[:, 0]}, memory

    policies = {"still": still, "wild": lambda obs: still(obs) - 7}
    measured = probe(Biased([0.0, 0.1]), penalties=score)
    errors = measured.measure(torch.tensor([[2.0, 0.0]]), policies, horizon=2)
    assert errors.policy.tolist() == ["still", "still", "wild", "wild"]
    assert errors.penalties["mine"] == pytest.approx([2, 2, -8, -9])
    assert errors.penalties["next"] == pytest.approx([2, 2, 1, 0])
    assert torch.cat(seen).flatten().tolist() == [0, 0, -1, -1]
    wild = errors.select(errors.policy == "wild")
    assert wild.penalties["mine"] == pytest.approx([-8, -9])
    assert wild.step.tolist() == [1, 2]
    again = ModelErrors.joined([errors.select(errors.policy == "still"), wild])
    assert again.policy.tolist() == errors.policy.tolist()


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_value_that_is_not_finite_is_named(value: float) -> None:
    def score(obs: Tensor, action: Tensor, next_obs: Tensor, memory: Any) -> Any:
        return {"mine": torch.where(torch.arange(len(obs)) == 2, value, 0.0)}, memory

    broken = probe(Biased([0.0, 0.1]), penalties=score)
    text = rf"mine is {value} in step 1 from start 2, policy still \(2 such values\)"
    with pytest.raises(DataError, match=text):
        broken.measure(torch.zeros(3, 2), {"still": still}, horizon=2)


@pytest.mark.parametrize(
    ("env_id", "family"), [("Hopper-v5", "Hopper"), ("Walker2d-v5", "Walker2d")]
)
def test_a_perfect_model_of_mujoco_has_no_error(env_id: str, family: str) -> None:
    with open_simulator(env_id) as simulator:

        class Perfect(Biased):
            obs_std = torch.ones(1)

            def elite_mean(self, obs: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
                following = simulator.advance(obs.numpy(), action.numpy())
                return torch.from_numpy(simulator.observe(following)).float(), obs[:, 0]

        width = len(simulator._env.reset(seed=0)[0])
        n_actions = len(simulator.action_high)
        starts = torch.tensor(np.stack([simulator._env.reset(seed=i)[0] for i in range(4)]))
        measured = probe(Perfect([0.0]), simulator=simulator, termination=RULES[family])
        wave = {"wave": lambda obs: obs[:, -n_actions:].sin()}
        errors = measured.measure(starts.float(), wave, horizon=3)
    assert starts.shape == (4, width)
    assert len(errors) == 12
    assert errors.error.max() < 1e-5
    assert errors.drift.max() < 1e-3
