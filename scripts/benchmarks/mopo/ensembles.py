"""Training the dynamics: stacked members against one module after another, and its memory."""

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import median

import torch
from torch import Tensor, nn

from benchmarks import peers
from benchmarks.cells import Bench, Cell, Result
from benchmarks.mopo import hopper
from benchmarks.tables import median_interval, show, table
from benchmarks.timing import interleaved, peak_memory
from rl.config import DynamicsConfig
from rl.dynamics import EnsembleDynamics
from rl.dynamics_units import TransitionUnits
from rl.gaussian_ensemble import gaussian_nll
from rl.offline_data import OfflineData

CONFIG = DynamicsConfig(epochs=1)
SIZE = f"{CONFIG.members} networks of {len(CONFIG.hidden_dims)} x {CONFIG.hidden_dims[0]}"
OURS, PLAIN = "ours, stacked", "a module and an Adam a member"


@dataclass(frozen=True)
class Scale:
    """How much is measured: rounds of interleaved epochs, training and validation rows of one."""

    rounds: int = 9
    train: int = 8_192
    val: int = 1_024


QUICK = Scale(rounds=1, train=64, val=16)


def report(bench: Bench) -> str:
    """Measure what is missing and return the tables."""
    scale = QUICK if bench.quick else Scale()
    config = CONFIG.model_dump(mode="json")
    settings = {"config": config, "versions": peers.versions("torch")}
    found = bench.result(
        Cell("speed", "dynamics", "memory"), settings, partial(_measure_memory, bench)
    )
    seconds = bench.result(
        Cell("speed", "dynamics", "epochs"),
        settings | {"scale": [scale.rounds, scale.train, scale.val]},
        partial(_measure_epochs, bench, scale),
    )
    title = (
        f"## Training the dynamics\n\n{SIZE}, batches of {CONFIG.batch_size}, epochs of "
        f"{scale.train:,} rows and {scale.val:,} of validation, which both do."
    )
    return f"{title}\n\n{_table(seconds, scale)}\n\n{memory_line(found)}"


def memory_line(found: Result) -> str:
    """Say what a fit adds to the data's own memory."""
    if found["added"] is None:
        return "Memory was not measured on this system."
    ratio = (found["data"] + found["added"]) / found["data"]
    return (
        f"Memory of a fit on {found['rows']:,} rows: {found['data']:.0f} MB of data and "
        f"{found['added']:.0f} MB more at its peak, together {ratio:.1f} times the data. The "
        "networks, their gradients and moments and one batch take the same for any number of rows."
    )


def memory(data: OfflineData, added: float | None) -> Result:
    """Return rows and MB of the data, and the MB that a fit added to them."""
    tensors = [value for value in vars(data).values() if isinstance(value, Tensor)]
    megabytes = sum(t.nbytes for t in [*tensors, *data.splits.values()]) / 2**20
    return {"rows": len(data.obs), "data": megabytes, "added": added}


def _measure_memory(bench: Bench) -> Result:
    """Fit in a new process: this one would first use memory again that it has freed."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, spawn, torch.set_num_threads, (1,)) as pool:
        return pool.submit(_fit_memory, hopper.data_file(bench)).result()


def _fit_memory(file: Path) -> Result:
    data = hopper.load(file)
    warm_up(data)
    return memory(data, peak_memory(partial(_fit, data)))


def warm_up(data: OfflineData) -> None:
    """Fit a tiny network to a few rows, so that what the first fit loads is not counted."""
    small = {"members": 1, "elites": 1, "hidden_dims": (2,), "weight_decay": (0.0, 0.0)}
    config = CONFIG.model_copy(update=small)
    EnsembleDynamics(data.obs_dim, data.action_dim, config, seed=0).fit(_few(data, 64, 16))


def _few(data: OfflineData, train: int, val: int) -> OfflineData:
    few = {"train": data.splits["train"][:train], "val": data.splits["val"][:val]}
    return replace(data, splits={**data.splits, **few})


def _measure_epochs(bench: Bench, scale: Scale) -> Result:
    data = _few(hopper.load(hopper.data_file(bench)), scale.train, scale.val)
    return interleaved({OURS: partial(_fit, data), PLAIN: partial(_fit_apart, data)}, scale.rounds)


def _fit(data: OfflineData) -> EnsembleDynamics:
    dynamics = EnsembleDynamics(data.obs_dim, data.action_dim, CONFIG, seed=0)
    dynamics.fit(data)
    return dynamics


def _fit_apart(data: OfflineData) -> list[float]:
    """Train each member for an epoch by itself; return their validation losses."""
    units = TransitionUnits(data.obs_dim, data.action_dim)
    units.fit(data.obs, data.action, data.reward, data.next_obs, data.splits["train"])
    train, val = (_standardised(units, data, name) for name in ("train", "val"))
    generator = torch.Generator().manual_seed(0)
    return [_fit_one(train, val, generator) for _ in range(CONFIG.members)]


def _standardised(units: TransitionUnits, data: OfflineData, split: str) -> tuple[Tensor, Tensor]:
    i = data.splits[split]
    targets = units.targets(data.obs[i], data.next_obs[i], data.reward[i])
    return units.inputs(data.obs[i], data.action[i]), targets


def _fit_one(
    train: tuple[Tensor, Tensor], val: tuple[Tensor, Tensor], generator: torch.Generator
) -> float:
    x, y = train
    net = nn.Sequential(*_layers([x.shape[1], *CONFIG.hidden_dims, 2 * y.shape[1]]))
    optimizer = torch.optim.Adam(net.parameters(), CONFIG.lr, fused=True)
    for rows in torch.randperm(len(x), generator=generator).split(CONFIG.batch_size):
        optimizer.zero_grad()
        _loss(net, x[rows], y[rows]).backward()
        optimizer.step()
    with torch.no_grad():
        return _loss(net, *val).item()


def _layers(widths: list[int]) -> Iterator[nn.Module]:
    for number, (fan_in, fan_out) in enumerate(pairwise(widths)):
        if number:
            yield nn.SiLU()
        yield nn.Linear(fan_in, fan_out)


def _loss(net: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    mean, log_var = net(x).chunk(2, dim=1)
    return gaussian_nll(mean, log_var.clamp(-10.0, 0.5), y).mean()


def _table(seconds: Result, scale: Scale) -> str:
    ratios = [b / a for a, b in zip(seconds[OURS], seconds[PLAIN], strict=True)]
    rows = []
    for name, ratio in ((OURS, show(median_interval(ratios), 2)), (PLAIN, "")):
        speeds = [scale.train / summary(seconds[name]) for summary in (median, min)]
        rows.append([name, *(f"{speed:,.0f} x {CONFIG.members}" for speed in speeds), ratio])
    return table(["", "rows a second x members", "quiet", f"speed over {PLAIN}"], rows)
