"""Machine A under the protocol of Lin et al. (2020), whose labels are of whole sequences.

A sequence of 12 windows of 48 rows starts at every row of NAB's machine temperature before the
training rows; it is positive if it holds the row of an anomaly. Every method scores the whole
sequence, and learns from the sequences of the training rows. F1 is the best over thresholds, by
the labels, as theirs is. Their point-adjusted F1 is shown beside random scores, which reach it.
The VAE-LSTM has their window and sequence and, as theirs, two phases and no joint one.

Source:
    Lin et al. 2020, "Anomaly detection for time series using VAE-LSTM hybrid model", ICASSP, and
    the notebook of the authors' code, which prints .675 (and .981 adjusted).
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial

import numpy as np

from benchmarks.cells import Bench, Cell, Result
from benchmarks.detection.methods import Flags, Method, Setting, baseline, facts, fitted, judge
from benchmarks.detection.rows import Column, Found, collect, metrics_table
from gormpo_density.timeseries.datasets import load_series
from gormpo_density.timeseries.metrics import collection_metrics, oracle_f1, point_adjusted
from gormpo_density.timeseries.series import Series

WINDOW, SEQUENCE = 48, 12
ROWS = WINDOW * SEQUENCE
#: A sequence is longer than a tenth of the training rows allows to hold out, so more is.
HELD_OUT = {"val_ratio": 0.12, "cal_ratio": 0.12}
COLUMNS = (
    Column("oracle F1", "oracle_f1"),
    Column("AUC-PR", "pr_auc"),
    Column("AUC-ROC", "roc_auc"),
    Column("legacy: point-adjusted F1", "legacy_point_adjusted_f1"),
)
THEIRS = "| (theirs, their notebook) Lin et al. VAE-LSTM | 0.675 | 0.688 |  | 0.981 |"


def report(bench: Bench, seeds: Sequence[int], epochs: int, detector: Mapping[str, int]) -> str:
    """Measure what is missing and return the table."""
    arguments = {"window": ROWS, "aggregation": "causal", "alpha": 0.01, **detector}
    setting = Setting(arguments, HELD_OUT)
    points = load_series("nab_machine_temperature", bench.data_dir, options={"labels": "points"})
    assert isinstance(points, Series)
    part = replace(points, test=points.test[:1])
    found: Found = {}
    for method in methods(epochs):
        for seed in seeds if method.has_seeds else seeds[:1]:
            cell = Cell("nab", "machine_A", method.name, seed)
            settings = {**asdict(method), **asdict(setting), "data": facts(part)}
            collect(
                found,
                bench.result(cell, settings, partial(_measured, method, setting, part, seed)),
            )
    is_anomaly = sequence_labels(part)
    title = (
        f"## machine A, Lin et al.'s sequences\n\n{len(is_anomaly):,} sequences of {SEQUENCE} x "
        f"{WINDOW} rows, {100 * is_anomaly.mean():.1f} % positive; mean over seeds with the 95 % "
        "interval. Point adjustment makes random scores look perfect: that column says nothing "
        "about a method."
    )
    return f"{title}\n\n{metrics_table(found, COLUMNS, sort_by='oracle_f1')}\n{THEIRS}"


def methods(epochs: int) -> list[Method]:
    """Return what is measured, with Lin et al.'s window and sequence."""
    fit = {"epochs": epochs}
    return [
        Method("vae_lstm", {"name": "vae_lstm", "window": WINDOW}, fit, ("elbo", "prediction")),
        Method("vae", {"name": "vae"}, fit, ("elbo", "reconstruction")),
        baseline("zscore", "max abs z"),
        baseline("median_distance", "mean abs(x - median)"),
        baseline("nearest", "1-NN"),
        *map(baseline, ("random", "constant")),
    ]


def sequence_labels(series: Series) -> Flags:
    """Return for every sequence of the first judged span whether it holds an anomaly's row."""
    assert series.labels is not None
    held = np.lib.stride_tricks.sliding_window_view(series.labels[series.test[0]], ROWS)
    return np.asarray(held.any(1))


def _measured(method: Method, setting: Setting, series: Series, seed: int) -> Result:
    detector = fitted(method, setting, series, seed)
    labels = sequence_labels(series)
    result = {}
    for row, score in method.rows(detector).items():
        scores = judge(detector, series, score).anomaly_score[ROWS - 1 :]
        adjusted = oracle_f1(labels, point_adjusted(labels, scores))
        result[row] = collection_metrics(labels, scores) | {"legacy_point_adjusted_f1": adjusted}
    return result
