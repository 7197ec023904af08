"""Write tests/golden/scores.json: scores of seeded models, which change only on purpose.

    python scripts/make_golden.py

Run it when a change of numbers is meant, and give the reason in the commit.
"""

import json
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gormpo_density import SequenceModel, available_models, make_model
from gormpo_density.registry import model_class

PATH = Path(__file__).parents[1] / "tests" / "golden" / "scores.json"
SEED = 0
FIT = {"epochs": 3, "batch_size": 64, "seed": SEED}
PACKAGES = ("torch", "numpy", "scikit-learn")

Golden = dict[str, dict[str, list[float]]]


def make_rows() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return 300 training rows of three dependent features, and five rows ever further off."""
    noise = np.random.default_rng(SEED).normal(size=(300, 3))
    train = np.stack([noise[:, 0], noise[:, 0] ** 2 + noise[:, 1], 10 + noise[:, 2]], axis=1)
    scored = train.mean(0) + np.array([[0.0], [0.5], [-1.0], [2.0], [5.0]]) * train.std(0)
    return train, scored


def golden_scores(name: str) -> dict[str, list[float]]:
    """Fit the model called `name` with its default parameters; return each of its scores.

    To a sequence model the features are the steps of a sequence.
    """
    train, scored = make_rows()
    if issubclass(model_class(name), SequenceModel):
        train, scored = train[..., None], scored[..., None]
    shape = train.shape[1:]
    model = make_model(name, input_dim=shape if len(shape) > 1 else shape[0])
    model.fit(train, **FIT)
    return {s: model.score_samples(scored, s).round(4).tolist() for s in model.scores}


def largest_change(old: Golden, new: Golden, name: str) -> str:
    """Say how far a model's scores moved."""
    if name not in old or old[name].keys() != new[name].keys():
        return "new scores"
    change = max(np.abs(np.subtract(old[name][s], new[name][s])).max() for s in new[name])
    return f"largest change {change:.3g}"


def main() -> None:
    """Write the file anew and print what has changed."""
    old: dict[str, Any] = json.loads(PATH.read_text()) if PATH.exists() else {"scores": {}}
    scores = {name: golden_scores(name) for name in available_models()}
    content = {
        "seed": SEED,
        "fit": FIT,
        "tolerance": {"rtol": 1e-3, "atol": 5e-3},
        "versions": {"python": platform.python_version()} | {p: version(p) for p in PACKAGES},
        "scores": scores,
    }
    PATH.write_text(json.dumps(content, indent=1) + "\n")
    for name in scores:
        print(f"{name}: {largest_change(old['scores'], scores, name)}")


if __name__ == "__main__":
    main()
