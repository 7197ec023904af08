"""Part "adbench": anomaly detection on tabular sets, from normal rows only.

A random half of the normal rows trains (a tenth of it for validation), the other half and all
anomalies are the test. What a learned model is tuned by is its loss on the validation rows, which
are normal and clean; labels choose nothing.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from statistics import fmean
from typing import Any

import torch

from benchmarks import peers
from benchmarks.cells import Bench, Cell, Result
from benchmarks.datasets import LabelledRows, OneClassSplit, load_adbench, one_class_split
from benchmarks.scorers import Recipe, Scorer, baselines
from benchmarks.tables import show, table
from gormpo_density import DensityModel, Ensemble
from gormpo_density.aggregate import mean_interval
from gormpo_density.metrics import detection_metrics


@dataclass(frozen=True)
class Scale:
    """How much is measured: splits, rows, and what the learned models are chosen from."""

    seeds: tuple[int, ...] = (0, 1, 2)
    max_train: int = 10_000
    epochs: int = 150
    patience: int = 30
    noises: tuple[float, ...] = (0.1, 0.2, 0.4)
    members: int = 3


QUICK = Scale(seeds=(0, 1), max_train=200, epochs=2, noises=(0.1, 0.2), members=2)
METRICS = ("roc_auc", "pr_auc")
PARAMS: dict[str, dict[str, Any]] = {"realnvp": {"hidden_dims": [64, 64]}, "vae": {}}
#: Means over the same 12 sets, AUROC / AUPRC, measured earlier with other code.
ANCHORS = {
    "KDE": (95.9, 83.7),
    "kNN": (95.6, 81.7),
    "VAE, ELBO": (94.7, 77.3),
    "RealNVP x3 with noise": (94.3, 78.1),
    "GMM": (94.1, 78.9),
    "RealNVP": (93.7, 75.7),
    "pyod.VAE": (91.8, 70.8),
}

#: Result of each cell by set, scorer and seed.
Found = dict[str, dict[str, list[Result]]]


def report(bench: Bench) -> str:
    """Measure what is missing and return the tables."""
    scale = QUICK if bench.quick else Scale()
    missing = peers.missing("pyod")
    found: Found = {}
    choices: dict[str, dict[str, float]] = {}
    for subject, data in load_adbench(bench.data_dir).items():
        recipes = {model: _choose(bench, scale, subject, data, model) for model in PARAMS}
        choices[subject] = {model: recipe.fit["noise"] for model, recipe in recipes.items()}
        found[subject] = {}
        for seed in scale.seeds:
            for name, result in _measure(bench, scale, subject, data, seed, recipes).items():
                found[subject].setdefault(name, []).append(result)
    notes = [f"Not installed, so not measured: {missing}."] if missing else []
    per_set = [_table_of_sets(found, metric) for metric in METRICS]
    return "\n\n".join([_summary(found, scale), *notes, *per_set, _choices(choices)])


def _choose(bench: Bench, scale: Scale, subject: str, data: LabelledRows, model: str) -> Recipe:
    """Return the recipe under which the first split's validation rows are likeliest."""
    seed = scale.seeds[0]
    split = one_class_split(data, seed, scale.max_train)
    grid = _grid(model, len(split.train), scale)

    def losses() -> Result:
        histories = [recipe.train(split.train, split.val, seed)[1] for recipe in grid]
        return {"val_losses": [min(history["val_loss"]) for history in histories]}

    settings = {"max_train": scale.max_train, "grid": [asdict(recipe) for recipe in grid]}
    cell = Cell("adbench", subject, f"choice of {model}", seed)
    measured: list[float] = bench.result(cell, settings, losses)["val_losses"]
    return grid[measured.index(min(measured))]


