"""Part "nab": five series of the Numenta Anomaly Benchmark, and Lin et al.'s protocol on one.

Detectors learn from the rows that Lin et al. (2020) train on and judge all others, labelled by
NAB's windows. Windows have the period that `choose_window` finds in the training rows, the same
for every method; a point's score is the mean over its windows. Learned models take the library's
defaults but for the epochs; a VAE-LSTM sees a window as two halves and has a joint third phase,
which the likelihood of held-out training rows prefers to more and shorter parts, and to two
phases, on ambient_temperature and nyc_taxi. Labels choose nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean

from benchmarks.cells import Bench, Cell
from benchmarks.detection import lin
from benchmarks.detection.autoencoder import MLP_AE
from benchmarks.detection.methods import Method, Setting, baseline, judged_labels, measure
from benchmarks.detection.rows import Found, Metrics, collect, interval, rows_of
from benchmarks.tables import show, table
from gormpo_density.aggregate import mean_interval
from gormpo_density.timeseries.datasets import load_series
from gormpo_density.timeseries.metrics import vus_window
from gormpo_density.timeseries.ranges import flagged_ranges
from gormpo_density.timeseries.readers.nab import LIN_SERIES
from gormpo_density.timeseries.series import Series
from gormpo_density.timeseries.splits import Ratios, longest_window
from gormpo_density.timeseries.windows import choose_window

PARTS = 2  # of a VAE-LSTM's window
METRICS = {
    "vus_pr": "VUS-PR",
    "vus_roc": "VUS-ROC",
    "pr_auc": "AUC-PR",
    "roc_auc": "AUC-ROC",
    "f1": "F1 at the threshold",
    "oracle_f1": "oracle F1",
    "fit_seconds": "fit, CPU s",
}


@dataclass(frozen=True)
class Scale:
    """How much is measured.

    Attributes:
        series: Which of the five.
        seeds: Of the fits.
        epochs: By model; a VAE-LSTM trains for as many in each of its phases.
        lin_epochs: The same for the windows of 576 rows of Lin et al.'s protocol.
        detector: More arguments of every detector.
    """

    series: tuple[str, ...]
    seeds: tuple[int, ...]
    epochs: Mapping[str, int]
    lin_epochs: int
    detector: Mapping[str, int]


#: So many epochs that a fit takes about a minute at most.
EPOCHS = {"vae": 40, "autoencoder": 40, "realnvp": 12, "vae_lstm": 20, "recurrent_ae": 8}
FULL = Scale(tuple(LIN_SERIES), (0, 1, 2), EPOCHS, 10, {})
QUICK = Scale(
    ("ambient_temperature", "machine_temperature"),
    (0, 1),
    dict.fromkeys(EPOCHS, 1),
    1,
    {"stride": 50},
)

#: Metrics of every seed by row, for each series.
BySeries = dict[str, Found]


def report(bench: Bench) -> str:
    """Measure what is missing and return the tables."""
    scale = QUICK if bench.quick else FULL
    data = {name: _load(bench, name) for name in scale.series}
    windows = {name: vus_window(series.values) for name, series in data.items()}
    found = {name: _measure(bench, scale, data[name], windows[name]) for name in data}
    parts = [
        _facts(data, windows),
        _by_series(found),
        _means(found),
        lin.report(bench, scale.seeds, scale.lin_epochs, scale.detector),
    ]
    return "\n\n".join(parts)


def _load(bench: Bench, name: str) -> Series:
    series = load_series(f"nab_{name}", bench.data_dir)
    assert isinstance(series, Series)
    return series


def methods(scale: Scale, window: int) -> list[Method]:
    """Return all that is measured: learned models, then baselines."""
    fit = {name: {"epochs": epochs} for name, epochs in scale.epochs.items()}
    vae_lstm = {"name": "vae_lstm", "window": window // PARTS}
    joint = {**fit["vae_lstm"], "joint": {"lr": 1e-3}}
    return [
        Method("vae_lstm", vae_lstm, joint, ("elbo", "prediction")),
        Method("vae", {"name": "vae"}, fit["vae"], ("elbo", "reconstruction")),
        Method("realnvp", {"name": "realnvp"}, fit["realnvp"]),
        Method("autoencoder", {"name": MLP_AE}, fit["autoencoder"]),
        Method("recurrent_ae", {"name": "recurrent_ae"}, fit["recurrent_ae"]),
        baseline("pca", "Sub-PCA"),
        baseline("nearest", "1-NN"),
        *map(baseline, ("kmeans", "isolation_forest", "zscore", "median_distance")),
        *map(baseline, ("random", "constant")),
    ]


def _measure(bench: Bench, scale: Scale, series: Series, vus: int) -> Found:
    found: Found = {}
    name, window = series.name.removeprefix("nab_"), period(series)
    detector = {"window": window, "aggregation": "mean", "alpha": 0.01, **scale.detector}
    setting = Setting(detector)
    for method in methods(scale, window):
        for seed in scale.seeds if method.has_seeds else scale.seeds[:1]:
            cell = Cell("nab", name, method.name, seed)
            collect(found, measure(bench, cell, method, setting, series, vus_window=vus))
    return found


def period(series: Series) -> int:
    """Return the length of all windows: the period of the training rows, as an even number."""
    rows, ratios = series.values[series.train], Ratios(0.1, 0.1)
    learnt = rows[: ratios.counts(len(rows))[0]]
    return PARTS * (choose_window(learnt, longest_window(len(rows), ratios)) // PARTS)


def _facts(data: Mapping[str, Series], windows: Mapping[str, int]) -> str:
    """Tell what is judged, and with which buffer the volumes are taken."""
    rows = []
    for name, series in data.items():
        labels = judged_labels(series)
        learnt = len(series.values[series.train])
        events = sum(len(flagged_ranges(series.labels[part])) for part in series.test)
        shares = f"{100 * labels.mean():.1f}"
        lengths = [str(period(series)), str(windows[name])]
        rows.append([name, f"{learnt:,}", f"{len(labels):,}", shares, str(events), *lengths])
    header = ["series", "rows to learn from", "judged", "anomalous, %", "events"]
    return table([*header, "window", "VUS window"], rows)


def _by_series(found: BySeries) -> str:
    means = {row: mean_interval(_seed_means(found, row, "vus_pr")) for row in rows_of(found)}
    rows = [
        [
            row,
            show(means[row], 3),
            *(f"{interval(of[row], 'vus_pr').estimate:.3f}" for of in found.values()),
        ]
        for row in sorted(means, key=lambda row: -means[row].estimate)
    ]
    title = (
        "VUS-PR: mean over the series with the 95 % interval over seeds (Student's; none where a "
        "seed changes nothing), and each series, mean over seeds. The interval says nothing about "
        "other series: there are five, and nyc_taxi alone spreads the means by tenths. Epochs "
        f"were set by time, not by convergence: {_listed(EPOCHS)}."
    )
    return f"{title}\n\n{table(['score', 'mean', *found], rows)}"


def _means(found: BySeries) -> str:
    rows = [
        [
            row,
            *(
                f"{fmean(_seed_means(found, row, m)):.{1 if m == 'fit_seconds' else 3}f}"
                for m in METRICS
            ),
        ]
        for row in rows_of(found)
    ]
    title = "Mean over series and seeds. The oracle's threshold is chosen with the labels."
    return f"{title}\n\n{table(['score', *METRICS.values()], rows)}"


def _listed(epochs: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in epochs.items())


def _seed_means(found: BySeries, row: str, metric: str) -> list[float]:
    """Return the mean of a metric over the series, for each seed."""
    runs: list[list[Metrics]] = [of[row] for of in found.values()]
    return [fmean(run[metric] for run in of_seed) for of_seed in zip(*runs, strict=True)]
