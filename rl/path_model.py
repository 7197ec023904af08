"""The VAE-LSTM of paths: what it is made and fitted with where nothing else is said.

Chosen by the held-out bound on Hopper and HalfCheetah, within a minute of one core. The states of
a simulator follow from the last ones all but exactly. So encoder and decoder are linear maps with
room for every column: they hand states on without loss, what is not linear is left to the LSTM.
Training noise, by default .05 standard deviations, would hide how exactly they follow; the spread
that is left to learn is far from the one that training starts with, hence the large steps, most
of them in the phase that trains the bound.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch

from gormpo_density import SequenceModel, load_model
from gormpo_density.config import COMMAND_LINE, ConfigTree, RunConfig
from gormpo_density.errors import ModelFileError

NAME = "vae_lstm"
MODEL: Mapping[str, Any] = {"latent_dim": 32, "hidden_dims": []}
FIT: Mapping[str, Any] = {
    "epochs": 24,
    "batch_size": 64,
    "lr": 0.03,
    "weight_decay": 0.0,
    "noise": 0.0,
    "vae": {"epochs": 1, "batch_size": 256},
    "lstm": {"epochs": 1},
}

C = TypeVar("C", bound=RunConfig)


def refined_by(tree: ConfigTree, base: type[C]) -> Callable[[ConfigTree], type[C]]:
    """Return what fills in a configuration whose model is a VAE-LSTM.

    Where the command line has put it in the place of the file's model, the file's `fit` was meant
    for another and does not count.

    Args:
        tree: The configuration as the file has it.
        base: The schema, returned as it is.
    """
    was_named = tree.get("model.name") == NAME

    def is_open(resolved: ConfigTree, path: str) -> bool:
        is_of_another = not was_named and resolved.origin(path) != COMMAND_LINE
        return resolved.get(path) is None or is_of_another

    def refine(resolved: ConfigTree) -> type[C]:
        if resolved.get("model.name") == NAME:
            for section, values in (("model", MODEL), ("fit", FIT)):
                for key, value in values.items():
                    if is_open(resolved, f"{section}.{key}"):
                        resolved.set(f"{section}.{key}", value, resolved.origin("model.name"))
        return base

    return refine


def load_path_model(folder: Path, device: torch.device) -> SequenceModel[Any]:
    """Load a saved model of paths.

    Raises:
        ModelFileError: Nothing is there, the file is corrupt, or the model is of rows.
    """
    model = load_model(folder, str(device))
    if not isinstance(model, SequenceModel):
        raise ModelFileError(f"{folder}: the model is not one of paths")
    return model
