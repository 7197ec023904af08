"""Hopper's settings elsewhere: other environments, thin data, and five times the updates.

Arms have the settings that tuning on Hopper chose for them; one more has the shipped ones.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.cells import Bench, Result
from benchmarks.mopo import shipped
from benchmarks.mopo.arms import Settings, Task, file_task
from benchmarks.mopo.returns import (
    COMBINATION,
    HOPPER,
    OURS,
    arms_table,
    confirm,
    differences_table,
    metric,
    tuned_settings,
)
from benchmarks.tables import table
from gormpo_density.atomic import replacing
from gormpo_density.plots import save_figure
from gormpo_density.plots.style import NEUTRAL, PALETTE, legend_below, make_panels, set_titles

SEEDS = (1, 2, 3)
_OTHERS = ("BC", "no penalty", "MOPO std", OURS)
_SHIPPED = f"{OURS}, shipped"
_TASKS = (
    file_task("halfcheetah_ppo", "mopo/halfcheetah.yaml", task="halfcheetah"),
    Task("walker2d-medium", "mopo/walker2d.yaml", {}),
)
_LONG: Settings = {"sac.epochs": 100, "evaluation.every": 5}
_SPARSE = "hopper_medium_expert"


def environments(bench: Bench) -> str:
    """Return the returns on HalfCheetah and Walker2d, nothing tuned there."""
    settings = _settings(bench, _OTHERS)
    parts = []
    for task in _TASKS:
        results = confirm(bench, "environments", task, settings, SEEDS)
        behaviour = metric(results["BC"], "behaviour_return")[0]
        parts += [f"## {task.name}: the data's mean return is {behaviour:.0f}"]
        parts += [arms_table(results), *_differences(results)]
    return "\n\n".join(parts)


def sparse(bench: Bench) -> str:
    """Return the returns on medium-expert Hopper data with half of a region left out."""
    arms = _settings(bench, ("BC", "no penalty", OURS, COMBINATION))
    settings = {arm: {**values, "data.sparse": True} for arm, values in arms.items()}
    _write_medium_expert(bench.out / "runs" / f"{_SPARSE}.npz", bench)
    task = Task(_SPARSE, "mopo/hopper.yaml", {"data.data_path": f"OUT/{_SPARSE}.npz"})
    results = confirm(bench, "sparse", task, settings, SEEDS)
    return "\n\n".join([arms_table(results), *_differences(results)])


def drift(bench: Bench) -> str:
    """Return how the policies of both of our penalties fare over 100,000 updates, as shipped."""
    settings = {arm: {**shipped.settings()[arm], **_LONG} for arm in (OURS, COMBINATION)}
    results = confirm(bench, "drift", HOPPER, settings, SEEDS)
    _draw_curves(results, bench.out / "drift.png")
    curves = [f"## {arm}\n\n{_curve_table(runs)}" for arm, runs in results.items()]
    return "\n\n".join([arms_table(results), *curves])


def _settings(bench: Bench, arms: Sequence[str]) -> dict[str, Settings]:
    """Return the tuned settings of arms, and those of ours as shipped."""
    tuned = tuned_settings(bench)
    return {**{arm: tuned[arm] for arm in arms}, _SHIPPED: shipped.settings()[OURS]}


def _differences(results: Mapping[str, Sequence[Result]]) -> list[str]:
    """Return how much more each arm of ours returns than every other."""
    ours = (OURS, COMBINATION, _SHIPPED)
    return [differences_table(results, arm) for arm in ours if arm in results]


def _draw_curves(results: Mapping[str, Sequence[Result]], path: Path) -> None:
    """Draw the return of every seed on the way, a panel an arm."""
    figure, axes = make_panels(len(results), 2, (4.6, 3.0))
    for ax, (arm, runs) in zip(axes, results.items(), strict=True):
        for color, run in zip(PALETTE, runs, strict=False):
            updates, returns = _evaluations(run)
            label = f"seed {run['metrics']['seed']}"
            ax.plot(updates / 1000, returns, "o-", color=color, markersize=3, label=label)
        behaviour = metric(runs, "behaviour_return")[0]
        ax.axhline(behaviour, color=NEUTRAL, linestyle="--", label=f"data: {behaviour:,.0f}")
        ax.set(xlabel="updates, thousands", ylabel="return, deterministic", ylim=(0, None))
        set_titles(ax, arm)
    legend_below(figure, axes)
    save_figure(figure, path)


def _evaluations(run: Result) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the updates at which a run was evaluated, and its deterministic returns there."""
    updates, returns = (
        np.array(run["curves"][name], dtype=float) for name in ("updates", "return_det")
    )
    is_measured = np.isfinite(returns)
    return updates[is_measured], returns[is_measured]


def _curve_table(runs: Sequence[Result]) -> str:
    """Return the deterministic evaluations on the way, ten episodes each, by seed."""
    updates, _ = _evaluations(runs[0])
    columns = [_evaluations(run)[1] for run in runs]
    rows = [
        (f"{done:,.0f}", *(f"{value:.0f}" for value in values))
        for done, *values in zip(updates, *columns, strict=True)
    ]
    return table(("updates", *(f"seed {run['metrics']['seed']}" for run in runs)), rows)


def _write_medium_expert(path: Path, bench: Bench) -> None:
    """Write the medium rows and the expert rows to one file, unless it is there."""
    if not path.exists():
        levels = [
            np.load(bench.data_dir / "mujoco" / f"hopper_{n}.npz") for n in ("medium", "expert")
        ]
        joined = {key: np.concatenate([level[key] for level in levels]) for key in levels[0]}
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.savez(file, **joined)
