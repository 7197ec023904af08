"""Part "large": what each stage of a run costs on a million rows.

The rows are those of hopper_medium again and again, each time with a little noise, in a temporary
file. Each stage does a share of its work; what all of it would take is extrapolated.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import numpy as np

from benchmarks import peers
from benchmarks.cells import Bench, Cell, Result
from benchmarks.datasets import load_mujoco
from benchmarks.mopo import hopper
from benchmarks.mopo.ensembles import memory, memory_line, warm_up
from benchmarks.tables import table
from benchmarks.timing import measured
from rl.assembly import Setup, assemble, environment_of
from rl.config import MOPOConfig, load_mopo_config
from rl.evaluate import check_environment
from rl.offline_data import load_offline_data
from rl.parts import Parts
from rl.stages import Stages

T = TypeVar("T")

CONFIG = "mopo/hopper.yaml"
NOISE = 1e-3  # of a column's standard deviation


@dataclass(frozen=True)
class Scale:
    """How much is measured: rows, updates, and how much of its training each part gets."""

    rows: int = 1_000_000
    updates: int = 1_000
    overrides: tuple[str, ...] = (
        *("dynamics.epochs=1", "fit.epochs=1", "bc.steps=600"),
        *("fqe.regression_steps=200", "fqe.steps=400"),
    )


QUICK = Scale(
    rows=1_000,
    updates=2,
    overrides=(
        *("dynamics.epochs=1", "fit.epochs=1", "bc.steps=5", "rollout.starts=40"),
        *("fqe.regression_steps=2", "fqe.steps=2"),
    ),
)


@dataclass
class Recorder:
    """Runs stages and keeps what they cost, each with the factor to all of its work."""

    stages: list[Result] = field(default_factory=list)

    def run(self, name: str, share: str, factor: float, call: Callable[[], T]) -> T:
        """Return what a call returns."""
        with measured() as cost:
            made = call()
        found = {"name": name, "share": share, "factor": factor, "seconds": cost.seconds}
        self.stages.append(found | {"peak": cost.peak, "added": cost.added})
        return made


def report(bench: Bench) -> str:
    """Measure what is missing and return the table."""
    scale = QUICK if bench.quick else Scale()
    settings = {
        "config": load_mopo_config(CONFIG).model_dump(mode="json"),
        "scale": [scale.rows, scale.updates, scale.overrides],
        "versions": peers.versions("torch"),
    }
    measure = partial(_measure, bench, scale)
    result = bench.result(
        Cell("large", hopper.SUBJECT, CONFIG.replace("/", "-")), settings, measure
    )
    title = (
        f"{scale.rows:,} rows: {hopper.SUBJECT} again and again, each time with noise of "
        f"{NOISE:g} standard deviations. CPU minutes of one thread of a busy machine. Memory is "
        "all that the process holds at its peak, the program and its libraries included. **The "
        "last column is extrapolated**: the measured minutes times how often the whole of "
        f"{CONFIG} does it; a model that stops early takes less. Evaluation is not in it."
    )
    return f"{title}\n\n{_table(result['stages'])}\n\n{memory_line(result['memory'])}"


def _measure(bench: Bench, scale: Scale) -> Result:
    recorder = Recorder()
    with TemporaryDirectory() as name:
        folder = Path(name)
        file = folder / "rows.npz"
        _write(file, bench, scale.rows)
        full = load_mopo_config(CONFIG, [f"data.data_path={file}"])
        config = load_mopo_config(CONFIG, [f"data.data_path={file}", *scale.overrides])
        found = _train(config, full, Stages(folder), recorder)
        setup = recorder.run(
            "put together",
            "all, the data loaded again",
            1,
            partial(assemble, config, folder, Stages(folder), hopper.DEVICE, progress=False),
        )
    _learn(setup, full, scale.updates, recorder)
    return {"stages": recorder.stages, "memory": found}


def _write(file: Path, bench: Bench, n_rows: int) -> None:
    """Write rows of the data, over and over, in the layout of the file they come from."""
    data, rng = load_mujoco(bench.data_dir, hopper.SUBJECT), np.random.default_rng(0)
    again = np.arange(n_rows) % len(data)
    noise = rng.standard_normal((n_rows + 1, data.obs.shape[1]), np.float32)
    noise *= NOISE * data.obs.std(axis=0)
    action_noise = rng.standard_normal((n_rows, data.action.shape[1]), np.float32)
    action_noise *= NOISE * data.action.std(axis=0)
    terminals = data.terminated[again]
    columns = {
        "observations": data.obs[again] + noise[:-1],
        "next_observations": data.next_obs[again] + noise[1:],  # that of the row which follows
        "actions": (data.action[again] + action_noise).clip(-1, 1),
        "rewards": data.reward[again],
        "terminals": terminals,
        "timeouts": (data.truncated[again] | (again == len(data) - 1)) & ~terminals,
    }
    np.savez(file, **columns)


def _train(config: MOPOConfig, full: MOPOConfig, stages: Stages, recorder: Recorder) -> Result:
    """Train the parts of a run, which then are found; return the memory of the dynamics' fit."""
    load = partial(load_offline_data, config.data, config.seed, hopper.DEVICE, progress=False)
    data = recorder.run("load the data", "all", 1, load)
    bounds = check_environment(environment_of(config, data), data.obs_dim, data.action_dim)
    parts = Parts(config, data, bounds, stages, progress=False)
    warm_up(data)
    # First, while no memory has been freed that a fit would use again.
    recorder.run("dynamics", "1 epoch", full.dynamics.epochs, parts.dynamics)
    fit_added = recorder.stages[-1]["added"]
    recorder.run("density model", "1 epoch", dict(full.fit)["epochs"], parts.density)
    factor = full.bc.steps / config.bc.steps
    clone = recorder.run("clone", f"{config.bc.steps:,} steps", factor, parts.clone)
    steps, all_steps = (c.fqe.regression_steps + c.fqe.steps for c in (config, full))
    fit_critics = partial(parts.critic, clone)
    recorder.run("critics", f"{steps:,} steps", all_steps / steps, fit_critics)
    return memory(data, fit_added)


def _learn(setup: Setup, full: MOPOConfig, updates: int, recorder: Recorder) -> None:
    loop = setup.loop
    assert loop is not None
    assert loop.rollouts is not None
    all_updates = full.sac.epochs * full.sac.steps_per_epoch
    generation = recorder.run(
        "model rollouts",
        "1 generation",
        all_updates / full.rollout.frequency,
        partial(loop.rollouts.generate, loop.learner.actor),
    )
    loop.buffer.add(0, generation.rows)

    def update() -> None:
        sac, buffer = full.sac, loop.buffer
        for batch in buffer.batches(updates, sac.batch_size, sac.real_ratio):
            loop.learner.update(batch, buffer.generator)

    recorder.run("updates", f"{updates:,}", all_updates / updates, update)


def _table(stages: list[Result]) -> str:
    rows = []
    for stage in stages:
        minutes, peak = stage["seconds"] / 60, stage["peak"]
        held = "not measured" if peak is None else f"{peak:,.0f}"
        extrapolated = f"{minutes * stage['factor']:.1f}"
        rows.append([stage["name"], stage["share"], f"{minutes:.2f}", held, extrapolated])
    total = sum(stage["seconds"] * stage["factor"] for stage in stages) / 60
    rows.append(["together", "", "", "", f"{total:.0f}"])
    header = ["stage", "measured", "CPU minutes", "peak memory, MB", "all of it, extrapolated"]
    return table(header, rows)
