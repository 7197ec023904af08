"""Write tests/golden/series_metrics.json: what the reference gives on fixed cases.

    pip install --no-deps TSB-AD==1.5 && pip install scikit-learn statsmodels matplotlib
    python scripts/make_golden_series.py

The reference is TSB-AD (Liu and Paparrizos 2024), whose affiliation metrics are those of Huet et
al. 2022. It is no dependency of this project, so run the script in an environment of its own.
"""

import json
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

PATH = Path(__file__).parents[1] / "tests" / "golden" / "series_metrics.json"
PACKAGES = ("TSB-AD", "numpy", "scikit-learn", "statsmodels")


class Case(NamedTuple):
    """Rows, events (first row, row after the last) and VUS window; scores in whole `levels`."""

    n_rows: int
    events: tuple[tuple[int, int], ...]
    window: int
    levels: int | None = None


CASES = {
    "one_event": Case(200, ((90, 120),), 20),
    "window_0": Case(240, ((100, 130), (180, 181)), 0),
    "window_1": Case(240, ((100, 130), (180, 181)), 1),
    "at_the_start": Case(300, ((0, 10), (150, 170)), 24),
    "at_the_end": Case(300, ((40, 41), (280, 300)), 25),
    "single_rows": Case(400, ((50, 51), (53, 54), (57, 58), (300, 301)), 30),
    "buffers_touch": Case(500, ((100, 110), (120, 140), (160, 165), (400, 420)), 20),
    "one_row_apart": Case(300, ((100, 110), (111, 120), (200, 230)), 15),
    "ties": Case(400, ((60, 90), (300, 310)), 40, levels=4),
    "constant": Case(100, ((40, 50),), 10, levels=0),
    "window_above_length": Case(60, ((20, 30),), 100),
    "mostly_anomalous": Case(300, ((5, 150), (160, 295)), 50),
    "long": Case(3000, ((200, 260), (700, 701), (1500, 1800), (2950, 3000)), 125),
}


def make_case(name: str) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    """Return labels, anomaly scores that partly find them, and flags, (L,) each."""
    n_rows, events, _, levels = CASES[name]
    labels = np.zeros(n_rows, dtype=np.int64)
    for start, stop in events:
        labels[start:stop] = 1
    late = np.roll(labels, 3)
    score = np.random.default_rng(n_rows).random(n_rows) + 0.4 * late
    if levels is not None:
        score = np.round(score * levels)
    return labels, score, (score > 1).astype(np.int64)


def make_series() -> dict[str, NDArray[np.float64]]:
    """Return series (L,) whose period is to be found, or that have none."""
    time = np.arange(3000)
    noise = np.random.default_rng(0).random(25_000) - 0.5
    return {
        "sine_50": np.sin(2 * np.pi * time / 50) + 0.3 * noise[:3000],
        "two_sines": np.sin(2 * np.pi * time / 37) + 0.5 * np.sin(2 * np.pi * time / 288),
        "pulses_24": (time % 24 == 0) + 0.1 * noise[:3000],
        "slow": np.sin(2 * np.pi * time / 350) + 0.01 * noise[:3000],
        "fast": np.sin(2 * np.pi * time / 5) + 0.01 * noise[:3000],
        "trend": time / 100.0,
        "noise": noise,
        "walk": np.cumsum(noise),
        "short": np.sin(2 * np.pi * time[:90] / 20),
    }


def reference_metrics(name: str) -> dict[str, float]:
    """Return what TSB-AD gives on a case."""
    from TSB_AD.evaluation.basic_metrics import basic_metricor, generate_curve

    labels, score, flags = make_case(name)
    *_, vus_roc, vus_pr = generate_curve(labels, score, CASES[name].window)
    grader = basic_metricor()
    found = {"vus_roc": vus_roc, "vus_pr": vus_pr, "roc_auc": grader.metric_ROC(labels, score)}
    found["pr_auc"] = grader.metric_PR(labels, score)
    if flags.any():
        found["f1"] = grader.metric_PointF1(labels, score, flags)
        found["range_f1"] = grader.metric_RF1(labels, score, flags)
        found["affiliation_f1"] = grader.metric_Affiliation(labels, score, flags)
    return {key: float(value) for key, value in found.items()}


def main() -> None:
    """Write the file anew."""
    from TSB_AD.utils.slidingWindows import find_length_rank

    content: dict[str, Any] = {
        "versions": {"python": platform.python_version()} | {p: version(p) for p in PACKAGES},
        "metrics": {name: reference_metrics(name) for name in CASES},
        "vus_window": {name: int(find_length_rank(x)) for name, x in make_series().items()},
    }
    PATH.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
