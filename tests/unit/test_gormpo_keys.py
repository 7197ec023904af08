import logging
from pathlib import Path

import pytest

from gormpo_density.config import ConfigTree, DensityConfig, density_config
from gormpo_density.config_files import parse_yaml
from gormpo_density.errors import ConfigError
from gormpo_density.gormpo_keys import DENSITY_KEYS, implied_model

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


def test_a_key_in_both_spellings_is_told_if_alike_and_else_an_error(caplog) -> None:
    config = resolve(DENSITY_FILE + "latent-dim: 8\n")
    assert config.model.params["latent_dim"] == 8
    assert "theirs.yaml: latent-dim and latent_dim are given, alike" in caplog.messages
    assert problems(DENSITY_FILE + "latent-dim: 9\n") == (
        "theirs.yaml: latent-dim and latent_dim are the same; keep one",
    )


def test_a_misspelt_flat_key_is_unknown() -> None:
    assert problems("task: hopper-medium-v2\nepoch: 3") == (
        "theirs.yaml: epoch is unknown, did you mean 'fit.epochs'?",
    )


def test_a_flat_key_and_its_path_are_a_conflict() -> None:
    assert problems("task: hopper-medium-v2\nlr: 1e-3\nfit: {lr: 2e-3}") == (
        "theirs.yaml: lr and fit.lr are the same; keep one",
    )


def test_synthetic_data_is_made_in_python() -> None:
    (line,) = problems("use_rl_data: false\ntask: hopper-medium-v2")
    assert line.startswith("theirs.yaml: use_rl_data must be true")


def test_keys_without_effect_are_named(caplog) -> None:
    with caplog.at_level(logging.WARNING):
        resolve("task: hopper-medium-v2\nverbose: true\nlog_freq: 10")
    assert caplog.messages[1:] == [
        "theirs.yaml: log_freq has no effect here: history.csv has every epoch",
        "theirs.yaml: verbose has no effect here: use --quiet",
    ]


def test_a_dash_and_an_underscore_in_a_key_are_the_same(caplog) -> None:
    config = resolve("task: hopper-medium-v2\nval-ratio: 0.2\nlog-freq: 10")
    assert config.data.val_ratio == 0.2
    assert "log_freq has no effect here" in caplog.text


@pytest.mark.parametrize(
    ("params", "name"),
    [
        ({"latent_dim": 3}, "vae"),
        ({"num_layers": 6}, "realnvp"),
        ({"bandwidth": 1.0}, "kde"),
        ({"k_neighbors": 100}, "kde"),
        ({"solver": "dopri5"}, "cnf"),
        ({"timesteps": 1000}, "diffusion"),
        ({}, None),
    ],
)
def test_a_model_is_implied_by_its_keys(params, name) -> None:
    assert implied_model(params) == name


def test_flags_imply_a_model_as_well() -> None:
    assert resolve("task: hopper-medium-v2", "latent_dim=3").model.name == "vae"
    (line,) = problems("task: hopper-medium-v2\nmodel: {name: realnvp}", "latent_dim=3")
    assert line.startswith("command line: model.latent_dim is unknown")


def settled(text: str) -> ConfigTree:
    """Return what a file of GORMPO's says, before any model is looked for."""
    tree = ConfigTree(parse_yaml(text, "theirs.yaml"), "theirs.yaml")
    DENSITY_KEYS.rename(tree, DensityConfig.model_fields)
    DENSITY_KEYS.translate(tree)
    return tree


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ("t0: 0\nsolver: rk4", "model.solver", "rk4"),
        ("t0: 0\nsolver: dopri5", "model.solver", None),
        ("timesteps: 9\nhidden: 64\nlayers: 2", "model.hidden_dims", [64, 64]),
        ("timesteps: 9\nhidden: 64", "model.hidden_dims", [64, 64, 64]),
        ("timesteps: 9\nlayers: 1", "model.hidden_dims", [512]),
        ("time-emb: 64", "model.time_dim", 64),
        ("wd: 0.1", "fit.weight_decay", 0.1),
        ("npz: own.npz", "data.data_path", "own.npz"),
        ("percentile: 5", "calibration.alpha", 0.05),
        ("latent_dim: 2\nobs_dim: [11]", "data.obs_dim", 11),
        ("latent_dim: 2\nobs_dim: 11\naction_dim: 3\ninput_dim: 14", "data.input_dim", 14),
        ("latent_dim: 2\nobs_dim: [11]\naction_dim: 3\ninput_dim: 2", "data.input_dim", None),
        ("latent_dim: 2\ninput_dim: 2", "data.input_dim", None),
    ],
)
def test_a_key_means_this(text: str, path: str, value: object) -> None:
    tree = settled(text)
    assert (tree.get(path), tree.problems) == (value, [])


@pytest.mark.parametrize("layers", ["0", "two", "101", "true", "1.5"])
def test_layers_are_a_small_whole_number(layers: str) -> None:
    assert settled(f"timesteps: 9\nlayers: {layers}").problems == [
        "theirs.yaml: hidden and layers must be whole numbers, layers 1 to 100"
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            "obs_dim: [11, 2]",
            "theirs.yaml (obs_dim): data.obs_dim must be a valid integer, is [11, 2]",
        ),
        (
            "percentile: 100",
            "theirs.yaml (percentile): calibration.alpha must be less than 1, is 1.0",
        ),
        ("beta: -1", "theirs.yaml (beta): model.beta must be greater than or equal to 0, is -1"),
        (
            "batch: 2\nbatch_size: 3",
            "theirs.yaml: batch",  # whichever of the two comes second
        ),
    ],
)
def test_a_wrong_value_is_an_error_under_its_name(text: str, line: str) -> None:
    (told,) = problems(f"task: hopper-medium-v2\nlatent_dim: 2\n{text}")
    assert told.startswith(line)


def test_a_key_that_is_not_known_is_told_and_left_out(caplog) -> None:
    config = resolve("task: hopper-medium-v2\nlatent_dim: 8\nlatent_dims: 9\nmood: good")
    assert config.model.params["latent_dim"] == 8
    assert caplog.messages[1:] == [
        "theirs.yaml: latent_dims has no effect here: it is unknown (did you mean latent_dim?)",
        "theirs.yaml: mood has no effect here: it is unknown",
    ]


@pytest.mark.parametrize("own", ["data_path: own.npz", "data_path: own.npz\nseed: 1"])
def test_a_file_of_our_own_is_not_taken_for_gormpos(own: str, caplog) -> None:
    assert resolve(own).data.data_path == Path("own.npz")
    assert caplog.messages == []
    (line,) = problems(f"{own}\nmood: good")
    assert line.startswith("theirs.yaml: mood is unknown")
