"""The flat keys of GORMPO's density files (vae, realnvp, kde, neuralODE, diffusion) and ours."""

from collections.abc import Mapping
from typing import Any

from gormpo_density.config_tree import ConfigTree
from gormpo_density.errors import ConfigError
from gormpo_density.flat_keys import FlatKeys, drop, set_level

_ALIASES: Mapping[str, str] = {
    "data_path": "data.data_path",
    "npz": "data.data_path",
    "val_ratio": "data.val_ratio",
    "val_size": "data.val_ratio",
    "test_ratio": "data.test_ratio",
    "test_size": "data.test_ratio",
    "obs_dim": "data.obs_dim",  # the three widths are only checked against the data
    "action_dim": "data.action_dim",
    "input_dim": "data.input_dim",
    "latent_dim": "model.latent_dim",
    "hidden_dims": "model.hidden_dims",
    "num_layers": "model.num_layers",
    "beta": "model.beta",
    "bandwidth": "model.bandwidth",
    "activation": "model.activation",
    "time_dependent": "model.time_dependent",
    "t0": "model.t0",
    "t1": "model.t1",
    "timesteps": "model.timesteps",
    "time_emb": "model.time_dim",
    "epochs": "fit.epochs",
    "batch_size": "fit.batch_size",
    "batch": "fit.batch_size",
    "lr": "fit.lr",
    "wd": "fit.weight_decay",
    "patience": "fit.patience",
    "anomaly_fraction": "calibration.alpha",
    "model_save_path": "export.model_prefix",  # the pair is written there too
    "save_model_path": "export.model_prefix",
    "fig_save_path": "export.plots",  # the plots are copied there too
    "save_dir": "export.plots",
}

_EPOCHS = "history.csv has every epoch"
_PLOTS = "a run always leaves its plots"
_SYNTHETIC = "for synthetic data call gormpo_density.create_synthetic_data in Python"
_SELECTION = "calibration.alpha is the level; data sets choose none"
_SAVED = "checkpoints are written after every epoch"
_TRAINED = "a model is trained; gormpo_density.evaluate RUN measures one again"
_TRANSFORMER = "the network has fully connected layers"
_TOLERANCE = "steps are of fixed size; model.rtol and model.atol bound the error of a score"
_WANDB = "a run keeps its curves and its page"

_WITHOUT_EFFECT: Mapping[str, str] = {
    "train_ratio": "training takes what the other splits leave",
    "temporal_split": "episodes are split at random, by the seed",
    "verbose": "use --quiet",
    "log_freq": _EPOCHS,
    "log_every": _EPOCHS,
    "checkpoint_every": _SAVED,
    "checkpoint_every_epochs": _SAVED,
    "samples_every": "sample the saved model",
    "plot": _PLOTS,
    "plot_results": _PLOTS,
    "save_model": "a run always leaves its model",
    "out": "a run keeps its model in its own folder; --run-dir DIR says where",
    "devid": "--device cuda:N chooses a GPU",
    "no_gpu": "--device cpu keeps to the CPU",
    "env": "the task names the environment",
    "n_samples": _SYNTHETIC,
    "n_features": _SYNTHETIC,
    "anomaly_rate": _SYNTHETIC,
    "anomaly_type": _SYNTHETIC,
    "target_dim": "widths come from the data",
    "k_neighbors": "the density is that of all kept rows (model.max_rows), not of the nearest",
    "no_normalize": "rows are standardised inside the model",
    "pca": "rows are standardised inside the model",
    "optimize_percentile": _SELECTION,
    "optimization_metric": _SELECTION,
    "rtol": _TOLERANCE,
    "atol": _TOLERANCE,
    "dropout": "noise on the rows (fit.noise) and early stopping keep it from over-fitting",
    "d_model": _TRANSFORMER,
    "nhead": _TRANSFORMER,
    "tf_layers": _TRANSFORMER,
    "ff_dim": _TRANSFORMER,
    "model_path": _TRAINED,
    "model_dir": _TRAINED,
    "npz_path": "data_path names the data",
    "max_samples": "all rows are used",
    "wandb": _WANDB,
    "wandb_project": _WANDB,
    "wandb_entity": _WANDB,
    "wandb_run": _WANDB,
    "compute_thresholds_only": "every run leaves a calibration",
}

