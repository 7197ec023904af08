"""What a detection run shows: its figures, and one page with everything on it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from gormpo_density import plots
from gormpo_density.config import dump_config
from gormpo_density.detection.config import DetectConfig
from gormpo_density.detection.data import DetectData
from gormpo_density.detection.evaluation import DetectEvaluation
from gormpo_density.detection.tables import (
    classification_table,
    event_table,
    score_tables,
    summarise,
    type_table,
)
from gormpo_density.detection.views import (
    View,
    latent_views,
    reconstruction_pairs,
    windows_by_kind,
)
from gormpo_density.fitting import History
from gormpo_density.report import Table, write_report
from gormpo_density.runs import RunFolder
from gormpo_density.timeseries.detector import TimeSeriesDetector
from gormpo_density.timeseries.ranges import flagged_ranges

Captioned = dict[str, tuple[str, Figure]]

_PHASES = ("VAE", "LSTM", "both together")


def write_detect_report(
    run: RunFolder,
    config: DetectConfig,
    metrics: Mapping[str, Any],
    history: History,
    detector: TimeSeriesDetector,
    data: DetectData,
    evaluation: DetectEvaluation,
) -> None:
    """Write plots/*.png and report.html of a run."""
    captioned = _data_figures(detector, data, evaluation)
    captioned |= _training_figures(history, detector)
    captioned |= _score_figures(detector, data, evaluation)
    captioned |= _model_figures(detector, data)
    for name, (_, figure) in captioned.items():
        plots.save_figure(figure, run.path / "plots" / f"{name}.png")
    write_report(
        run.path / "report.html",
        title=f"{data.source.name}: {config.model.name}",
        summary=summarise(metrics),
        notes=_notes(config, metrics, detector, data),
        tables=_tables(metrics, data, evaluation),
        figures=list(captioned.values()),
        config_text=dump_config(config),
        metrics=metrics,
    )


def plot_progress(
    epoch: int, history: History, detector: TimeSeriesDetector, data: DetectData, folder: Path
) -> None:
    """Draw the losses up to an epoch, and what the model makes of windows by then."""
    figures = _training_figures(history, detector) | _model_figures(detector, data)
    for name, (_, figure) in figures.items():
        plots.save_figure(figure, folder / f"{name}-epoch{epoch:05d}.png")


def _tables(
    metrics: Mapping[str, Any], data: DetectData, evaluation: DetectEvaluation
) -> list[Table]:
    tables = []
    if data.labels is not None:
        tables = score_tables(metrics)
        if len(data.types) > 1:
            tables.append(type_table(metrics, data.types))
        tables.append(classification_table(data, evaluation))
    has_events = data.is_series and evaluation.events
    return [*tables, event_table(evaluation.events)] if has_events else tables


def _notes(
    config: DetectConfig,
    metrics: Mapping[str, Any],
    detector: TimeSeriesDetector,
    data: DetectData,
) -> list[str]:
    alpha, calibration = config.calibration.alpha, detector.calibration
    notes = [f"Data: {data.description}.", f"Window: {detector.window_length} rows."]
    if calibration is not None:
        notes.append(
            f"The threshold aims at {alpha:.2%} false alarms. It was set on "
            f"{len(calibration.scores):,} scores of normal {data.unit} that neither trained the "
            "model nor stopped its training"
            + (
                f"; they come from {calibration.n_episodes} windows that do not overlap, and the "
                "guarantee is as good as that number."
                if data.is_series
                else "."
            )
        )
    if data.is_series and detector.window_length > 1:
        notes.append(
            "A row is judged by the windows over it. Windows that touch an anomaly also cover "
            f"normal rows, up to {detector.window_length - 1} before and after it, which count as "
            "false alarms if they are flagged."
        )
    if metrics["dataset"] != metrics["dataset_requested"]:
        wanted, used = metrics["dataset_requested"], metrics["dataset"]
        notes.insert(0, f"{wanted} is not on this machine: {used} was used in its place.")
    return notes


def _data_figures(
    detector: TimeSeriesDetector, data: DetectData, evaluation: DetectEvaluation
) -> Captioned:
    if not data.is_series:
        samples = plots.plot_samples(windows_by_kind(data), data.source.channels)
        return {"samples": ("Windows of each kind, by sensor", samples)}
    series = scored_series(detector, data, evaluation)
    figures = {
        "series": ("The series, its anomaly score, and the events", plots.plot_series(series))
    }
    if series.true or series.found:
        what = "true anomalies" if series.true else "found events"
        close = plots.plot_close_ups(series)
        figures["close_ups"] = (f"Around {what}, each with the score below", close)
    return figures


def scored_series(
    detector: TimeSeriesDetector, data: DetectData, evaluation: DetectEvaluation
) -> plots.ScoredSeries:
    """Return a series with its scores as it is drawn."""
    name, train = detector.default_score, data.source.train
    unit = "" if detector.score_kind == "surrogate" else " [nats a window]"
    return plots.ScoredSeries(
        values=data.values,
        channels=data.source.channels,
        anomaly_score=-evaluation.scores[name],
        threshold=-detector.threshold,
        score_name=f"-{name}{unit}",
        found=[(event.start, event.end + 1) for event in evaluation.events],
        true=None if data.labels is None else _spans(data.labels & data.judged),
        train=(train.start, train.stop) if isinstance(train, slice) else None,
        times=data.times,
    )


def _spans(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    return [(int(start), int(stop)) for start, stop in flagged_ranges(flags)]


def _training_figures(history: History, detector: TimeSeriesDetector) -> Captioned:
    """Return the loss curves, of each phase by itself where there are several."""
    is_likelihood = View.of(detector).model.score_kind != "surrogate"
    unit = "nats, standardised data" if is_likelihood else "loss, standardised data"
    phases = np.asarray(history.get("phase", []))
    if not len(phases):
        if not any(len(curve) > 1 for curve in history.values()):
            return {}
        caption = "Losses by epoch, training windows with their noise; the best epoch is kept"
        return {"training": (caption, plots.plot_training_curves(history, ylabel=unit))}
    figures = {}
    for number in np.unique(phases).astype(int):
        part = {k: list(np.asarray(v)[phases == number]) for k, v in history.items()}
        caption = f"Losses of phase {number + 1}, {_PHASES[number]}; the best epoch is kept"
        figures[f"training_{number + 1}"] = (
            caption,
            plots.plot_training_curves(part, ylabel=unit),
        )
    return figures


def _score_figures(
    detector: TimeSeriesDetector, data: DetectData, evaluation: DetectEvaluation
) -> Captioned:
    default = evaluation.scores[detector.default_score]
    usable = data.judged & np.isfinite(default)
    is_odd = np.zeros(len(usable), np.bool_) if data.labels is None else data.labels
    normal = default[usable & ~is_odd]
    if not len(normal):
        return {}
    sets = {"normal" if data.labels is not None else "judged": normal}
    sets |= {kind: default[usable & (data.kinds == kind)] for kind in data.types}
    unit = "" if detector.score_kind == "surrogate" else " [nats]"
    histograms = plots.plot_score_histograms(
        {name: values for name, values in sets.items() if len(values)},
        detector.threshold,
        f"{detector.default_score}{unit}",
        label="anomalies",
    )
    figures: Captioned = {"scores": (f"Scores of judged {data.unit}", histograms)}
    if detector.calibration is not None and data.labels is not None:
        curve = plots.plot_calibration(detector.calibration, normal)
        figures["calibration"] = ("False alarms on normal data at every nominal rate", curve)
    if data.labels is not None and is_odd[usable].any():
        figures |= _verdict_figures(data, evaluation, usable)
    return figures


def _verdict_figures(
    data: DetectData, evaluation: DetectEvaluation, usable: NDArray[np.bool_]
) -> Captioned:
    assert data.labels is not None
    groups = []
    for scores in (evaluation.scores, evaluation.baselines):
        everywhere = {name: values[usable] for name, values in scores.items()}
        groups.append({k: v for k, v in everywhere.items() if np.isfinite(v).all()})
    curves = plots.plot_score_curves(data.labels[usable], *groups)
    kinds = ["normal", *data.types]
    counts = [
        [
            int((evaluation.flagged[data.judged & (data.kinds == kind)] == flag).sum())
            for flag in (0, 1)
        ]
        for kind in kinds
    ]
    return {
        "curves": (f"All scores on judged {data.unit}, baselines dashed", curves),
        "confusion": (
            "Verdicts of the first score at its threshold",
            plots.plot_confusion(np.array(counts), kinds, data.unit),
        ),
    }


def _model_figures(detector: TimeSeriesDetector, data: DetectData) -> Captioned:
    view = View.of(detector)
    figures: Captioned = {}
    if pairs := reconstruction_pairs(view, data):
        grid = plots.plot_window_reconstructions(pairs, data.source.channels)
        figures["reconstructions"] = ("Windows and their reconstructions", grid)
    if latents := latent_views(view, data):
        figures["latent"] = ("Latent space", plots.plot_latent(latents))
    return figures
