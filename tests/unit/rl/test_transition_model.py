import math

import pytest
import torch
from torch import Tensor

from gormpo_density.errors import ConfigError
from rl.dynamics import Prediction
from rl.penalties import NoPenalty
from rl.step_scores import PenaltyValue, ProposedStep
from rl.transition_model import Step, TransitionModel

BAD = [math.nan, math.inf, -math.inf]


class CountingDynamics:
    """Adds the action to the state; the reward is the state. Member i adds i more."""

    members = 3
    obs_std = torch.ones(1)

    def __init__(self) -> None:
        self.calls: list[str] = []

    def sample(self, obs, action, generator):
        self.calls.append("sample")
        return obs + action, obs[:, 0]

    def predict(self, obs: Tensor, action: Tensor) -> Prediction:
        self.calls.append("predict")
        i = torch.arange(3.0)[:, None, None]
        mean = torch.cat([obs + action, obs], 1) + i
        return Prediction(mean, torch.zeros_like(mean))

    def sample_from(self, prediction: Prediction, generator):
        self.calls.append("sample_from")
        return prediction.mean[1, :, :-1], prediction.mean[1, :, -1]


class Distance(NoPenalty):
    """The distance of the next state from 0; with a surprise, that is it too."""

    def __init__(self, *, needs_all_members: bool = False, has_surprise: bool = False) -> None:
        super().__init__()
        self.needs_all_members = needs_all_members
        self.limit = 50.0
        self.with_surprise = has_surprise

    @property
    def has_surprise(self) -> bool:
        return self.with_surprise

    def _evaluate(self, step: ProposedStep) -> PenaltyValue:
        self.step = step
        distance = step.next_obs[:, 0].abs()
        return PenaltyValue(distance, distance if self.with_surprise else None)


def beyond_ten(obs: Tensor, action: Tensor, next_obs: Tensor) -> Tensor:
    return next_obs[:, 0] > 10


def model(penalty: Distance, truncate: float | None = None) -> TransitionModel:
    return TransitionModel(
        CountingDynamics(),
        penalty,
        beyond_ten,
        reward_range=(-1.0, 4.0),
        truncate=truncate,
        generator=torch.Generator().manual_seed(0),
    )


def column(*values: float) -> Tensor:
    return torch.tensor(values)[:, None]


def test_a_step_keeps_raw_reward_and_penalty_apart() -> None:
    step = model(Distance()).step(column(-3.0, 2.0, 9.0), column(1.0, 0.5, 2.0))
    assert step.next_obs.tolist() == [[-2.0], [2.5], [11.0]]
    assert step.reward.tolist() == [-1.0, 2.0, 4.0]  # within the data's range
    assert step.penalty.tolist() == [2.0, 2.5, 11.0]
    assert step.terminated.tolist() == [False, False, True]
    assert step.truncated.tolist() == [False, False, False]
    assert step.surprise is None


def test_one_elite_is_asked_unless_the_penalty_needs_all_members() -> None:
    one, every = model(Distance()), model(Distance(needs_all_members=True))
    first, second = (each.step(column(2.0), column(0.5)) for each in (one, every))
    assert one.dynamics.calls == ["sample"]
    assert one.penalty.step.prediction is None
    assert every.dynamics.calls == ["predict", "sample_from"]
    assert every.penalty.step.prediction.mean.shape == (3, 1, 2)
    assert (first.next_obs.item(), second.next_obs.item()) == (2.5, 3.5)
    assert (first.reward.item(), second.reward.item()) == (2.0, 3.0)


def test_a_rollout_is_truncated_where_u_exceeds_the_limit() -> None:
    obs, action = column(1.0, 2.0, 3.0), column(0.0, 0.0, 0.0)
    step = model(Distance(has_surprise=True), truncate=2.0).step(obs, action)
    assert step.truncated.tolist() == [False, False, True]
    assert step.surprise.tolist() == [1.0, 2.0, 3.0]
    untouched = model(Distance(has_surprise=True)).step(obs, action)
    assert not untouched.truncated.any()


@pytest.mark.parametrize("needs_all_members", [False, True])
@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("place", ["obs", "action"])
def test_a_row_that_is_not_finite_terminates_with_finite_values(
    place: str, bad: float, needs_all_members: bool
) -> None:
    inputs = {"obs": column(1.0, 1.0), "action": column(2.0, 2.0)}
    inputs[place][0] = bad
    penalty = Distance(needs_all_members=needs_all_members, has_surprise=True)
    step = model(penalty, truncate=9.0).step(**inputs)
    assert step.terminated.tolist() == [True, False]
    assert step.reward[0] == -1
    assert step.next_obs[0] == (1.0 if place == "action" else 0.0)
    assert step.penalty[0] == 50
    assert step.truncated.tolist() == [True, False]
    for part in step[:-1]:
        assert part.isfinite().all()


@pytest.mark.parametrize("bad", BAD)
def test_a_reward_that_is_not_finite_ends_the_episode_too(
    bad: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = model(Distance())
    monkeypatch.setattr(
        broken.dynamics, "sample", lambda obs, action, _: (obs + action, obs[:, 0] * bad)
    )
    step = broken.step(column(3.0), column(1.0))
    assert (step.reward.item(), step.terminated.item()) == (-1.0, True)
    assert step.next_obs.item() == 3


def test_an_empty_batch_is_no_trouble() -> None:
    step = model(Distance()).step(torch.zeros(0, 1), torch.zeros(0, 1))
    assert isinstance(step, Step)
    assert [len(part) for part in step[:5]] == [0] * 5


def test_the_arguments_are_left_as_they_were() -> None:
    obs, action = column(math.nan, 1.0), column(1.0, 1.0)
    model(Distance()).step(obs, action)
    torch.testing.assert_close(obs, column(math.nan, 1.0), equal_nan=True)
    assert torch.equal(action, column(1.0, 1.0))


@pytest.mark.parametrize("reward_range", [(1.0, 0.0), (math.nan, 1.0), (0.0, math.inf)])
def test_a_range_that_is_none_is_refused(reward_range: tuple[float, float]) -> None:
    with pytest.raises(ConfigError, match="range must be finite and ascending, got "):
        TransitionModel(
            CountingDynamics(),
            Distance(),
            beyond_ten,
            reward_range=reward_range,
            generator=torch.Generator(),
        )


def test_truncation_needs_a_surprise() -> None:
    with pytest.raises(ConfigError, match=r"penalty.truncate 2 needs a density model's surprise"):
        model(Distance(), truncate=2.0)
