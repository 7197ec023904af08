from pathlib import Path

import pytest

from gormpo_density.config import dump_config
from gormpo_density.errors import ConfigError
from rl.config import MOPOConfig, load_mopo_config

SHIPPED = Path(__file__).parents[3] / "configs" / "mopo"
NAMES = ("hopper", "halfcheetah", "walker2d", "inverted_pendulum")


def resolve(*settings: str) -> MOPOConfig:
    return load_mopo_config(None, ["task=hopper-medium-v2", *settings])


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        (["penalty.coef=-1"], "penalty.coef must be greater than or equal to 0"),
        (["penalty.coef=much"], "penalty.coef must be a valid number or must be 'auto'"),
        (["penalty.name=densty"], "penalty.name must be 'none', 'mopo', 'disagreement'"),
        (["penalty.kind=tahn"], "penalty.kind "),
        (["ood=[perm]"], "ood is unknown"),
        (["penalty.target=0"], "penalty.target must be greater than 0, is 0"),
        (["dynamics.members=3", "dynamics.elites=4"], "dynamics has 4 elites of 3 members"),
        (["dynamics.hidden_dims=[8]"], "dynamics needs a weight_decay for each of 2 layers"),
        (["rollout.starts=0"], "rollout.starts must be greater than 0, is 0"),
        (["sac.real_ratio=1.5"], "sac.real_ratio must be less than or equal to 1, is 1.5"),
        (["sac.gama=0.9"], "sac.gama is unknown, did you mean 'gamma'?"),
        (["evaluation.noise.obs_rate=2"], "evaluation.noise.obs_rate must be less than or equal"),
        (["evaluation.actor=best"], "evaluation.actor must be 'last' or 'ema', is \"best\""),
        (["algorithm=sac"], "algorithm must be 'mopo', 'bc' or 'td3bc', is \"sac\""),
        (["model.width=3"], "model.width is unknown"),
        (["fit.epochs=0"], "fit.epochs must be greater than or equal to 1, is 0"),
    ],
)
def test_each_problem_is_one_line(settings: list[str], line: str) -> None:
    with pytest.raises(ConfigError) as error:
        resolve(*settings)
    (told,) = error.value.problems
    assert told.startswith(f"command line: {line}")


def test_a_run_without_noise_is_one_from_before_there_was_any(tmp_path: Path) -> None:
    assert "noise" not in resolve().model_dump(mode="json")["evaluation"]
    noisy = resolve("evaluation.noise={obs_rate: 1, obs_scale: 0.1}")
    (tmp_path / "config.yaml").write_text(dump_config(noisy))
    assert load_mopo_config(tmp_path / "config.yaml") == noisy != resolve()


def test_model_and_fit_are_those_of_the_density_model() -> None:
    config = load_mopo_config(None, ["task=x", "model.latent_dim=3"], model="vae")
    assert config.model.params["latent_dim"] == 3
    assert resolve("model.num_layers=2").model.params["num_layers"] == 2


def test_without_a_model_to_train_the_sections_stay_allowed() -> None:
    assert not resolve("penalty.name=none").penalty.needs_density
    assert resolve("algorithm=bc", "model.num_layers=2").model.params["num_layers"] == 2


def test_a_dumped_config_loads_equal(tmp_path: Path) -> None:
    config = resolve("penalty.coef=auto", "sac.hidden_dims=[8, 8]", "density=~/flow", "seed=3")
    assert config.density == Path("~/flow").expanduser()
    (tmp_path / "config.yaml").write_text(dump_config(config))
    assert load_mopo_config(tmp_path / "config.yaml") == config


@pytest.mark.parametrize("name", NAMES)
def test_the_shipped_configs_resolve(name: str) -> None:
    config = load_mopo_config(f"mopo/{name}.yaml")
    assert config == load_mopo_config(SHIPPED / f"{name}.yaml")
    level = "medium-replay" if name == "inverted_pendulum" else "medium"
    assert (config.task, config.data.dataset) == (name, f"gormpo/{name}/{level}-v0")
    assert (config.algorithm, config.penalty.name) == ("mopo", "density")


def test_there_are_no_other_shipped_configs() -> None:
    assert sorted(path.stem for path in SHIPPED.iterdir()) == sorted(NAMES)
