"""What is measured of detection: detectors as plain values, and how they judge a data set."""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.cells import Bench, Cell, Result
from gormpo_density.timeseries.detector import TimeSeriesDetector
from gormpo_density.timeseries.metrics import collection_metrics, series_metrics
from gormpo_density.timeseries.series import Collection, Series

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

#: Baselines whose scores depend on a seed even where the data do not.
_DRAWN = ("random", "kmeans", "isolation_forest")


@dataclass(frozen=True)
class Method:
    """A detector: one row of a table, or several that share a fit.

    Attributes:
        name: Of the row, or what the rows begin with.
        model: What `TimeSeriesDetector` is given as its model.
        fit: Options of its `fit` but the seed.
        scores: Scores that are a row each; the default one of `name` alone when empty.
        has_seeds: Whether the seed changes anything on a series, whose splits have none.
    """

    name: str
    model: Mapping[str, Any]
    fit: Mapping[str, Any] = field(default_factory=dict)
    scores: tuple[str, ...] = ()
    has_seeds: bool = True

    def rows(self, detector: TimeSeriesDetector) -> dict[str, str]:
        """Return the score behind each row."""
        if not self.scores:
            return {self.name: detector.default_score}
        return {f"{self.name}, {score}": score for score in self.scores}


@dataclass(frozen=True)
class Setting:
    """What is the same for all methods of a table.

    Attributes:
        detector: Arguments of `TimeSeriesDetector` but the model.
        fit: Options of every `fit`: how much is held out.
    """

    detector: Mapping[str, Any]
    fit: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Scored:
    """A fitted detector's view of all that is judged, by one of its scores.

    Attributes:
        anomaly_score: (n,) higher is more anomalous, NaN where there is none.
        predicted: (n,) True where the calibrated threshold flags.
    """

    anomaly_score: Floats
    predicted: Flags


def baseline(name: str, row: str = "", **params: Any) -> Method:
    """Return the method of a baseline, which needs no options to fit."""
    return Method(row or name, {"name": name, **params}, has_seeds=name in _DRAWN)


def measure(
    bench: Bench,
    cell: Cell,
    method: Method,
    setting: Setting,
    data: Series | Collection,
    **more: Any,
) -> Result:
    """Return the metrics of each row of a method on a data set, from the cell if it is there.

    Args:
        bench: Where cells are kept.
        cell: Which cell; its seed is that of the fit.
        method: What is fitted.
        setting: What all methods share.
        data: What it is fitted to and judges.
        more: Anything else that decides the result: vus_window of a series.
    """
    settings = {**asdict(method), **asdict(setting), "data": facts(data), **more}
    del settings["name"]  # what rows are called decides nothing
    return bench.result(
        cell, settings, partial(_measured, method, setting, data, cell.seed, **more)
    )


def facts(data: Series | Collection) -> dict[str, Any]:
    """Return what tells a data set from another: its size and the sum of its values."""
    labels = data.labels if data.labels is not None else np.zeros(0)
    return {
        "shape": list(data.values.shape),
        "sum": float(np.nansum(data.values)),
        "anomalies": int(np.count_nonzero(labels)),
    }


def _measured(
    method: Method, setting: Setting, data: Series | Collection, seed: int, **more: Any
) -> Result:
    start = time.process_time()
    detector = fitted(method, setting, data, seed)
    cost = {"fit_seconds": time.process_time() - start}
    labels = judged_labels(data)
    result = {}
    for row, score in method.rows(detector).items():
        scored = judge(detector, data, score)
        if isinstance(data, Series):
            metrics = series_metrics(
                labels, scored.anomaly_score, predicted=scored.predicted, **more
            )
        else:
            metrics = collection_metrics(labels, scored.anomaly_score, scored.predicted)
        result[row] = metrics | cost
    return result


def fitted(
    method: Method, setting: Setting, data: Series | Collection, seed: int
) -> TimeSeriesDetector:
    """Return a detector fitted to what a data set has to learn from, whatever its labels say."""
    detector = TimeSeriesDetector(dict(method.model), **setting.detector)
    options = {**setting.fit, **method.fit, "seed": seed}
    detector.fit(data.values[data.train], **options)
    return detector


def judge(detector: TimeSeriesDetector, data: Series | Collection, score: str) -> Scored:
    """Return scores and verdicts of all that is judged, span after span.

    Rows count as evenly spaced: the few gaps in time of the recordings would leave rows unscored.
    """
    parts = data.test if isinstance(data, Series) else (data.test,)
    scores = np.concatenate([detector.score_samples(data.values[part], score) for part in parts])
    return Scored(-scores, scores < detector.thresholds[score].value)


def judged_labels(data: Series | Collection) -> Flags:
    """Return the labels of all that is judged, span after span."""
    assert data.labels is not None
    parts = data.test if isinstance(data, Series) else (data.test,)
    return np.concatenate([data.labels[part] for part in parts])
