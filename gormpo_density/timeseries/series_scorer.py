"""Scores, verdicts and events of a series, from a fitted model of its windows."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gormpo_density.arrays import Data, DataT, to_kind
from gormpo_density.decisions import CalibratedScorer
from gormpo_density.errors import DataError, NotFittedError
from gormpo_density.timeseries.detector_config import DetectorConfig
from gormpo_density.timeseries.events import Event, find_events
from gormpo_density.timeseries.scaling import Scaler
from gormpo_density.timeseries.scorer import Model, WindowScorer
from gormpo_density.timeseries.streaming import Stream
from gormpo_density.timeseries.thresholds import Threshold
from gormpo_density.timeseries.windows import Windows


class SeriesScorer(CalibratedScorer):
    """What a detector does once it is fitted: it judges points of a series, or whole windows.

    Attributes:
        config: The arguments of the detector.
        stream_thresholds: Threshold of the causal scores that `stream` gives, by name.
    """

    config: DetectorConfig
    stream_thresholds: dict[str, Threshold]
    _scorer: WindowScorer | None

    def score_samples(
        self, x: DataT, score: str | None = None, timestamps: object = None
    ) -> DataT:
        """Return scores of points (L,) or of whole windows (n,), higher is more normal.

        Args:
            x: A series (L,) or (L, D), or a collection (n, T, D), as in `fit`; data units.
            score: A name of `scores`; the default one when absent.
            timestamps: (L,); windows do not cross gaps in them.

        Returns:
            float64, numpy for numpy, else on x's device. NaN where no window without a hole
            covers the point.

        Raises:
            NotFittedError: The detector was never fitted.
            ShapeError: x is not of the kind, the channels or the length of the training data.
            DataError: A value is infinite, the times do not increase (row named), or no window
                fits (lengths told).
            ConfigError: The model has no such score.
        """
        name = self._name(score)
        windows = self._cut(x, timestamps, "x")
        scores = self._fitted.score_all(windows, name)
        return to_kind(torch.from_numpy(windows.spread(scores, self.config.aggregation)), x)

    def anomaly_score(
        self, x: DataT, score: str | None = None, timestamps: object = None
    ) -> DataT:
        """Return minus `score_samples`: higher is more anomalous."""
        return -self.score_samples(x, score, timestamps)

    def decision_function(self, x: DataT, timestamps: object = None) -> DataT:
        """Return score - threshold; negative means anomaly, NaN where there is no score."""
        return self.score_samples(x, timestamps=timestamps) - self.threshold

    def predict_anomaly(self, x: DataT, timestamps: object = None) -> DataT:
        """Return a boolean (L,) or (n,): True for an anomaly, False where there is no score."""
        return self.decision_function(x, timestamps) < 0

    def predict(self, x: DataT, timestamps: object = None) -> DataT:
        """Return an integer (L,) or (n,): 1 for normal, -1 for an anomaly (scikit-learn)."""
        return 1 - 2 * (self.predict_anomaly(x, timestamps) * 1)

    def events(self, x: Data, timestamps: NDArray[Any] | None = None) -> list[Event]:
        """Return the anomalous stretches of a series, in order of time.

        Flagged points less than a window apart are one event, since the same windows speak for
        them; an event ends at a point without a score and at a gap in time.

        Raises:
            DataError: x is a collection, whose windows `predict_anomaly` judges; or as
                `score_samples`.
        """
        if self._fitted.is_collection:
            raise DataError("events are those of a series, not of a collection of windows")
        scores = np.asarray(torch.as_tensor(self.score_samples(x, timestamps=timestamps)).cpu())
        return find_events(
            scores,
            self.threshold,
            merge=self.window_length - 1,
            gaps=self._fitted.gaps(timestamps, len(scores)),
            timestamps=None if timestamps is None else np.asarray(timestamps),
        )

    def attribution(self, x: DataT, score: str | None = None, timestamps: object = None) -> DataT:
        """Return how much each channel makes a point anomalous, (L, D) or (n, D), score units.

        In a window w, channel d counts score(w with channel d as expected) - score(w): positive
        where the channel lowers the score, about 0 where it is normal. Expected is what channel d
        does in the training window, of up to 512 kept ones, that is most like w in the other
        channels. Windows give it to points as they give scores. It works for every model and
        costs D + 1 scores a window.

        Args and errors are those of `score_samples`.

        Source:
            Occlusion (Zeiler & Fergus 2014, arXiv:1311.2901, section 4.2) of a channel, filled in
            given the others (Aas et al. 2021, arXiv:1903.10464), here by one neighbour.
        """
        name = self._name(score)
        windows = self._cut(x, timestamps, "x")
        gains = self._fitted.occlusion(windows, name)
        spread = -windows.spread(-gains, self.config.aggregation)  # "max" takes the worst window
        return to_kind(torch.from_numpy(spread), x)

    def stream(self, score: str | None = None) -> Stream:
        """Return a scorer of points as they come; see `Stream`.

        Raises:
            DataError: The detector judges whole windows.
        """
        name = self._name(score)
        if self._fitted.is_collection:
            raise DataError("a detector of whole windows has no stream of points")
        threshold = self.stream_thresholds[name].value
        if self.config.aggregation == "causal" and name == self.default_score:
            threshold = self.threshold  # the same scores, so one set by hand holds for them too
        return Stream(self._fitted, name, self.config.stride, threshold)

    @property
    def model(self) -> Model:
        """The fitted model of scaled windows."""
        return self._fitted.model

    @property
    def scaler(self) -> Scaler:
        """The scaler, learnt from the training part."""
        return self._fitted.scaler

    @property
    def window_length(self) -> int:
        """T, rows of a window."""
        return self._fitted.window

    @property
    def n_channels(self) -> int:
        """D, channels of the data."""
        return self._fitted.n_channels

    @property
    def _fitted(self) -> WindowScorer:
        if self._scorer is None:
            raise NotFittedError("TimeSeriesDetector: call fit or load first")
        return self._scorer

    def _name(self, score: str | None) -> str:
        self._fitted  # noqa: B018  # before it is fitted the detector has no scores
        return self.score_name(score)

    def _cut(self, x: Data, timestamps: object, name: str) -> Windows:
        return self._fitted.cut(x, self.config.stride, timestamps, name)
