"""The arms that are compared, the grid each is tuned on, and running one of them."""

import hashlib
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import joblib

from benchmarks.cells import Bench, Cell, Result
from gormpo_density.runs import HistoryFile
from rl.config import MOPOConfig, load_mopo_config

Settings = Mapping[str, Any]

#: Of a cell's settings: the whole configuration, by which a changed default is seen.
RESOLVED = "resolved"

TUNING_SEEDS = (100, 101)
SEEDS = (1, 2, 3, 4, 5)

_GORMPO_TANH: Settings = {
    "penalty.name": "density",
    "penalty.kind": "gormpo-tanh",
    "penalty.calibrate_on": "data",
    "calibration.alpha": 0.01,
    "data.rows": "next_state_action",
}
_KL = {"sac.kl_target": (0.025, 0.05, 0.1)}

_WIDE_KL = {"sac.kl_target": (0.0125, 0.025, 0.05, 0.1, 0.2, 0.4)}

#: Tuning runs are half as long; what collapses has done so by then.
TUNING: Settings = {"sac.epochs": 10, "evaluation.every": 0}


@dataclass(frozen=True)
class Arm:
    """One way to train a policy.

    Attributes:
        name: What tables call it.
        settings: What tells it from the default configuration.
        grid: Values that are tried on the tuning seeds, by setting; the same number of points
            for every arm that has one.
    """

    name: str
    settings: Settings
    grid: Mapping[str, Sequence[Any]] = field(default_factory=dict)

    @property
    def points(self) -> list[Settings]:
        """Every combination of the grid's values; one empty one without a grid."""
        return [
            dict(zip(self.grid, p, strict=True)) for p in itertools.product(*self.grid.values())
        ]


#: Each tuned arm has six points.
ARMS = (
    Arm("BC", {"algorithm": "bc"}),
    Arm("no penalty", {"penalty.name": "none"}, _WIDE_KL),
    Arm("MOPO std", {"penalty.name": "mopo"}, {"penalty.coef": (0.3, 1.0), **_KL}),
    Arm("GORMPO tanh", _GORMPO_TANH, {"penalty.coef": (0.3, 1.0), **_KL}),
    Arm("density (ours)", {"penalty.name": "density"}, {"penalty.coef": (1.0, 3.0), **_KL}),
    Arm("combination", {"penalty.name": "combination"}, {"penalty.coef": (0.3, 1.0), **_KL}),
)

#: The one whose penalty sees the path of a rollout; see `history_returns`.
HISTORY_ARM = Arm("history", {"penalty.name": "density", "model.name": "vae_lstm"})

#: Rows beside them, with the settings of the tuned arm of that penalty or their own.
EXTRA_ARMS = (
    Arm("TD3+BC", {"algorithm": "td3bc", "evaluation.actor": "last"}),
    Arm(
        "MOPO std, plain SAC",
        {"penalty.name": "mopo", "penalty.coef": 1.0, "sac.kl": 0, "sac.warm_start": False},
    ),
)


@dataclass(frozen=True)
class Task:
    """Data and its environment.

    Attributes:
        name: What tables call it.
        config: Configuration to start from.
        settings: What tells the data; "DIR" stands for the folder of the files, and "OUT/" before
            a name for that of files which the benchmark makes.
    """

    name: str
    config: str
    settings: Settings

    def at(self, bench: Bench) -> Settings:
        """Return the settings with the folders filled in."""
        folders = {"DIR": bench.data_dir / "mujoco", "OUT": bench.out / "runs"}

        def placed(value: Any) -> Any:
            first, _, rest = value.partition("/") if isinstance(value, str) else ("", "", "")
            return str(folders[first] / rest) if first in folders else value

        return {name: placed(value) for name, value in self.settings.items()}


def file_task(name: str, config: str, **settings: Any) -> Task:
    """Return a task on DIR/mujoco/<name>.npz."""
    return Task(name, config, {"data.dataset": name, "data.data_dir": "DIR", **settings})


def seeds_of(bench: Bench, seeds: Sequence[int]) -> Sequence[int]:
    """Return the seeds to run; a smoke run takes two."""
    return seeds[:2] if bench.quick else seeds


def measure_runs(
    bench: Bench, part: str, runs: Sequence[tuple[Task, str, Settings, int]]
) -> list[Result]:
    """Make the runs that are not there yet, one a core at a time, and return what came out.

    Args:
        bench: Keeps the results.
        part: Part of the benchmark.
        runs: Task, name of the arm, settings of the arm, and seed of each.
    """
    parallel = joblib.Parallel(n_jobs=-1, backend="threading")
    results: list[Result] = parallel(joblib.delayed(_measure)(bench, part, *run) for run in runs)
    return results


def _measure(
    bench: Bench, part: str, task: Task, arm: str, settings: Settings, seed: int
) -> Result:
    chosen = {"config": task.config, **task.settings, **settings}
    cell = Cell(part, task.name, f"{arm}-{_digest(chosen)}", seed)
    folder = bench.out / "runs" / Path(cell.file).with_suffix("")
    decisive = {**chosen, RESOLVED: resolved(bench, task, settings, seed)}
    return bench.result(cell, decisive, lambda: _run(bench, task, settings, seed, folder))


def resolved(bench: Bench, task: Task, settings: Settings, seed: int) -> Settings:
    """Return the whole configuration of a run, defaults included, the same on every machine."""
    anywhere = replace(bench, data_dir=Path("DIR"), out=Path("OUT"))
    return config_of(anywhere, task, settings, seed).model_dump(mode="json")


def config_of(bench: Bench, task: Task, settings: Settings, seed: int) -> MOPOConfig:
    """Return the configuration of a run."""
    return load_mopo_config(task.config, _overrides(bench, task, {**settings, "seed": seed}))


def _overrides(bench: Bench, task: Task, settings: Settings) -> list[str]:
    """Return the settings of a run as the command takes them."""
    values = {**task.at(bench), **settings, **(QUICK if bench.quick else {})}
    return [f"{name}={json.dumps(value)}" for name, value in values.items()]


def _digest(settings: Settings) -> str:
    """Return what tells settings apart in the name of a file."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:8]


def _run(bench: Bench, task: Task, settings: Settings, seed: int, folder: Path) -> Result:
    arguments = ["--config", task.config, "--seed", str(seed), "--run-dir", str(folder)]
    arguments += [
        word for setting in _overrides(bench, task, settings) for word in ("--set", setting)
    ]
    arguments += ["--stages", str(bench.out / "runs" / "stages"), "--resume", "--quiet"]
    subprocess.run(
        [sys.executable, "-m", "rl.train", *arguments],
        check=True,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"},
    )
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    history = HistoryFile(folder / "history.csv").read()
    kept = ("updates", "return_det", "return_stoch", "q_data", "kl", "flagged_fraction")
    curves = {name: history[name] for name in kept if name in history}
    return {"metrics": metrics, "curves": curves}


#: A smoke run: everything tiny.
QUICK: Settings = {
    "fit.epochs": 1,
    "history.sequences": 100,
    "dynamics.epochs": 1,
    "bc.steps": 20,
    "fqe.regression_steps": 5,
    "fqe.steps": 5,
    "sac.epochs": 1,
    "sac.steps_per_epoch": 10,
    "rollout.starts": 50,
    "evaluation.episodes": 2,
    "evaluation.every": 0,
}
