"""Saved detectors: the model's own folder, with scaler and thresholds beside it, no pickle."""

import json
import math
import textwrap
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from gormpo_density.atomic import replacing
from gormpo_density.base import DensityModel
from gormpo_density.calibration import Calibration
from gormpo_density.checkpoints import part_of
from gormpo_density.errors import GormpoDensityError, ModelFileError
from gormpo_density.persistence import load_model, load_tensors, save_tensors
from gormpo_density.timeseries.baselines import make_baseline
from gormpo_density.timeseries.detector_config import DetectorConfig
from gormpo_density.timeseries.scaling import Scaler
from gormpo_density.timeseries.scorer import Model, WindowScorer, describe
from gormpo_density.timeseries.thresholds import Threshold

if TYPE_CHECKING:
    from gormpo_density.timeseries.detector import TimeSeriesDetector

FORMAT_VERSION = 1
_TENSORS, _CONFIG, _MODEL = "detector.safetensors", "detector.json", "model.safetensors"
_BROKEN = (KeyError, TypeError, ValueError, AttributeError, RuntimeError, GormpoDensityError)


@dataclass(frozen=True)
class SavedDetector:
    """What a folder holds of a detector.

    Attributes:
        arguments: Of the constructor of `TimeSeriesDetector`.
        scorer: The fitted model with its scaler.
        default_score: Name of the score that decides.
        calibrations: As in the detector, as are the rest.
        thresholds: By name of the score.
        stream_thresholds: By name of the score.
        hand_threshold: Threshold set by hand, else None.
    """

    arguments: dict[str, Any]
    scorer: WindowScorer
    default_score: str
    calibrations: dict[str, Calibration]
    thresholds: dict[str, Threshold]
    stream_thresholds: dict[str, Threshold]
    hand_threshold: float | None


def save_detector(detector: "TimeSeriesDetector", scorer: WindowScorer, folder: Path) -> None:
    """Write a detector to a folder.

    The model is saved as by `DensityModel.save` (a baseline's arrays lie with the detector's),
    then `detector.safetensors`, all else that loading needs, and `detector.json`, the same
    numbers for people. A checksum of the model tells a folder half overwritten.
    """
    model, checksum = scorer.model, None
    tensors = _scaler_tensors(scorer.scaler)
    if isinstance(model, DensityModel):
        model.save(folder)
        checksum = _checksum(folder / _MODEL)
    else:
        arrays = {name: torch.from_numpy(array) for name, array in model.state().items()}
        tensors |= {f"baseline.{name}": array for name, array in arrays.items()}
    tensors |= {f"calibration.{name}": c.scores for name, c in detector.calibrations.items()}
    tensors["references"] = torch.from_numpy(scorer.references)
    config = {
        "format_version": FORMAT_VERSION,
        "detector": {**vars(detector.config), "model": describe(model)},
        "window": scorer.window,
        "n_channels": scorer.n_channels,
        "time_step": scorer.time_step,
        "is_collection": scorer.is_collection,
        "default_score": detector.default_score,
        "threshold": detector.hand_threshold,
        "calibrations": {
            name: {"alpha": c.alpha, "threshold": c.threshold, "n_episodes": c.n_episodes}
            for name, c in detector.calibrations.items()
        },
        "thresholds": {name: asdict(t) for name, t in detector.thresholds.items()},
        "stream_thresholds": {name: asdict(t) for name, t in detector.stream_thresholds.items()},
        "model_checksum": checksum,
    }
    save_tensors(folder / _TENSORS, tensors, config)
    with replacing(folder / _CONFIG) as temporary:
        temporary.write_text(json.dumps(config, indent=2) + "\n")


