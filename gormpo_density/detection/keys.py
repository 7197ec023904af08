"""The flat keys of the ancestors' files for time series, and what each one means here.

VAE-LSTM's (l_win, code_size, ...), the power converter's (NUM_SAMPLES, ...), RecAE's (rnn_type).
"""

from collections.abc import Mapping

from gormpo_density.config_tree import ConfigTree
from gormpo_density.flat_keys import FlatKeys
from gormpo_density.recae_keys import RECAE_KEYS

_COMMON: Mapping[str, str] = {
    "data_path": "data.data_path",
    "latent_dim": "model.latent_dim",
    "hidden_dims": "model.hidden_dims",
    "beta": "model.beta",
    "epochs": "fit.epochs",
    "lr": "fit.lr",
    "anomaly_fraction": "calibration.alpha",
}

_VAE_LSTM: Mapping[str, str] = {
    "exp_name": "task",
    "dataset": "data.dataset",
    "data_dir": "data.data_dir",
    "csv_folder_path": "data.data_dir",
    "split_ratio": "data.train_end",
    "val_ratio": "detector.val_ratio",
    "code_size": "model.latent_dim",
    "num_hidden_units_lstm": "model.lstm_hidden_dim",
    "batch_size": "fit.batch_size",
    "lstm_batch_size": "fit.lstm.batch_size",
    "vae_learning_rate": "fit.vae.lr",
    "lstm_learning_rate": "fit.lstm.lr",
    "num_epochs_vae": "fit.vae.epochs",
    "num_epochs_lstm": "fit.lstm.epochs",
    "patience": "fit.patience",
    "visualization_interval": "report.visualization_interval",
}

_POWER_CONVERTER: Mapping[str, str] = {
    "NUM_SAMPLES": "data.num_samples",
    "TIME_STEPS": "data.time_steps",
    "NUM_FEATURES": "data.num_features",
    "voltage_base": "data.voltage",
    "LATENT_DIM": "model.latent_dim",
    "LEARNING_RATE": "fit.lr",
    "NUM_EPOCHS": "fit.epochs",
    "BATCH_SIZE": "fit.batch_size",
}

_WITHOUT_EFFECT: Mapping[str, str] = {
    "input_size": "the data says how many channels there are",
    "recording_start_line": "cut the file, or leave it: training ends at data.train_end",
    "lstm_dropout": "the LSTM has none",
    "threshold_percent": "a percentile of the judged scores flags that share of anything; "
    "calibration.alpha sets the false-alarm rate on normal data",
    "f_beta": "metrics.json has precision and recall",
    "TRAIN_VAE": "both phases are trained; a finished run is left alone",
    "TRAIN_LSTM": "both phases are trained; a finished run is left alone",
    "Anomaly_Detection": "a run always detects",
    "checkpoint_dir": "a run keeps everything in its folder, --run-dir DIR",
    "result_dir": "a run keeps everything in its folder, --run-dir DIR",
}


def _local_windows(tree: ConfigTree) -> None:
    """Turn l_win, and how many of them are looked at, into the window of model and detector."""
    keys = ("l_win", "l_seq", "look_back_num")
    l_win, l_seq, look_back = (tree.values.pop(key, None) for key in keys)
    origin = f"{tree.source} (l_win)"
    bad = [
        f"{tree.source}: {key} must be an integer above 0, is {value!r}"
        for key, value in zip(keys, (l_win, l_seq, look_back), strict=True)
        if value is not None and not (isinstance(value, int) and value > 0)
    ]
    if bad or l_win is None:
        told = [f"{tree.source}: l_seq and look_back_num count windows of l_win rows, not given"]
        tree.problems.extend(bad or told)
        return
    tree.set("model.window", l_win, origin)
    tree.set("detector.window", l_win * (l_seq or (look_back or 1) + 1), origin)
    _imply_model(tree, "vae_lstm", origin)


def _layers(tree: ConfigTree) -> None:
    """Give num_layers to the LSTM of a file with l_win, else to the model."""
    name = "lstm_layers" if "l_win" in tree.values else "num_layers"
    tree.claim("num_layers", f"model.{name}", tree.values["num_layers"])


def _hidden_units(tree: ConfigTree) -> None:
    """Turn num_hidden_units_vae h into the widths h and h / 2 of the encoder."""
    units = tree.values.pop("num_hidden_units_vae")
    if not (isinstance(units, int) and units > 1):
        tree.problems.append(f"{tree.source}: num_hidden_units_vae must be above 1, is {units!r}")
        return
    tree.set("model.hidden_dims", [units, units // 2], f"{tree.source} (num_hidden_units_vae)")
    _imply_model(tree, "vae_lstm", tree.source)


def _percentile(tree: ConfigTree) -> None:
    """Turn the percentile of normal errors into the false-alarm rate it stands for."""
    percentile = tree.values.pop("percentile")
    if isinstance(percentile, bool) or not isinstance(percentile, int | float):
        tree.problems.append(f"{tree.source}: percentile must be a number, is {percentile!r}")
        return
    alpha = round(1 - percentile / 100, 12)
    tree.set("calibration.alpha", alpha, f"{tree.source} (percentile)")


def _imply_model(tree: ConfigTree, name: str, origin: str) -> None:
    if tree.get("model.name") is None:
        tree.set("model.name", name, origin)


DETECT_KEYS = FlatKeys(
    {**_COMMON, **_VAE_LSTM, **_POWER_CONVERTER, **RECAE_KEYS.aliases},
    {**_WITHOUT_EFFECT, **RECAE_KEYS.without_effect},
    {
        **RECAE_KEYS.translations,
        "num_layers": _layers,
        "l_win": _local_windows,
        "l_seq": _local_windows,
        "look_back_num": _local_windows,
        "num_hidden_units_vae": _hidden_units,
        "percentile": _percentile,
    },
)
