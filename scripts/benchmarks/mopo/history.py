"""Part "history": what a penalty of paths tells that one of rows cannot.

Stretches of held-out episodes, some of them corrupted, are told apart by their scores; and model
rollouts from held-out rows are held against the simulator, as in the part "diagnosis". Nothing on
a reported split chose anything: the VAE-LSTM's settings (`rl.path_model`) are by held-out bound.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from statistics import fmean
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.cells import Bench, Cell, Result
from benchmarks.mopo import arms
from benchmarks.mopo.arms import RESOLVED, Settings, Task, file_task
from benchmarks.mopo.corruptions import CORRUPTIONS, Material
from benchmarks.mopo.next_step import fit_next_step
from benchmarks.tables import show, table
from gormpo_density.aggregate import mean_interval
from gormpo_density.metrics import Interval, detection_metrics, percentile_interval
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
from rl.history import Paths, recall_for
from rl.model_error import ModelErrors
from rl.penalties import Penalty
from rl.stages import Stages
from rl.step_scores import PenaltyValue, ProposedStep

LENGTH = 16
TASKS = (
    file_task("hopper_medium", "mopo/hopper.yaml", task="hopper"),
    file_task("halfcheetah_medium", "mopo/halfcheetah.yaml", task="halfcheetah"),
)
SCORERS = ("row flow", "LSTM", "VAE-LSTM", "random")
ROW, PATH, BOTH = "row", "path", "row and path"
#: Penalties whose gain in rho is told, each against another.
PAIRS = (
    (f"surprise, {PATH}", f"surprise, {ROW}"),
    (f"combination, {PATH}", f"combination, {ROW}"),
    (f"combination, {PATH}", REFERENCE),
)
_SETTINGS: Settings = {
    "device": "cpu",
    "penalty.name": "combination",
    "sac.warm_start": False,
    "history.length": LENGTH,
    "history.beside": True,
}

Score = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Scale:
    """How much is measured."""

    tasks: tuple[Task, ...] = TASKS
    seeds: tuple[int, ...] = (0, 1, 2)
    stretches: int = 2000
    lstm_epochs: int = 24
    starts: int = 1000
    horizon: int = 8
    resamples: int = 1000


QUICK = Scale(seeds=(0,), stretches=50, lstm_epochs=1, starts=20, horizon=2, resamples=20)


def report(bench: Bench) -> str:
    """Measure what is missing and return the tables."""
    scale = QUICK if bench.quick else Scale()
    found = {
        task.name: [_measure(bench, scale, task, seed) for seed in scale.seeds]
        for task in scale.tasks
    }
    return "\n\n".join(
        [
            f"Splits {', '.join(map(str, scale.seeds))}: a split is a seed, of the episodes and "
            "of every model. Means over them; 95 % intervals are Student's.",
            *(_stretches_table(scale, name, ones) for name, ones in found.items()),
            _rollouts_table(scale, found),
            *(_steps_table(name, ones) for name, ones in found.items()),
            _gains_table(scale, found),
        ]
    )


def _measure(bench: Bench, scale: Scale, task: Task, seed: int) -> Result:
    settings = {
        RESOLVED: arms.resolved(bench, task, _SETTINGS, seed),
        "scale": [scale.stretches, scale.lstm_epochs, scale.starts, scale.horizon],
        "resamples": scale.resamples,
    }
    config = arms.config_of(bench, task, _SETTINGS, seed)
    cell = Cell("history", task.name, "paths", seed)
    return bench.result(cell, settings, partial(_measured, bench, scale, config))


def _measured(bench: Bench, scale: Scale, config: MOPOConfig) -> Result:
    """Train the parts of a run, or take those of another, and measure stretches and rollouts."""
    folder = bench.out / "runs"
    setup = assemble(
        config, folder / "unused", Stages(folder / "stages"), torch.device("cpu"), progress=False
    )
    plan = RolloutPlan(scale.starts, scale.horizon, config.seed)
    return _stretches(setup, config, scale) | _rollouts(setup, config, plan, scale.resamples)


def _stretches(setup: Setup, config: MOPOConfig, scale: Scale) -> Result:
    """Return the AUROC of each scorer by corruption, and log-densities of what is normal."""
    data, kind = setup.data, setup.row_kind
    paths = Paths.of(data.rows(kind), data.episode)
    normal = paths.sequences(data.splits["test"], LENGTH, scale.stretches, config.seed)
    scorers = _scorers(setup, config, paths, scale)
    of = Material(
        data.rows(kind, "test").numpy(),
        data.rows(kind, "train").numpy().std(0),
        data.obs_dim,
        np.random.default_rng(config.seed),
    )
    scores = {name: score(normal).numpy().astype(float) for name, score in scorers.items()}
    auroc: dict[str, dict[str, float]] = {name: {} for name in scorers}
    for corruption, corrupt in CORRUPTIONS.items():
        wrong = torch.from_numpy(corrupt(normal.numpy(), of).astype(np.float32))
        for name, score in scorers.items():
            found = detection_metrics(scores[name], score(wrong).numpy().astype(float))
            auroc[name][corruption] = found["roc_auc"]
    nats = {name: float(scores[name].mean()) / LENGTH for name in ("LSTM", "VAE-LSTM")}
    return {"auroc": auroc, "nats": nats, "stretches": len(normal)}


def _scorers(setup: Setup, config: MOPOConfig, paths: Paths, scale: Scale) -> dict[str, Score]:
    """Return scores (B,) of sequences (B, T, D), higher is more normal."""
    density, beside = setup.density, setup.beside
    assert density is not None
    assert beside is not None
    most, seed = config.history.sequences, config.seed
    train = paths.sequences(setup.data.splits["train"], LENGTH, most, seed)
    lstm = fit_next_step(train, epochs=scale.lstm_epochs, batch_size=64, seed=seed)
    generator = torch.Generator().manual_seed(seed)

    def row_flow(x: Tensor) -> Tensor:
        return density.score_samples(x.flatten(0, 1)).reshape(len(x), -1).sum(1)

    return {
        "row flow": row_flow,
        "LSTM": torch.no_grad()(lstm.log_prob),
        "VAE-LSTM": beside.score_samples,
        "random": lambda x: torch.rand(len(x), generator=generator),
    }


class _Surprise:
    """u of a penalty in its place, for u is nowhere clipped."""

    def __init__(self, penalty: Penalty) -> None:
        self.penalty = penalty

    def __call__(self, step: ProposedStep) -> PenaltyValue:
        value = self.penalty(step)
        assert value.surprise is not None
        return value._replace(penalty=value.surprise)


def _rollouts(setup: Setup, config: MOPOConfig, plan: RolloutPlan, resamples: int) -> Result:
    errors = _errors(setup, config, plan)
    drift = replace(errors, error=errors.drift)
    gains = {
        " - ".join(pair): resampled_differences(
            errors, *pair, np.random.default_rng(0), n_resamples=resamples
        )
        for pair in PAIRS
    }
    by_step = [
        rank_correlations(errors.select(errors.step == step))
        for step in range(1, plan.horizon + 1)
    ]
    return {
        "starts": len(np.unique(errors.start)),
        "rho": rank_correlations(errors),
        "rho_drift": rank_correlations(drift),
        "rho_by_step": by_step,
        "worst": worst_row_auroc(errors),
        "gains": {name: percentile_interval(values, 0.95) for name, values in gains.items()},
    }


def _errors(setup: Setup, config: MOPOConfig, plan: RolloutPlan) -> ModelErrors:
    dynamics, density, beside, data = setup.dynamics, setup.density, setup.beside, setup.data
    assert dynamics is not None
    assert density is not None
    of = {ROW: (density, None), PATH: (beside, None), BOTH: (density, beside)}
    penalties: dict[str, Any] = {}
    for label, (model, other) in of.items():
        every = all_penalties(config.penalty, data, dynamics, model, setup.row_kind, other)
        penalties[f"surprise, {label}"] = _Surprise(every.pop("density"))
        penalties[f"combination, {label}"] = every.pop("combination")
        penalties |= every
    generator = torch.Generator().manual_seed(plan.seed)
    recall = recall_for(data, setup.row_kind, beside)
    return measure_errors(
        plan,
        setup.env_id,
        data,
        PenaltyScores(dynamics, penalties, generator, recall),
        probing_actors(setup.clone, generator),
        termination_of(config, data, setup.env_id),
    )


def _stretches_table(scale: Scale, name: str, ones: Sequence[Result]) -> str:
    rows = [
        (
            scorer,
            *(
                show(mean_interval([one["auroc"][scorer][kind] for one in ones]), 3)
                for kind in CORRUPTIONS
            ),
            _mean(ones, "nats", scorer, 2),
        )
        for scorer in SCORERS
    ]
    header = ("score of the stretch", *CORRUPTIONS, "nats a row")
    title = (
        f"## {name}: {LENGTH} steps of held-out episodes, corrupted or not\n\n"
        f"AUROC over {scale.stretches:,} stretches and as many corrupted ones; the held-out "
        "log-density of a row after those before it, of the VAE-LSTM a bound on it."
    )
    return f"{title}\n\n{table(header, rows)}"


def _rollouts_table(scale: Scale, found: Mapping[str, Sequence[Result]]) -> str:
    measures = {"rho": "rho, error", "rho_drift": "rho, drift", "worst": "AUROC, worst 10 %"}
    penalties = list(next(iter(found.values()))[0]["rho"])
    rows = [
        (
            penalty,
            *(_mean(ones, measure, penalty, 3) for ones in found.values() for measure in measures),
        )
        for penalty in penalties
    ]
    columns = [f"{name}: {text}" for name in found for text in measures.values()]
    title = (
        f"## Rollouts of the model\n\n{scale.starts:,} rows of held-out episodes, {scale.horizon} "
        "steps under each of clone, clone with noise and uniform actions. Spearman's rho with the "
        "model's error in the step and with how far the rollout has drifted from the simulator."
    )
    return f"{title}\n\n{table(('penalty', *columns), rows)}"


def _steps_table(name: str, ones: Sequence[Result]) -> str:
    horizon = range(len(ones[0]["rho_by_step"]))
    rows = [
        (
            penalty,
            *(f"{fmean(one['rho_by_step'][i][penalty] for one in ones):.3f}" for i in horizon),
        )
        for penalty in (f"surprise, {ROW}", f"surprise, {PATH}", f"surprise, {BOTH}", REFERENCE)
    ]
    header = ("penalty", *(f"step {i + 1}" for i in horizon))
    return f"## {name}: rho with the error, step by step\n\n{table(header, rows)}"


def _gains_table(scale: Scale, found: Mapping[str, Sequence[Result]]) -> str:
    rows = []
    for name, ones in found.items():
        for pair in (" - ".join(pair) for pair in PAIRS):
            each = [Interval(*one["gains"][pair]) for one in ones]
            mean = mean_interval([gain.estimate for gain in each])
            rows.append((name, pair, *(show(gain, 3) for gain in each), show(mean, 3)))
    header = ("data", "gain in rho", *(f"split {seed}" for seed in scale.seeds), "mean")
    title = (
        "## Gains\n\nOn a split with the interval of a paired bootstrap over its start states; "
        "their mean with Student's over the splits."
    )
    return f"{title}\n\n{table(header, rows)}"


def _mean(ones: Sequence[Result], measure: str, name: str, digits: int) -> str:
    """Return a mean over splits; a dash where there is none."""
    values = [one[measure].get(name, float("nan")) for one in ones]
    mean = float(np.mean(values))
    return "-" if np.isnan(mean) else f"{mean:.{digits}f}"
