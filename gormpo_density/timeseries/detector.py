"""Anomaly detection in time series with any density model or baseline."""

import inspect
import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from gormpo_density.arrays import Data
from gormpo_density.base import DensityModel
from gormpo_density.calibration import Calibration
from gormpo_density.errors import ConfigError
from gormpo_density.fitting import History
from gormpo_density.registry import suggestion
from gormpo_density.timeseries import saving
from gormpo_density.timeseries.baseline import Baseline
from gormpo_density.timeseries.detector_config import DetectorConfig
from gormpo_density.timeseries.preparation import Prepared, prepare
from gormpo_density.timeseries.scaling import ScalerKind
from gormpo_density.timeseries.scorer import Model, ModelSpec, WindowScorer, build_model
from gormpo_density.timeseries.series_scorer import SeriesScorer
from gormpo_density.timeseries.splits import Ratios
from gormpo_density.timeseries.thresholds import (
    Threshold,
    ThresholdMethod,
    check_enough,
    find_threshold,
)
from gormpo_density.timeseries.timeline import Values
from gormpo_density.timeseries.windows import Aggregation, Windows

logger = logging.getLogger(__name__)

#: Parameters of a model's `fit` that are no options of a detector's.
_NO_OPTIONS = {"self", "train_data", "val_data", "test_data", "anomalies", "options"}


