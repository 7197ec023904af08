"""Everything that an augmentation run found, and the numbers of it that are kept."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gormpo_density.augmentation.augmenter import Augmented
from gormpo_density.augmenting.config import AugmentConfig
from gormpo_density.augmenting.data import AugmentData
from gormpo_density.augmenting.evaluation import ArmResult, accuracy_metrics
from gormpo_density.augmenting.training import model_rows, reconstruction_error
from gormpo_density.base import LatentModel
from gormpo_density.fitting import History
from gormpo_density.timeseries.series import Values


@dataclass(frozen=True, eq=False)
class AugmentResults:
    """What a run found.

    Attributes:
        model: The latent model.
        history: Its curves; empty where it was trained by another run.
        fit_seconds: That training it took.
        drawn: One draw of synthetic rows (m, T, D) of each arm that makes some.
        arms: Measured, in order.
        floors: Simple classifiers beside them.
    """

    model: LatentModel
    history: History
    fit_seconds: float
    drawn: dict[str, Augmented] = field(default_factory=dict)
    arms: dict[str, ArmResult] = field(default_factory=dict)
    floors: dict[str, ArmResult] = field(default_factory=dict)

    def scores(self, x: Values) -> Values:
        """Return the default score of series (n, T, D) under the latent model, (n,)."""
        scores = self.model.score_samples(model_rows(self.model, x))
        return np.asarray(scores, dtype=np.float64)


def metrics_of(
    config: AugmentConfig, data: AugmentData, results: AugmentResults
) -> dict[str, Any]:
    """Return what was run on what, and what came out, flat, as in metrics.json."""
    source, model = data.source, results.model
    metrics: dict[str, Any] = {
        "dataset": source.name,
        "dataset_requested": data.requested or source.name,
        "classes": list(source.classes),
        "steps": data.shape[0],
        "channels": data.shape[1],
        "train_rows": len(source.train_x),
        "test_rows": len(source.test_x),
        "scale": config.data.scale,
        "model": config.model.name,
        "score_kind": model.score_kind,
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "seed": config.seed,
        **{
            f"reconstruction_error_{part}": reconstruction_error(model, x)
            for part, x in (("train", source.train_x), ("test", source.test_x))
        },
    }
    if results.arms:
        metrics |= {"classifier": config.classifier.name, "interval": "wilson 95 %, test rows"}
    metrics |= accuracy_metrics(results.arms, source.test_y)
    metrics |= accuracy_metrics(results.floors, source.test_y, "floor.")
    metrics["test_score_median"] = float(np.median(results.scores(source.test_x)))
    for name, drawn in results.drawn.items():
        metrics[f"{name}.synthetic_rows"] = len(drawn.y)
        metrics[f"{name}.rejected"] = drawn.rejected
        metrics[f"{name}.score_median"] = float(np.median(results.scores(drawn.x)))
    for name, arm in results.arms.items():
        metrics |= {f"{name}.optimiser_steps": arm.steps, f"{name}.seconds": arm.seconds}
    return {**metrics, "fit_seconds": results.fit_seconds}
