"""The flat keys of GORMPO's files, and what each one means here; those of its density files.

A key is honoured under the path it stands for, or has no effect and its user is told why.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from gormpo_density.config_tree import ConfigTree

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FlatKeys:
    """What a command accepts at the top level besides its sections.

    A dash and an underscore in a key are the same.

    Attributes:
        aliases: The path that each key stands for; the flags of the same names mean the same.
        without_effect: Keys that do nothing here, each with the reason why.
        translations: Functions for keys that take more than another path. Each is called if its
            key is there, and takes it away.
    """

    aliases: Mapping[str, str]
    without_effect: Mapping[str, str]
    translations: Mapping[str, Callable[[ConfigTree], None]]

    def rename(self, tree: ConfigTree) -> None:
        """Move a file's keys to where they belong, before the command line is applied."""
        known = {*self.aliases, *self.without_effect, *self.translations}
        for key in list(tree.values):
            name = key.replace("-", "_")
            if name in known and name not in tree.values:
                tree.values[name] = tree.values.pop(key)
        tree.rename(self.aliases)

    def translate(self, tree: ConfigTree) -> None:
        """Translate what is left at the top level; warn of each key that has no effect."""
        for key, translation in self.translations.items():
            if key in tree.values:
                translation(tree)
        for key in sorted(self.without_effect.keys() & tree.values.keys()):
            del tree.values[key]
            reason = self.without_effect[key]
            logger.warning("%s: %s has no effect here: %s", tree.origin(key), key, reason)


_ALIASES: Mapping[str, str] = {
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


def _require_rl_data(tree: ConfigTree) -> None:
    if tree.values.pop("use_rl_data") is not True:
        tree.problems.append(
            f"{tree.source}: use_rl_data must be true; for synthetic data call "
            "gormpo_density.create_synthetic_data in Python"
        )


DENSITY_KEYS = FlatKeys(_ALIASES, _WITHOUT_EFFECT, {"use_rl_data": _require_rl_data})


def implied_model(params: Mapping[str, Any]) -> str | None:
    """Return the model that parameters without a name belong to; None if they do not tell."""
    return next((model for key, model in _IMPLIED_MODELS.items() if key in params), None)
