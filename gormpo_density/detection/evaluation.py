"""What a fitted detector is worth: every score of its model on what is judged, with baselines."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gormpo_density.detection.config import DetectConfig
from gormpo_density.detection.data import DetectData
from gormpo_density.metrics import detection_metrics
from gormpo_density.timeseries.detector import TimeSeriesDetector
from gormpo_density.timeseries.events import Event
from gormpo_density.timeseries.metrics import collection_metrics, series_metrics, vus_window
from gormpo_density.timeseries.series import Series

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class DetectEvaluation:
    """Scores of everything there is, and what follows from those that are judged.

    Attributes:
        scores: Of every row of a series, or every window of a collection, by name of the score,
            the default one first; higher is more normal, NaN where there is none.
        baselines: The same of each baseline.
        flagged: True where the default score is below its threshold.
        events: Those among the judged rows; of a collection, the judged windows flagged.
        metrics: Flat, as in metrics.json: threshold, flagged_fraction, and, where labels are
            known, <score>.<metric>, baseline.<name>.<metric> and <score>.<type>.<metric>.
    """

    scores: dict[str, Floats]
    baselines: dict[str, Floats]
    flagged: Flags
    events: list[Event]
    metrics: dict[str, Any]


def evaluate_detection(
    detector: TimeSeriesDetector,
    baselines: Mapping[str, TimeSeriesDetector],
    data: DetectData,
) -> DetectEvaluation:
    """Score all of the data by every score and baseline, and measure on what is judged."""
    scores = {name: _scores(detector, data, name) for name in detector.scores}
    simple = {name: _scores(fitted, data) for name, fitted in baselines.items()}
    limits = {name: detector.thresholds[name].value for name in scores}
    flagged = scores[detector.default_score] < detector.threshold
    metrics: dict[str, Any] = {
        "threshold": detector.threshold,
        "threshold_promise": detector.thresholds[detector.default_score].false_alarm_rate,
        "flagged_fraction": float(flagged[data.judged].mean()),
    }
    if data.labels is not None:
        for name, values in scores.items():
            metrics |= _measure(name, values, limits[name], data)
        for name, values in simple.items():
            limit = baselines[name].threshold
            metrics |= _measure(f"baseline.{name}", values, limit, data)
        metrics["false_alarm_rate"] = metrics[f"{detector.default_score}.false_alarm_rate"]
    events = _events(detector, data, scores[detector.default_score], flagged)
    return DetectEvaluation(scores, simple, flagged, events, metrics)


def fit_baselines(
    config: DetectConfig, data: DetectData, detector: TimeSeriesDetector
) -> dict[str, TimeSeriesDetector]:
    """Fit the configured baselines on the windows, the splits and the scaler of a detector."""
    section = config.detector
    fitted = {}
    for name in config.baselines:
        baseline = TimeSeriesDetector(
            name,
            window=detector.window_length,
            stride=section.stride,
            scaler=section.scaler,
            aggregation=section.aggregation,
            alpha=config.calibration.alpha,
            threshold=section.threshold,
        )
        baseline.fit(
            data.train,
            timestamps=data.train_times,
            val_ratio=section.val_ratio,
            cal_ratio=section.cal_ratio,
            seed=config.seed,
        )
        fitted[name] = baseline
    return fitted


def _scores(detector: TimeSeriesDetector, data: DetectData, name: str | None = None) -> Floats:
    return detector.score_samples(data.values, name, data.times)


def _events(
    detector: TimeSeriesDetector, data: DetectData, scores: Floats, flagged: Flags
) -> list[Event]:
    """Return the events that reach into what is judged; in a collection, its flagged windows."""
    if not data.is_series:
        places = np.flatnonzero(flagged & data.judged).tolist()
        return [Event(place, place, place, float(scores[place])) for place in places]
    found = detector.events(data.values, data.times)
    return [event for event in found if data.judged[event.rows].any()]


def _measure(prefix: str, scores: Floats, threshold: float, data: DetectData) -> dict[str, float]:
    """Return the metrics of one score on what is judged, by "<prefix>.<metric>"."""
    assert data.labels is not None
    labels, anomaly = data.labels[data.judged], -scores[data.judged]
    flags = anomaly > -threshold
    if isinstance(data.source, Series):
        found = series_metrics(
            labels,
            anomaly,
            vus_window=_vus_window(data),
            predicted=flags,
            samples_per_day=data.source.samples_per_day,
        )
    else:
        found = collection_metrics(labels, anomaly, flags)
    return {f"{prefix}.{name}": value for name, value in (found | _by_type(scores, data)).items()}


def _vus_window(data: DetectData) -> int:
    return vus_window(data.values[data.judged][:, 0])


def _by_type(scores: Floats, data: DetectData) -> dict[str, float]:
    """Return "<type>.roc_auc" and "<type>.pr_auc" of each type of anomaly against the normals."""
    assert data.labels is not None
    usable = data.judged & np.isfinite(scores)
    normal = scores[usable & ~data.labels]
    found: dict[str, float] = {}
    for name in data.types if len(data.types) > 1 and len(normal) else ():
        anomaly = scores[usable & (data.kinds == name)]
        if len(anomaly):
            areas = detection_metrics(normal, anomaly)
            found |= {f"{name}.{key}": areas[key] for key in ("roc_auc", "pr_auc")}
    return found
