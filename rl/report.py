"""What a MOPO run shows: its figures, and one page with everything on it."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from gormpo_density.config import dump_config
from gormpo_density.data.transitions import DatasetInfo
from gormpo_density.plots import save_figure
from gormpo_density.report import Table, write_report
from rl import plots
from rl.config import MOPOConfig
from rl.evaluate import Evaluation, normalized_std
from rl.plots import Panel
from rl.results import MOPOResults

Captioned = dict[str, tuple[str, Figure]]

_WAYS = ("deterministic", "stochastic")
_LEARNING = {
    "critic_loss": Panel("critic loss"),
    "actor_loss": Panel("actor loss"),
    "kl": Panel("KL to the clone", "nats"),
    "entropy": Panel("entropy of the policy", "nats"),
    "rollout_reward": Panel("reward in rollouts", "a step"),
    "rollout_terminated": Panel("terminal rows", is_share=True),
}


def write_mopo_report(
    path: Path, config: MOPOConfig, metrics: Mapping[str, Any], results: MOPOResults
) -> None:
    """Write plots/*.png and report.html in a run folder."""
    captioned = _figures(config, metrics, results)
    for name, (_, figure) in captioned.items():
        save_figure(figure, path / "plots" / f"{name}.png")
    write_report(
        path / "report.html",
        title=f"{config.task or config.data.dataset or 'custom'}: {_method(config)}",
        summary=summarise(metrics),
        notes=_notes(config, metrics),
        tables=_tables(config, metrics, results),
        figures=list(captioned.values()),
        config_text=dump_config(config),
        metrics=metrics,
    )


def summarise(metrics: Mapping[str, Any]) -> list[tuple[str, object]]:
    """Return the few numbers that matter, with their labels."""
    low, high = metrics["return_ci_low"], metrics["return_ci_high"]
    interval = f" (95 % interval {low:,.0f} to {high:,.0f})" if math.isfinite(low) else ""
    clone = metrics["clone_return_mean"], metrics["clone_stochastic_return_mean"]
    return [
        (
            f"return, deterministic, {metrics['episodes']} episodes",
            f"{metrics['return_mean']:,.0f}{interval}",
        ),
        ("return, stochastic", f"{metrics['stochastic_return_mean']:,.0f}"),
        ("behaviour cloning, deterministic and stochastic", f"{clone[0]:,.0f}, {clone[1]:,.0f}"),
        ("mean return of the data", f"{metrics['behaviour_return']:,.0f}"),
    ]


def _method(config: MOPOConfig) -> str:
    penalty = {"none": "no penalty"}.get(config.penalty.name, f"penalty {config.penalty.name}")
    names = {"mopo": f"MOPO, {penalty}", "bc": "behaviour cloning", "td3bc": "TD3+BC"}
    return names[config.algorithm]


def _notes(config: MOPOConfig, metrics: Mapping[str, Any]) -> list[str]:
    used, wanted = metrics["dataset"], metrics["dataset_requested"]
    notes = []
    if used != wanted:
        notes.append(f"{wanted} is not on this machine: {used} was used in its place.")
    if metrics.get("q_alarm_epoch") is not None:
        notes.append(
            f"From epoch {metrics['q_alarm_epoch']} on, mean Q on data rows was far above their "
            "returns: the critics over-estimate, and such a policy has usually collapsed."
        )
    if metrics["clone_return_mean"] > metrics["return_ci_high"]:
        notes.append(
            f"The clone returns more: {metrics['clone_return_mean']:,.0f}. On this data the "
            "algorithm takes from what it starts with; a smaller sac.kl_target stays nearer to it."
        )
    if config.algorithm != "bc":
        actor = {"last": "last actor", "ema": "average of the actors on the way (EMA)"}
        notes.append(
            f"The reported policy is the {actor[config.evaluation.actor]}, as the configuration "
            "fixed it before training; nothing was chosen by returns in the environment."
        )
    if (noise := config.evaluation.noise) is not None:
        told = ", ".join(f"{name} {value:g}" for name, value in noise.model_dump().items())
        notes.append(f"All episodes in the environment are under noise: {told}.")
    notes.append(
        "Intervals are over episodes of this one policy. Another seed gives another policy, and "
        "policies of one setting differ more than their episodes do: compare several seeds."
    )
    if metrics["normalized_score"] is not None:
        notes.append(
            "The normalised score is a label only: its reference returns are D4RL's where there "
            "are any, of other data and older versions of the environment; this is "
            f"{used} in {metrics['env_id']}."
        )
    return notes


def _tables(config: MOPOConfig, metrics: Mapping[str, Any], results: MOPOResults) -> list[Table]:
    columns = ("policy", "mean", "95 % from", "to", "sd", "normalised", "sd, normalised")
    rows = [
        (f"{name}, {way}", *_measures(evaluation, results.info))
        for name, pair in results.evaluations.items()
        for way, evaluation in zip(_WAYS, pair, strict=True)
    ]
    episodes = config.evaluation.episodes
    tables = [Table(f"Returns of {episodes} episodes; sd over episodes", columns, rows)]
    if "return_last" in metrics:
        n_last = min(10, sum(map(math.isfinite, results.history["return_det"])))
        curve: list[Sequence[object]] = [
            ("last", metrics["return_last"]),
            (f"mean of the last {n_last}", metrics["return_last10_mean"]),
            ("best, known with hindsight", metrics["return_best"]),
        ]
        on_the_way = config.evaluation.episodes_on_the_way
        caption = f"Deterministic evaluations during training, {on_the_way} episodes each"
        tables.append(Table(caption, ("evaluation", "mean return"), curve))
    return tables


def _measures(evaluation: Evaluation, info: DatasetInfo) -> tuple[float | None, ...]:
    std = evaluation.return_std
    normalised = evaluation.normalized(info), normalized_std(std, info)
    return (*evaluation.interval, std, *normalised)


def _figures(config: MOPOConfig, metrics: Mapping[str, Any], results: MOPOResults) -> Captioned:
    figures: Captioned = {}
    if results.history:
        figures |= _learning_figures(config, metrics, results)
    if results.dynamics_r2:
        drawn = plots.plot_dynamics(results.dynamics_history, results.dynamics_r2)
        caption = "The learned dynamics: training, and the elites' mean against held-out rows"
        figures["dynamics"] = (caption, drawn)
    if results.states:
        data, *others = results.states
        sets = {name: results.states[name] for name in others}
        caption = "States on the two principal components of the data"
        figures["states"] = (caption, plots.plot_states(results.states[data], sets))
    return figures


def _learning_figures(
    config: MOPOConfig, metrics: Mapping[str, Any], results: MOPOResults
) -> Captioned:
    history, reported = results.history, next(iter(results.evaluations.values()))
    references = {
        "data": metrics["behaviour_return"],
        "behaviour cloning": metrics["clone_return_mean"],
    }
    final = {"return_det": reported[0].interval, "return_stoch": reported[1].interval}
    on_the_way, episodes = config.evaluation.episodes_on_the_way, config.evaluation.episodes
    figures = {
        "returns": (
            f"Mean return of {on_the_way} episodes on the way and of {episodes} at the end; the "
            "lines across are the data's mean and the deterministic clone's",
            plots.plot_returns(history, references, final),
        ),
        "values": (
            "Mean Q on held-out data rows, beside what the data's own policy went on to earn",
            plots.plot_values(history, metrics["q_returns"], results.q_alarm),
        ),
        "learning": ("Learning curves, means of an epoch", plots.plot_curves(history, _LEARNING)),
    }
    if "penalty_mean" in history:
        figures["penalty"] = (
            "The penalty of the model's rows, generation by generation",
            plots.plot_curves(history, _penalty_panels(config)),
        )
    return figures


def _penalty_panels(config: MOPOConfig) -> dict[str, Panel]:
    alpha = config.calibration.alpha
    # Of two models, the larger surprise is above 0 in up to twice as many rows.
    level = None if config.history.beside else (alpha, f"aimed at: {alpha:.1%}")
    return {
        "penalty_mean": Panel("mean penalty", "before its coefficient"),
        "flagged_fraction": Panel("rows off the support", is_share=True, level=level),
        "coef": Panel("coefficient", "std of the reward"),
    }
