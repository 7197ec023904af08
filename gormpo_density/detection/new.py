"""New data scored by the detector of a finished run: nothing is learnt, only said."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gormpo_density import plots
from gormpo_density.detection.config import DetectConfig, load_detect_config
from gormpo_density.detection.data import DetectData
from gormpo_density.detection.evaluation import evaluate_detection
from gormpo_density.detection.files import write_events, write_scores
from gormpo_density.detection.report import scored_series
from gormpo_density.detection.tables import verdict_text
from gormpo_density.errors import DataError, RunFolderError, ShapeError
from gormpo_density.timeseries.detector import TimeSeriesDetector
from gormpo_density.timeseries.readers.csv_series import load_csv
from gormpo_density.timeseries.readers.table import read_table
from gormpo_density.timeseries.readers.ucr import read_windows
from gormpo_density.timeseries.series import Collection, Series

_CSV_WORDS = ("time", "label", "delimiter")


def score_new_data(path: Path, run: Path, out: Path | None, *, device: torch.device) -> str:
    """Score a file with a run's detector; write scores.csv, events.csv and a figure.

    Args:
        path: A csv file with the columns the detector was fitted to; for a detector of whole
            windows a file of windows, see `read_windows`.
        run: The run folder.
        out: Folder for the results; None is RUN/scored/<name of the file>.
        device: Where to compute.

    Returns:
        Lines for people: what was found and where it is.

    Raises:
        RunFolderError: The run is not there, not finished, or of a model that cannot be saved.
        ModelFileError: Its detector is broken.
        DataError: The file is malformed, or has other channels or windows.
    """
    config, metrics = _read_run(run)
    detector = TimeSeriesDetector.load(run, str(device))
    data = DetectData(_read(path, detector, config, metrics), is_new=True)
    try:
        evaluation = evaluate_detection(detector, {}, data)
    except DataError as error:
        raise DataError([f"{path}: {problem}" for problem in error.problems]) from error
    folder = out or run / "scored" / path.stem
    write_scores(folder / "scores.csv", data, evaluation.scores, evaluation.flagged)
    write_events(folder / "events.csv", evaluation.events)
    if data.is_series:
        figure = plots.plot_series(scored_series(detector, data, evaluation))
        plots.save_figure(figure, folder / "series.png")
    return f"{data.description}\n{verdict_text(data, evaluation)}\nresults: {folder}"


def _read_run(run: Path) -> tuple[DetectConfig, dict[str, Any]]:
    for name in ("config.yaml", "metrics.json"):
        if not (run / name).is_file():
            raise RunFolderError(f"{run}: no finished run is there (no {name})")
    metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    if "channels" not in metrics:
        raise RunFolderError(f"{run}: is not a run of gormpo_density.detect")
    if not (run / "model").is_dir():
        raise RunFolderError(f"{run}: no detector is saved there, {metrics['model']} cannot be")
    return load_detect_config(run / "config.yaml"), metrics


def _read(
    path: Path, detector: TimeSeriesDetector, config: DetectConfig, metrics: Mapping[str, Any]
) -> Series | Collection:
    """Read new data as the run's own was read."""
    channels: list[str] = metrics["channels"]
    if "test_windows" in metrics:
        return _read_windows(path, detector.window_length, channels)
    if path.suffix != ".csv":
        raise DataError(f"{path}: a recording must be a csv file")
    words = {word: value for word, value in config.data.options.items() if word in _CSV_WORDS}
    label = words.get("label")
    if label and label not in read_table(path, words.get("delimiter")).columns:
        words["label"] = ""  # new data need not be labelled
    return load_csv(path, values=channels, **words)


def _read_windows(path: Path, length: int, channels: list[str]) -> Collection:
    windows = read_windows(path).x
    expected = (length, len(channels))
    if windows.shape[1:] != expected:
        raise ShapeError(f"{path}: windows are {windows.shape[1:]}, the detector's {expected}")
    if len(windows) < 2:
        raise DataError(f"{path}: holds {len(windows)} windows, at least 2 are needed")
    indices = np.arange(len(windows))
    return Collection(path.stem, windows, tuple(channels), indices[:1], indices[1:])
