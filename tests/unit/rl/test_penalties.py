"""Values and errors of the penalties; what holds for all is in tests/contract."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from gormpo_density import GMM, KDE, VAE, DensityModel
from gormpo_density.errors import ConfigError, NotCalibratedError
from gormpo_density.penalty import GORMPO_KINDS, KINDS
from rl.config import PenaltyConfig
from rl.dynamics import Prediction
from rl.penalties import Penalty, make_penalty
from rl.step_scores import LARGEST, ProposedStep

UNITS = torch.tensor([1000.0, 0.01, 1.0])  # of two state columns and an action


class SteadyDynamics:
    """Two members that differ by the action; each has standard deviation |action|."""

    members = 2
    obs_std = torch.ones(2)

    def predict(self, obs: Tensor, action: Tensor) -> Prediction:
        row = torch.cat([obs, 0 * action], 1)
        mean = torch.stack([row, row + action])
        return Prediction(mean, action.abs().expand_as(mean))


class Column(DensityModel):
    """A score that is the first column itself."""

    scores = {"first": "surrogate"}  # noqa: RUF012  (what a user would write)

    def _log_prob(self, z: Tensor) -> Tensor:
        return z[:, 0]

    def _fit(self, splits, options, hooks):
        return {}


def rows(n: int, seed: int, units: Tensor = UNITS) -> Tensor:
    return units * torch.randn(n, 3, generator=torch.Generator().manual_seed(seed))


def calibrated(model: DensityModel, **options: Any) -> DensityModel:
    model.fit(rows(600, seed=0), rows(200, seed=1), **options)
    model.calibrate(rows(999, seed=2))
    return model


@pytest.fixture(scope="module")
def gmm() -> DensityModel:
    return calibrated(GMM(3, n_components=1))


def penalty(config: PenaltyConfig, density: DensityModel | None, **options: Any) -> Penalty:
    held_out = torch.zeros(5, 2), torch.tensor([[1.0], [2.0], [3.0], [4.0], [9.0]])
    given = {"row_kind": "state_action", "dynamics": SteadyDynamics(), "held_out": held_out}
    return make_penalty(config, density=density, **(given | options))


def proposed(data: Tensor, next_obs: Tensor | None = None) -> ProposedStep:
    obs, action = data[:, :2], data[:, 2:]
    prediction = SteadyDynamics().predict(obs, action)
    return ProposedStep(obs, action, obs if next_obs is None else next_obs, prediction)


def test_values_are_those_of_the_table(gmm: DensityModel) -> None:
    data = rows(40, seed=3) * 2
    step = proposed(data)
    assert gmm.calibration is not None
    u = gmm.calibration.surprise(gmm.score_samples(data))
    assert (u.min(), u.max()) > (-2, 3)
    std = (
        data[:, 2].abs() / 3
    )  # the median held-out action is 3, and all formulas are linear in it
    expected = {
        "none": 0 * std,
        "mopo": std,
        "disagreement": std,
        "total_std": std,
        "density": u.clamp(0, 2),
        "combination": std * (0.3 * u.clamp(max=2)).exp(),
    }
    for name, value in expected.items():
        config = PenaltyConfig(name=name, cap=2.0, weight=0.3)
        found = penalty(config, gmm)(step).penalty
        torch.testing.assert_close(found, value, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("kind", [*KINDS, "conformal"])
def test_the_limit_of_a_density_penalty_is_what_infinite_surprise_costs(
    gmm: DensityModel, kind: str
) -> None:
    config = PenaltyConfig(kind=kind, cap=3.0)
    made = penalty(config, gmm)
    worst = made(proposed(rows(2, seed=3) * 1e6)).penalty
    torch.testing.assert_close(worst, torch.full((2,), made.limit))
    assert made.limit <= 3


@pytest.mark.parametrize(("kind", "limit"), [("tanh", 1.0), ("inverse", LARGEST)])
def test_gormpo_kinds_without_a_cap_end_at_the_largest_penalty(
    gmm: DensityModel, kind: str, limit: float
) -> None:
    made = penalty(PenaltyConfig(kind=f"gormpo-{kind}"), gmm)
    assert made.limit == limit
    assert made(proposed(rows(2, seed=3) * 1e6)).penalty.tolist() == [limit, limit]


def test_an_ensemble_in_chaos_costs_a_hundred_typical_rows(gmm: DensityModel) -> None:
    step = proposed(rows(2, seed=3) * 1e9)
    for name in ("mopo", "total_std", "combination"):
        made = penalty(PenaltyConfig(name=name), gmm)
        assert made(step).penalty.tolist() == [LARGEST, LARGEST]


# What was wrong in the ancestor -----------------------------------------------------------


@pytest.mark.parametrize("kind", ["linear", "gormpo-tanh"])
def test_d3_threshold_and_scores_of_kde_are_on_one_scale(kind: str) -> None:
    """There the threshold came from unscaled rows, and no row was ever below it."""
    made = penalty(PenaltyConfig(kind=kind), calibrated(KDE(3)))
    near, far = made(proposed(rows(999, seed=3))), made(proposed(rows(99, seed=3) + 8 * UNITS))
    assert 0.01 < (near.penalty > 0).float().mean() < 0.1
    assert (far.penalty > 0.1).all()


@pytest.mark.parametrize("kind", ["linear", "gormpo-tanh"])
def test_d4_threshold_and_scores_of_vae_are_on_one_scale(kind: str) -> None:
    """There scores were standardised and thresholds were not: nothing was flagged."""
    made = penalty(PenaltyConfig(kind=kind), calibrated(VAE(3, latent_dim=2), epochs=3))
    shifted = made(proposed(rows(200, seed=3) + 5 * UNITS))
    assert (shifted.penalty > 0).float().mean() > 0.9


@pytest.mark.parametrize("kind", [*KINDS, "conformal"])
def test_d10_no_bonus_in_a_batch_that_is_mostly_inside(gmm: DensityModel, kind: str) -> None:
    """There every row of such a batch, the anomaly too, got the same negative penalty."""
    data = torch.cat([rows(99, seed=3) * 0.3, rows(1, seed=3) + 9 * UNITS])
    value = penalty(PenaltyConfig(kind=kind), gmm)(proposed(data)).penalty
    assert (value >= 0).all()
    assert value[-1] > value[:-1].max()


@pytest.mark.parametrize("kind", [*KINDS, "conformal", *GORMPO_KINDS])
def test_d11_every_kind_on_offer_works(gmm: DensityModel, kind: str) -> None:
    """There "softplus" and "exponential" crashed after the dynamics had been trained."""
    value = penalty(PenaltyConfig(kind=kind), gmm)(proposed(rows(9, seed=3))).penalty
    assert value.isfinite().all()


def test_d11_one_coefficient_means_the_same_for_every_score_scale() -> None:
    """There tanh(0.1 w) was 0 or 1 on one model's scale and all but linear on another's."""
    step, values = proposed(rows(200, seed=3) * 2), []
    for scale in (1e-4, 1.0, 1e4):
        model = calibrated(Column(3))
        model.standardizer.scale.div_(scale)
        model.calibrate(rows(999, seed=2))
        values.append(penalty(PenaltyConfig(kind="tanh"), model)(step).penalty)
    torch.testing.assert_close(values[0], values[1], rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(values[2], values[1], rtol=1e-3, atol=1e-3)


def test_d13_what_is_scored_is_what_the_model_was_fitted_on(gmm: DensityModel) -> None:
    """There (s', a) with the model's noise in s' was scored, and (s, a) tested."""
    data = rows(20, seed=3)
    away = proposed(data, next_obs=data[:, :2] + 9 * UNITS[:2])
    of_state = penalty(PenaltyConfig(), gmm)
    of_next = penalty(PenaltyConfig(), gmm, row_kind="next_state_action")
    assert torch.equal(of_state(away).penalty, of_state(proposed(data)).penalty)
    assert (of_next(away).penalty > 1).all()
    moved = torch.cat([away.next_obs, away.action], 1)
    assert torch.equal(of_next(away).penalty, of_state(proposed(moved)).penalty)


# Errors -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"name": "density"}, "penalty 'density' needs a density model, and there is none"),
        (
            {"name": "combination"},
            "penalty 'combination' needs a density model, and there is none",
        ),
        ({"name": "mopo", "truncate": 2}, "penalty 'mopo' with truncate 2 needs a density model"),
    ],
)
def test_a_penalty_that_needs_a_density_model_says_so(config: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        penalty(PenaltyConfig(**config), None)
    assert len(caught.value.problems) == 1
    assert caught.value.problems[0].startswith(text)


@pytest.mark.parametrize("name", ["none", "mopo", "disagreement", "total_std"])
def test_the_others_need_none(name: str) -> None:
    assert not penalty(PenaltyConfig(name=name), None).has_surprise


def test_every_problem_of_a_density_model_is_told_at_once(gmm: DensityModel) -> None:
    held_out = torch.zeros(5, 4), torch.zeros(5, 2)
    unchecked = PenaltyConfig.model_construct(kind="cubic")
    with pytest.raises(ConfigError) as caught:
        penalty(unchecked, gmm, row_kind="state", held_out=held_out)
    rows, width, kind = caught.value.problems
    assert rows == (
        "a penalty scores rows of kind state_action or next_state_action; the density model was "
        "fitted on 'state'"
    )
    assert width == (
        "the density model scores rows of shape (3,); state and action are 4 + 2 = 6 wide"
    )
    assert kind.startswith("penalty kind 'cubic' is unknown; choose from linear, tanh")


def test_an_unknown_score_is_told(gmm: DensityModel) -> None:
    with pytest.raises(ConfigError, match="score 'elbo' is unknown; choose from log_prob"):
        penalty(PenaltyConfig(score="elbo"), gmm)


def test_a_density_model_without_calibration_is_refused() -> None:
    model = GMM(3, n_components=1)
    model.fit(rows(50, seed=0))
    with pytest.raises(NotCalibratedError, match="is not calibrated: call "):
        penalty(PenaltyConfig(), model)


def test_the_configuration_refuses_a_negative_coefficient() -> None:
    with pytest.raises(ValueError, match="coef"):
        PenaltyConfig(coef=-1.0)
    with pytest.raises(ValueError, match="coef"):
        PenaltyConfig(coef=math.inf)
