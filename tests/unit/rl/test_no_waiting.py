"""What must not wait for a GPU asks for no value of a tensor; that shows without one too."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from gormpo_density import VAELSTM, RealNVP
from gormpo_density.seeding import reinitialise
from rl.baselines import TD3BC
from rl.buffer import Layout, MixedBuffer
from rl.config import DynamicsConfig, PenaltyConfig, SACConfig
from rl.critics import TwinCritic
from rl.dynamics import EnsembleDynamics
from rl.history import Paths
from rl.penalties import make_penalty
from rl.policy import Gaussian, TanhGaussianPolicy
from rl.sac import SAC, RewardUnits
from rl.termination import inverted_pendulum
from rl.transition_model import TransitionModel

#: Of each, the host must know a value (or a number of rows) before it can go on, or, for the last,
#: sends one.
WAITING = {
    *("_local_scalar_dense", "is_nonzero", "equal", "nonzero", "masked_select"),
    *("unique_dim", "_unique2", "unique_consecutive", "repeat_interleave"),
    "lift_fresh",
}
OBS, ACTION = 4, 1


class Waits(TorchDispatchMode):
    """Keeps the names of operations that wait, and how many operations there were."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.seen = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.name().partition("::")[2].partition(".")[0]
        self.seen += 1
        is_index = name in ("index", "index_put", "index_put_")
        by_mask = is_index and any(i is not None and i.dtype == torch.bool for i in args[1])
        if name in WAITING or by_mask:
            self.found.append(name)
        return func(*args, **(kwargs or {}))


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(n: int, width: int, seed: int) -> Tensor:
    return torch.randn(n, width, generator=generator(seed))


@pytest.mark.parametrize(
    "call",
    [
        lambda x: x.sum().item(),
        lambda x: bool((x > 0).any()),
        lambda x: x[x > 0],
        lambda x: x + torch.tensor(1.0),
    ],
)
def test_the_recorder_knows_what_waits(call) -> None:
    x = normal(3, 2, seed=0)
    with Waits() as waits:
        call(x)
    assert waits.found


def networks() -> tuple[TanhGaussianPolicy, TwinCritic]:
    bound = torch.ones(ACTION)
    actor, critic = TanhGaussianPolicy(OBS, -bound, bound, (8,)), TwinCritic(OBS, ACTION, (8,))
    reinitialise(actor, 0)
    reinitialise(critic, 1)
    return actor, critic


def buffer() -> MixedBuffer:
    layout, n = Layout(OBS, ACTION), 50
    rows = layout.pack(
        normal(n, OBS + ACTION, 0),
        normal(n, OBS, 1),
        torch.ones(n),
        torch.ones(n),
        torch.zeros(n, dtype=torch.bool),
        Gaussian(torch.zeros(n, ACTION), torch.zeros(n, ACTION)),
    )
    mixed = MixedBuffer(rows[:30], layout, retain=1, generator=generator(2))
    mixed.add(0, rows[30:])
    return mixed


UNITS = RewardUnits(1.0, 1.0, -10.0, 10.0)
LEARNERS = {
    "sac, KL": lambda: SAC(*networks(), SACConfig(), UNITS, 100),
    "sac, entropy": lambda: SAC(*networks(), SACConfig(kl=0), UNITS, 100),
    "sac, fixed weights": lambda: SAC(*networks(), SACConfig(kl=0, alpha=0.2), UNITS, 100),
    "td3bc": lambda: TD3BC(*networks(), SACConfig(), UNITS),
}


@pytest.mark.parametrize("name", LEARNERS)
def test_an_update_waits_for_nothing(name) -> None:
    learner, mixed = LEARNERS[name](), buffer()
    with Waits() as waits:
        for batch in mixed.batches(4, 16, 0.5):
            learner.update(batch, mixed.generator)
    assert waits.found == []
    assert waits.seen > 100


@pytest.mark.parametrize(
    "options",
    [
        {"name": "none"},
        {"name": "mopo"},
        {"name": "density"},
        {"name": "density", "kind": "conformal"},
        {"name": "combination", "truncate": 3.0},
    ],
)
def test_a_step_of_the_model_waits_for_nothing(options) -> None:
    config = DynamicsConfig(members=3, elites=2, hidden_dims=(8,), weight_decay=(0.0, 0.0))
    dynamics = EnsembleDynamics(OBS, ACTION, config, seed=0)
    rows = normal(300, OBS + ACTION, seed=3)
    density = RealNVP(OBS + ACTION, num_layers=2, hidden_dims=[8])
    density.fit(rows, epochs=1, seed=0)
    density.calibrate(rows)
    penalty = make_penalty(
        PenaltyConfig(**options),
        density=density,
        row_kind="state_action",
        dynamics=dynamics,
        held_out=(rows[:, :OBS], rows[:, OBS:]),
    )
    model = TransitionModel(
        dynamics,
        penalty,
        inverted_pendulum,
        reward_range=(-1.0, 1.0),
        truncate=options.get("truncate"),
        generator=generator(4),
    )
    with Waits() as waits:
        step = model.step(rows[:, :OBS], rows[:, OBS:])
    assert waits.found == []
    assert math.isfinite(step.penalty.mean().item())


@pytest.mark.parametrize("has_row_model", [False, True])
def test_a_path_is_recalled_and_gone_on_with_without_waiting(has_row_model) -> None:
    config = DynamicsConfig(members=2, elites=1, hidden_dims=(8,), weight_decay=(0.0, 0.0))
    dynamics = EnsembleDynamics(OBS, ACTION, config, seed=0)
    rows, numbers = normal(300, OBS + ACTION, seed=3), torch.arange(300)
    paths = Paths.of(rows, numbers // 30)
    density = VAELSTM(OBS + ACTION, sequence_length=6, latent_dim=2, hidden_dims=[])
    density.fit(paths.sequences(numbers, 6, 99, seed=0), epochs=1, seed=0)
    density.calibrate_steps(rows[:, None], paths.recall(density, numbers).state)
    flow = RealNVP(OBS + ACTION, num_layers=2, hidden_dims=[8])
    flow.fit(rows, epochs=1, seed=0)
    flow.calibrate(rows)
    penalty = make_penalty(
        PenaltyConfig(),
        density=flow if has_row_model else density,
        beside=density if has_row_model else None,
        row_kind="state_action",
        dynamics=dynamics,
        held_out=(rows[:, :OBS], rows[:, OBS:]),
    )
    model = TransitionModel(
        dynamics, penalty, inverted_pendulum, reward_range=(-1.0, 1.0), generator=generator(4)
    )
    with Waits() as waits:
        memory = paths.recall(density, numbers)
        step = model.step(rows[:, :OBS], rows[:, OBS:], memory)
        model.step(step.next_obs, rows[:, OBS:], step.memory)
    assert waits.found == []
    assert waits.seen > 100
