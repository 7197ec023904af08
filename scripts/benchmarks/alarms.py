"""Part "alarms": how many normal rows are flagged when 5 % were promised.

Half of the normal rows of a tabular set train (a tenth of them for validation), a quarter
calibrates, a quarter is counted, over random splits. Conformal thresholds promise that the rate,
given the calibration rows, is Beta(k, n + 1 - k) distributed with k = floor(alpha (n + 1)); the
quantile of the training scores, for contrast, promises nothing.
"""

from dataclasses import dataclass
from functools import partial
from statistics import fmean

import numpy as np
import torch

from benchmarks.cells import Bench, Cell, Result
from benchmarks.datasets import LabelledRows, load_adbench
from benchmarks.scorers import Recipe, Scorer, baselines, from_recipe
from benchmarks.tables import show, table
from gormpo_density import Calibration
from gormpo_density.aggregate import mean_interval
from gormpo_density.metrics import conformal_interval

ALPHA = 0.05
LEAST_CALIBRATION_ROWS = 100


@dataclass(frozen=True)
class Scale:
    """How much is measured: splits and the training of the flow, small as it may be here."""

    splits: int = 20
    epochs: int = 30


QUICK = Scale(splits=2, epochs=1)


def report(bench: Bench) -> str:
    """Measure what is missing and return the tables."""
    scale = QUICK if bench.quick else Scale()
    scorers = _scorers(scale)
    rows = []
    for subject, data in load_adbench(bench.data_dir).items():
        n = len(data.normal) // 4
        if n < LEAST_CALIBRATION_ROWS:
            continue
        for scorer in scorers:
            results = [
                bench.result(
                    Cell("alarms", subject, scorer.name, seed),
                    {"alpha": ALPHA, **scorer.settings},
                    partial(_count, scorer, data, seed),
                )
                for seed in range(scale.splits)
            ]
            rows.append(_row(subject, n, scorer.name, results))
    header = [
        *("set", "calibration rows", "Beta's 95 %", "scorer"),
        *("conformal", "inside", "training quantile"),
    ]
    title = (
        f"Share of normal rows flagged at alpha = {ALPHA:.0%}, in %: mean over {scale.splits} "
        "splits with its 95 % interval (Student's), beside the central 95 % of the Beta law for "
        "a single split. `constant` flags nothing: no row is below a tied threshold."
    )
    return f"{title}\n\n{table(header, rows)}"


def _scorers(scale: Scale) -> list[Scorer]:
    flow = Recipe.default("realnvp").but(
        {"num_layers": 4, "hidden_dims": [32, 32]}, epochs=scale.epochs, batch_size=64
    )
    mixture = Recipe.default("gmm").but({"n_components": 4, "reg_covar": 1e-3})
    trivial = [scorer for scorer in baselines() if scorer.name in ("random", "constant")]
    return [from_recipe("gmm", mixture), from_recipe("realnvp", flow), *trivial]


def _count(scorer: Scorer, data: LabelledRows, seed: int) -> Result:
    rows = data.normal[np.random.default_rng(seed).permutation(len(data.normal))]
    quarter = len(rows) // 4
    cal, test, fitted = rows[:quarter], rows[quarter : 2 * quarter], rows[2 * quarter :]
    n_val = len(fitted) // 10
    train, val = fitted[n_val:], fitted[:n_val]
    (score,) = scorer.fit(train, val, seed).values()
    conformal = Calibration.from_scores(torch.as_tensor(score(cal)), ALPHA).threshold
    found = score(test)
    return {
        "conformal": float(np.mean(found < conformal)),
        "training": float(np.mean(found < np.quantile(score(train), ALPHA))),
    }


def _row(subject: str, n: int, name: str, results: list[Result]) -> list[str]:
    low, high = conformal_interval(n, ALPHA)
    conformal, training = ([r[key] for r in results] for key in ("conformal", "training"))
    return [
        *(subject, str(n), f"{100 * low:.1f} to {100 * high:.1f}", name),
        show(mean_interval(conformal), 1, 100),
        "yes" if low <= fmean(conformal) <= high else "no",
        show(mean_interval(training), 1, 100),
    ]
