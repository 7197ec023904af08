"""Every penalty keeps the promises of `rl.penalties`; a new one is tested by its name alone."""

import copy
import math
from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from gormpo_density import DensityModel
from gormpo_density.penalty import GORMPO_KINDS, KINDS
from rl.config import PenaltyConfig, PenaltyName
from rl.dynamics import Prediction
from rl.penalties import LARGEST_SURPRISE, Penalty, make_penalty
from rl.step_scores import ProposedStep

OBS_DIM, ACTION_DIM = 2, 1
SIGNED = {"gormpo-linear", "gormpo-tanh_reg"}
EVERY_KIND = [*KINDS, "conformal", *GORMPO_KINDS]
CASES = {
    **{name: PenaltyConfig(name=name) for name in get_args(PenaltyName)},
    **{f"density-{kind}": PenaltyConfig(name="density", kind=kind) for kind in EVERY_KIND},
    "density-by-path": PenaltyConfig(kind="gormpo_density.penalty:tanh"),  # as a plug-in's is
    "mopo-truncated": PenaltyConfig(name="mopo", truncate=2.0),
    "none-truncated": PenaltyConfig(name="none", truncate=2.0),
}
OF_ROWS = [name for name, config in CASES.items() if config.kind != "gormpo-linear"]
each_case = pytest.mark.parametrize("name", CASES)
each_case_of_rows = pytest.mark.parametrize("name", OF_ROWS)


class Cone(DensityModel):
    """log p falls with the distance from 0: known without training."""

    def _log_prob(self, z: Tensor) -> Tensor:
        return -z.square().sum(1).sqrt()

    def _fit(self, splits, options, hooks):
        return {}


class GrowingDynamics:
    """Member i of 3 adds i, and its standard deviation is 1 + i, both times the action."""

    members = 3
    obs_std = torch.tensor([1.0, 2.0])

    def predict(self, obs: Tensor, action: Tensor) -> Prediction:
        i = torch.arange(3.0, device=obs.device)[:, None, None]
        row = torch.cat([obs, 0 * action], 1)
        return Prediction(row + i * action, (1 + i + 0 * row) * action.abs())


def rows(n: int, width: int, seed: int) -> Tensor:
    return torch.randn(n, width, generator=torch.Generator().manual_seed(seed))


DENSITY = Cone(OBS_DIM + ACTION_DIM)
DENSITY.fit(rows(400, 3, seed=0))
DENSITY.calibrate(rows(999, 3, seed=1))


def penalty_of(name: str) -> Penalty:
    held_out = rows(99, OBS_DIM, seed=2), rows(99, ACTION_DIM, seed=3)
    return make_penalty(
        CASES[name],
        density=DENSITY,
        row_kind="state_action",
        dynamics=GrowingDynamics(),
        held_out=held_out,
    )


def step_of(obs: Tensor, action: Tensor) -> ProposedStep:
    return ProposedStep(obs, action, obs + 1, GrowingDynamics().predict(obs, action))


def step(n: int, scale: float = 2.0, seed: int = 4) -> ProposedStep:
    return step_of(scale * rows(n, OBS_DIM, seed), scale * rows(n, ACTION_DIM, seed + 1))


def part(whole: ProposedStep, index: Tensor | slice) -> ProposedStep:
    return step_of(whole.obs[index], whole.action[index])


@each_case
@pytest.mark.parametrize("n", [0, 1, 50])
def test_one_finite_number_a_row_within_the_limit(name: str, n: int) -> None:
    penalty = penalty_of(name)
    value, surprise, _ = penalty(step(n, scale=30))
    assert value.shape == (n,)
    assert value.dtype == torch.float32
    assert value.isfinite().all()
    assert (value <= penalty.limit).all()
    assert CASES[name].kind in SIGNED or (value >= 0).all()
    assert math.isfinite(penalty.limit)
    assert (surprise is None) != penalty.has_surprise
    assert surprise is None or surprise.shape == (n,)