def load_detector_parts(folder: Path, device: str) -> SavedDetector:
    """Read what `save_detector` wrote, from the folder or from `model/` in it.

    Raises:
        ModelFileError: Nothing is there, or a file is corrupt, of a newer format, or of another
            saved detector than the rest.
    """
    places = (folder, folder / "model")
    found = next((place for place in places if (place / _TENSORS).is_file()), None)
    if found is None:
        raise ModelFileError(f"{folder}: no {_TENSORS} in it, nor in its folder model/")
    path = found / _TENSORS
    tensors, config = load_tensors(path)
    version = config.get("format_version")
    if version != FORMAT_VERSION:
        raise ModelFileError(
            f"{path}: format version {version} cannot be read; this version of gormpo_density "
            f"reads {FORMAT_VERSION}"
        )
    model = _load_model(found, tensors, config, device)
    try:
        return _build(model, tensors, config, device)
    except _BROKEN as error:
        reason = textwrap.shorten(str(error), 300)
        raise ModelFileError(f"{path}: the detector cannot be built ({reason})") from error


def _load_model(
    folder: Path, tensors: Mapping[str, Tensor], config: Mapping[str, Any], device: str
) -> Model:
    checksum = config.get("model_checksum")
    if checksum is not None:
        model = load_model(folder, device)
        if _checksum(folder / _MODEL) != checksum:
            raise ModelFileError(f"{folder}: {_MODEL} is not the one saved with {_TENSORS}")
        return model
    try:
        params = dict(config["detector"]["model"])
        baseline = make_baseline(params.pop("name"), **params)
        state = part_of(tensors, "baseline")
        baseline.restore({name: array.numpy() for name, array in state.items()})
    except _BROKEN as error:
        reason = textwrap.shorten(str(error), 300)
        raise ModelFileError(
            f"{folder / _TENSORS}: the baseline cannot be built ({reason})"
        ) from error
    return baseline


def _build(
    model: Model, tensors: Mapping[str, Tensor], config: Mapping[str, Any], device: str
) -> SavedDetector:
    # The model as it was built: a name in the file must never decide which code a new fit runs.
    arguments = {**config["detector"], "model": describe(model), "device": device}
    arrays = {name: array.numpy() for name, array in part_of(tensors, "scaler").items()}
    fields = {
        name: config[name] for name in ("window", "n_channels", "time_step", "is_collection")
    }
    by_hand = config["threshold"]
    saved = SavedDetector(
        arguments,
        WindowScorer(
            model,
            Scaler(arguments["scaler"], **arrays),
            **fields,
            references=tensors["references"].numpy(),
        ),
        config["default_score"],
        {
            name: Calibration(tensors[f"calibration.{name}"], **entry)
            for name, entry in config["calibrations"].items()
        },
        {name: Threshold(**entry) for name, entry in config["thresholds"].items()},
        {name: Threshold(**entry) for name, entry in config["stream_thresholds"].items()},
        None if by_hand is None else float(by_hand),
    )
    _check(saved)
    return saved


def _check(saved: SavedDetector) -> None:
    """Raise ConfigError or ValueError unless all that was read belongs together."""
    DetectorConfig(**saved.arguments)
    scorer, scaler = saved.scorer, saved.scorer.scaler
    size = (scorer.window, scorer.n_channels)
    sizes = (
        math.prod(scorer.model.event_shape) == math.prod(size),
        scorer.references.shape[1:] == size,
        *(len(array) == size[1] for array in (scaler.offset, scaler.scale, scaler.mean)),
    )
    if not all(sizes):
        raise ValueError(f"model, scaler or references are not of windows {size}")
    names = {*scorer.model.scores}
    parts = (saved.calibrations, saved.thresholds, saved.stream_thresholds)
    if any(part.keys() != names for part in parts) or saved.default_score not in names:
        raise ValueError(f"its scores are not the model's: {', '.join(sorted(names))}")


def _scaler_tensors(scaler: Scaler) -> dict[str, Tensor]:
    arrays = {"offset": scaler.offset, "scale": scaler.scale, "mean": scaler.mean}
    return {f"scaler.{name}": torch.from_numpy(array) for name, array in arrays.items()}


def _checksum(path: Path) -> int:
    return zlib.crc32(path.read_bytes())
