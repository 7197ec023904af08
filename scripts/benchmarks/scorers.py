"""What is measured: models of the library, each a recipe of plain values, and trivial scorers."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.datasets import Rows
from gormpo_density import DensityModel, make_model
from gormpo_density.config import load_config
from gormpo_density.fitting import History

Scores = NDArray[np.floating[Any]]
ScoreFunction = Callable[[Rows], Scores]
OnEpoch = Callable[[int, dict[str, float]], None]


@dataclass(frozen=True)
class Recipe:
    """A model of the library and how it is fitted.

    Attributes:
        model: Its name.
        params: All its parameters but input_dim.
        fit: All options of its `fit` but the seed.
    """

    model: str
    params: dict[str, Any]
    fit: dict[str, Any]

    @classmethod
    def default(cls, model: str, config: str | None = None) -> "Recipe":
        """Take every default, or what a shipped configuration says, as the command line does."""
        named_data = () if config else ("data.data_path=rows.npz",)  # it must be named, not there
        resolved = load_config(config, named_data, model=model)
        return cls(model, resolved.model.params, dict(resolved.fit))

    def but(self, params: dict[str, Any] | None = None, **fit: Any) -> "Recipe":
        """Change some parameters and some options of `fit`."""
        return Recipe(self.model, self.params | (params or {}), self.fit | fit)

    def times(self, k: int) -> "Recipe":
        """Return an ensemble of k such models."""
        return Recipe("ensemble", {"model": {"name": self.model, **self.params}, "k": k}, self.fit)

    def train(
        self, train: Rows, val: Rows, seed: int, on_epoch: OnEpoch | None = None
    ) -> tuple[DensityModel, History]:
        """Fit a new model; return it with its history."""
        model = make_model(self.model, input_dim=train.shape[1], **self.params)
        return model, model.fit(train, val, **self.fit, seed=seed, on_epoch=on_epoch)


@dataclass(frozen=True)
class Scorer:
    """One row of a table, or several that share a fit.

    Attributes:
        name: Of the cell.
        fit: Training rows, validation rows and seed -> score functions by name in the table;
            higher is more normal.
        settings: What decides the result, as plain values.
    """

    name: str
    fit: Callable[[Rows, Rows, int], dict[str, ScoreFunction]]
    settings: dict[str, Any] = field(default_factory=dict)


def from_recipe(name: str, recipe: Recipe, scores: Sequence[str] = ()) -> Scorer:
    """Return the scorer of a recipe, by its default score or by several named ones."""

    def fit(train: Rows, val: Rows, seed: int) -> dict[str, ScoreFunction]:
        model, _ = recipe.train(train, val, seed)
        named: dict[str, ScoreFunction] = {
            f"{name} {s}": _score_function(model, s) for s in scores
        }
        return named or {name: model.score_samples}

    return Scorer(name, fit, {**asdict(recipe), "scores": list(scores)})


def _score_function(model: DensityModel, score: str) -> ScoreFunction:
    return lambda rows: model.score_samples(rows, score)


def nearest_neighbours() -> Scorer:
    """Return kNN on training and validation rows alike: it has nothing to choose by the latter."""
    recipe = Recipe.default("knn")

    def fit(train: Rows, val: Rows, seed: int) -> dict[str, ScoreFunction]:
        model, _ = recipe.train(np.concatenate([train, val]), val, seed)
        return {"knn": model.score_samples}

    return Scorer("knn", fit, asdict(recipe))


def baselines() -> list[Scorer]:
    """Return the scorers that need no gradient: two trivial ones and three classical ones."""
    classical = [from_recipe(name, Recipe.default(name)) for name in ("kde", "gmm")]
    trivial = [Scorer("random", _fit_random), Scorer("constant", _fit_constant)]
    return [*trivial, *classical, nearest_neighbours()]


def _fit_random(train: Rows, val: Rows, seed: int) -> dict[str, ScoreFunction]:
    rng = np.random.default_rng(seed)
    return {"random": lambda rows: rng.random(len(rows))}


def _fit_constant(train: Rows, val: Rows, seed: int) -> dict[str, ScoreFunction]:
    return {"constant": lambda rows: np.zeros(len(rows))}
