"""Saved models: tensors and plain JSON in one safetensors file, nothing that can run code."""

import io
import json
import pickle
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as safetensors_bytes
from torch import Tensor

from gormpo_density.arrays import Data
from gormpo_density.atomic import replacing
from gormpo_density.calibration import Calibration
from gormpo_density.errors import GormpoDensityError, ModelFileError
from gormpo_density.pickles import load_pickle
from gormpo_density.registry import make_model, model_name, names_only

if TYPE_CHECKING:
    from gormpo_density.base import DensityModel

FORMAT_VERSION = 1
_TENSORS, _CONFIG = "model.safetensors", "config.json"
_BROKEN = (OSError, EOFError, KeyError, TypeError, ValueError, AttributeError, RuntimeError)


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
    """Write tensors and JSON-able metadata to one file, atomically."""
    contiguous = {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}
    content = safetensors_bytes(contiguous, {"gormpo_density": json.dumps(metadata)})
    with replacing(path) as temporary:
        temporary.write_bytes(content)  # unlike save_file, a full disk is an OSError


def load_tensors(
    path: Path, device: torch.device | str = "cpu"
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `save_tensors` wrote.

    Raises:
        ModelFileError: The file is missing, truncated, corrupt, or not ours.
    """
    if not path.is_file():
        raise ModelFileError(f"{path}: no such file")
    try:
        with safe_open(path, "pt", device=str(device)) as file:
            metadata = json.loads((file.metadata() or {})["gormpo_density"])
            if not isinstance(metadata, dict):
                raise ValueError("its metadata is not a JSON object")
            return {name: file.get_tensor(name) for name in file.keys()}, metadata  # noqa: SIM118
    except (SafetensorError, OSError, KeyError, ValueError, RecursionError) as error:
        raise ModelFileError(f"{path}: not a readable gormpo_density file ({error})") from error


def save_model_folder(model: "DensityModel", folder: str | Path) -> None:
    """Write `model.safetensors` (all that loading needs) and `config.json` (for people).

    One file holds weights, constructor parameters and calibrations, so a crash at any moment
    leaves a whole model: the old one or the new one.
    """
    folder = Path(folder)
    calibrations = {
        name: {"alpha": c.alpha, "threshold": c.threshold, "n_episodes": c.n_episodes}
        for name, c in model.calibrations.items()
    }
    config = {
        "format_version": FORMAT_VERSION,
        "model": {"name": model_name(model), **model.params()},
        "score_kind": model.score_kind,
        "threshold": model.hand_threshold,
        "calibrations": calibrations,
    }
    tensors = {f"model.{k}": v for k, v in model.state_dict().items()}
    tensors |= {f"calibration.{name}": c.scores for name, c in model.calibrations.items()}
    save_tensors(folder / _TENSORS, tensors, config)
    with replacing(folder / _CONFIG) as temporary:
        temporary.write_text(json.dumps(config, indent=2) + "\n")


def load_model(folder: str | Path, device: str = "cpu") -> "DensityModel":
    """Load a model from what `model.save(folder)` or `model.save_model(prefix)` wrote, or a run.

    Args:
        folder: Folder with `model.safetensors`, or a run folder with a `model/` in it; or the
            prefix of a pair of files, GORMPO's own too.
        device: Where to put the model.

    Raises:
        ModelFileError: Nothing is there, or the file is corrupt, truncated, of a newer format,
            does not fit the model it names, or names one not known here (import or register its
            class first).
    """
    if not any(path.is_file() for path in _places(Path(folder))) and is_pair(Path(folder)):
        model: DensityModel = load_pair(Path(folder))["model"]
        return model.to(device)
    path = _find(Path(folder))
    tensors, config = load_tensors(path)
    _check_version(config.get("format_version"), path)
    try:
        return _build(tensors, config, device)
    except (*_BROKEN, MemoryError) as error:
        reason = textwrap.shorten(str(error), 300)
        raise ModelFileError(f"{path}: the model cannot be built ({reason})") from error


def _check_version(version: object, place: Path) -> None:
    if not isinstance(version, int) or not 1 <= version <= FORMAT_VERSION:
        raise ModelFileError(
            f"{place}: format version {version} cannot be read; this version of "
            f"gormpo_density reads 1 to {FORMAT_VERSION}"
        )


def _build(tensors: dict[str, Tensor], config: dict[str, Any], device: str) -> "DensityModel":
    params = dict(config["model"])
    with names_only():
        model = make_model(params.pop("name"), **params)
    prefix = "model."
    state = {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}
    model.restore(state)
    for name, entry in config["calibrations"].items():
        model.calibrations[name] = Calibration(tensors[f"calibration.{name}"], **entry)
    if config["threshold"] is not None:
        model.threshold = config["threshold"]
    return model.to(device)


def is_pair(prefix: Path) -> bool:
    """Whether there is a pair of files `{prefix}_model.pth`, `{prefix}_meta_data.pkl`."""
    return all(path.is_file() for path in _pair(prefix))


def _places(folder: Path) -> tuple[Path, Path]:
    return folder / _TENSORS, folder / "model" / _TENSORS


def _find(folder: Path) -> Path:
    for path in _places(folder):
        if path.is_file():
            return path
    raise ModelFileError(f"{folder}: no {_TENSORS} in it, nor in its folder model/")


def save_pair(model: "DensityModel", prefix: Path, train_data: Data | None) -> None:
    """Write GORMPO's two files: `_model.pth` of tensors, `_meta_data.pkl` of plain numbers."""
    statistics: dict[str, float | None] = {"mean": None, "std": None}
    if train_data is not None:
        scores = torch.as_tensor(model.score_samples(train_data)).double()
        statistics = {"mean": scores.mean().item(), "std": scores.std().item()}
    metadata = {
        "format_version": FORMAT_VERSION,
        "name": model_name(model),
        "params": model.params(),
        "threshold": model.threshold if model.has_threshold else None,
        **statistics,
    }
    write_pair(prefix, model.state_dict(), metadata)


def write_pair(prefix: Path, state: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
    """Write tensors to `{prefix}_model.pth` and plain values to `{prefix}_meta_data.pkl`."""
    weights = io.BytesIO()  # torch.save to a full disk is a RuntimeError
    torch.save({k: v.cpu() for k, v in state.items()}, weights)
    with replacing(_pair(prefix)[0]) as temporary:
        temporary.write_bytes(weights.getvalue())
    with replacing(_pair(prefix)[1]) as temporary:
        temporary.write_bytes(pickle.dumps(metadata))


def load_pair(
    prefix: Path,
    cls: "type[DensityModel] | None" = None,
    hidden_dims: Sequence[int] | None = None,
) -> dict[str, Any]:
    """Read what `save_pair` wrote, or GORMPO.

    Tensors are read by `weights_only`, numbers by a restricted unpickler.

    Args:
        prefix: Of the two files.
        cls: What the model must be, or be of the same kind as; None takes any known one.
        hidden_dims: What the file must have, if given.

    Returns:
        {"model", "thr", "mean", "std"}, and of GORMPO's own pairs "threshold_candidates".

    Raises:
        ModelFileError: A file is missing, corrupt, hostile or of a newer format, or holds another
            model.
    """
    weights, numbers = _pair(prefix)
    try:
        metadata = load_pickle(numbers)
        if "format_version" in metadata:
            _check_version(metadata["format_version"], prefix)
        state = torch.load(weights, map_location="cpu", weights_only=True)
        if "format_version" in metadata:
            found = _from_pair(metadata, state, cls)
        else:
            from gormpo_density.compat.pairs import from_gormpo

            found = from_gormpo(metadata, state)
        _check_pair(found["model"], cls, hidden_dims)
        return found
    except ModelFileError:
        raise
    except (*_BROKEN, pickle.UnpicklingError, GormpoDensityError) as error:
        reason = textwrap.shorten(str(error), 300)
        raise ModelFileError(f"{prefix}: not a readable pair of files ({reason})") from error


def _from_pair(
    metadata: Mapping[str, Any], state: Mapping[str, Tensor], cls: "type[DensityModel] | None"
) -> dict[str, Any]:
    name, params = metadata["name"], dict(metadata["params"])
    with names_only():
        is_own = cls is not None and model_name(cls) == name  # perhaps found by no name
        model = cls(**params) if cls and is_own else make_model(name, **params)
    model.restore(state)
    if metadata["threshold"] is not None:
        model.threshold = metadata["threshold"]
    statistics = {key: metadata[key] for key in ("mean", "std")}
    return {"model": model, "thr": metadata["threshold"], **statistics}


def _check_pair(
    model: "DensityModel", cls: "type[DensityModel] | None", hidden_dims: Sequence[int] | None
) -> None:
    name = model_name(model)
    if cls is not None and model_name(cls) not in (name, getattr(model, "replaces", None)):
        raise ModelFileError(f"the files hold a {name!r}, not a {model_name(cls)!r}")
    stored = model.params().get("hidden_dims", [])
    if hidden_dims is not None and list(hidden_dims) != list(stored):
        raise ModelFileError(f"hidden_dims is {list(hidden_dims)}, the file has {stored}")


def _pair(prefix: Path) -> tuple[Path, Path]:
    return Path(f"{prefix}_model.pth"), Path(f"{prefix}_meta_data.pkl")
