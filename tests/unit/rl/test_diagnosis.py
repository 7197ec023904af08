"""What is told of a step, by whom it is made, and the numbers that come of it."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from gormpo_density import GMM, DensityModel
from gormpo_density.errors import ConfigError, NotCalibratedError
from gormpo_density.metrics import Interval
from rl import diagnosis
from rl.config import PenaltyConfig
from rl.diagnosis import (
    Diagnosis,
    PenaltyScores,
    RolloutPlan,
    all_penalties,
    measure_errors,
    probing_actors,
)
from rl.dynamics import Prediction
from rl.error_tracking import rank_correlations, worst_row_auroc
from rl.history import Memory
from rl.model_error import ModelErrors
from rl.policy import TanhGaussianPolicy
from rl.step_scores import PenaltyValue, ProposedStep
from rl.termination import never


class Ensemble:
    """Members that differ by the action; each has standard deviation |action|."""

    obs_std = torch.ones(2)

    def __init__(self, members: int = 2) -> None:
        self.members = members
        self.calls = 0

    def predict(self, obs: Tensor, action: Tensor) -> Prediction:
        self.calls += 1
        row = torch.cat([obs, 0 * action], 1)
        mean = torch.stack([row + i * action for i in range(self.members)])
        return Prediction(mean, action.abs().expand_as(mean))

    def elite_mean(self, obs: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
        return obs + 0.5 * action, obs[:, 0]

    def sample(
        self, obs: Tensor, action: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        return self.elite_mean(obs, action)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def drawn(n: int, width: int, seed: int) -> Tensor:
    return torch.randn(n, width, generator=seeded(seed))


@pytest.fixture(scope="module")
def data() -> Any:
    rows = torch.arange(60)
    splits = {"cal": rows[:40], "test": rows[40:]}
    obs, action = drawn(60, 2, seed=0), drawn(60, 1, seed=1)
    return SimpleNamespace(obs=obs, action=action, splits=splits, device=torch.device("cpu"))


@pytest.fixture(scope="module")
def gmm() -> DensityModel:
    model = GMM(3, n_components=1)
    model.fit(drawn(600, 3, seed=2), drawn(100, 3, seed=3))
    model.calibrate(drawn(999, 3, seed=4))
    return model


def penalties(data: Any, dynamics: Any, density: DensityModel | None, **options: Any) -> Any:
    return all_penalties(PenaltyConfig(**options), data, dynamics, density, "state_action")


def test_a_density_model_brings_its_penalties(data, gmm) -> None:
    ensemble = ["mopo", "disagreement", "total_std"]
    assert list(penalties(data, Ensemble(), None, truncate=2.0)) == ensemble
    assert list(penalties(data, Ensemble(), gmm)) == [*ensemble, "density", "combination"]
    assert list(penalties(data, Ensemble(members=1), None)) == ["mopo", "total_std"]


def test_a_density_model_that_was_not_calibrated_is_refused(data) -> None:
    model = GMM(3, n_components=1)
    model.fit(drawn(60, 3, seed=2), drawn(20, 3, seed=3))
    with pytest.raises(NotCalibratedError, match="is not calibrated"):
        penalties(data, Ensemble(), model)


def test_the_scores_of_a_step_go_together(data, gmm) -> None:
    dynamics = Ensemble()
    made = penalties(data, dynamics, gmm, kind="gormpo-tanh", weight=0.3, cap=2.0)
    dynamics.calls = 0
    obs, action = 3 * drawn(50, 2, seed=5), drawn(50, 1, seed=6)
    scores, _ = PenaltyScores(dynamics, made, seeded())(obs, action, obs)
    assert dynamics.calls == 1
    u = scores["surprise"]
    assert u.min() < 0
    assert u.max() > 2
    assert torch.equal(scores["density"], u.clamp(0, 2))
    expected = scores["total_std"] * (0.3 * u.clamp(max=2)).exp()
    torch.testing.assert_close(scores["combination"], expected)
    assert list(scores)[-2:] == ["random", "constant"]
    assert not scores["constant"].any()
    assert len(scores["random"].unique()) > 40


def test_probing_actors_leave_the_data_more_and_more() -> None:
    low, high = torch.tensor([-3.0, 0.0]), torch.tensor([3.0, 1.0])
    clone = TanhGaussianPolicy(2, low, high, hidden_dims=(4,))
    obs = drawn(1, 2, seed=7).repeat(20_000, 1)
    actors = probing_actors(clone, seeded())
    assert list(actors) == ["clone", "clone_noise", "uniform"]
    drawn_by = {name: act(obs) for name, act in actors.items()}
    assert torch.equal(drawn_by["clone"], clone.act(obs, seeded()))
    added = drawn_by["clone_noise"].var(0) - drawn_by["clone"].var(0)
    assert added.sqrt().tolist() == pytest.approx([0.9, 0.15], rel=0.1)
    assert drawn_by["uniform"].mean(0).tolist() == pytest.approx([0, 0.5], abs=0.05)
    assert drawn_by["uniform"].amin(0).tolist() == pytest.approx([-3, 0], abs=0.01)
    assert drawn_by["uniform"].amax(0).tolist() == pytest.approx([3, 1], abs=0.01)


class Plane:
    """A simulator whose entries move by the action."""

    action_low, action_high = np.array([-1.0]), np.array([1.0])

    def advance(self, state: Any, action: Any) -> Any:
        return state + action

    def observe(self, state: Any) -> Any:
        return state

    def is_state(self, obs: Any) -> Any:
        return np.ones(len(obs), bool)


@pytest.fixture
def plane(monkeypatch):
    """Put the plane in the place of every environment."""

    class Opened:
        def __init__(self, env_id: str) -> None:
            assert env_id == "Plane-v0"

        def __enter__(self) -> Plane:
            return Plane()

        def __exit__(self, *_: object) -> None:
            return None

    monkeypatch.setattr(diagnosis, "open_simulator", Opened)


@pytest.mark.usefixtures("plane")
@pytest.mark.parametrize(("wanted", "got"), [(11, 11), (1000, 20)])
def test_rollouts_start_from_test_states(data, wanted, got) -> None:
    dynamics = Ensemble()
    seen = []

    def act(obs: Tensor) -> Tensor:
        seen.append(obs)
        return torch.full((len(obs), 1), 0.8)

    scores = PenaltyScores(dynamics, {}, seeded())
    plan = RolloutPlan(wanted, horizon=2)
    errors = measure_errors(plan, "Plane-v0", data, scores, {"a": act, "b": act}, never)
    assert len(errors) == 2 * 2 * got
    assert len(np.unique(errors.start)) == got
    assert errors.error == pytest.approx(np.full(4 * got, 0.4 * 2**0.5), rel=1e-5)
    starts = {tuple(row) for row in seen[0].tolist()}
    assert len(starts) == got
    assert starts <= {tuple(row) for row in data.obs[data.splits["test"]].tolist()}
    assert torch.equal(seen[0], seen[2])  # both policies start alike


@pytest.mark.parametrize(("starts", "horizon"), [(1, 8), (10, 0)])
def test_a_plan_needs_starts_and_steps(starts, horizon) -> None:
    with pytest.raises(ConfigError, match=f"at least 10 starts .* got {starts} and {horizon}"):
        RolloutPlan(starts, horizon)


def test_the_metrics_are_those_of_all_rows_and_of_each_policy() -> None:
    rng = np.random.default_rng(0)
    error = rng.exponential(size=40)
    errors = ModelErrors(
        policy=np.repeat(["clone", "uniform"], 20),
        start=np.tile(np.arange(20), 2),
        step=np.ones(40, int),
        error=error,
        drift=error,
        penalties={"total_std": error + rng.normal(size=40), "constant": np.zeros(40)},
    )
    found = Diagnosis(errors, {"combination": Interval(0.02, 0.01, 0.03)})
    assert [name for name, _ in found.groups()] == ["", "clone", "uniform"]
    metrics = found.metrics
    clone = errors.select(errors.policy == "clone")
    for infix, rows in (("", errors), (".clone", clone)):
        key = f"total_std{infix}"
        assert metrics[f"{key}.spearman"] == rank_correlations(rows)["total_std"]
        assert metrics[f"{key}.worst10_auroc"] == worst_row_auroc(rows)["total_std"]
    assert np.isnan(metrics["constant.spearman"])
    assert (metrics["rows"], metrics["starts"]) == (40, 20)
    ends = [metrics[f"combination_minus_total_std{end}"] for end in ("", "_ci_low", "_ci_high")]
    assert ends == [0.02, 0.01, 0.03]


@pytest.mark.usefixtures("plane")
def test_a_memory_is_of_the_start_and_goes_on_with_its_branch(data) -> None:
    """The penalty is the row number of the start and how many steps were remembered."""

    def remembering(step: ProposedStep) -> PenaltyValue:
        (row,), steps = step.memory
        return PenaltyValue(100 * row + steps, None, Memory((row,), steps + 1))

    def recall(rows: Tensor) -> Memory:
        return Memory((rows.float(),), torch.zeros(len(rows)))

    def act(obs: Tensor) -> Tensor:
        return torch.zeros(len(obs), 1)

    def ends(obs: Tensor, action: Tensor, next_obs: Tensor) -> Tensor:
        return obs[:, 0] > 0

    scores = PenaltyScores(Ensemble(), {"mine": remembering}, seeded(), recall)
    errors = measure_errors(RolloutPlan(20, 3), "Plane-v0", data, scores, {"a": act}, ends)
    first = errors.step == 1
    row_of = dict(zip(errors.start[first], errors.penalties["mine"][first], strict=True))
    assert sorted(row_of.values()) == [100 * row for row in range(40, 60)]
    expected = [
        row_of[start] + step - 1 for start, step in zip(errors.start, errors.step, strict=True)
    ]
    assert errors.penalties["mine"].tolist() == expected
    assert not first.all()
