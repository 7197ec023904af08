"""Part "diagnosis": which penalty tells where the model errs, on splits of several data sets.

Model rollouts from held-out episodes under the clone, the clone with noise and uniform actions,
beside the simulator; see `rl.diagnosis`. The weight of the combination is chosen on another split
(the tuning seed) of the other environments, so nothing on a reported split chose anything there.
"""

from dataclasses import dataclass
from functools import partial
from statistics import fmean
from typing import Any

import numpy as np
import torch

from benchmarks.cells import Bench, Cell, Result
from benchmarks.mopo import arms
from benchmarks.mopo.arms import RESOLVED, Settings, Task, file_task
from benchmarks.tables import show, table
from gormpo_density.aggregate import mean_interval
from gormpo_density.metrics import percentile_interval
from rl.assembly import Setup, assemble, termination_of
from rl.config import MOPOConfig
from rl.diagnosis import (
    REFERENCE,
    PenaltyScores,
    RolloutPlan,
    all_penalties,
    measure_errors,
    probing_actors,
)
from rl.error_tracking import rank_correlations, resampled_differences, worst_row_auroc
from rl.model_error import ModelErrors
from rl.penalties import Combination
from rl.stages import Stages

TUNING_SEED = 100
WEIGHTS = (0.02, 0.05, 0.1, 0.2)
SHOWN = ("mopo", "disagreement", REFERENCE, "surprise", "density", "random", "constant")
_SETTINGS: Settings = {"device": "cpu", "penalty.name": "combination", "sac.warm_start": False}


@dataclass(frozen=True)
class Subject:
    """Data whose model is diagnosed.

    Attributes:
        task: The data and its configuration.
        environment: Data sets of one environment choose no weight for each other.
        anchors: rho of total_std and of the combination on one split, measured earlier with other
            code; None where they were not.
    """

    task: Task
    environment: str
    anchors: tuple[float, float] | None = None

    @property
    def name(self) -> str:
        """What tables call it."""
        return self.task.name


SUBJECTS = (
    Subject(
        file_task("hopper_medium", "mopo/hopper.yaml", task="hopper"), "hopper", (0.845, 0.855)
    ),
    Subject(
        file_task("halfcheetah_medium", "mopo/halfcheetah.yaml", task="halfcheetah"),
        "halfcheetah",
        (0.781, 0.794),
    ),
    Subject(
        file_task("halfcheetah_ppo", "mopo/halfcheetah.yaml", task="halfcheetah"), "halfcheetah"
    ),
    Subject(Task("walker2d-medium", "mopo/walker2d.yaml", {}), "walker2d", (0.839, 0.869)),
)


@dataclass(frozen=True)
class Scale:
    """How much is measured."""

    subjects: tuple[Subject, ...] = SUBJECTS
    seeds: tuple[int, ...] = (0, 1, 2)
    starts: int = 1000
    horizon: int = 8
    resamples: int = 1000


QUICK = Scale(SUBJECTS[:2], seeds=(0,), starts=20, horizon=2, resamples=20)


def report(bench: Bench) -> str:
    """Measure what is missing and return the tables."""
    scale = QUICK if bench.quick else Scale()
    tuning = {one.name: _measure(bench, scale, one, TUNING_SEED) for one in scale.subjects}
    weights = {one.name: _chosen_weight(one, scale, tuning) for one in scale.subjects}
    found = {
        one.name: [_measure(bench, scale, one, seed) for seed in scale.seeds]
        for one in scale.subjects
    }
    return "\n\n".join(
        [
            f"{scale.starts:,} states of held-out episodes, {scale.horizon} steps under each of "
            "clone, clone with N(0, .3²) added, and uniform actions. A split is a seed: of the "
            "episodes, the ensemble, the flow and the clone.",
            _gains_table(scale, weights, found),
            _penalties_table(scale, found, "rho", "Spearman's rho x100 with the true error"),
            _penalties_table(scale, found, "auroc", "AUROC x100 of the worst 10 % of the rows"),
            _weights_table(scale, weights, tuning),
        ]
    )


def _measure(bench: Bench, scale: Scale, subject: Subject, seed: int) -> Result:
    cell = Cell("diagnosis", subject.name, "model", seed)
    config = arms.config_of(bench, subject.task, _SETTINGS, seed)
    measure = partial(_diagnose, bench, scale, config)
    return bench.result(cell, settings_of(bench, scale, subject, seed), measure)


def settings_of(bench: Bench, scale: Scale, subject: Subject, seed: int) -> Settings:
    """Return all that decides a cell."""
    return {
        RESOLVED: arms.resolved(bench, subject.task, _SETTINGS, seed),
        "scale": [scale.starts, scale.horizon, scale.resamples],
        "weights": WEIGHTS,
    }


def _diagnose(bench: Bench, scale: Scale, config: MOPOConfig) -> Result:
    """Train the parts of a run, or take those of another part, and measure their errors."""
    folder = bench.out / "runs"
    setup = assemble(
        config, folder / "unused", Stages(folder / "stages"), torch.device("cpu"), progress=False
    )
    errors = _errors(setup, config, RolloutPlan(scale.starts, scale.horizon, config.seed))
    gains = {
        weight: resampled_differences(
            errors,
            _combination(weight),
            REFERENCE,
            np.random.default_rng(0),
            n_resamples=scale.resamples,
        )
        for weight in WEIGHTS
    }
    return {
        "starts": len(np.unique(errors.start)),
        "rows": len(errors),
        "rho": rank_correlations(errors),
        "auroc": worst_row_auroc(errors),
        "gains": {str(weight): gain.round(6).tolist() for weight, gain in gains.items()},
    }


