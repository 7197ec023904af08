"""How good a detector is, told without a label: by held-out normals, and anomalies put into them.

A sweep chooses by these; the rows come from the part of the training data that only stopped the
training, and nothing that is judged is looked at.
"""

import numpy as np
from numpy.typing import NDArray

from gormpo_density.detection.config import DetectorSection
from gormpo_density.detection.data import DetectData
from gormpo_density.timeseries.detector import TimeSeriesDetector
from gormpo_density.timeseries.metrics import collection_metrics, series_metrics
from gormpo_density.timeseries.series import Series
from gormpo_density.timeseries.simulate.injection import inject_anomalies
from gormpo_density.timeseries.splits import Ratios, split_windows

Floats = NDArray[np.float64]

#: Mean score by its kind: a bound or a surrogate is never called a likelihood.
HELD_OUT_SCORES = {
    "exact": "val_nll_per_value",
    "bound": "val_nll_bound_per_value",
    "surrogate": "val_score",
}
_DRAWS = 10
_LONGEST = 50


def selection_metrics(
    detector: TimeSeriesDetector, data: DetectData, section: DetectorSection, seed: int
) -> dict[str, float]:
    """Return what settings may be chosen by.

    Returns:
        val_nll_per_value, minus the mean score over validation windows divided by their T * D
        values, so that window lengths can be compared (`val_nll_bound_per_value` of a bound;
        `val_score`, the mean itself, of a surrogate); injected.roc_auc and injected.pr_auc, how
        well the default score finds anomalies put into the validation part, the mean over ten
        draws of them. Of a series also injected.vus_roc and injected.vus_pr, which forgive being
        off by up to the length of such an anomaly; long windows always are somewhat.
    """
    values, times = _validation(data, section, seed)
    mean = float(np.nanmean(detector.score_samples(values, None, times)))
    name = HELD_OUT_SCORES[detector.score_kind]
    size = detector.window_length * detector.n_channels
    held_out = mean if detector.score_kind == "surrogate" else -mean / size
    rng = np.random.default_rng(seed)
    draws = [_injected(detector, values, times, rng) for _ in range(_DRAWS)]
    found = {key: float(np.mean([draw[key] for draw in draws])) for key in draws[0]}
    return {name: held_out, **{f"injected.{key}": value for key, value in found.items()}}


def _validation(
    data: DetectData, section: DetectorSection, seed: int
) -> tuple[Floats, NDArray[np.generic] | None]:
    """Return the values that stopped the training, and their times.

    Of a series these are the same rows for every window: the unused ones before them belong to
    it.
    """
    ratios = Ratios(section.val_ratio, section.cal_ratio)
    values, times = data.train, data.train_times
    if isinstance(data.source, Series):
        n_train, n_val, _ = ratios.counts(len(values))
        rows = slice(n_train, n_train + n_val)
        return values[rows], None if times is None else times[rows]
    return values[split_windows(len(values), ratios, seed)["val"]], None


def _injected(
    detector: TimeSeriesDetector,
    values: Floats,
    times: NDArray[np.generic] | None,
    rng: np.random.Generator,
) -> dict[str, float]:
    """Measure the default score on one draw of injected anomalies."""
    is_series = values.ndim == 2
    room = len(values) // 20 if is_series else values.shape[1] // 2
    length = min(max(2, room), _LONGEST)
    changed = inject_anomalies(values, rng, share=0.1 if is_series else 0.5, length=length)
    anomaly = -detector.score_samples(changed.values, None, times)
    if not is_series:
        found = collection_metrics(changed.labels, anomaly)
        return {key: found[key] for key in ("roc_auc", "pr_auc")}
    found = series_metrics(changed.labels, anomaly, vus_window=length)
    return {key: found[key] for key in ("roc_auc", "pr_auc", "vus_roc", "vus_pr")}
