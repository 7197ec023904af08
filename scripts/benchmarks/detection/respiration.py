"""Part "respiration": breathing with apnea, tachypnea, shallow breathing and cough.

The package simulates the first recording, whole; into the second halves of the others, which are
real, it injects the same kinds of events. The first half of each is learnt from. The seed is that
of the simulation or injection and of the fit.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.cells import Bench, Cell
from benchmarks.detection.autoencoder import MLP_AE
from benchmarks.detection.methods import Method, Setting, baseline, measure
from benchmarks.detection.rows import Column, Found, collect, metrics_table
from gormpo_density.timeseries.datasets import load_series
from gormpo_density.timeseries.series import Series

COLUMNS = (
    Column("VUS-PR", "vus_pr"),
    Column("AUC-PR", "pr_auc"),
    Column("AUC-ROC", "roc_auc"),
    Column("F1 at the threshold", "f1"),
    Column("false alarms, %", "false_alarm_rate", 1, 100),
    Column("events found", "event_recall", 2),
    Column("oracle F1", "oracle_f1"),
)
#: Rows of a breath at 10 Hz and the default 15 breaths a minute: all windows and VUS buffers.
BREATH = 40


@dataclass(frozen=True)
class Recording:
    """A recording: its name, what is set about it, and how much is held out of learning.

    Attributes:
        title: Heading of its table.
        options: Of `load_series`.
        held_out: Share for stopping, and for the threshold: two windows at least.
        epochs: Of every learned model.
        warning: What a reader must know of its table.
    """

    title: str
    options: Mapping[str, float]
    held_out: float
    epochs: int
    warning: str = ""


TOO_SHORT = (
    " **Too short to tell methods apart**: some 140 rows are learnt from, nearly half of those "
    "judged are anomalous, and thresholds from 41 points of normal breathing flag nearly all rows."
)
RECORDINGS = {
    "respiratory": Recording("Simulated, 30 minutes", {"minutes": 30.0}, 0.15, 20),
    "bidmc": Recording("BIDMC record 01, 10 minutes", {}, 0.15, 60),
    "biosppy": Recording("BioSPPy's recording, 1 minute", {}, 0.27, 60, TOO_SHORT),
}
QUICK = {"respiratory": Recording("Simulated, 4 minutes", {"minutes": 4.0}, 0.15, 1)}
SEEDS = (0, 1, 2)


def report(bench: Bench) -> str:
    """Measure what is missing and return the tables."""
    recordings = QUICK if bench.quick else RECORDINGS
    return "\n\n".join(_table(bench, name, recording) for name, recording in recordings.items())


def methods(epochs: int) -> list[Method]:
    """Return what is measured."""
    fit = {"epochs": epochs}
    vae_lstm = {"name": "vae_lstm", "window": BREATH // 2}
    return [
        Method("vae_lstm", vae_lstm, {**fit, "joint": {"lr": 1e-3}}, ("elbo", "prediction")),
        Method("vae", {"name": "vae"}, fit, ("elbo",)),
        Method("autoencoder", {"name": MLP_AE}, fit),
        baseline("pca", "Sub-PCA"),
        baseline("nearest", "1-NN"),
        *map(baseline, ("zscore", "median_distance", "random", "constant")),
    ]


def _table(bench: Bench, name: str, recording: Recording) -> str:
    held_out = {"val_ratio": recording.held_out, "cal_ratio": recording.held_out}
    setting = Setting({"window": BREATH, "alpha": 0.05}, held_out)
    found: Found = {}
    for seed in SEEDS:
        series = load_series(name, bench.data_dir, options=dict(recording.options), seed=seed)
        assert isinstance(series, Series)
        for method in methods(recording.epochs):
            cell = Cell("respiration", name, method.name, seed)
            more = {"vus_window": BREATH}
            collect(found, measure(bench, cell, method, setting, series, **more))
    judged = sum(len(series.values[part]) for part in series.test)
    title = (
        f"## {recording.title}\n\n{judged:,} rows judged, windows and VUS buffer of {BREATH} rows "
        f"(4 s); thresholds at alpha = 5 %. Mean over {len(SEEDS)} seeds with the 95 % interval."
        f"{recording.warning}"
    )
    return f"{title}\n\n{metrics_table(found, COLUMNS, sort_by='vus_pr')}"