def _errors(setup: Setup, config: MOPOConfig, plan: RolloutPlan) -> ModelErrors:
    assert setup.dynamics is not None
    generator = torch.Generator().manual_seed(plan.seed)
    penalties = all_penalties(
        config.penalty, setup.data, setup.dynamics, setup.density, setup.row_kind
    )
    model = penalties.pop("combination")
    assert isinstance(model, Combination)
    assert model.scorer is not None
    for weight in WEIGHTS:
        penalties[_combination(weight)] = Combination(
            model.uncertainty, model.scorer, weight, model.cap
        )
    return measure_errors(
        plan,
        setup.env_id,
        setup.data,
        PenaltyScores(setup.dynamics, penalties, generator),
        probing_actors(setup.clone, generator),
        termination_of(config, setup.data, setup.env_id),
    )


def _chosen_weight(subject: Subject, scale: Scale, tuning: dict[str, Result]) -> float:
    """Return the weight with the best mean gain on the tuning splits of other environments."""
    others = [one for one in scale.subjects if one.environment != subject.environment]
    environments = {one.environment for one in others}

    def mean_gain(weight: float) -> float:
        return fmean(
            fmean(_gain(tuning[one.name], weight)[0] for one in others if one.environment == env)
            for env in environments
        )

    return max(WEIGHTS, key=mean_gain)


def _gains_table(scale: Scale, weights: dict[str, float], found: dict[str, list[Result]]) -> str:
    rows = []
    for subject in scale.subjects:
        weight, ones = weights[subject.name], found[subject.name]
        for seed, one in zip(scale.seeds, ones, strict=True):
            gain = percentile_interval(_gain(one, weight), 0.95)
            rho = one["rho"][REFERENCE], one["rho"][_combination(weight)]
            label = f"{subject.name}, split {seed}"
            starts = f"{one['starts']:,}"
            rows.append((label, f"{weight:g}", starts, *(f"{r:.3f}" for r in rho), show(gain, 3)))
        rows += _mean_rows(subject, weight, ones)
    header = ("data", "weight", "starts", "rho of total_std", "of the combination", "gain")
    title = (
        "## The combination against total_std\n\nGain in rho with the 95 % interval: on a split, "
        "of a paired bootstrap over its start states; their mean, of the same within every split; "
        "the last, Student's over the splits, which holds for new models and episodes too."
    )
    return f"{title}\n\n{table(header, rows)}"


def _mean_rows(subject: Subject, weight: float, ones: list[Result]) -> list[tuple[str, ...]]:
    gains = np.array([_gain(one, weight) for one in ones])
    names = (REFERENCE, _combination(weight))
    means = [f"{fmean(one['rho'][name] for one in ones):.3f}" for name in names]
    over_starts = percentile_interval(gains.mean(0), 0.95)
    over_splits = mean_interval(gains[:, 0])
    rows: list[tuple[str, ...]] = [
        (f"**{subject.name}, mean, over starts**", "", "", *means, show(over_starts, 3)),
        (f"**{subject.name}, mean, over splits**", "", "", *means, show(over_splits, 3)),
    ]
    if subject.anchors is not None:
        std, combined = subject.anchors
        earlier = f"{std:.3f}", f"{combined:.3f}", f"{combined - std:.3f}"
        rows.append((f"(earlier) {subject.name}, one split", "", "", *earlier))
    return rows


def _penalties_table(
    scale: Scale, found: dict[str, list[Result]], measure: str, title: str
) -> str:
    rows = [
        (
            penalty,
            *(_mean_of(found[one.name], measure, penalty) for one in scale.subjects),
        )
        for penalty in (*SHOWN, *map(_combination, WEIGHTS))
    ]
    header = ("penalty", *(one.name for one in scale.subjects))
    return f"## {title}\n\nMean over splits.\n\n{table(header, rows)}"


def _mean_of(ones: list[Result], measure: str, penalty: str) -> str:
    """Return a mean over splits; a dash where a penalty was constant."""
    mean = fmean(one[measure][penalty] for one in ones)
    return "-" if np.isnan(mean) else f"{100 * mean:.1f}"


def _weights_table(scale: Scale, weights: dict[str, float], tuning: dict[str, Result]) -> str:
    rows = [
        (
            subject.name,
            *(f"{_gain(tuning[subject.name], weight)[0]:.3f}" for weight in WEIGHTS),
            f"{weights[subject.name]:g}",
        )
        for subject in scale.subjects
    ]
    header = ("data", *(f"{weight:g}" for weight in WEIGHTS), "chosen by the others")
    title = f"## Weights\n\nGain in rho over total_std on split {TUNING_SEED}, by weight."
    return f"{title}\n\n{table(header, rows)}"


def _gain(one: Result, weight: float) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return the gain in rho as measured, then those of the resamples."""
    return np.array(one["gains"][str(weight)])


def _combination(weight: float) -> str:
    return f"combination {weight:g}"
