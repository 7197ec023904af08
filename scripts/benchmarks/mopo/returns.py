"""Returns on Hopper: every arm tuned on its own grid, then confirmed on fresh seeds."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cells import Bench, Result
from benchmarks.mopo.arms import (
    ARMS,
    EXTRA_ARMS,
    SEEDS,
    TUNING,
    TUNING_SEEDS,
    Arm,
    Settings,
    Task,
    file_task,
    measure_runs,
    seeds_of,
)
from benchmarks.tables import show, table
from gormpo_density.aggregate import iqm, mean_interval, paired_difference
from gormpo_density.metrics import Interval
from gormpo_density.plots import plot_sweep, save_figure

HOPPER = file_task("hopper_medium", "mopo/hopper.yaml", task="hopper")
OURS = "density (ours)"
COMBINATION = "combination"


def report(bench: Bench) -> str:
    """Return the tables: what tuning saw, and the fresh seeds."""
    chosen = tune(bench, HOPPER, ARMS)
    settings = tuned_settings(bench)
    settings |= {arm.name: arm.settings for arm in EXTRA_ARMS}
    results = confirm(bench, "returns", HOPPER, settings, SEEDS)
    draw_arms(results, bench.out / "returns.png")
    return "\n\n".join(
        [
            _tuning_table(bench, chosen),
            f"On seeds {_listed(SEEDS)}, none of which chose anything:",
            arms_table(results),
            *(differences_table(results, arm) for arm in (OURS, COMBINATION)),
            seeds_table(results),
        ]
    )


def tuned_settings(bench: Bench) -> dict[str, Settings]:
    """Return the settings of every arm, tuned on Hopper where it has a grid."""
    chosen = tune(bench, HOPPER, ARMS)
    return {arm.name: {**arm.settings, **chosen[arm.name]} for arm in ARMS}


def tune(bench: Bench, task: Task, arms: Sequence[Arm]) -> dict[str, Settings]:
    """Return the point of each arm's grid with the best mean return on the tuning seeds."""
    runs = [
        (task, arm.name, {**TUNING, **arm.settings, **point}, seed)
        for arm in arms
        if arm.grid
        for point in arm.points
        for seed in seeds_of(bench, TUNING_SEEDS)
    ]
    returns = _returns(measure_runs(bench, "tuning", runs))
    chosen: dict[str, Settings] = {}
    for arm in arms:
        of_points = [
            np.mean([r for run, r in zip(runs, returns, strict=True) if _is(run, arm, point)])
            for point in (arm.points if arm.grid else [])
        ]
        chosen[arm.name] = arm.points[int(np.argmax(of_points))] if of_points else {}
    return chosen


def confirm(
    bench: Bench,
    part: str,
    task: Task,
    settings: Mapping[str, Settings],
    seeds: Sequence[int],
) -> dict[str, list[Result]]:
    """Return the results of each arm, one a seed."""
    seeds = seeds_of(bench, seeds)
    runs = [(task, arm, values, seed) for arm, values in settings.items() for seed in seeds]
    results = measure_runs(bench, part, runs)
    return {
        arm: [r for run, r in zip(runs, results, strict=True) if run[1] == arm] for arm in settings
    }


def arms_table(results: Mapping[str, Sequence[Result]]) -> str:
    """Return mean, interval over seeds and IQM of each arm's return."""
    header = ("arm", "return, deterministic", "sd", "IQM", "worst seed", "stochastic", "CPU min")
    rows = []
    for arm, runs in results.items():
        det, stochastic = metric(runs, "return_mean"), metric(runs, "stochastic_return_mean")
        rows.append(
            (
                arm,
                show(mean_interval(det), 0),
                f"{np.std(det, ddof=1):.0f}",
                f"{iqm(np.array(det)):.0f}",
                f"{min(det):.0f}",
                show(mean_interval(stochastic), 0),
                f"{np.mean(metric(runs, 'cpu_seconds')) / 60:.1f}",
            )
        )
    return table(header, rows)


def draw_arms(results: Mapping[str, Sequence[Result]], path: Path) -> None:
    """Draw every seed's return, and the mean of each arm with its interval."""
    scores = {arm: metric(runs, "return_mean") for arm, runs in results.items()}
    means = {arm: mean_interval(values) for arm, values in scores.items()}
    save_figure(plot_sweep(scores, means, "return of the deterministic policy"), path)


def differences_table(results: Mapping[str, Sequence[Result]], ours: str) -> str:
    """Return how much more one arm returns than each other, paired by seed."""
    rows = []
    for arm, runs in results.items():
        if arm != ours:
            gains = [
                _gain(results[ours], runs, name)
                for name in ("return_mean", "stochastic_return_mean")
            ]
            rows.append((arm, *(show(gain, 0) for gain in gains)))
    shown = table((f"{ours} minus", "deterministic", "stochastic"), rows)
    return f"Paired by seed; as above, Student's 95 % interval over seeds.\n\n{shown}"


def metric(runs: Sequence[Result], name: str) -> list[float]:
    """Return one metric of each run."""
    return [float(run["metrics"][name]) for run in runs]


def _gain(ours: Sequence[Result], others: Sequence[Result], name: str) -> Interval:
    first, second = (
        {run["metrics"]["seed"]: run["metrics"][name] for run in runs} for runs in (ours, others)
    )
    return paired_difference(first, second)


def _returns(results: Sequence[Result]) -> list[float]:
    """Return what tuning maximises: the reported actor's deterministic return."""
    return metric(results, "return_mean")


def _is(run: tuple[Any, ...], arm: Arm, point: Settings) -> bool:
    return run[1] == arm.name and run[2] == {**TUNING, **arm.settings, **point}


def _tuning_table(bench: Bench, chosen: Mapping[str, Settings]) -> str:
    rows = []
    for arm in ARMS:
        for point in arm.points if arm.grid else []:
            settings = {**TUNING, **arm.settings, **point}
            runs = [(HOPPER, arm.name, settings, s) for s in seeds_of(bench, TUNING_SEEDS)]
            returns = _returns(measure_runs(bench, "tuning", runs))
            mark = " (chosen)" if point == chosen[arm.name] else ""
            words = ", ".join(f"{k}={v}" for k, v in point.items())
            rows.append((arm.name, words + mark, *(f"{r:.0f}" for r in returns)))
    seeds = [f"seed {seed}" for seed in seeds_of(bench, TUNING_SEEDS)]
    return table(("arm", "setting", *seeds), rows)


def seeds_table(results: Mapping[str, Sequence[Result]]) -> str:
    """Return the last ten and the best of the curve beside the reported end, labelled."""
    names = ("return_last10_mean", "return_best")
    rows = []
    for arm, runs in results.items():
        det = ", ".join(f"{value:.0f}" for value in metric(runs, "return_mean"))
        curves = [
            f"{np.mean(metric(runs, name)):.0f}" if name in runs[0]["metrics"] else "-"
            for name in names
        ]
        rows.append((arm, det, *curves))
    header = ("arm", "reported, by seed", "mean of the last ten, or of all", "best on the way")
    return table(header, rows)


def _listed(seeds: Sequence[int]) -> str:
    return ", ".join(map(str, seeds))
