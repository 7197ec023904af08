"""Tables, figures and one page of a diagnosis."""

import json
import math
from pathlib import Path

from matplotlib.figure import Figure

from gormpo_density.atomic import replacing
from gormpo_density.config import dump_config
from gormpo_density.plots import save_figure
from gormpo_density.report import Table, write_report
from rl import diagnosis_plots
from rl.assembly import probe_of
from rl.diagnosis import REFERENCE, TRIVIAL, Diagnosis
from rl.error_tracking import errors_by_step, rank_correlations
from rl.plots import plot_values
from rl.saved_run import SavedMOPORun

_MEASURES = {
    "spearman": "Spearman's rho with the true error",
    "worst10_auroc": "AUROC of the worst 10 % of the rows",
}


def diagnosis_tables(diagnosis: Diagnosis) -> list[Table]:
    """Return each measure by penalty and policy, and what one penalty has over another."""
    groups = ["", *(name for name, _ in diagnosis.groups() if name)]
    columns = ("penalty", "all", *groups[1:])
    tables = []
    for measure, caption in _MEASURES.items():
        rows = [
            (
                f"({penalty})" if penalty in TRIVIAL else penalty,
                *(diagnosis.metrics[_key(penalty, group, measure)] for group in groups),
            )
            for penalty in diagnosis.errors.penalties
        ]
        tables.append(Table(caption, columns, rows))
    if diagnosis.differences:
        gains = [(f"{name} minus {REFERENCE}", *g) for name, g in diagnosis.differences.items()]
        caption = "Gain in rho, with the 95 % interval of a paired bootstrap over start states"
        tables.append(Table(caption, ("penalties", "gain", "from", "to"), gains))
    return tables


def write_diagnosis(run: SavedMOPORun, diagnosis: Diagnosis, folder: Path) -> Path:
    """Write metrics.json, plots and report.html into a folder; return the page."""
    metrics = {k: v if math.isfinite(v) else None for k, v in diagnosis.metrics.items()}
    with replacing(folder / "metrics.json") as temporary:
        temporary.write_text(json.dumps(metrics, indent=2) + "\n")
    figures = _figures(run, diagnosis)
    for name, (_, figure) in figures.items():
        save_figure(figure, folder / "plots" / f"{name}.png")
    page = folder / "report.html"
    write_report(
        page,
        title=f"Diagnosis: {run.name}",
        summary=_summary(run, diagnosis),
        notes=_notes(run),
        tables=[*diagnosis_tables(diagnosis), *_step_tables(diagnosis)],
        figures=list(figures.values()),
        config_text=dump_config(run.config),
        metrics=metrics,
    )
    return page


def _step_tables(diagnosis: Diagnosis) -> list[Table]:
    """Return the median errors by step and policy; a dash where no rollout got that far."""
    errors = {(e.policy, e.step): e for e in errors_by_step(diagnosis.errors)}
    policies = list(dict.fromkeys(policy for policy, _ in errors))
    captions = {"error": "of a step alone", "drift": "of all steps so far"}
    return [
        Table(
            f"Median error {caption}, in standard deviations of the data",
            ("step", *policies),
            [
                (step, *(getattr(errors.get((p, step)), column, None) for p in policies))
                for step in sorted({step for _, step in errors})
            ],
        )
        for column, caption in captions.items()
    ]


def _key(penalty: str, group: str, measure: str) -> str:
    return ".".join(part for part in (penalty, group, measure) if part)


def _summary(run: SavedMOPORun, diagnosis: Diagnosis) -> list[tuple[str, object]]:
    metrics = diagnosis.metrics
    shown = [
        name for name in ("total_std", "combination", "surprise") if f"{name}.spearman" in metrics
    ]
    return [
        ("data", run.data.info.name),
        ("start states", metrics["starts"]),
        ("steps measured", metrics["rows"]),
        *((f"rho of {name}", metrics[f"{name}.spearman"]) for name in shown),
    ]


def _notes(run: SavedMOPORun) -> list[str]:
    notes = [
        "The model is rolled out from states of held-out episodes; at each of its states the "
        "simulator is put into that state and tells what would truly have followed. The error "
        "is the distance of the elites' mean from that, in standard deviations of the data.",
        "clone: draws from the cloned policy; clone_noise: with N(0, .3²) of half the range of "
        "actions added; uniform: any action; policy: draws from the policy that the run reports.",
        "States with a velocity that the environment clips cannot be restored and are left out.",
        "Intervals are over start states, for this one model and this data.",
    ]
    if run.density is None:
        return [*notes, "There is no density model: only penalties of the ensemble are compared."]
    whose = "of the density model itself"
    if run.beside is not None:
        whose = "the larger of that of the rows and that of the path"
    notes.append(
        f"surprise is u, {whose}; density is u clipped to [0, cap], combination is total_std "
        f"times e^({run.config.penalty.weight:g} u)."
    )
    if run.density_run is not None:
        notes.append(
            f"The density model is that of {run.density_run}, calibrated on this run's held-out "
            "rows, not the run's own."
        )
    return notes


def _figures(run: SavedMOPORun, diagnosis: Diagnosis) -> dict[str, tuple[str, Figure]]:
    errors = diagnosis.errors
    rho = {n: r for n, r in rank_correlations(errors).items() if n not in TRIVIAL}
    probe = probe_of(run.config, run.data)
    figures = {
        "tracking": (
            "True errors of all steps in the order of each penalty, in 20 equal groups",
            diagnosis_plots.plot_tracking(errors, rho),
        ),
        "compounding": (
            "Median errors along the rollouts of each policy",
            diagnosis_plots.plot_errors_by_step(errors_by_step(errors)),
        ),
        "values": (
            "Mean Q on held-out data rows, beside what the data's own policy went on to earn",
            plot_values(run.history, probe.mean_return, probe.limit),
        ),
    }
    if diagnosis.embedded:
        figures["tsne"] = (
            "t-SNE of states, all sets together: what mixes with the data resembles it; "
            "distances mean nothing",
            diagnosis_plots.plot_embedding(diagnosis.embedded),
        )
    return figures
