"""Configurations of detection runs: sections, options of the data set, shipped files, old keys."""

import json
import logging
from pathlib import Path

import pytest

from gormpo_density.config import dump_config
from gormpo_density.config_files import shipped_configs
from gormpo_density.detection.config import DetectConfig, load_detect_config
from gormpo_density.errors import ConfigError

SHIPPED = sorted(path.stem for path in (shipped_configs() / "detect").glob("*.yaml"))
NAMED = {
    *("power_converter", "respiratory", "ecg5000", "skab", "csv"),
    *("vae_lstm_nab", "vae_lstm_respiratory"),
    *("nab_ambient_temperature", "nab_cpu_asg", "nab_ec2_request", "nab_machine_temperature"),
    "nab_nyc_taxi",
}


def load(*settings: str, model: str | None = None) -> DetectConfig:
    return load_detect_config(None, settings, model=model)


def from_file(tmp_path: Path, values: dict[str, object], *settings: str) -> DetectConfig:
    (tmp_path / "config.json").write_text(json.dumps(values))
    return load_detect_config(tmp_path / "config.json", settings)


def problems(*settings: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        load(*settings)
    return caught.value.problems


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_configurations_are_valid_and_read_back(name: str, tmp_path: Path) -> None:
    config = load_detect_config(f"detect/{name}")
    (tmp_path / "again.yaml").write_text(dump_config(config))
    assert load_detect_config(tmp_path / "again.yaml") == config


def test_every_configuration_that_is_promised_is_shipped() -> None:
    assert set(SHIPPED) == NAMED


def test_the_options_of_a_data_set_are_keys_of_the_data_section() -> None:
    simulated = load("task=power_converter", "data.severity=0.5")
    assert simulated.data.options["severity"] == 0.5
    assert simulated.data.options["num_samples"] == 2000
    assert load("task=ecg5000").data.options == {"protocol": "A"}
    own = load("data.data_path=x.csv", "data.intervals=[[1, 2], [a, b]]", "data.train_end=300")
    assert own.data.options["intervals"] == [[1, 2], ["a", "b"]]
    assert own.data.name == "x.csv"


def test_the_defaults_are_those_of_a_detector() -> None:
    config = load("task=respiratory")
    assert (config.model.name, config.calibration.alpha) == ("vae", 0.01)
    assert (config.detector.window, config.detector.aggregation) == ("auto", "mean")


def test_a_baseline_can_be_the_model() -> None:
    config = load("task=respiratory", model="pca")
    assert (config.model.name, config.model.params, dict(config.fit)) == ("pca", {}, {})


def test_the_phases_of_a_vae_lstm_have_sections_of_their_own() -> None:
    config = load(
        "task=respiratory", "model.name=vae_lstm", "fit.lstm.epochs=3", "fit.vae.lr=1e-3"
    )
    options = dict(config.fit)
    assert (options["lstm"].epochs, options["vae"].lr) == (3, 1e-3)


def test_an_unknown_data_set_is_the_only_complaint_about_the_data() -> None:
    (problem,) = problems("data.dataset=power_convertor", "data.severity=2")
    assert "data set 'power_convertor' is unknown, did you mean 'power_converter'" in problem


def test_every_problem_is_told() -> None:
    told = problems("task=ecg_beats", "data.severity=-1", "detector.stride=0", "baselines=[nea]")
    assert len(told) == 3
    assert "data.severity must be greater than or equal to 0, is -1" in told[0]
    assert "baselines.0 must be a baseline, is 'nea'" in told[2]


# The ancestors' files -----------------------------------------------------------------------

VAE_LSTM = {
    "exp_name": "breath",
    "dataset": "respiratory",
    "l_win": 60,
    "l_seq": 4,
    "code_size": 20,
    "num_hidden_units_vae": 256,
    "num_hidden_units_lstm": 128,
    "num_layers": 3,
    "lstm_dropout": 0.1,
    "vae_learning_rate": 1e-3,
    "lstm_learning_rate": 2e-3,
    "batch_size": 32,
    "lstm_batch_size": 2,
    "num_epochs_vae": 7,
    "patience": 200,
    "threshold_percent": 90,
    "visualization_interval": 10,
}


def test_a_file_of_the_vae_lstm_is_understood(tmp_path, caplog) -> None:
    with caplog.at_level(logging.WARNING):
        config = from_file(tmp_path, VAE_LSTM)
    assert config.task == "breath"
    assert config.model.name == "vae_lstm"
    expected = {"window": 60, "latent_dim": 20, "hidden_dims": [256, 128]}
    expected |= {"lstm_hidden_dim": 128, "lstm_layers": 3}
    assert {key: config.model.params[key] for key in expected} == expected
    assert config.detector.window == 240
    fit = dict(config.fit)
    assert (fit["batch_size"], fit["patience"]) == (32, 200)
    assert (fit["vae"].lr, fit["vae"].epochs) == (1e-3, 7)
    assert (fit["lstm"].lr, fit["lstm"].batch_size) == (2e-3, 2)
    assert config.report.visualization_interval == 10
    told = [message for message in caplog.messages if "has no effect here" in message]
    assert len(told) == 2
    assert "flags that share of anything" in told[1]


def test_looking_back_means_so_many_windows_before_the_one_predicted(tmp_path) -> None:
    keys = {"dataset": "respiratory", "l_win": 30, "look_back_num": 3}
    assert from_file(tmp_path, keys).detector.window == 120


def test_names_of_the_power_converter_script_are_understood(tmp_path) -> None:
    keys = {"NUM_SAMPLES": 500, "TIME_STEPS": 50, "NUM_FEATURES": 2, "LATENT_DIM": 2}
    keys |= {"task": "power_converter", "NUM_EPOCHS": 3, "LEARNING_RATE": 0.01, "percentile": 99}
    config = from_file(tmp_path, keys)
    assert [config.data.options[key] for key in ("num_samples", "time_steps", "num_features")] == [
        *(500, 50, 2)
    ]
    assert (config.model.name, config.model.params["latent_dim"]) == ("vae", 2)
    assert (dict(config.fit)["epochs"], config.calibration.alpha) == (3, 0.01)


def test_a_file_of_recae_is_understood(tmp_path) -> None:
    keys = {"exp_name": "r", "rnn_type": "LSTM", "n_layers": 2, "latent_dim": 4, "max_epoch": 5}
    config = from_file(tmp_path, keys | {"data_folder": "x", "cuda": False, "loss": "MAE"})
    assert (config.model.name, config.model.params["cell"]) == ("recurrent_ae", "lstm")
    assert (config.data.dataset, str(config.data.data_dir)) == ("ecg5000", "x")


@pytest.mark.parametrize(
    ("keys", "complaint"),
    [
        ({"l_win": 0}, "l_win must be an integer above 0, is 0"),
        ({"l_seq": 3}, "l_seq and look_back_num count windows of l_win rows, not given"),
        ({"num_hidden_units_vae": "x"}, "num_hidden_units_vae must be above 1, is 'x'"),
        ({"percentile": True}, "percentile must be a number, is True"),
    ],
)
def test_bad_old_keys_are_told(tmp_path, keys, complaint) -> None:
    with pytest.raises(ConfigError, match=complaint):
        from_file(tmp_path, {"dataset": "respiratory", **keys})
