"""The loop: when it rolls out, when it warns, and that it resumes to the same numbers."""

import logging
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from gormpo_density.checkpoints import pack_state
from gormpo_density.errors import FitError, ModelFileError
from gormpo_density.seeding import reinitialise
from rl.buffer import Layout, MixedBuffer
from rl.config import MOPOConfig
from rl.critics import TwinCritic
from rl.mopo import Loop, Probe
from rl.penalty_control import AutoCoefficient
from rl.policy import Gaussian, TanhGaussianPolicy
from rl.rollout import Rollouts
from rl.sac import SAC, RewardUnits
from rl.transition_model import Step

LAYOUT = Layout(2, 1)
BOUND = torch.ones(1)
NO_PROBE = Probe(torch.zeros(0, 3), torch.zeros(0))


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def policy(seed: int = 0) -> TanhGaussianPolicy:
    made = TanhGaussianPolicy(2, -BOUND, BOUND, (8,))
    reinitialise(made, seed)
    return made


class Walk:
    """A step of the model: s' = s + a and noise; the penalty is |s'|, and so is u."""

    def __init__(self, draws: torch.Generator) -> None:
        self.draws = draws

    def step(self, obs: Tensor, action: Tensor, memory: Any = None) -> Step:
        next_obs = obs + action + 0.1 * torch.randn(obs.shape, generator=self.draws)
        size = next_obs.norm(dim=1)
        never = torch.zeros(len(obs), dtype=torch.bool)
        return Step(next_obs, -size, size, size > 3, never, size - 1)


class Recorder:
    """A learner that only counts; its Q and its loss are what the test says."""

    CURVES = ("loss",)

    def __init__(self) -> None:
        self.actor = self.averaged = policy()
        self.coef, self.sums = torch.zeros(()), torch.zeros(1)
        self.updates, self.q, self.loss = 0, 0.0, 1.0
        self.model_rows: list[int] = []

    def update(self, batch, draws) -> None:
        self.updates += 1
        self.sums += self.loss
        self.model_rows.append(int((batch.penalty > 0).sum()))

    def values(self, state_action: Tensor) -> Tensor:
        return torch.full((len(state_action),), self.q)

    def parts(self) -> dict[str, Tensor]:
        return {"coef": self.coef}


def config(**sections: Any) -> MOPOConfig:
    default: dict[str, dict[str, Any]] = {
        "data": {"data_path": "own.npz"},
        "sac": {"epochs": 4, "steps_per_epoch": 10, "batch_size": 16, "real_ratio": 0.5},
        "rollout": {"starts": 20, "length": 2, "frequency": 10, "retain": 2},
        "penalty": {"coef": 2.0, "warn_flagged": 1.0},
    }
    for name, section in sections.items():
        default[name] |= section
    return MOPOConfig(**default)


def loop_of(learner: Any, options: MOPOConfig, folder: Path, probe: Probe = NO_PROBE) -> Loop:
    """Return a loop from 50 real states; equal arguments give loops that do the same."""
    states, draws = torch.randn(50, 2, generator=generator(0)), generator(1)
    zeros, never = torch.zeros(50), torch.zeros(50, dtype=torch.bool)
    reference = Gaussian(torch.zeros(50, 1), torch.zeros(50, 1))
    rows = torch.cat([states, torch.zeros(50, 1)], 1)
    real = LAYOUT.pack(rows, states, -states.norm(dim=1), zeros, never, reference)
    rollouts = Rollouts(Walk(draws), states, policy(), options.rollout, LAYOUT, draws)
    buffer = MixedBuffer(real, LAYOUT, retain=options.rollout.retain, generator=generator(2))
    auto = None
    if options.penalty.coef == "auto":
        auto = AutoCoefficient(options.penalty.target)
    return Loop(learner, buffer, rollouts, options, probe, folder, auto)


def sac(options: MOPOConfig) -> SAC:
    critic = TwinCritic(2, 1, (8,))
    reinitialise(critic, 1)
    units = RewardUnits(1.0, 1.0, -math.inf, math.inf)
    return SAC(policy(), critic, options.sac, units, total_updates=40)


# Rollouts ---------------------------------------------------------------------------------


