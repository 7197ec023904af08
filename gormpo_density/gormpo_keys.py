"""The flat keys of GORMPO's density files, and what each one means here.

A key is honoured under the path it stands for, or has no effect and its user is told why.
"""

import logging
from collections.abc import Mapping
from typing import Any

from gormpo_density.config_tree import ConfigTree

logger = logging.getLogger(__name__)

#: The path that each flat key stands for; the flags of the same names mean the same.
ALIASES: Mapping[str, str] = {
    "data_path": "data.data_path",
    "val_ratio": "data.val_ratio",
    "test_ratio": "data.test_ratio",
    "obs_dim": "data.obs_dim",  # the three widths are only checked against the data
    "action_dim": "data.action_dim",
    "input_dim": "data.input_dim",
    "latent_dim": "model.latent_dim",
    "hidden_dims": "model.hidden_dims",
    "num_layers": "model.num_layers",
    "beta": "model.beta",
    "epochs": "fit.epochs",
    "batch_size": "fit.batch_size",
    "lr": "fit.lr",
    "patience": "fit.patience",
    "anomaly_fraction": "calibration.alpha",
    "model_save_path": "export.model_prefix",  # the pair is written there too
    "fig_save_path": "export.plots",  # the plots are copied there too
}

_WITHOUT_EFFECT: Mapping[str, str] = {
    "train_ratio": "training takes what the other splits leave",
    "verbose": "use --quiet",
    "log_freq": "history.csv has every epoch",
    "plot_results": "a run always leaves its plots",
    "save_model": "a run always leaves its model",
}

#: The model that a file without a name means, by the first of these keys it has.
_IMPLIED_MODELS: Mapping[str, str] = {"latent_dim": "vae", "num_layers": "realnvp"}


def translate(tree: ConfigTree) -> None:
    """Move flat keys to their sections; warn of each that has no effect."""
    tree.rename(ALIASES)
    if tree.values.pop("use_rl_data", True) is not True:
        tree.problems.append(
            f"{tree.source}: use_rl_data must be true; for synthetic data call "
            "gormpo_density.create_synthetic_data in Python"
        )
    for key in sorted(_WITHOUT_EFFECT.keys() & tree.values.keys()):
        del tree.values[key]
        logger.warning("%s: %s has no effect here: %s", tree.source, key, _WITHOUT_EFFECT[key])


def implied_model(params: Mapping[str, Any]) -> str | None:
    """Return the model that parameters without a name belong to; None if they do not tell."""
    return next((model for key, model in _IMPLIED_MODELS.items() if key in params), None)
