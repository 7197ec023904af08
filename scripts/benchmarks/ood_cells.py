"""Measuring one scorer on one split of MuJoCo transitions, and two against each other."""

import base64
import time
from dataclasses import dataclass, field
from functools import cached_property, partial
from statistics import median
from typing import Any

import numpy as np

from benchmarks import gormpo
from benchmarks.cells import Bench, Cell, Result
from benchmarks.datasets import EpisodeSplit, Level, episode_labels
from benchmarks.scorers import Recipe, ScoreFunction, Scorer, Scores, baselines, from_recipe
from benchmarks.timing import interleaved
from gormpo_density.metrics import (
    Interval,
    PairedScores,
    detection_metrics,
    episode_bootstrap_interval,
)


@dataclass(frozen=True)
class Scale:
    """How much is measured: splits, rows and epochs."""

    seeds: tuple[int, ...] = (0, 1, 2)
    max_train: int = 40_000
    max_held_out: int = 5_000
    level_rows: int = 3_000
    fit: dict[str, Any] = field(default_factory=dict)
    vae_epochs: int = 40
    flow_epochs: int = 25
    resamples: int = 1000


QUICK = Scale(
    seeds=(0,), max_train=300, max_held_out=200, level_rows=100, fit={"epochs": 1},
    vae_epochs=1, flow_epochs=1, resamples=50,
)  # fmt: skip
DEFAULT = "realnvp"


@dataclass(frozen=True)
class Subject:
    """A data set to model.

    Attributes:
        config: The shipped configuration whose number of epochs is used.
        others: Data sets whose rows are foreign.
        latent_dim: Of the ancestor's VAE.
        anchors: Mean AUROC over these very sets on split 0, measured earlier with other code.
        separable: AUROC of a classifier told the corruption; above it, look for a leak.
    """

    config: str
    others: tuple[str, ...]
    latent_dim: int
    anchors: dict[str, float]
    separable: dict[str, float]


SUBJECTS = {
    "hopper_medium": Subject(
        config="hopper.yaml",
        others=("hopper_random", "hopper_expert", "hopper_mixed"),
        latent_dim=8,
        anchors={
            **{"RealNVP": 94.6, "GORMPO RealNVP": 93.7, "kNN": 91.8, "GMM": 91.1},
            **{"VAE, ELBO": 90.3, "KDE": 85.9, "GORMPO VAE": 78.8},
        },
        separable={
            **{"obs0.25": 99.5, "act0.25": 79.6, "act0.5": 91.7, "both0.25": 99.5},
            **{"actclip0.5": 79.7, "perm": 93.2, "unif": 95.8},
        },
    ),
    "halfcheetah_medium": Subject(
        config="halfcheetah.yaml",
        others=("halfcheetah_random", "halfcheetah_expert"),
        latent_dim=10,
        anchors={
            **{"RealNVP": 99.5, "GORMPO RealNVP": 99.5, "GMM": 99.3, "VAE, ELBO": 98.2},
            **{"kNN": 97.1, "KDE": 91.2, "GORMPO VAE": 90.1},
        },
        separable={
            **{"obs0.25": 99.9, "act0.25": 99.9, "act0.5": 100.0, "both0.25": 99.9},
            **{"actclip0.5": 99.5, "perm": 97.8, "unif": 100.0},
        },
    ),
}


@dataclass(frozen=True, eq=False)
class Task:
    """One split of a data set, and its out-of-distribution rows by name."""

    subject: str
    seed: int
    split: EpisodeSplit
    levels: dict[str, Level]


@dataclass(frozen=True, eq=False)
class Measured:
    """Scores of one scorer in one task, of the test rows and by level, and what they cost."""

    test: Scores
    levels: dict[str, Scores]
    us_per_row: float
    fit_seconds: float

    @cached_property
    def aurocs(self) -> dict[str, float]:
        """AUROC of each level."""
        found = {n: detection_metrics(self.test, scores) for n, scores in self.levels.items()}
        return {name: metrics["roc_auc"] for name, metrics in found.items()}


def scorers(subject: Subject, scale: Scale) -> list[Scorer]:
    """Return our models at their defaults, the baselines, and the ancestor's models."""
    return [
        *baselines(),
        _ours(DEFAULT, subject, scale),
        _ours("vae", subject, scale, "elbo", "iwae", "reconstruction"),
        *gormpo.scorers(subject.latent_dim, scale.vae_epochs, scale.flow_epochs),
    ]


def slow_scorers(subject: Subject, scale: Scale) -> list[Scorer]:
    """Return the models that take longest to fit or to score, beside the default one."""
    return [_ours(model, subject, scale) for model in (DEFAULT, "cnf", "diffusion")]


def _ours(model: str, subject: Subject, scale: Scale, *scores: str) -> Scorer:
    return from_recipe(model, Recipe.default(model, subject.config).but(**scale.fit), scores)


def measure(bench: Bench, task: Task, scorer: Scorer) -> dict[str, Measured]:
    """Return what each score of a scorer is worth in a task."""
    sizes = {name: len(level.rows) for name, level in task.levels.items()}
    rows = {"train": len(task.split.train), "test": len(task.split.test), **sizes}
    cell = Cell("ood", task.subject, scorer.name, task.seed)
    settings = {**scorer.settings, "rows": rows}
    result = bench.result(cell, settings, partial(_fit_and_score, scorer, task))
    return {
        key: Measured(
            _unpacked(stored["test"]),
            {level: _unpacked(text) for level, text in stored["levels"].items()},
            stored["us_per_row"],
            stored["fit_seconds"],
        )
        for key, stored in result.items()
    }


def _fit_and_score(scorer: Scorer, task: Task) -> Result:
    start = time.process_time()
    fitted = scorer.fit(task.split.train, task.split.val, task.seed)
    seconds = {"fit_seconds": time.process_time() - start}
    return {name: _score_all(score, task) | seconds for name, score in fitted.items()}


def _score_all(score: ScoreFunction, task: Task) -> Result:
    seconds = interleaved({"score": lambda: score(task.split.test)}, rounds=5)["score"]
    return {
        "test": _packed(score(task.split.test)),
        "levels": {name: _packed(score(level.rows)) for name, level in task.levels.items()},
        "us_per_row": 1e6 * median(seconds) / len(task.split.test),
    }


def _packed(scores: Scores) -> str:
    """Return scores as text that loses nothing of float32."""
    return base64.b64encode(scores.astype("<f4").tobytes()).decode("ascii")


def _unpacked(text: str) -> Scores:
    return np.frombuffer(base64.b64decode(text), dtype="<f4")


def difference(first: Measured, second: Measured, task: Task, n_resamples: int) -> Interval:
    """Return mean AUROC of the first scorer minus the second's, resampling episodes."""
    normal = PairedScores(first.test, second.test, episode_labels(task.split))
    pairs = [
        PairedScores(first.levels[name], second.levels[name], level.episodes)
        for name, level in task.levels.items()
    ]
    rng = np.random.default_rng(0)
    return episode_bootstrap_interval(normal, pairs, rng, n_resamples=n_resamples)