@pytest.mark.parametrize("frequency", [1, 4, 7, 10, 25, 1000])
def test_rollouts_are_as_frequent_as_configured(tmp_path, frequency) -> None:
    """Also where the epoch is no multiple of it."""
    learner, at = Recorder(), []
    loop = loop_of(learner, config(rollout={"frequency": frequency}), tmp_path)
    generate = loop.rollouts.generate
    loop.rollouts.generate = lambda actor: at.append(learner.updates) or generate(actor)
    rows = [loop.run_epoch() for _ in range(4)]
    assert at == list(range(0, 40, frequency))
    assert [row["updates"] for row in rows] == [10, 20, 30, 40]
    assert loop.clock.updates == 40
    assert learner.model_rows == [8] * 40  # real_ratio .5 of 16, from the first update on


def test_the_present_policy_makes_the_rollouts(tmp_path) -> None:
    learner, actors = Recorder(), []
    loop = loop_of(learner, config(), tmp_path)
    generate = loop.rollouts.generate
    loop.rollouts.generate = lambda actor: actors.append(actor) or generate(actor)
    loop.run_epoch()
    assert actors == [learner.actor]


def test_without_rollouts_all_rows_are_real(tmp_path) -> None:
    learner = Recorder()
    loop = loop_of(learner, config(), tmp_path)
    loop.rollouts = None
    row = loop.run_epoch()
    assert learner.model_rows == [0] * 10
    assert "penalty_mean" not in row


def test_curves_are_means_over_the_epoch(tmp_path) -> None:
    learner = Recorder()
    loop = loop_of(learner, config(), tmp_path)
    for loss in (1.0, 3.0):
        learner.loss = loss
        row = loop.run_epoch()
        assert row["loss"] == loss
    rows = LAYOUT.unpack(loop.buffer.generations[1])
    assert row["coef"] == 2.0
    assert row["penalty_mean"] == pytest.approx(rows.penalty.mean().item())
    assert row["flagged_fraction"] == pytest.approx((rows.penalty > 1).float().mean().item())
    assert row["rollout_reward"] == pytest.approx(rows.reward.mean().item())
    assert row["rollout_terminated"] == pytest.approx(1 - rows.alive.mean().item())
    assert row["rollout_rows"] == len(rows.reward)


def test_an_automatic_coefficient_rises_while_the_penalty_is_above_its_target(tmp_path) -> None:
    learner = Recorder()
    loop = loop_of(learner, config(penalty={"coef": "auto", "target": 0.01}), tmp_path)
    assert learner.coef.item() == 1
    coefs = [loop.run_epoch()["coef"] for _ in range(3)]
    assert 1 < coefs[0] < coefs[1] < coefs[2]
    assert learner.coef.item() == pytest.approx(coefs[2])


# Warnings and divergence ------------------------------------------------------------------


@pytest.mark.parametrize(("returns", "limit"), [(200.0, 220.0), (-200.0, -180.0)])
def test_the_alarm_is_given_once_where_q_is_a_tenth_too_high(
    tmp_path, caplog, returns, limit
) -> None:
    learner, probe = Recorder(), Probe(torch.zeros(3, 3), torch.full((3,), returns))
    loop = loop_of(learner, config(), tmp_path, probe)
    for q in (limit - 1, limit + 1, limit + 50):
        learner.q = q
        assert loop.run_epoch()["q_data"] == pytest.approx(q)
    alarms = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert loop.alarm_epoch == 2
    assert len(alarms) == 1
    assert alarms[0].startswith(f"epoch 2: mean Q on data rows is {limit + 1:.4g}, their returns")


def test_where_returns_have_both_signs_a_tenth_is_of_their_size() -> None:
    probe = Probe(torch.zeros(4, 3), torch.tensor([-2.0, -1.0, 1.0, 2.4]))
    assert probe.limit == pytest.approx(0.1 + 0.16)


def test_without_a_known_return_there_is_no_alarm(tmp_path, caplog) -> None:
    learner = Recorder()
    learner.q = math.inf
    row = loop_of(learner, config(), tmp_path).run_epoch()
    assert math.isnan(row["q_data"])
    assert caplog.records == []


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_divergence_names_the_epoch_and_leaves_the_last_good_checkpoint(tmp_path, loss) -> None:
    learner = Recorder()
    loop = loop_of(learner, config(), tmp_path)
    for _ in range(2):
        loop.run_epoch()
        loop.save()
    learner.loss = loss
    with pytest.raises(FitError, match=rf"epoch 3 \(to update 30\): loss is {loss:g}"):
        loop.run_epoch()
    again = loop_of(Recorder(), config(), tmp_path)
    assert again.restore()
    assert (again.epoch, again.learner.updates) == (2, 20)


