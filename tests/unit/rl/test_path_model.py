"""Which settings of a VAE-LSTM hold, and how it is fitted and found again among the parts."""

from pathlib import Path

import numpy as np
import pytest
import torch

from gormpo_density import VAE, VAELSTM
from gormpo_density.config import dump_config
from gormpo_density.errors import ConfigError, DataError, ModelFileError
from rl import density_parts, path_model
from rl.config import MOPOConfig, load_mopo_config
from rl.density_parts import DensityParts, calibrate_density, check_density
from rl.offline_data import OfflineData, load_offline_data
from rl.path_model import FIT, MODEL, load_path_model
from rl.stages import Stages

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def npz(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Episodes of 10 rows whose states go round in a circle."""
    rng = np.random.default_rng(0)
    angle = rng.uniform(0, 6, (40, 1)) + 0.3 * np.arange(11)
    circle = np.stack([np.cos(angle), np.sin(angle)], -1)
    path = tmp_path_factory.mktemp("data") / "circle.npz"
    np.savez(
        path,
        obs=circle[:, :-1].reshape(-1, 2),
        action=rng.uniform(-1, 1, (400, 1)),
        reward=rng.normal(size=400),
        next_obs=circle[:, 1:].reshape(-1, 2),
        episode=np.repeat(np.arange(40), 10),
    )
    return path


def config_of(npz: Path, *settings: str) -> MOPOConfig:
    tiny = ("model.latent_dim=3", "model.lstm_hidden_dim=4", "fit.epochs=1", "history.length=4")
    return load_mopo_config(
        None, [f"data.data_path={npz}", "model.name=vae_lstm", *tiny, *settings]
    )


def data_of(config: MOPOConfig) -> OfflineData:
    return load_offline_data(config.data, config.seed, CPU, progress=False)


def parts_of(config: MOPOConfig, stages: Path) -> DensityParts:
    return DensityParts(config, data_of(config), Stages(stages), progress=False)


def trained(config: MOPOConfig, stages: Path) -> VAELSTM:
    return parts_of(config, stages).trained(config.model, config.fit, config.data.rows)


def settings_that_hold(config: MOPOConfig) -> tuple[dict, dict]:
    model, fit = config.model.model_dump(mode="json"), config.fit.model_dump(mode="json")
    return {name: model[name] for name in MODEL}, {name: fit[name] for name in FIT}


def test_on_the_command_line_it_brings_its_own_fit() -> None:
    """The file's 15 epochs in batches of 512 were meant for a flow."""
    config = load_mopo_config("mopo/hopper.yaml", model="vae_lstm")
    assert settings_that_hold(config) == (MODEL, FIT)
    by_setting = load_mopo_config("mopo/hopper.yaml", ["model.name=vae_lstm", "fit.lr=1.0e-3"])
    assert settings_that_hold(by_setting) == (MODEL, FIT | {"lr": 1e-3})


def test_a_file_that_names_it_says_what_it_likes(tmp_path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text(
        "data: {data_path: rows.npz}\nmodel: {name: vae_lstm, latent_dim: 5}\nfit: {epochs: 2}\n"
    )
    for model in (None, "vae_lstm"):
        config = load_mopo_config(own, model=model)
        expected = MODEL | {"latent_dim": 5}, FIT | {"epochs": 2}
        assert settings_that_hold(config) == expected
    own.write_text(dump_config(config))
    assert load_mopo_config(own) == config


def test_no_other_model_is_touched() -> None:
    config = load_mopo_config("mopo/hopper.yaml")
    assert (config.fit.epochs, config.fit.batch_size) == (15, 512)
    assert load_mopo_config("mopo/hopper.yaml", model="vae").fit.epochs == 15


def test_it_is_fitted_to_paths_once(npz, tmp_path, monkeypatch) -> None:
    config = config_of(npz)
    first = trained(config, tmp_path)
    assert first.event_shape == (4, 3)
    monkeypatch.setattr(density_parts, "make_model", None)
    again = trained(config, tmp_path)
    assert all(map(torch.equal, first.state_dict().values(), again.state_dict().values()))


@pytest.mark.parametrize("setting", ["history.length=5", "history.sequences=9", "seed=1"])
def test_what_decides_the_fit_is_in_its_key(npz, tmp_path, setting) -> None:
    trained(config_of(npz), tmp_path)
    trained(config_of(npz, setting), tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_steps_are_calibrated_on_held_out_rows_after_what_led_to_them(npz, tmp_path) -> None:
    config = config_of(npz)
    parts, model = parts_of(config, tmp_path), trained(config, tmp_path)
    calibrate_density(config, parts.data, model, "state_action")
    data, calibration = parts.data, model.calibrations[model.STEP]
    assert len(calibration.scores) == len(data.splits["cal"]) - 4  # their first rows
    assert calibration.n_episodes == 4
    rows, first = data.rows("state_action"), data.splits["cal"][0]
    state = model.init_state(rows[first : first + 2][None])  # two rows: half of a sequence of 4
    with torch.no_grad():
        expected, _ = model.step(rows[first + 2][None, None], state)
    assert (calibration.scores - expected).abs().min() < 1e-4


def test_episodes_that_are_too_short_are_told(npz, tmp_path) -> None:
    with pytest.raises(DataError, match="no episode has the 11 rows"):
        trained(config_of(npz, "history.length=11"), tmp_path)


def test_one_of_paths_beside_another_is_refused(npz) -> None:
    config = config_of(npz, "history.beside=true", "model.window=2")
    model = VAELSTM(3, window=2, sequence_length=2, latent_dim=1)
    with pytest.raises(ConfigError) as told:
        check_density(config, data_of(config), model, "state_action")
    assert [problem.partition(" ")[0] for problem in told.value.problems] == [
        "a",  # rollout goes on by single steps
        "history.beside:",
    ]


def test_a_folder_with_a_model_of_rows_is_refused(tmp_path) -> None:
    model = VAE(3, latent_dim=1, hidden_dims=[4])
    model.fit(torch.randn(40, 3, generator=torch.Generator().manual_seed(0)), epochs=1)
    model.save(tmp_path)
    with pytest.raises(ModelFileError, match="not one of paths"):
        load_path_model(tmp_path, CPU)


def test_the_names_of_its_settings_are_those_of_the_model() -> None:
    made = VAELSTM(3, **MODEL)
    assert (path_model.NAME, made.latent_dim, made.hidden_dims) == ("vae_lstm", 32, [])