@each_case
def test_surprise_comes_exactly_where_a_density_model_takes_part(name: str) -> None:
    penalty, some = penalty_of(name), step(20)
    assert penalty.has_surprise == CASES[name].needs_density
    if penalty.has_surprise:
        assert DENSITY.calibration is not None
        score = DENSITY.score_samples(torch.cat([some.obs, some.action], 1))
        torch.testing.assert_close(penalty(some).surprise, DENSITY.calibration.surprise(score))


@each_case
def test_members_are_asked_for_only_where_they_are_needed(name: str) -> None:
    penalty, some = penalty_of(name), step(20)
    if not penalty.needs_all_members:
        expected = penalty(some).penalty
        assert torch.equal(penalty(some._replace(prediction=None)).penalty, expected)


@each_case_of_rows
@given(order=st.permutations(range(8)), cut=st.integers(0, 8))
@settings(derandomize=True, max_examples=10, deadline=None)
def test_a_row_does_not_see_the_others(name: str, order: list[int], cut: int) -> None:
    penalty, whole = penalty_of(name), step(8)
    expected = penalty(whole).penalty
    permuted = penalty(part(whole, torch.tensor(order))).penalty
    torch.testing.assert_close(permuted, expected[order])
    pieces = [penalty(part(whole, s)).penalty for s in (slice(0, cut), slice(cut, 8))]
    torch.testing.assert_close(torch.cat(pieces), expected)


def test_gormpo_linear_is_the_one_that_does() -> None:
    penalty, whole = penalty_of("density-gormpo-linear"), step(8)
    alone = [penalty(part(whole, slice(i, i + 1))).penalty for i in range(8)]
    assert not torch.allclose(torch.cat(alone), penalty(whole).penalty)


@each_case_of_rows
def test_a_row_farther_off_never_costs_less(name: str) -> None:
    away = torch.linspace(0, 40, 60)[:, None]
    value, surprise, _ = penalty_of(name)(step_of(away.expand(-1, 2), away))
    assert (value.diff() >= 0).all()
    assert surprise is None or (surprise.diff() > 0).all()


@each_case
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", ["obs", "action", "next_obs", "prediction"])
def test_what_is_not_finite_costs_the_most(name: str, place: str, bad: float) -> None:
    penalty, some = penalty_of(name), step(3)
    if place == "prediction":
        broken = Prediction(*(torch.full_like(x, bad) for x in some.prediction))
        worst = penalty(some._replace(prediction=broken))
        expected = penalty.limit if penalty.needs_all_members else None
    else:
        getattr(some, place)[:, 0] = bad
        worst, expected = penalty(some), penalty.limit
    assert worst.penalty.isfinite().all()
    if expected is not None:
        torch.testing.assert_close(worst.penalty, torch.full((3,), expected))
    if worst.surprise is not None and place != "prediction":
        assert (worst.surprise == LARGEST_SURPRISE).all()


@each_case
def test_one_bad_row_leaves_the_others_alone(name: str) -> None:
    penalty, some = penalty_of(name), step(8)
    expected = penalty(some).penalty[1:]
    some.obs[0], some.next_obs[0] = math.nan, math.nan
    some.prediction.mean[:, 0] = math.nan
    if CASES[name].kind != "gormpo-linear":
        torch.testing.assert_close(penalty(some).penalty[1:], expected)


@each_case
def test_nothing_is_read_on_the_host(name: str) -> None:
    """Reading a value would make a GPU wait; a meta tensor has none to read."""
    penalty = penalty_of(name)
    if penalty.scorer is not None:
        penalty.scorer.penalty.model = copy.deepcopy(DENSITY).to("meta")
    if penalty.needs_all_members:
        penalty.uncertainty.obs_std = GrowingDynamics.obs_std.to("meta")
    obs = torch.empty(5, OBS_DIM, device="meta")
    value, _, _ = penalty(step_of(obs, torch.empty(5, ACTION_DIM, device="meta")))
    assert value.shape == (5,)
    assert value.device.type == "meta"