def test_divergence_in_the_first_epoch_promises_no_checkpoint(tmp_path) -> None:
    learner = Recorder()
    learner.loss = math.nan
    with pytest.raises(
        FitError, match=r"epoch 1 .*: loss is nan; .* diverged, in the first epoch"
    ):
        loop_of(learner, config(), tmp_path).run_epoch()


def test_a_resumed_loop_does_not_warn_again_of_the_rows_off_the_support(tmp_path, caplog) -> None:
    options = config(penalty={"warn_flagged": 0.0})
    for _ in range(2):
        loop = loop_of(Recorder(), options, tmp_path)
        loop.restore()
        loop.run_epoch()
        loop.save()
    assert len(caplog.records) == 1
    assert "of the rollout rows are off the data's support" in caplog.text


# Checkpoints ------------------------------------------------------------------------------


def state_of(loop: Loop) -> dict[str, Any]:
    """Return all that decides how a loop goes on, in comparable form."""
    tensors = {name: value.clone() for name, value in pack_state(loop._parts()).items()}
    generations = {f"generation.{n}": rows for n, rows in loop.buffer.generations.items()}
    facts = {"epoch": loop.epoch, "updates": loop.learner.updates, "alarm": loop.alarm_epoch}
    return {**tensors, **generations, "facts": facts, "sums": loop.learner.sums.clone()}


def differences(first: dict[str, Any], second: dict[str, Any]) -> list[str]:
    assert first.keys() == second.keys()
    return [
        name
        for name, value in first.items()
        if not (
            torch.equal(value, second[name])
            if isinstance(value, Tensor)
            else value == second[name]
        )
    ]


VARIANTS = {
    "plain": {},
    "frequency does not divide the epoch": {"rollout": {"frequency": 7}},
    "rollouts are rarer than epochs": {"rollout": {"frequency": 25}},
    "automatic coefficient": {"penalty": {"coef": "auto"}},
    "automatic KL": {"sac": {"kl": "auto"}},
    "plain SAC": {"sac": {"kl": 0.0}},
}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("stops", [[1], [3], [1, 2, 3]])
def test_a_killed_loop_goes_on_to_the_same_numbers(tmp_path, variant, stops) -> None:
    options = config(**VARIANTS[variant])
    probe = Probe(torch.randn(9, 3, generator=generator(5)), torch.full((9,), -1e3))
    whole = loop_of(sac(options), options, tmp_path / "whole", probe)
    expected = [whole.run_epoch() for _ in range(4)]

    rows = []
    for start, stop in zip([0, *stops], [*stops, 4], strict=True):
        loop = loop_of(sac(options), options, tmp_path / "killed", probe)
        assert loop.restore() == (start > 0)
        assert loop.epoch == start
        while loop.epoch < stop:
            rows.append(loop.run_epoch())
            loop.save()
        if stop < 4:
            loop.run_epoch()  # lost: it was killed before the checkpoint
    assert rows == expected
    assert differences(state_of(loop), state_of(whole)) == []


def test_a_checkpoint_keeps_the_rows_it_needs_and_no_others(tmp_path) -> None:
    loop = loop_of(Recorder(), config(), tmp_path)
    for _ in range(4):
        loop.run_epoch()
        loop.save()
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == [f"{n}.safetensors" for n in ("generation-2", "generation-3", "mopo")]


def test_a_checkpoint_without_its_rows_is_told(tmp_path) -> None:
    loop = loop_of(Recorder(), config(), tmp_path)
    loop.run_epoch()
    loop.save()
    (tmp_path / "generation-0.safetensors").unlink()
    with pytest.raises(ModelFileError, match=r"generation-0\.safetensors: no such file"):
        loop_of(Recorder(), config(), tmp_path).restore()


def test_seconds_and_counts_go_on_too(tmp_path) -> None:
    loop = loop_of(Recorder(), config(), tmp_path)
    loop.run_epoch()
    loop.save()
    again = loop_of(Recorder(), config(), tmp_path)
    again.restore()
    before = vars(again.clock).pop("cpu_seconds")
    assert 0 < before <= loop.cpu_seconds
    assert vars(again.clock) == {k: v for k, v in vars(loop.clock).items() if k != "cpu_seconds"}
    assert again.clock.transitions == len(loop.buffer.generations[0])
