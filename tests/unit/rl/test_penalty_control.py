import logging
import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from gormpo_density import GMM, DensityModel, OODPenalty
from gormpo_density.errors import ConfigError, DataError
from rl.penalty_control import (
    AutoCoefficient,
    FlaggedShare,
    auto_coefficient,
    calibrate_on_policy,
)


def normal(n: int, width: int, seed: int) -> Tensor:
    return torch.randn(n, width, generator=torch.Generator().manual_seed(seed))


def noisy_policy(obs: Tensor, generator: torch.Generator) -> Tensor:
    """Acts with twice the spread of the data."""
    return 2 * torch.randn(len(obs), 1, generator=generator)


class Doubling:
    """The next state is twice the state."""

    def sample(self, obs, action, generator):
        return 2 * obs, obs[:, 0]


@pytest.fixture
def density() -> DensityModel:
    model = GMM(3, n_components=1)
    model.fit(normal(2000, 3, seed=0))
    model.calibrate(normal(2000, 3, seed=1))
    return model


def calibrate(density: DensityModel, row_kind: str = "state_action", **options: Any) -> None:
    obs, generator = normal(2000, 2, seed=2), torch.Generator().manual_seed(3)
    given = {"obs": obs, "act": noisy_policy, "dynamics": Doubling(), "generator": generator}
    calibrate_on_policy(density, row_kind, **(given | options))


def policy_rows(row_kind: str) -> Tensor:
    obs = normal(4000, 2, seed=4)
    action = noisy_policy(obs, torch.Generator().manual_seed(5))
    return torch.cat([obs if row_kind == "state_action" else 2 * obs, action], 1)


@pytest.mark.parametrize("row_kind", ["state_action", "next_state_action"])
def test_alpha_of_the_policys_rows_is_flagged_not_three_times_as_many(
    density: DensityModel, row_kind: str
) -> None:
    rows = policy_rows(row_kind)
    before = (OODPenalty(density).surprise(rows) > 0).float().mean()
    calibrate(density, row_kind, alpha=0.05, n_episodes=7)
    after = (OODPenalty(density).surprise(rows) > 0).float().mean()
    assert before > 0.15
    assert after == pytest.approx(0.05, abs=0.015)
    assert density.calibration is not None
    assert density.calibration.n_episodes == 7


def test_the_same_generator_gives_the_same_threshold(density: DensityModel) -> None:
    thresholds = []
    for _ in range(2):
        calibrate(density)
        thresholds.append(density.threshold)
    assert thresholds[0] == thresholds[1]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"row_kind": "transition"}, "the density model was fitted on 'transition'"),
        ({"obs": torch.zeros(9, 5)}, r"shape \(3,\); state and action are 5 \+ 1 = 6 wide"),
        ({"score": "elbo"}, "score 'elbo' is unknown"),
    ],
)
def test_other_rows_and_scores_are_refused(
    density: DensityModel, options: dict[str, Any], text: str
) -> None:
    with pytest.raises(ConfigError, match=text):
        calibrate(density, **options)


def test_a_policy_whose_actions_are_not_finite_is_refused(density: DensityModel) -> None:
    with pytest.raises(DataError, match="column 2 row 0 is nan"):
        calibrate(density, act=lambda obs, _: torch.full((len(obs), 1), math.nan))


def test_the_share_is_that_of_rows_above_the_threshold() -> None:
    flagged = FlaggedShare(0.5)
    assert math.isnan(flagged.share)
    assert flagged.update(torch.tensor([-1.0, 0.0, 0.1, 1e6])) == 0.5
    assert flagged.share == 0.5


def test_one_warning_until_the_share_has_recovered(caplog: pytest.LogCaptureFixture) -> None:
    flagged, warned = FlaggedShare(0.5), []
    inside, outside = -torch.ones(4), torch.ones(4)
    with caplog.at_level(logging.WARNING):
        for u in (inside, outside, outside, inside, outside):
            caplog.clear()
            flagged.update(u)
            warned.append(len(caplog.records))
    assert warned == [0, 1, 0, 0, 1]
    assert caplog.messages == [
        "100 % of the rollout rows are off the data's support (u > 0), more than "
        "penalty.warn_flagged = 0.5: the policy leaves the data"
    ]


def test_the_coefficient_follows_the_formula() -> None:
    auto = AutoCoefficient(target=0.1, lr=2.0)
    assert auto.coef == 1
    assert auto.update(0.6) == pytest.approx(math.exp(1))
    assert auto.update(0.1) == pytest.approx(math.exp(1))
    assert auto.update(0.0) == pytest.approx(math.exp(0.8))


@pytest.mark.parametrize(("mean", "bound"), [(100.0, 1e3), (0.0, 1e-3)])
def test_the_coefficient_is_bounded_and_comes_back(mean: float, bound: float) -> None:
    auto = AutoCoefficient(target=0.5, lr=1.0)
    for _ in range(100):
        auto.update(mean)
    assert auto.coef == pytest.approx(bound)
    assert auto.update(0.5 - math.copysign(0.3, mean - 0.5)) != pytest.approx(bound)


def test_the_coefficient_settles_where_the_penalty_is_the_target() -> None:
    auto = AutoCoefficient(target=0.1)
    for _ in range(500):
        auto.update(0.4 / auto.coef)  # a policy that heeds its price
    assert 0.4 / auto.coef == pytest.approx(0.1, rel=1e-3)


class Reports:
    """Rollouts whose penalties are 3 and 5 under any policy, and who asked for them."""

    def __init__(self, needs_all_members: bool) -> None:
        penalty = SimpleNamespace(needs_all_members=needs_all_members)
        self.model = SimpleNamespace(penalty=penalty)
        self.asked: list[str] = []

    def generate(self, actor: str) -> SimpleNamespace:
        self.asked.append(actor)
        return SimpleNamespace(penalty=torch.tensor([3.0, 5.0]))


def test_a_penalty_of_the_ensemble_is_held_against_the_clones_rollouts() -> None:
    """In its own units it is nowhere 0: the coefficient would only ever rise."""
    rollouts = Reports(needs_all_members=True)
    auto = auto_coefficient(0.1, rollouts, "clone")
    assert rollouts.asked == ["clone"]
    assert auto.update(4.0) == pytest.approx(math.exp(0.5 * -0.1))
    assert auto.update(6.4) == pytest.approx(math.exp(0.5 * (-0.1 + 0.5)))


def test_a_density_penalty_counts_from_the_support() -> None:
    rollouts = Reports(needs_all_members=False)
    auto = auto_coefficient(0.1, rollouts, "clone")
    assert rollouts.asked == []
    assert auto.update(0.3) == AutoCoefficient(0.1).update(0.3)


def test_a_resumed_coefficient_goes_on() -> None:
    auto, resumed = AutoCoefficient(target=0.1), AutoCoefficient(target=0.1)
    auto.update(0.7)
    resumed.load_state_dict(auto.state_dict())
    assert resumed.update(0.3) == auto.update(0.3)
