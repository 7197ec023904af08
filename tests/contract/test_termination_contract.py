"""Every termination rule keeps its promises, and agrees with the environment it stands for."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from gormpo_density.data.behaviour import mujoco_warnings_logged
from rl.termination import RULES, Termination, never, termination_rule

Array = NDArray[np.float64]

each_rule = pytest.mark.parametrize("name", [*RULES, "never"])

#: For each bound of each environment: the entry of qpos that it is about, and its value.
BOUNDS = {
    "Ant-v5": [(2, 0.2), (2, 1.0)],
    "Hopper-v5": [(1, 0.7), (2, -0.2), (2, 0.2), (3, -100.0), (3, 100.0), (5, -100.0)],
    "Humanoid-v5": [(2, 1.0), (2, 2.0)],
    "InvertedPendulum-v5": [(1, -0.2), (1, 0.2)],
    "Walker2d-v5": [(1, 0.8), (1, 2.0), (2, -1.0), (2, 1.0)],
}
CASES = [(env_id, *bound) for env_id, bounds in BOUNDS.items() for bound in bounds]
each_environment = pytest.mark.parametrize("env_id", [f"{family}-v5" for family in RULES])


@contextmanager
def made(env_id: str) -> Iterator[Any]:
    with mujoco_warnings_logged(), gym.make(env_id) as env:
        env.reset(seed=0)
        yield env.unwrapped


def healthy_state(env: Any) -> tuple[Array, Array]:
    return env.init_qpos.copy(), env.init_qvel.copy()


def has_ended(env: Any) -> bool:
    """Return what the environment itself says of the state it is in."""
    if hasattr(env, "is_healthy"):
        return not env.is_healthy
    obs = env._get_obs()  # the pendulum decides within `step`, in these words
    return bool(not np.isfinite(obs).all() or np.abs(obs[1]) > 0.2)


def rule_says(rule: Termination, env: Any, dtype: torch.dtype = torch.float64) -> bool:
    next_obs = torch.from_numpy(env._get_obs())[None].to(dtype)
    return bool(rule(next_obs, torch.zeros(1, 1), next_obs))


def rows(n: int, width: int = 30) -> tuple[Tensor, Tensor, Tensor]:
    next_obs = torch.full((n, width), 0.1)
    next_obs[:, 0] = 0.9
    return torch.zeros(n, width), torch.zeros(n, 3), next_obs


# Promises of every rule --------------------------------------------------------------------


@each_rule
@pytest.mark.parametrize("n", [0, 1, 7])
def test_a_rule_answers_each_row_with_a_bool(name: str, n: int) -> None:
    ended = termination_rule(name, None)(*rows(n))
    assert ended.shape == (n,)
    assert ended.dtype == torch.bool


@each_rule
@pytest.mark.parametrize("column", [0, 1, 2, 29])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_row_that_is_not_finite_ends_and_its_neighbours_do_not_notice(
    name: str, column: int, value: float
) -> None:
    obs, action, next_obs = rows(3)
    rule = termination_rule(name, None)
    before = rule(obs, action, next_obs)
    next_obs[1, column] = value
    after = rule(obs, action, next_obs)
    assert after[1]
    assert torch.equal(after[[0, 2]], before[[0, 2]])


@each_rule
def test_a_rule_reads_no_value_on_the_host(name: str) -> None:
    """Reading one would make a GPU wait; a meta tensor has none to read."""
    inputs = [x.to("meta") for x in rows(5)]
    assert termination_rule(name, None)(*inputs).shape == (5,)


# The environments --------------------------------------------------------------------------


def test_every_environment_that_can_end_is_checked_at_its_bounds() -> None:
    ending = {f"{family}-v5" for family, rule in RULES.items() if rule is not never}
    assert ending == set(BOUNDS)


@pytest.mark.parametrize(("env_id", "entry", "bound"), CASES)
def test_a_rule_agrees_with_its_environment_at_and_around_each_bound(
    env_id: str, entry: int, bound: float
) -> None:
    rule = termination_rule("auto", env_id)
    answers = set()
    with made(env_id) as env:
        for value in (np.nextafter(bound, -9e9), bound, np.nextafter(bound, 9e9)):
            qpos, qvel = healthy_state(env)
            qpos[entry] = value
            env.set_state(qpos, qvel)
            assert rule_says(rule, env) == has_ended(env), value
            answers.add(has_ended(env))
    assert answers == {True, False}  # the bound is one


@pytest.mark.parametrize(("env_id", "entry", "bound"), CASES)
def test_a_rule_agrees_in_float32_but_for_rounding(env_id: str, entry: int, bound: float) -> None:
    rule = termination_rule("auto", env_id)
    with made(env_id) as env:
        for value in (bound - 1e-4, bound, bound + 1e-4):
            qpos, qvel = healthy_state(env)
            qpos[entry] = value
            env.set_state(qpos, qvel)
            assert rule_says(rule, env, torch.float32) == has_ended(env), value


@pytest.mark.parametrize("env_id", BOUNDS)
@given(data=st.data())
@settings(derandomize=True, max_examples=60, deadline=None)
def test_a_rule_agrees_on_states_near_its_bounds(env_id: str, data: st.DataObject) -> None:
    rule = termination_rule("auto", env_id)
    with made(env_id) as env:
        qpos, qvel = healthy_state(env)
        for entry, bound in data.draw(st.lists(st.sampled_from(BOUNDS[env_id]), max_size=3)):
            qpos[entry] = bound + data.draw(st.floats(-0.05, 0.05))
        qvel[:] = data.draw(st.floats(-9.9, 9.9))
        env.set_state(qpos, qvel)
        assert rule_says(rule, env) == has_ended(env)


@pytest.mark.parametrize("env_id", ["Ant-v5", "Hopper-v5", "InvertedPendulum-v5"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_rule_agrees_on_states_that_are_not_finite(env_id: str, value: float) -> None:
    """The other environments look at z and the angle alone; our rules look at every entry."""
    rule = termination_rule("auto", env_id)
    with made(env_id) as env:
        for entry in range(1 + (env_id == "Ant-v5"), env.model.nq):
            env.set_state(*healthy_state(env))
            env.data.qpos[entry] = value  # set_state would let MuJoCo repair it
            assert (rule_says(rule, env), has_ended(env)) == (True, True)


@each_environment
def test_a_rule_agrees_on_every_step_of_random_episodes(env_id: str) -> None:
    rule = termination_rule("auto", env_id)
    with mujoco_warnings_logged(), gym.make(env_id) as env:
        obs, _ = env.reset(seed=0)
        env.action_space.seed(0)
        ended, expected = [], []
        for _ in range(200):
            action = env.action_space.sample()
            next_obs, _, terminated, truncated, _ = env.step(action)
            row = [torch.from_numpy(x)[None].float() for x in (obs, action, next_obs)]
            ended.append(bool(rule(*row)))
            expected.append(bool(terminated))
            obs = env.reset()[0] if terminated or truncated else next_obs
    assert ended == expected
    assert any(expected) == (env_id in BOUNDS)


def test_a_rule_sees_velocities_of_a_model_beyond_what_the_hopper_shows() -> None:
    """Taking the absolute value of `x < 100` instead of x lets everything below -100 live."""
    healthy = torch.tensor([1.2] + 10 * [0.0]).repeat(4, 1)
    healthy[:, 5] = torch.tensor([-99.0, -101.0, -500.0, 101.0])
    ended = RULES["Hopper"](healthy, healthy[:, :3], healthy)
    assert ended.tolist() == [False, True, True, True]
