"""Part "power_converter": which score finds which fault, from invisible to easy ones.

The package simulates windows of 100 steps (voltage, current, temperature): 1,200 normal ones to
learn from, 1,260 normal ones and 180 with each fault to judge. Severity scales the faults and
changes nothing else, so one fit judges all severities, and the normal windows stay the same. All
AUCs are of one fault's windows against the normal ones.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np

from benchmarks.cells import Bench, Cell, Result
from benchmarks.detection.methods import Method, Setting, baseline, fitted, judge
from benchmarks.detection.rows import Metrics, interval
from benchmarks.tables import show, table
from gormpo_density.metrics import Interval
from gormpo_density.plots import plot_severity, save_figure
from gormpo_density.timeseries.metrics import collection_metrics
from gormpo_density.timeseries.series import NORMAL, Collection
from gormpo_density.timeseries.simulate import PowerConverterConfig, simulate_power_converter
from gormpo_density.timeseries.simulate.power_converter import ANOMALIES

#: The first three are those of the power-converter VAE that went before.
SCORES = ("reconstruction", "latent_euclidean", "latent_mahalanobis", "elbo")
SHIPPED = "vae, 8 latents"
METRICS = {"roc_auc": "ROC-AUC", "pr_auc": "PR-AUC"}


@dataclass(frozen=True)
class Scale:
    """How much is measured."""

    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    severities: tuple[float, ...] = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0)
    num_samples: int = 3000
    train_share: float = 0.4
    epochs: int = 100


QUICK = Scale((0, 1), (0.0, 1.0), 120, 0.4, 2)

#: Metrics of every seed, by row, fault and severity.
Found = dict[str, dict[str, dict[float, list[Metrics]]]]


def report(bench: Bench) -> str:
    """Measure what is missing, draw the sweep and return the tables."""
    scale = QUICK if bench.quick else Scale()
    found: Found = {}
    for method in methods(scale):
        for seed in scale.seeds:
            _collect(found, _measure(bench, scale, method, seed))
    _draw(found, scale, bench)
    tables = [_table(found, scale, kind, metric) for metric in METRICS for kind in ANOMALIES]
    picture = "![ROC-AUC by severity](power_converter.png)"
    return "\n\n".join([_intro(scale), picture, _winners(found, scale), *tables])


def methods(scale: Scale) -> list[Method]:
    """Return the VAE of the ancestor's size, that of `power_converter.yaml`, and baselines."""
    fit = {"epochs": scale.epochs}
    return [
        Method(SHIPPED, {"name": "vae", "latent_dim": 8}, fit, SCORES),
        Method("vae, 2 latents", {"name": "vae", "latent_dim": 2}, fit, SCORES),
        baseline("pca", "Sub-PCA"),
        baseline("t2_q", "T2 + Q (PCA)"),
        baseline("nearest", "1-NN"),
        baseline("zscore", "max abs z"),
        *map(baseline, ("random", "constant")),
    ]


def _measure(bench: Bench, scale: Scale, method: Method, seed: int) -> Result:
    setting = Setting({"alpha": 0.01})
    configs = [_config(scale, severity) for severity in scale.severities]
    settings = {**asdict(method), **asdict(setting), "data": [c.model_dump() for c in configs]}
    cell = Cell("power_converter", "all", method.name, seed)
    return bench.result(cell, settings, partial(_measured, method, setting, configs, seed))


def _config(scale: Scale, severity: float) -> PowerConverterConfig:
    return PowerConverterConfig(
        num_samples=scale.num_samples, train_share=scale.train_share, severity=severity
    )


def _measured(
    method: Method, setting: Setting, configs: list[PowerConverterConfig], seed: int
) -> Result:
    detector = fitted(method, setting, simulate_power_converter(configs[0], seed), seed)
    found: dict[str, Any] = {}
    for config in configs:
        data = simulate_power_converter(config, seed)
        for row, score in method.rows(detector).items():
            scores = judge(detector, data, score).anomaly_score
            found.setdefault(row, {})[str(config.severity)] = _by_fault(data, scores)
    return found


def _by_fault(data: Collection, scores: np.ndarray[Any, Any]) -> dict[str, dict[str, float]]:
    """Return the AUCs of each fault's windows against the normal ones."""
    assert data.classes is not None
    classes = data.classes[data.test]
    found = {}
    for kind in ANOMALIES:
        compared = (classes == NORMAL) | (classes == kind)
        metrics = collection_metrics(classes[compared] == kind, scores[compared])
        found[kind] = {name: metrics[name] for name in METRICS}
    return found


def _collect(found: Found, result: Result) -> None:
    for row, of_severity in result.items():
        for severity, of_kind in of_severity.items():
            for kind, metrics in of_kind.items():
                runs = found.setdefault(row, {}).setdefault(kind, {})
                runs.setdefault(float(severity), []).append(metrics)


def _intro(scale: Scale) -> str:
    n_train = round(scale.num_samples * scale.train_share)
    return (
        f"Mean over {len(scale.seeds)} seeds (of the simulation and of the fit) with the 95 % "
        f"interval (Student's); {n_train:,} normal windows to learn from. At severity 0 there is "
        "nothing to find: all scores should be at chance there."
    )


def _winners(found: Found, scale: Scale) -> str:
    """Tell the best of all rows by ROC-AUC, for each fault and severity."""
    rows = []
    for kind in ANOMALIES:
        cells = []
        for severity in scale.severities[1:]:
            means: Mapping[str, Interval] = {
                row: interval(of[kind][severity], "roc_auc") for row, of in found.items()
            }
            best = max(means, key=lambda row: means[row].estimate)
            cells.append(f"{best} ({means[best].estimate:.3f})")
        rows.append([kind, *cells])
    header = ["best ROC-AUC by fault", *(f"severity {s:g}" for s in scale.severities[1:])]
    return table(header, rows)


def _table(found: Found, scale: Scale, kind: str, metric: str) -> str:
    rows = [
        [row, *(show(interval(of[kind][s], metric), 3) for s in scale.severities)]
        for row, of in found.items()
    ]
    header = ["score", *(f"severity {s:g}" for s in scale.severities)]
    return f"## {kind}, {METRICS[metric]}\n\n{table(header, rows)}"


def _draw(found: Found, scale: Scale, bench: Bench) -> None:
    """Draw the scores of the VAE of the shipped configuration, and two baselines."""
    shown = {score: f"{SHIPPED}, {score}" for score in SCORES} | {
        "1-NN": "1-NN",
        "max abs z": "max abs z",
    }
    panels = {
        kind: {
            label: {s: interval(found[row][kind][s], "roc_auc") for s in scale.severities}
            for label, row in shown.items()
        }
        for kind in ANOMALIES
    }
    figure = plot_severity(panels, "ROC-AUC", chance=0.5)
    save_figure(figure, bench.out / "power_converter.png")
