"""Updates a second: sampling a batch and learning from it."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

import torch

from benchmarks import peers
from benchmarks.cells import Bench, Cell, Result
from benchmarks.mopo import hopper, sb3
from benchmarks.tables import median_interval, show, table
from benchmarks.timing import interleaved
from gormpo_density.seeding import reinitialise
from rl.buffer import Layout, MixedBuffer
from rl.config import SACConfig
from rl.critics import TwinCritic
from rl.offline_data import OfflineData
from rl.policy import TanhGaussianPolicy
from rl.sac import SAC, RewardUnits

PLAIN, DEFAULT = "ours, plain SAC (kl 0)", "ours, default (KL to the clone)"
CONFIGS = {PLAIN: SACConfig(kl=0.0), DEFAULT: SACConfig()}


@dataclass(frozen=True)
class Scale:
    """How much is measured: rounds of interleaved blocks, updates a block, rows of the buffer."""

    rounds: int = 60
    block: int = 8
    rows: int = 40_000


QUICK = Scale(rounds=1, block=2, rows=200)


def report(bench: Bench) -> str:
    """Measure what is missing and return the table."""
    scale = QUICK if bench.quick else Scale()
    settings = {
        "configs": {name: config.model_dump(mode="json") for name, config in CONFIGS.items()},
        "scale": [scale.rounds, scale.block, scale.rows],
        "versions": peers.versions("torch", sb3.PACKAGE),
    }
    measure = partial(_measure, bench, scale)
    seconds = bench.result(Cell("speed", "updates", "all"), settings, measure)
    title = (
        f"## Updates\n\nNets [256, 256], batches of {CONFIGS[DEFAULT].batch_size}, sampling "
        f"included, {scale.rows:,} rows of {hopper.SUBJECT} to draw from; ours also averages the "
        f"actor. Blocks of {scale.block} updates. The quiet speed is that of the fastest block."
    )
    return f"{title}\n\n{_table(seconds, scale.block)}"


def _measure(bench: Bench, scale: Scale) -> Result:
    data = hopper.load(hopper.data_file(bench))
    n_rows = min(scale.rows, len(data.obs))
    learners: dict[str, Callable[[int], None]] = {
        name: _updates(data, n_rows, config) for name, config in CONFIGS.items()
    }
    if not peers.missing(sb3.PACKAGE):
        learners[sb3.PACKAGE] = sb3.updates(data, n_rows, CONFIGS[DEFAULT].batch_size)
    calls = {name: partial(update, scale.block) for name, update in learners.items()}
    return interleaved(calls, scale.rounds)


def _updates(data: OfflineData, n_rows: int, config: SACConfig) -> Callable[[int], None]:
    """Return a function that does so many updates, from half the rows as real, half as model's."""
    ones = torch.ones(data.action_dim)
    actor = TanhGaussianPolicy(data.obs_dim, -ones, ones, config.hidden_dims)
    critic = TwinCritic(data.obs_dim, data.action_dim, config.hidden_dims)
    for module in (actor, critic):
        reinitialise(module, 0)
    units = RewardUnits(data.reward_scale, data.reward_std, -math.inf, math.inf)
    learner = SAC(actor, critic, config, units, total_updates=1_000_000)
    layout = Layout(data.obs_dim, data.action_dim)
    rows = _packed(data, n_rows, layout, actor)
    generator = torch.Generator().manual_seed(0)
    buffer = MixedBuffer(rows[: n_rows // 2], layout, retain=1, generator=generator)
    buffer.add(0, rows[n_rows // 2 :])

    def update(count: int) -> None:
        for batch in buffer.batches(count, config.batch_size, config.real_ratio):
            learner.update(batch, generator)

    return update


@torch.no_grad()
def _packed(
    data: OfflineData, n_rows: int, layout: Layout, reference: TanhGaussianPolicy
) -> torch.Tensor:
    first = slice(n_rows)
    return layout.pack(
        torch.cat([data.obs[first], data.action[first]], 1),
        data.next_obs[first],
        data.reward[first],
        torch.zeros(n_rows),
        data.terminated[first],
        reference(data.obs[first]),
    )


def _table(seconds: dict[str, list[float]], block: int) -> str:
    peer = seconds.get(sb3.PACKAGE)
    rows: list[list[Any]] = []
    for name, own in seconds.items():
        ratios = ["", ""]
        if peer is not None and name != sb3.PACKAGE:
            paired = [theirs / mine for theirs, mine in zip(peer, own, strict=True)]
            ratios = [show(median_interval(paired), 2), f"{min(peer) / min(own):.2f}"]
        rows.append([name, f"{block / median(own):.0f}", f"{block / min(own):.0f}", *ratios])
    header = ["", "updates a second", "quiet", f"speed over {sb3.PACKAGE}", "quiet"]
    return table(header, rows)
