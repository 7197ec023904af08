"""A detection run from start to end: data, fit, thresholds, scores, evaluation, results."""

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import torch

from gormpo_density.base import DensityModel
from gormpo_density.config import dump_config
from gormpo_density.detection.config import DetectConfig
from gormpo_density.detection.data import DetectData, load_detect_data
from gormpo_density.detection.evaluation import DetectEvaluation, evaluate_detection, fit_baselines
from gormpo_density.detection.files import write_events, write_scores
from gormpo_density.detection.report import plot_progress, write_detect_report
from gormpo_density.detection.selection import selection_metrics
from gormpo_density.detection.tables import verdict_text
from gormpo_density.errors import GormpoDensityError
from gormpo_density.fitting import History
from gormpo_density.runs import RunFolder
from gormpo_density.timeseries.detector import TimeSeriesDetector
from gormpo_density.timeseries.preparation import prepare
from gormpo_density.timeseries.series import save_prepared
from gormpo_density.timeseries.splits import Ratios

logger = logging.getLogger(__name__)

Tell = Callable[[str], None]


class DetectFolder(RunFolder):
    """The folder of a detection run: tables and scored/ (of new data) besides the usual."""

    contents: ClassVar[tuple[str, ...]] = (
        *RunFolder.contents,
        *("scores.csv", "events.csv", "scored"),
    )


def run_detection(
    config: DetectConfig,
    path: Path,
    *,
    device: torch.device,
    resume: bool = False,
    overwrite: bool = False,
    tell: Tell = logger.info,
) -> str:
    """Make the run a configuration describes, or go on with it; a finished one is left alone.

    Args:
        config: What to do.
        path: The run folder.
        device: Where to compute.
        resume: Go on with an unfinished run.
        overwrite: Replace the run that is in the folder.
        tell: Called with a line for people on the way: device, data, the losses of each epoch.

    Returns:
        Lines for people: areas of every score, the classification report, where everything is.
    """
    with DetectFolder.open(path, dump_config(config), resume=resume, overwrite=overwrite) as run:
        if run.is_finished:
            return f"finished already: {path} (--overwrite makes it again)\n{_places(path)}"
        started = time.perf_counter()
        tell(f"device: {device}")
        data = load_detect_data(config.data, config.seed)
        if data.requested is not None:
            tell(f"{data.requested} is not here; {data.source.name} is used in its place")
        tell(f"data: {data.description}")
        loaded = time.perf_counter()
        detector, history = fit_detector(config, data, run, device=device, tell=tell)
        fitted = time.perf_counter()
        _save(detector, path / "model")
        baselines = fit_baselines(config, data, detector)
        evaluation = evaluate_detection(detector, baselines, data)
        chosen_by = selection_metrics(detector, data, config.detector, config.seed)
        metrics = facts(config, data, detector) | evaluation.metrics | chosen_by
        metrics |= {"fit_seconds": fitted - loaded, "seconds": time.perf_counter() - started}
        _write_tables(path, data, evaluation)
        write_detect_report(run, config, metrics, history, detector, data, evaluation)
        run.finish(metrics)
    return f"{verdict_text(data, evaluation)}\n{_places(path)}"


def make_detector(config: DetectConfig, device: torch.device) -> TimeSeriesDetector:
    """Build the configured detector, unfitted."""
    section = config.detector
    return TimeSeriesDetector(
        {"name": config.model.name, **config.model.params},
        window=section.window,
        stride=section.stride,
        scaler=section.scaler,
        aggregation=section.aggregation,
        score=section.score,
        alpha=config.calibration.alpha,
        threshold=section.threshold,
        device=str(device),
    )


def fit_detector(
    config: DetectConfig, data: DetectData, run: RunFolder, *, device: torch.device, tell: Tell
) -> tuple[TimeSeriesDetector, History]:
    """Fit the configured detector, going on from the run's checkpoint if it has one."""
    detector, interval = make_detector(config, device), config.report.visualization_interval

    def on_epoch(epoch: int, row: dict[str, float]) -> None:
        run.history.append(epoch, row)
        tell(f"epoch {epoch}: " + ", ".join(f"{k} {row[k]:.4g}" for k in row if "loss" in k))
        if interval and epoch % interval == 0:
            plot_progress(epoch, run.history.read(), detector, data, run.path / "plots")

    history = detector.fit(
        data.train,
        timestamps=data.train_times,
        anomalies=data.known_anomalies,
        val_ratio=config.detector.val_ratio,
        cal_ratio=config.detector.cal_ratio,
        seed=config.seed,
        checkpoint=run.path / "checkpoints" / "fit.safetensors",
        on_epoch=on_epoch,
        **dict(config.fit),
    )
    return detector, history


def facts(config: DetectConfig, data: DetectData, detector: TimeSeriesDetector) -> dict[str, Any]:
    """Return what was run on what, for metrics.json."""
    model = detector.model
    weights = model.parameters() if isinstance(model, DensityModel) else ()
    found: dict[str, Any] = {
        "dataset": data.source.name,
        "dataset_requested": data.requested or data.source.name,
        "channels": list(data.source.channels),
        "model": config.model.name,
        "score": detector.default_score,
        "score_kind": detector.score_kind,
        "seed": config.seed,
        "parameters": sum(weight.numel() for weight in weights),
        "window": detector.window_length,
    }
    counts = Ratios(config.detector.val_ratio, config.detector.cal_ratio).counts(len(data.train))
    parts = zip(("train", "val", "cal"), counts, strict=True)
    found |= {f"{part}_{data.unit}": count for part, count in parts}
    found[f"test_{data.unit}"] = int(data.judged.sum())
    if data.labels is not None:
        found[f"anomalous_{data.unit}"] = int(data.labels[data.judged].sum())
    return found


def _save(detector: TimeSeriesDetector, folder: Path) -> None:
    try:
        detector.save(folder)
    except GormpoDensityError as error:  # some baselines could only be pickled
        logger.warning("the detector is not saved: %s", error)


def _write_tables(path: Path, data: DetectData, evaluation: DetectEvaluation) -> None:
    simple = {f"baseline.{name}": scores for name, scores in evaluation.baselines.items()}
    write_scores(path / "scores.csv", data, evaluation.scores | simple, evaluation.flagged)
    write_events(path / "events.csv", evaluation.events)


def _places(path: Path) -> str:
    places = {"model": "model", "scores": "scores.csv", "events": "events.csv"}
    there = {what: path / name for what, name in places.items() if (path / name).exists()}
    lines = [f"{what + ':':8}{place}" for what, place in there.items()]
    return "\n".join([*lines, f"report: {path / 'report.html'}"])


def prepare_data(config: DetectConfig, path: Path) -> str:
    """Write the windows that a run would train, stop and calibrate on, and the data itself.

    Args:
        config: As for `run_detection`.
        path: An npz file.

    Returns:
        Lines for people: what is in the file.
    """
    data = load_detect_data(config.data, config.seed)
    ratios = Ratios(config.detector.val_ratio, config.detector.cal_ratio)
    settings = make_detector(config, torch.device("cpu")).config
    prepared = prepare(data.train, data.train_times, settings, ratios, config.seed)
    parts = {"train": prepared.train, "val": prepared.val, "cal": prepared.cal}
    windows = {f"{name}_windows": part.all() for name, part in parts.items()}
    scaler = {"scaler_offset": prepared.scaler.offset, "scaler_scale": prepared.scaler.scale}
    save_prepared(data.source, path, **windows, **scaler)
    shapes = [f"{name}: {array.shape}, scaled" for name, array in windows.items()]
    return "\n".join([f"data: {data.description}", *shapes, f"file: {path}"])
