"""A MOPO run from start to end: data, trained parts, the loop, evaluation, results."""

import functools
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm

from gormpo_density.config import dump_config
from gormpo_density.loggers import open_loggers
from gormpo_density.persistence import save_tensors
from gormpo_density.report import format_value
from gormpo_density.runs import RunFolder
from rl.assembly import Setup, assemble
from rl.config import MOPOConfig
from rl.evaluate import Evaluation, evaluate_policy, normalized_score, summarise_curve
from rl.mopo import Loop
from rl.policy import TanhGaussianPolicy
from rl.report import summarise, write_mopo_report
from rl.results import collect_results
from rl.stages import Stages

_VISITED_EPISODES = 5  # episodes whose states are shown
_SEEDS_APART = 100_000  # between the episodes of one run and those of the next


class MOPORunFolder(RunFolder):
    """A run folder with a policy, its parts and the event files, and later a diagnosis."""

    contents = (
        *RunFolder.contents,
        *("policy", "dynamics", "history", "stages", "tensorboard", "wandb", "diagnosis"),
    )


def run_mopo(
    config: MOPOConfig,
    path: Path,
    *,
    device: torch.device,
    stages: Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: bool = True,
    wandb: bool = False,
) -> str:
    """Make the run a configuration describes, or go on with it; a finished one is left alone.

    Args:
        config: What to do.
        path: The run folder.
        device: Where to compute.
        stages: Folder of trained parts that runs share; the run's own where None.
        resume: Go on with an unfinished run.
        overwrite: Replace the run that is in the folder.
        progress: Show progress bars.
        wandb: Log to Weights & Biases too.

    Returns:
        Lines for people: the main numbers and where everything is.
    """
    text = dump_config(config)
    with MOPORunFolder.open(path, text, resume=resume, overwrite=overwrite) as run:
        if run.is_finished:
            return f"finished already: {path} (--overwrite makes it again)\n{_places(path)}"
        started, cpu_started = time.perf_counter(), time.process_time()
        store = Stages(stages or path / "stages")
        setup = assemble(config, path / "checkpoints", store, device, progress=progress)
        if setup.loop is not None:
            train(config, setup, setup.loop, run, progress=progress, wandb=wandb)
        _save_parts(setup, path)
        evaluations = _evaluate_at_the_end(config, setup)
        metrics = _measure(config, setup, run, evaluations)
        metrics["seconds"] = time.perf_counter() - started
        own = time.process_time() - cpu_started - store.cpu_seconds_here
        before = 0.0 if setup.loop is None else setup.loop.clock.cpu_seconds
        # As if this process had made every part itself. What a killed process did after its
        # last checkpoint, or for a part that it had not finished, is not in it.
        metrics["cpu_seconds"] = before + own + store.cpu_seconds
        results = collect_results(setup, run.history.read(), evaluations)
        write_mopo_report(path, config, metrics, results)
        run.finish(metrics)
    lines = [f"{label}: {format_value(value)}" for label, value in summarise(metrics)]
    return "\n".join([*lines, _places(path)])


def train(
    config: MOPOConfig,
    setup: Setup,
    loop: Loop,
    run: RunFolder,
    *,
    progress: bool,
    wandb: bool = False,
) -> None:
    """Run the loop's epochs, going on from the run's checkpoint if it has one."""
    loop.restore()
    bar = tqdm(total=config.sac.epochs, initial=loop.epoch, desc="policy", disable=not progress)
    plain, done = config.model_dump(mode="json"), loop.learner.updates
    with bar, open_loggers(run.path, plain, done=done, use_wandb=wandb) as log:
        while loop.epoch < config.sac.epochs:
            row = loop.run_epoch()
            row |= _evaluate_on_the_way(config, setup, loop)
            run.history.append(loop.epoch, row)
            log(loop.learner.updates, row)
            loop.save()
            bar.set_postfix(_shown(row))
            bar.update()


def reported_actor(config: MOPOConfig, setup: Setup) -> TanhGaussianPolicy:
    """Return the actor that counts: fixed by the configuration, not by what it reaches."""
    if setup.loop is None:
        return setup.clone
    learner = setup.loop.learner
    return learner.averaged if config.evaluation.actor == "ema" else learner.actor


def evaluate(
    config: MOPOConfig, setup: Setup, policy: TanhGaussianPolicy, episodes: int, first_seed: int
) -> tuple[Evaluation, Evaluation]:
    """Measure the deterministic and the stochastic policy on the same start states."""
    measure = functools.partial(
        evaluate_policy,
        env_id=setup.env_id,
        episodes=episodes,
        seed=config.seed * _SEEDS_APART + first_seed,
        device=setup.data.device,
        keep=_VISITED_EPISODES,
        noise=config.evaluation.noise,
    )
    generator = torch.Generator(setup.data.device).manual_seed(config.seed + first_seed)
    draw: Callable[[Tensor], Tensor] = functools.partial(policy.act, generator=generator)
    return measure(policy.act), measure(draw)


