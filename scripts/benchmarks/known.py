"""Part "known": how far a model's log-density is from the true one, where that is known.

gap = mean(true log p - model's log p) on fresh rows: the Kullback-Leibler divergence for a
density, at least 0 up to noise, and at least that for a bound.
"""

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from benchmarks.cells import Bench, Cell, Result
from benchmarks.scorers import Recipe, Scorer, from_recipe
from benchmarks.tables import table
from gormpo_density.data.synthetic import (
    GaussianMixture,
    KnownDensity,
    LinearFactorModel,
    Ring,
    SineChain,
)

#: Gaps of a flow with [64, 64] from 20,000 rows, measured earlier with other code.
ANCHORS = {"ring": 0.03, "sine chain": 0.36, "factor model": 0.04}


@dataclass(frozen=True)
class Scale:
    """How much is measured: rows to train on, in all and for the small flow, and to test on."""

    rows: int = 50_000
    few_rows: int = 20_000
    test_rows: int = 50_000
    fit: dict[str, Any] = field(default_factory=dict)


QUICK = Scale(rows=300, few_rows=200, test_rows=300, fit={"epochs": 2})


def densities() -> dict[str, KnownDensity]:
    """Return the distributions, the same ones every time."""
    rng = np.random.default_rng(0)
    loadings = rng.normal(size=(6, 2))
    centres = rng.normal(scale=2.0, size=(8, 4))
    weights = np.full(len(centres), 1 / len(centres))
    return {
        "ring": Ring(),
        "sine chain": SineChain(),
        "factor model": LinearFactorModel(loadings, mean=np.zeros(6), noise=0.5),
        "mixture": GaussianMixture(weights, centres, scales=np.full(len(centres), 0.5)),
    }


def report(bench: Bench) -> str:
    """Measure what is missing and return the tables."""
    scale = QUICK if bench.quick else Scale()
    found = {
        (scorer.name, subject): bench.result(
            Cell("known", subject, scorer.name),
            _settings(scorer, density, n_rows, scale),
            partial(_gap, density, scorer, n_rows, scale.test_rows),
        )
        for subject, density in densities().items()
        for scorer, n_rows in _scorers(scale)
    }
    header = ["scorer", "rows", *(f"{name} (D = {d.dim})" for name, d in densities().items())]
    rows = [
        [scorer.name, f"{n:,}", *(_show(found[scorer.name, name]) for name in densities())]
        for scorer, n in _scorers(scale)
    ]
    anchors = [f"{ANCHORS[name]:.2f}" if name in ANCHORS else "" for name in densities()]
    earlier = ["(earlier) flow, 64x64", "20,000", *anchors]
    title = (
        f"Mean gap to the true log-density in nats +- half of its 95 % interval over "
        f"{scale.test_rows:,} fresh rows. A tenth of the rows validates."
    )
    return f"{title}\n\n{table(header, [*rows, earlier])}"


def _scorers(scale: Scale) -> list[tuple[Scorer, int]]:
    """Return each scorer with its number of rows: defaults, the small flow, and baselines."""
    small = Recipe.default("realnvp").but({"hidden_dims": [64, 64]}, **scale.fit)
    gaussian = Recipe.default("gmm").but({"n_components": 1, "reg_covar": 1e-6})
    models = {
        "realnvp": (Recipe.default("realnvp").but(**scale.fit), scale.rows),
        "realnvp 64x64": (small, scale.few_rows),
        "vae bound": (Recipe.default("vae").but(**scale.fit), scale.rows),
        "gmm": (Recipe.default("gmm"), scale.rows),
        "kde": (Recipe.default("kde"), scale.rows),
        "one Gaussian": (gaussian, scale.rows),
    }
    return [(from_recipe(name, recipe), n_rows) for name, (recipe, n_rows) in models.items()]


def _settings(scorer: Scorer, density: KnownDensity, n_rows: int, scale: Scale) -> dict[str, Any]:
    sizes = {"rows": n_rows, "test_rows": scale.test_rows}
    values = {k: np.asarray(v).tolist() for k, v in vars(density).items()}
    return {**scorer.settings, **sizes, "density": values}


def _gap(density: KnownDensity, scorer: Scorer, n_rows: int, n_test: int) -> Result:
    rng = np.random.default_rng(0)
    rows = density.sample(n_rows, rng).astype(np.float32)
    test = density.sample(n_test, rng).astype(np.float32)
    n_val = n_rows // 10
    (score,) = scorer.fit(rows[n_val:], rows[:n_val], 0).values()
    gaps = density.log_prob(test) - score(test)
    return {"gap": float(gaps.mean()), "standard_error": float(gaps.std() / len(gaps) ** 0.5)}


def _show(result: Result) -> str:
    return f"{result['gap']:.3f} +- {1.96 * result['standard_error']:.3f}"
