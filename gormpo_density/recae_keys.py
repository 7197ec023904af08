"""The flat keys of RecAE-PyTorch's JSON files, and what each one means here."""

import logging
from collections.abc import Mapping

from gormpo_density.config_tree import COMMAND_LINE, ConfigTree
from gormpo_density.flat_keys import FlatKeys

logger = logging.getLogger(__name__)

_ALIASES: Mapping[str, str] = {
    "exp_name": "task",
    "n_layers": "model.num_layers",
    "latent_dim": "model.latent_dim",
    "lambda_auc": "model.lambda_auc",
    "learning_rate": "fit.lr",
    "batch_size": "fit.batch_size",
    "max_epoch": "fit.epochs",
}

_OWN_SPLIT = "a data set is split by its own protocol, see data.protocol"
_OWN_FOLDER = "a run keeps its checkpoints in its own folder, --run-dir DIR"

_WITHOUT_EFFECT: Mapping[str, str] = {
    "agent": "the model says how it is trained",
    "n_features": "the data says how many channels there are",
    "batch_size_val": "validation needs no batches",
    "sampler_random_state": "seed fixes every random choice",
    **dict.fromkeys(
        (
            f"{name}_{part}"
            for name in "Xy"
            for part in ("train", "train_p", "val", "val_p", "test")
        ),
        _OWN_SPLIT,
    ),
    "training_type": _OWN_SPLIT,
    "validation_type": _OWN_SPLIT,
    "checkpoint_file": _OWN_FOLDER,
    "checkpoint_dir": _OWN_FOLDER,
    "load_checkpoint": "--resume goes on with an interrupted run",
    "gpu_device": "it numbers the GPU of cuda: true",
}

_LOSSES: Mapping[str, str] = {
    "MAE": "mae",
    "MSE": "mse",
    "MAEAUC": "mae_auc",
    "MSEAUC": "mse_auc",
}


def _set_cell(tree: ConfigTree) -> None:
    """Translate rnn_type, and rnn_act, which is the nonlinearity of an RNN and of no other."""
    act = tree.values.pop("rnn_act", None)
    origin = tree.origin("rnn_act")
    if "rnn_type" in tree.values:
        kind = tree.values["rnn_type"]
        tree.claim("rnn_type", "model.cell", kind.lower() if isinstance(kind, str) else kind)
        if tree.get("model.name") is None:
            tree.set("model.name", "recurrent_ae", f"{tree.source} (rnn_type)")
    if act in (None, "None"):
        return
    if tree.get("model.cell") == "rnn":
        tree.set("model.nonlinearity", act, f"{origin} (rnn_act)")
    else:
        logger.warning("%s: rnn_act has no effect here: only an RNN has a choice", origin)


def _set_loss(tree: ConfigTree) -> None:
    value = tree.values["loss"]
    known = isinstance(value, str) and value in _LOSSES
    tree.claim("loss", "model.loss", _LOSSES[value] if known else value)


def _set_data(tree: ConfigTree) -> None:
    """Translate data_folder; without a data set it means ECG5000, the only one they had."""
    tree.claim("data_folder", "data.data_dir", tree.values["data_folder"])
    if not (tree.get("data.dataset") or tree.get("data.data_path")):
        tree.set("data.dataset", "ecg5000", f"{tree.source} (data_folder)")


def _set_device(tree: ConfigTree) -> None:
    """Translate cuda: true, which outdoes a file's device, and the number of its GPU."""
    origin, is_wanted = tree.origin("cuda"), tree.values.pop("cuda")
    if not isinstance(is_wanted, bool):
        tree.problems.append(f"{origin}: cuda must be true or false, is {is_wanted!r}")
    elif is_wanted:
        number = tree.values.pop("gpu_device", None)
        if origin == COMMAND_LINE or tree.origin("device") != COMMAND_LINE:
            device = "cuda" if number is None else f"cuda:{number}"
            tree.set("device", device, f"{origin} (cuda)")


RECAE_KEYS = FlatKeys(
    _ALIASES,
    _WITHOUT_EFFECT,
    {
        "rnn_type": _set_cell,
        "rnn_act": _set_cell,
        "loss": _set_loss,
        "data_folder": _set_data,
        "cuda": _set_device,
    },
)