def _measure(
    bench: Bench,
    scale: Scale,
    subject: str,
    data: LabelledRows,
    seed: int,
    recipes: Mapping[str, Recipe],
) -> dict[str, Result]:
    """Return the result of every scorer on one split of one set."""
    split = one_class_split(data, seed, scale.max_train)

    def result(name: str, settings: dict[str, Any], measure: Callable[[], Result]) -> Result:
        settings = {"max_train": scale.max_train, **settings}
        return bench.result(Cell("adbench", subject, name, seed), settings, measure)

    results = {
        scorer.name: result(scorer.name, scorer.settings, partial(_detect, scorer, split, seed))
        for scorer in [*baselines(), *peers.pyod_scorers()]
    }
    for model, recipe in recipes.items():
        several = recipe.times(scale.members)
        measured = result(model, asdict(several), partial(_detect_members, several, split, seed))
        results |= {model: measured["one"], f"{model} x{scale.members}": measured["all"]}
    return results


def _grid(model: str, n_rows: int, scale: Scale) -> list[Recipe]:
    """Return what a learned model is chosen from: amounts of noise on the training rows."""
    batch_size = min(256, max(16, n_rows // 20))
    fit = {"epochs": scale.epochs, "patience": scale.patience}
    recipe = Recipe.default(model).but(PARAMS[model], batch_size=batch_size, **fit)
    return [recipe.but(noise=noise) for noise in scale.noises]


def _detect(scorer: Scorer, split: OneClassSplit, seed: int) -> Result:
    (score,) = scorer.fit(split.train, split.val, seed).values()
    return {**detection_metrics(score(split.test_normal), score(split.test_anomaly))}


def _detect_members(several: Recipe, split: OneClassSplit, seed: int) -> Result:
    """Measure an ensemble, and its first member alone: a model of its own, at no more cost."""
    ensemble, _ = several.train(split.train, split.val, seed)
    assert isinstance(ensemble, Ensemble)
    first = ensemble.members[0]
    assert isinstance(first, DensityModel)
    standardised = (
        ensemble.standardizer(torch.from_numpy(rows))
        for rows in (split.test_normal, split.test_anomaly)
    )
    return {
        "one": detection_metrics(*(first.score_samples(rows.numpy()) for rows in standardised)),
        "all": detection_metrics(
            *(ensemble.score_samples(rows) for rows in (split.test_normal, split.test_anomaly))
        ),
    }


def _summary(found: Found, scale: Scale) -> str:
    """Mean over the sets of each split, its mean over splits, and the same minus KDE's."""
    means = {
        (name, metric): [
            fmean(results[name][i][metric] for results in found.values())
            for i in range(len(scale.seeds))
        ]
        for name in next(iter(found.values()))
        for metric in METRICS
    }
    rows = []
    for name in sorted(next(iter(found.values())), key=lambda n: -fmean(means[n, "roc_auc"])):
        cells = [show(mean_interval(means[name, metric]), 1, 100) for metric in METRICS]
        for metric in METRICS:
            pairs = zip(means[name, metric], means["kde", metric], strict=True)
            cells.append(show(mean_interval([own - kde for own, kde in pairs]), 1, 100))
        rows.append([name, *cells])
    anchors = [[f"(earlier) {k}", str(v[0]), str(v[1]), "", ""] for k, v in ANCHORS.items()]
    title = (
        f"Mean over {len(found)} sets and {len(scale.seeds)} splits, x100, with the 95 % interval "
        "over splits (Student's)."
    )
    header = ["scorer", "AUROC", "AUPRC", "AUROC minus KDE's", "AUPRC minus KDE's"]
    return f"{title}\n\n{table(header, rows + anchors)}"


def _table_of_sets(found: Found, metric: str) -> str:
    names = list(next(iter(found.values())))
    rows = [
        [name, *(f"{100 * fmean(r[metric] for r in of[name]):.1f}" for of in found.values())]
        for name in names
    ]
    return f"{metric} x100 by set, mean over splits.\n\n{table(['scorer', *found], rows)}"


def _choices(choices: Mapping[str, Mapping[str, float]]) -> str:
    """Return the amount of noise chosen, by set."""
    rows = [[model, *(f"{of[model]:g}" for of in choices.values())] for model in PARAMS]
    title = "Input noise chosen by the loss of the first split's validation rows."
    return f"{title}\n\n{table(['model', *choices], rows)}"
