"""Thresholds and verdicts: what any scorer of rows can do once it is calibrated."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import torch

from gormpo_density.arrays import Data, DataT, check_finite
from gormpo_density.calibration import Calibration
from gormpo_density.errors import ConfigError, DataError, NotCalibratedError

ScoreKind = Literal["exact", "bound", "surrogate"]


class CalibratedScorer(ABC):
    """Anything with `score_samples`, given a calibrated threshold and verdicts on rows.

    Attributes:
        scores: Kind of each score, by name; the first is the default. An "exact" score is
            log p(x) in nats, data units; a "bound" is below it (in expectation over stored
            noise); a "surrogate" only ranks.
        calibrations: Calibration of each calibrated score, by name.
        hand_threshold: Threshold of the default score set by hand, else None.
    """

    scores: ClassVar[Mapping[str, ScoreKind]] = {"log_prob": "exact"}
    calibrations: dict[str, Calibration]
    hand_threshold: float | None

    @abstractmethod
    def score_samples(self, x: DataT, score: str | None = None) -> DataT:
        """Return scores (B,), higher is more normal."""

    @property
    def default_score(self) -> str:
        """Name of the score used where none is named."""
        return next(iter(self.scores))

    @property
    def score_kind(self) -> ScoreKind:
        """Kind of the default score: "exact", "bound" or "surrogate"."""
        return self.scores[self.default_score]

    def score_name(self, score: str | None) -> str:
        """Return `score`, or the default's name for None; ConfigError if there is no such."""
        if score is not None and score not in self.scores:
            raise ConfigError(f"score {score!r} is unknown; choose from {', '.join(self.scores)}")
        return score or self.default_score

    def calibrate(
        self,
        data: Data,
        alpha: float = 0.05,
        score: str | None = None,
        n_episodes: int | None = None,
    ) -> Calibration:
        """Set threshold, p-values and surprise from normal rows that fitting never saw.

        Any rows will do: a held-out split, or held-out states with a policy's actions.

        Args:
            data: (n, *event_shape), data units.
            alpha: False-alarm rate in (0, 1).
            score: The score to calibrate; the default one when absent.
            n_episodes: Number of episodes the rows come from, kept beside the guarantee.

        Returns:
            The calibration, also kept in `calibrations`.

        Raises:
            DataError: There are no rows, a value is NaN or infinite (column named), or alpha is
                not in (0, 1).
        """
        name = self.score_name(score)
        scores = torch.as_tensor(self.score_samples(data, name))
        check_finite(data, "data")  # a tensor's bad rows have the floor score
        self.calibrations[name] = Calibration.from_scores(scores, alpha, n_episodes)
        if name == self.default_score:
            self.hand_threshold = None
        return self.calibrations[name]

    def set_threshold(self, val_data: Data, anomaly_fraction: float = 0.01) -> float:
        """Calibrate at alpha = anomaly_fraction and return the threshold, log_prob units."""
        return self.calibrate(val_data, anomaly_fraction).threshold

    @property
    def calibration(self) -> Calibration | None:
        """Calibration of the default score, with a threshold set by hand if there is one."""
        found = self.calibrations.get(self.default_score)
        if found is None or self.hand_threshold is None:
            return found
        return found.with_threshold(self.hand_threshold)

    @property
    def has_threshold(self) -> bool:
        """Whether `threshold` can be asked for."""
        return self.hand_threshold is not None or self.calibration is not None

    @property
    def threshold(self) -> float:
        """Rows scoring below it are anomalies, log_prob units; may be set by hand.

        Raises:
            NotCalibratedError: There is none yet.
        """
        if self.hand_threshold is not None:
            return self.hand_threshold
        if self.calibration is None:
            raise NotCalibratedError("no threshold: call calibrate or set_threshold first")
        return self.calibration.threshold

    @threshold.setter
    def threshold(self, value: float) -> None:
        if not math.isfinite(value):
            raise DataError(f"threshold must be finite, got {value}")
        self.hand_threshold = float(value)

    def decision_function(self, x: DataT) -> DataT:
        """Return score - threshold (B,); negative means anomaly (scikit-learn's sign)."""
        return self.score_samples(x) - self.threshold

    def predict_anomaly(self, x: DataT) -> DataT:
        """Return a boolean (B,): True for an anomaly."""
        return self.decision_function(x) < 0

    def predict(self, x: DataT) -> DataT:
        """Return an integer (B,): 1 for normal, -1 for an anomaly (scikit-learn's labels)."""
        return 1 - 2 * (self.predict_anomaly(x) * 1)

    def evaluate_anomaly_detection(
        self, normal_data: Data, anomaly_data: Data, plot: bool = False
    ) -> dict[str, Any]:
        """Measure how well the default score tells anomalies from normal rows.

        Args:
            normal_data: (n, *event_shape).
            anomaly_data: (m, *event_shape).
            plot: Add a matplotlib figure with the ROC curve under "figure".

        Returns:
            roc_auc, pr_auc (anomalies are the positives), fpr95, accuracy at the threshold (nan
            while there is none), and mean and std of the scores of both sets.
        """
        from gormpo_density.metrics import detection_metrics

        normal, anomaly = (
            np.asarray(torch.as_tensor(self.score_samples(data)).cpu(), dtype=np.float64)
            for data in (normal_data, anomaly_data)
        )
        normal, anomaly = normal[~np.isnan(normal)], anomaly[~np.isnan(anomaly)]
        results: dict[str, Any] = detection_metrics(normal, anomaly)
        results["accuracy"] = math.nan
        if self.has_threshold:
            hits = (normal >= self.threshold).sum() + (anomaly < self.threshold).sum()
            results["accuracy"] = float(hits / (len(normal) + len(anomaly)))
        for name, scores in (("normal", normal), ("anomaly", anomaly)):
            results[f"{name}_score_mean"] = float(scores.mean())
            results[f"{name}_score_std"] = float(scores.std())
        if plot:
            from gormpo_density.plots import plot_roc

            results["figure"] = plot_roc({"anomaly": (normal, anomaly)})
        return results
