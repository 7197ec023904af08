"""What scoring costs: in bfloat16, and with ever more rows."""

from dataclasses import asdict, dataclass
from functools import partial

import numpy as np
import torch

from benchmarks.cells import Bench, Cell, Result
from benchmarks.datasets import EpisodeSplit, episode_split, load_mujoco
from benchmarks.peers import DIM, SIZE
from benchmarks.scorers import Recipe
from benchmarks.tables import median_interval, show, table
from benchmarks.timing import interleaved, peak_memory
from gormpo_density import make_model

SUBJECT = "hopper_medium"


@dataclass(frozen=True)
class Scale:
    """How much is measured.

    Attributes:
        rounds: Of interleaved timings.
        max_train: Rows of hopper_medium that train the flow for two precisions.
        epochs: Of its training.
        growing: Numbers of rows scored, to see whether the cost of one is the same.
    """

    rounds: int = 15
    max_train: int = 40_000
    epochs: int = 10
    growing: tuple[int, ...] = (10_000, 100_000, 1_000_000)


QUICK = Scale(rounds=1, max_train=300, epochs=1, growing=(500, 1_000))


def report(bench: Bench) -> str:
    """Measure what is missing and return the tables."""
    scale = QUICK if bench.quick else Scale()
    split = episode_split(load_mujoco(bench.data_dir, SUBJECT), 0, scale.max_train)
    return f"{_precision(bench, scale, split)}\n\n{_growth(bench, scale)}"


def _precision(bench: Bench, scale: Scale, split: EpisodeSplit) -> str:
    recipe = Recipe.default("realnvp").but(SIZE, epochs=scale.epochs)
    settings = {**asdict(recipe), "max_train": scale.max_train, "rounds": scale.rounds}
    measure = partial(_compare_precisions, recipe, split, scale.rounds)
    result = bench.result(Cell("speed", "bfloat16", "realnvp"), settings, measure)
    pairs = zip(result["seconds"]["float32"], result["seconds"]["bfloat16"], strict=True)
    ratio = show(median_interval([full / half for full, half in pairs]), 2)
    errors = [f"{error:.4f}" for error in result["errors"]]
    title = (
        f"## bfloat16 nets\n\nA flow of equal size, trained on {SUBJECT} for {scale.epochs} "
        "epochs; errors of its log p on test rows in nats."
    )
    header = ["", "speed over float32", "median error", "99 %", "largest"]
    return f"{title}\n\n{table(header, [['realnvp', ratio, *errors]])}"


def _compare_precisions(recipe: Recipe, split: EpisodeSplit, rounds: int) -> Result:
    model, _ = recipe.train(split.train, split.val, 0)
    params = recipe.params | {"precision": "bfloat16"}
    twin = make_model("realnvp", input_dim=split.train.shape[1], **params)
    twin.restore(model.state_dict())
    models = {"float32": model, "bfloat16": twin}
    calls = {name: partial(m.score_samples, split.train) for name, m in models.items()}
    seconds = interleaved(calls, rounds)
    errors = np.abs(model.score_samples(split.test) - twin.score_samples(split.test))
    return {"seconds": seconds, "errors": np.quantile(errors, [0.5, 0.99, 1]).tolist()}


def _growth(bench: Bench, scale: Scale) -> str:
    recipe = Recipe.default("realnvp")
    settings = {"params": recipe.params, "growing": scale.growing, "rounds": scale.rounds}
    measure = partial(_score_ever_more, recipe, scale)
    result = bench.result(Cell("speed", "growth", "realnvp"), settings, measure)
    rows = []
    for n, values in result["seconds"].items():
        cost = show(median_interval([1e6 * value / int(n) for value in values]), 2)
        peak = result["peak"][n]
        rows.append([f"{int(n):,}", cost, "not measured" if peak is None else f"{peak:.0f}"])
    title = "## Cost of a row\n\nOur default flow; memory is what scoring adds to the rows' own."
    header = ["rows scored at once", "CPU us a row", "peak memory, MB"]
    return f"{title}\n\n{table(header, rows)}"


def _score_ever_more(recipe: Recipe, scale: Scale) -> Result:
    model = make_model("realnvp", input_dim=DIM, **recipe.params)
    model.is_fitted = True  # cost does not depend on the weights
    every = torch.randn(max(scale.growing), DIM, generator=torch.Generator().manual_seed(0))
    calls = {str(n): partial(model.score_samples, every[:n]) for n in scale.growing}
    seconds = interleaved(calls, scale.rounds)
    return {"seconds": seconds, "peak": {n: peak_memory(call) for n, call in calls.items()}}
