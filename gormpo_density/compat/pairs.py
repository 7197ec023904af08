"""GORMPO's two files of a model: `{prefix}_model.pth` and `{prefix}_meta_data.pkl`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gormpo_density.arrays import Data
from gormpo_density.compat.models import GormpoModel, GormpoRealNVP, GormpoVAE
from gormpo_density.errors import ConfigError, ModelFileError
from gormpo_density.persistence import load_pair, write_pair

#: The models by a weight that only they have.
_TELLTALE: dict[str, type[GormpoModel]] = {
    "encoder.fc_mu.weight": GormpoVAE,
    "coupling_layers.0.scale_net.network.0.weight": GormpoRealNVP,
}
_OURS = "standardizer."


def load_gormpo_pair(prefix: str | Path) -> dict[str, Any]:
    """Read a VAE or a RealNVP that GORMPO saved.

    Weights are read as tensors only and numbers by a restricted unpickler, so no code of the
    files runs. Widths are those of the weights.

    Args:
        prefix: What GORMPO calls save_path.

    Returns:
        As GORMPO's own load_model: "model" (its threshold is the file's), "thr", "mean", "std"
        (None where the file has none) and "threshold_candidates", by percentile.

    Raises:
        ModelFileError: A file is missing, corrupt or hostile, or holds another model.
    """
    found = load_pair(Path(prefix))
    if not isinstance(found["model"], GormpoModel):
        raise ModelFileError(f"{prefix}: a pair of gormpo_density, not of GORMPO")
    return found


def from_gormpo(metadata: Mapping[str, Any], weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """Build what `load_gormpo_pair` returns from the contents of the two files.

    Raises:
        ConfigError: The weights are of neither model, or its masks or prior are not GORMPO's.
    """
    found = [cls for name, cls in _TELLTALE.items() if name in weights]
    if len(found) != 1:
        raise ConfigError("these are weights of neither GORMPO's VAE nor its RealNVP")
    model = found[0](**found[0].params_of(weights))
    constants = model.constants()
    for name, expected in constants.items():
        if not torch.equal(weights[name].to(expected), expected):
            raise ConfigError(f"{name} is not what GORMPO's RealNVP has")
    own = {name: tensor for name, tensor in model.state_dict().items() if name.startswith(_OURS)}
    model.restore({**{k: v for k, v in weights.items() if k not in constants}, **own})
    threshold = metadata["threshold"]
    if threshold is not None:
        model.threshold = threshold = float(threshold)
    candidates = metadata.get("threshold_candidates", {})
    return {
        "model": model,
        "thr": threshold,
        "mean": metadata.get("mean"),
        "std": metadata.get("std"),
        "threshold_candidates": {int(p): float(value) for p, value in candidates.items()},
    }


def save_gormpo_pair(model: GormpoModel, prefix: Path, train_data: Data | None) -> None:
    """Write the pair that GORMPO's own load_model reads."""
    numbers: dict[str, float | None] = {"mean": None, "std": None}
    if train_data is not None:
        scores = np.asarray(torch.as_tensor(model.score_samples(train_data)).cpu(), np.float64)
        numbers = {"mean": float(scores.mean()), "std": float(scores.std())}
    metadata = {
        **model.params(),
        "threshold": model.threshold if model.has_threshold else None,
        "device": "cpu",
        **numbers,
    }
    weights = {k: v for k, v in model.state_dict().items() if not k.startswith(_OURS)}
    write_pair(prefix, {**model.constants(), **weights}, metadata)