class TimeSeriesDetector(SeriesScorer):
    """A model of sliding windows, with a threshold for the points of a series.

    A series is scaled, cut into windows of one length, scored window by window, and every point
    gets a score from the windows over it (`SeriesWindows.spread`). The threshold comes from a
    stretch of the training series that neither trained the model nor stopped its training, and
    from the very scores it is applied to: those of points. A collection of separate windows
    (n, T, D) is scored whole, one score and one verdict each.

    Nothing is learnt from the data that is judged. Where that data has holes: a row with NaN, or a
    time step above 2.5 times the training data's median step, is crossed by no window. Points
    under no window have the score NaN, count as normal, and end an event.

    Scores of a density or a bound are nats of a window in data units; `scores` names them all.

    Args:
        model: A model's name, a baseline's name, {"name": ..., parameters}, or an unfitted model
            or baseline, which is copied. It is built for windows (T, D) unless it says its size.
        window: Rows of a window, or "auto": what the model's own parameters say, else the period
            of the training series (`windows.choose_window`). T of a collection.
        stride: Rows between windows, in training and in scoring. Above the window length, the
            points between windows have no score.
        scaler: "standard", "minmax" or None, per channel, from the training part.
        aggregation: "mean", "max" (the worst window over the point) or "causal" (the window that
            ends at the point: NaN for the first T - 1 points).
        score: The model's score to use, its default when None.
        alpha: False-alarm rate on normal points, in (0, 1).
        threshold: "conformal", "quantile" or "pot"; see `thresholds.find_threshold`.
        device: Where the model is built.

    Attributes:
        config: The arguments.
        thresholds: Threshold of each score, with the rate it promises and its standard error.
        stream_thresholds: The same for the causal scores of `stream`.
        in_training: The model and its scaler while `fit` trains it, for `on_epoch` to look at.
        calibrations: Calibration scores of points; `n_episodes` is the number of windows in
            them that do not overlap, since neighbouring points are not exchangeable.

    Raises:
        ConfigError: An argument is out of range; all are told.
    """

    def __init__(
        self,
        model: ModelSpec = "vae",
        *,
        window: int | Literal["auto"] = "auto",
        stride: int = 1,
        scaler: ScalerKind | None = "standard",
        aggregation: Aggregation = "mean",
        score: str | None = None,
        alpha: float = 0.01,
        threshold: ThresholdMethod = "conformal",
        device: str = "cpu",
    ) -> None:
        self.config = DetectorConfig(
            model, window, stride, scaler, aggregation, score, alpha, threshold, device
        )
        self.calibrations: dict[str, Calibration] = {}
        self.thresholds: dict[str, Threshold] = {}
        self.stream_thresholds: dict[str, Threshold] = {}
        self.hand_threshold: float | None = None
        self.in_training: WindowScorer | None = None
        self._scorer: WindowScorer | None = None

    def fit(
        self,
        train: Data,
        *,
        timestamps: object = None,
        anomalies: Data | None = None,
        val_ratio: float = 0.1,
        cal_ratio: float = 0.1,
        seed: int = 0,
        checkpoint: str | Path | None = None,
        on_epoch: Callable[[int, dict[str, float]], None] | None = None,
        progress: bool = False,
        **fit_options: Any,
    ) -> History:
        """Fit scaler, window length, model and thresholds to normal data, from scratch.

        A series is split in time into train, validation and calibration, with a window's worth of
        unused rows between; the windows of a collection are split at random.

        Args:
            train: A series (L,) or (L, D), or a collection (n, T, D); NaN where nothing was
                measured.
            timestamps: (L,) datetime64 or numbers; windows do not cross gaps in them.
            anomalies: Known anomalies, windows (m, T, D), for a model whose loss needs some (a
                `RecurrentAE` with "_auc"); no other model is given them.
            val_ratio: Share held out to stop the training.
            cal_ratio: Share held out for the thresholds.
            seed: Fixes weights, order, noise and the split of a collection.
            checkpoint: File written after every epoch; if it exists, training goes on from it.
            on_epoch: Called with the epoch (from 1) and its row of the history.
            progress: Show a progress bar.
            fit_options: Those of the model's `fit`: epochs, batch_size, lr, patience, ...

        Returns:
            The model's history.

        Raises:
            DataError: Data is malformed or too short (row or numbers told).
            ConfigError: An option or ratio is unknown or out of range, or the model does not fit
                the windows.
            FitError: The loss stopped being a number.
        """
        ratios, config = Ratios(val_ratio, cal_ratio), self.config
        data = prepare(train, timestamps, config, ratios, seed)
        scorer = data.scorer(
            build_model(config.model, data.window, data.n_channels, config.device), seed
        )
        model = scorer.model
        first = model.score_name(config.score)
        check_enough(_fewest_points(data, config.aggregation), config.alpha, config.threshold)
        options = _known_options(model, fit_options)
        if anomalies is not None and getattr(model, "needs_anomalies", False):
            options["anomalies"] = scorer.scaled_windows(anomalies, "anomalies")
        self.in_training = scorer
        try:
            history = model.fit(
                data.train.all().reshape(-1, *model.event_shape),
                data.val.all().reshape(-1, *model.event_shape),
                seed=seed,
                checkpoint=checkpoint,
                on_epoch=on_epoch,
                progress=progress,
                **options,
            )
        finally:
            self.in_training = None
        self._become(scorer, first)
        for name in self.scores:
            self._calibrate(data.cal, config.alpha, name)
        self._tell_of_few(self.default_score)
        return history

    def _become(self, scorer: WindowScorer, first_score: str) -> None:
        """Take over a fitted model; what was known of the last one is dropped."""
        self._scorer = scorer
        names = sorted(scorer.model.scores, key=lambda name: name != first_score)
        self.scores = {  # type: ignore[misc]  # of the class in models, here of the model
            name: scorer.model.scores[name] for name in names
        }
        self.calibrations, self.thresholds, self.stream_thresholds = {}, {}, {}
        self.hand_threshold = None

    def _calibrate(
        self, windows: Windows, alpha: float, name: str, n_episodes: int | None = None
    ) -> None:
        scores = self._fitted.score_all(windows, name)
        n = windows.n_separate if n_episodes is None else n_episodes

        def level(way: Aggregation) -> tuple[Values, Threshold]:
            points = np.sort(_finite(windows.spread(scores, way)))
            return points, find_threshold(points, alpha, self.config.threshold, n)

        points, threshold = level(self.config.aggregation)
        streams_differ = self.config.aggregation != "causal" and not self._fitted.is_collection
        self.stream_thresholds[name] = level("causal")[1] if streams_differ else threshold
        self.thresholds[name] = threshold
        self.calibrations[name] = Calibration(torch.from_numpy(points), alpha, threshold.value, n)

    def _tell_of_few(self, name: str) -> None:
        """Warn, once for all scores and the stream, where alpha is out of reach."""
        alpha, n = self.calibrations[name].alpha, len(self.calibrations[name].scores)
        rate = self.thresholds[name].false_alarm_rate
        if rate > alpha * (1 + 1e-9):
            logger.warning(
                "%d calibration scores are too few for alpha=%g (%d needed): the threshold is the "
                "lowest score, false-alarm rate at most %.3g",
                *(n, alpha, math.ceil(1 / alpha) - 1, rate),
            )

    def calibrate(
        self,
        data: Data,
        alpha: float | None = None,
        score: str | None = None,
        n_episodes: int | None = None,
        timestamps: object = None,
    ) -> Calibration:
        """Set the thresholds of one score anew, from other normal data that fitting never saw.

        Args:
            data: (L, D) or (n, T, D), data units.
            alpha: False-alarm rate in (0, 1); the detector's when absent.
            score: The score to calibrate; the default one when absent.
            n_episodes: How many of the points count as independent; the windows that do not
                overlap when absent.
            timestamps: (L,), as in `fit`.

        Returns:
            The calibration, also kept in `calibrations`.

        Raises:
            DataError: Data is malformed or too short, or alpha is not in (0, 1).
        """
        name = self._name(score)
        windows = self._cut(data, timestamps, "data")
        self._calibrate(windows, self.config.alpha if alpha is None else alpha, name, n_episodes)
        self._tell_of_few(name)
        if name == self.default_score:
            self.hand_threshold = None
        return self.calibrations[name]

    def save(self, folder: str | Path) -> None:
        """Save model, scaler, thresholds and arguments, without a pickle.

        Raises:
            NotFittedError: The detector was never fitted.
            GormpoDensityError: The model cannot be saved (an isolation forest).
        """
        saving.save_detector(self, self._fitted, Path(folder))

    @classmethod
    def load(cls, folder: str | Path, device: str = "cpu") -> "TimeSeriesDetector":
        """Load what `save` wrote, or the detector of a run folder.

        Raises:
            ModelFileError: Nothing is there, or it is corrupt, hostile or of a newer version.
        """
        saved = saving.load_detector_parts(Path(folder), device)
        detector = cls(**saved.arguments)
        detector._become(saved.scorer, saved.default_score)
        detector.calibrations.update(saved.calibrations)
        detector.thresholds.update(saved.thresholds)
        detector.stream_thresholds.update(saved.stream_thresholds)
        detector.hand_threshold = saved.hand_threshold
        return detector


def _fewest_points(data: Prepared, aggregation: Aggregation) -> int:
    """Count the calibration points with a score, the causal ones of a stream if they are fewer."""
    ways: set[Aggregation] = {aggregation}
    if not data.is_collection:
        ways.add("causal")
    zeros = np.zeros(len(data.cal))
    return min(len(_finite(data.cal.spread(zeros, way))) for way in ways)


def _finite(scores: Values) -> Values:
    return scores[np.isfinite(scores)]


def _known_options(model: Model, options: dict[str, Any]) -> dict[str, Any]:
    """Return the options of `fit`; ConfigError for a word the model does not know."""
    if isinstance(model, Baseline):
        return options  # it checks its own
    fits = [cls.fit for cls in type(model).__mro__ if issubclass(cls, DensityModel)]
    words = {word for fit in fits for word in inspect.signature(fit).parameters}
    known = sorted(words - _NO_OPTIONS)
    if unknown := [word for word in options if word not in known]:
        raise ConfigError([f"fit has no option {w!r}{suggestion(w, known)}" for w in unknown])
    return options
