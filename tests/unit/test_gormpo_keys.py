import logging
from pathlib import Path

import pytest

from gormpo_density.config import ConfigTree, DensityConfig, density_config
from gormpo_density.config_files import parse_yaml
from gormpo_density.errors import ConfigError
from gormpo_density.gormpo_keys import implied_model

DENSITY_FILE = """
task: hopper-medium-v2
use_rl_data: true
obs_dim: 11
action_dim: 3
input_dim: 14
latent_dim: 8
hidden_dims: [256, 128]
epochs: 60
batch_size: 128
lr: 1e-3
beta: 2.0
patience: 15
val_ratio: 0.2
test_ratio: 0.2
anomaly_fraction: 0.01
device: cuda:0
seed: 42
model_save_path: saved_models/vae/hopper_medium_v2
fig_save_path: figures
"""


def resolve(text: str, *overrides: str) -> DensityConfig:
    return density_config(ConfigTree(parse_yaml(text, "theirs.yaml"), "theirs.yaml"), overrides)


def problems(text: str, *overrides: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as error:
        resolve(text, *overrides)
    return error.value.problems


def test_a_density_file_of_gormpo_resolves() -> None:
    config = resolve(DENSITY_FILE)
    fit = dict(config.fit)
    assert (config.task, config.data.dataset) == ("hopper-medium-v2", "hopper-medium-v2")
    assert (config.data.obs_dim, config.data.action_dim, config.data.input_dim) == (11, 3, 14)
    assert (config.data.val_ratio, config.data.test_ratio) == (0.2, 0.2)
    assert config.model.name == "vae"
    assert config.model.params["latent_dim"] == 8
    assert config.model.params["hidden_dims"] == [256, 128]
    assert config.model.params["beta"] == 2.0
    assert [fit[key] for key in ("epochs", "batch_size", "lr", "patience")] == [60, 128, 1e-3, 15]
    assert config.calibration.alpha == 0.01
    assert (config.device, config.seed) == ("cuda:0", 42)
    assert config.export.model_prefix == Path("saved_models/vae/hopper_medium_v2")
    assert config.export.plots == Path("figures")


def test_a_problem_names_the_flat_key() -> None:
    assert problems(DENSITY_FILE.replace("epochs: 60", "epochs: 1oo")) == (
        'theirs.yaml (epochs): fit.epochs must be a valid integer, is "1oo"',
    )


def test_a_misspelt_flat_key_is_unknown() -> None:
    assert problems("task: hopper-medium-v2\nepoch: 3") == (
        "theirs.yaml: epoch is unknown, did you mean 'fit.epochs'?",
    )


def test_a_flat_key_and_its_path_are_a_conflict() -> None:
    assert problems("task: hopper-medium-v2\nlr: 1e-3\nfit: {lr: 1e-3}") == (
        "theirs.yaml: lr and fit.lr are the same; keep one",
    )


def test_synthetic_data_is_made_in_python() -> None:
    (line,) = problems("use_rl_data: false\ntask: hopper-medium-v2")
    assert line.startswith("theirs.yaml: use_rl_data must be true")


def test_keys_without_effect_are_named(caplog) -> None:
    with caplog.at_level(logging.WARNING):
        resolve("task: hopper-medium-v2\nverbose: true\nlog_freq: 10")
    assert caplog.messages == [
        "theirs.yaml: log_freq has no effect here: history.csv has every epoch",
        "theirs.yaml: verbose has no effect here: use --quiet",
    ]


def test_a_dash_and_an_underscore_in_a_key_are_the_same(caplog) -> None:
    config = resolve("task: hopper-medium-v2\nval-ratio: 0.2\nlog-freq: 10")
    assert config.data.val_ratio == 0.2
    assert "log_freq has no effect here" in caplog.text
    (line,) = problems("task: hopper-medium-v2\nval-ratio: 0.2\nval_ratio: 0.2")
    assert "val-ratio is unknown" in line


@pytest.mark.parametrize(
    ("params", "name"), [({"latent_dim": 3}, "vae"), ({"num_layers": 6}, "realnvp"), ({}, None)]
)
def test_a_model_is_implied_by_its_keys(params, name) -> None:
    assert implied_model(params) == name


def test_flags_imply_a_model_as_well() -> None:
    assert resolve("task: hopper-medium-v2", "latent_dim=3").model.name == "vae"
    (line,) = problems("task: hopper-medium-v2\nmodel: {name: realnvp}", "latent_dim=3")
    assert line.startswith("command line: model.latent_dim is unknown")