#: The model that a file without a name means, by the first of these keys it has.
_IMPLIED_MODELS: Mapping[str, str] = {
    "latent_dim": "vae",
    "num_layers": "realnvp",
    "bandwidth": "kde",
    "k_neighbors": "kde",
    "time_dependent": "cnf",
    "solver": "cnf",
    "timesteps": "diffusion",
    "time_emb": "diffusion",
    "model_dir": "diffusion",  # of its files only those for scoring a diffusion model have it
}

_SOLVERS = ("euler", "midpoint", "rk4")
_HIDDEN, _LAYERS, _MOST_LAYERS = 512, 3, 100  # the first two are GORMPO's


def implied_model(params: Mapping[str, Any]) -> str | None:
    """Return the model that parameters without a name belong to; None if they do not tell."""
    return next((model for key, model in _IMPLIED_MODELS.items() if key in params), None)


def _require_rl_data(tree: ConfigTree) -> None:
    if tree.values.pop("use_rl_data") is not True:
        tree.problems.append(
            f"{tree.source}: use_rl_data must be true; for synthetic data call "
            "gormpo_density.create_synthetic_data in Python"
        )


def _set_solver(tree: ConfigTree) -> None:
    if (solver := tree.values["solver"]) in _SOLVERS:
        tree.claim("solver", "model.solver", solver)
    else:
        known = ", ".join(_SOLVERS)
        reason = f"a row's score must not depend on others, so steps are of fixed size ({known})"
        drop(tree, {"solver": reason})


def _set_layers(tree: ConfigTree) -> None:
    """Translate hidden and layers: 512 and 3 are the hidden_dims [512, 512, 512]."""
    width, depth = tree.values.pop("hidden", _HIDDEN), tree.values.pop("layers", _LAYERS)
    if type(width) is int and type(depth) is int and 1 <= depth <= _MOST_LAYERS:
        tree.set("model.hidden_dims", [width] * depth, f"{tree.source} (hidden, layers)")
    else:
        tree.problems.append(
            f"{tree.source}: hidden and layers must be whole numbers, layers 1 to {_MOST_LAYERS}"
        )


def _mend(tree: ConfigTree) -> None:
    """Settle what files of GORMPO leave open or say twice: the model, the data, the widths."""
    values = tree.values
    if "distances" in values:
        raise ConfigError(
            f"{tree.source}: a file of GORMPO's tests of OOD levels; here python -m "
            "gormpo_density.evaluate RUN --compare RUN ... --ood gormpo0.5 ... tests runs"
        )
    if isinstance(values.get("model"), str):
        drop(tree, {"model": "the other keys tell the model, and --model NAME another"})
    if values.get("model") is None and (name := implied_model(values)) is not None:
        tree.set("model.name", name, tree.source)
    if "solver" in values:
        _set_solver(tree)
    if values.keys() & {"hidden", "layers"}:
        _set_layers(tree)
    match values.get("obs_dim"):
        case [width]:
            values["obs_dim"] = width
    _check_input_dim(tree)


def _check_input_dim(tree: ConfigTree) -> None:
    """Leave out an input_dim that is not the width of a row; GORMPO computes it anew as well."""
    if "input_dim" not in tree.values:
        return
    obs_dim, action_dim = tree.values.get("obs_dim"), tree.values.get("action_dim")
    if type(obs_dim) is not int or type(action_dim) is not int:
        drop(tree, {"input_dim": "widths come from the data"})
    elif tree.values["input_dim"] != obs_dim + action_dim:
        drop(tree, {"input_dim": f"obs_dim and action_dim make {obs_dim + action_dim}"})


_NOTE = (
    "read as a file of GORMPO's. Numbers differ here: rows are (state, action), not (next state, "
    "action), and are standardised; the best weights are kept; the threshold is that of held-out "
    "episodes. See 'Coming from GORMPO'"
)

DENSITY_KEYS = FlatKeys(
    _ALIASES,
    _WITHOUT_EFFECT,
    {
        "use_rl_data": _require_rl_data,
        "percentile": set_level("percentile"),
    },
    mend=_mend,
    note=_NOTE,
)