def _evaluate_on_the_way(config: MOPOConfig, setup: Setup, loop: Loop) -> dict[str, float]:
    every, episodes = config.evaluation.every, config.evaluation.episodes_on_the_way
    if every == 0 or loop.epoch % every:
        return {"return_det": math.nan, "return_stoch": math.nan}
    actor = reported_actor(config, setup)
    # Other episodes than those at the end, which are the result.
    det, stoch = evaluate(config, setup, actor, episodes, _SEEDS_APART // 2)
    return {"return_det": det.return_mean, "return_stoch": stoch.return_mean}


def _save_parts(setup: Setup, path: Path) -> None:
    policies = {"clone": setup.clone}
    if setup.loop is not None:
        learner = setup.loop.learner
        policies |= {"last": learner.actor, "ema": learner.averaged}
    for name, policy in policies.items():
        save_tensors(path / "policy" / f"{name}.safetensors", policy.state_dict(), {})
    if setup.dynamics is not None:
        setup.dynamics.save(path / "dynamics")
    if setup.density is not None:
        setup.density.save(path / "model")
    if setup.beside is not None:
        setup.beside.save(path / "history")


def _evaluate_at_the_end(
    config: MOPOConfig, setup: Setup
) -> dict[str, tuple[Evaluation, Evaluation]]:
    """Return deterministic and stochastic episodes of the reported policy and of the clone."""
    episodes = config.evaluation.episodes
    policies = {"clone": setup.clone}
    if setup.loop is not None:
        policies = {"policy": reported_actor(config, setup)} | policies
    return {name: evaluate(config, setup, act, episodes, 0) for name, act in policies.items()}


def _measure(
    config: MOPOConfig,
    setup: Setup,
    run: RunFolder,
    evaluations: Mapping[str, tuple[Evaluation, Evaluation]],
) -> dict[str, Any]:
    """Return everything for metrics.json but the seconds."""
    data, clone = setup.data, evaluations["clone"]
    det, stoch = next(iter(evaluations.values()))
    low, high = det.interval[1:]
    has_model, has_loop = config.algorithm == "mopo", setup.loop is not None
    metrics = {
        "dataset": data.info.name,
        "dataset_requested": data.info.requested or data.info.name,
        "env_id": setup.env_id,
        "algorithm": config.algorithm,
        "penalty": config.penalty.name if has_model else None,
        "density_rows": None if setup.density is None else setup.row_kind,
        "seed": config.seed,
        "actor": config.evaluation.actor if has_loop else "clone",
        "episodes": config.evaluation.episodes,
        "return_mean": det.return_mean,
        "return_std": det.return_std,
        "return_ci_low": low,
        "return_ci_high": high,
        "normalized_score": normalized_score(det.return_mean, data.info),
        "stochastic_return_mean": stoch.return_mean,
        "stochastic_return_std": stoch.return_std,
        "behaviour_return": data.episode_returns.mean().item(),
        "clone_return_mean": clone[0].return_mean,
        "clone_stochastic_return_mean": clone[1].return_mean,
    }
    return metrics | _loop_metrics(setup, run)


def _loop_metrics(setup: Setup, run: RunFolder) -> dict[str, Any]:
    loop, history = setup.loop, run.history.read()
    if loop is None:
        return {}
    metrics: dict[str, Any] = {
        "updates_per_second": loop.clock.updates_per_second,
        "rollout_transitions_per_second": loop.clock.transitions_per_second,
        "q_data": history["q_data"][-1],
        "q_returns": loop.probe.mean_return,
        "q_alarm_epoch": loop.alarm_epoch,
        "coef": history["coef"][-1],
    }
    for name in ("penalty_mean", "flagged_fraction"):
        if name in history:
            metrics[name] = history[name][-1]
    measured = [value for value in history["return_det"] if not math.isnan(value)]
    return metrics | (summarise_curve(measured) if measured else {})


def _shown(row: Mapping[str, float]) -> dict[str, str]:
    """Return what the progress bar tells of an epoch."""
    names = {"return_det": "return", "q_data": "Q", "flagged_fraction": "off support"}
    known = {text: row.get(key, math.nan) for key, text in names.items()}
    return {text: f"{value:.4g}" for text, value in known.items() if not math.isnan(value)}


def _places(path: Path) -> str:
    return f"policy: {path / 'policy'}\nreport: {path / 'report.html'}"
