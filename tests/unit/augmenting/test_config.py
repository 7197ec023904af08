"""Configurations of augmentation runs: defaults, arms, shipped files, LSTSAUG's flags."""

import json
from pathlib import Path

import pytest

from gormpo_density import VAE
from gormpo_density.augmenting.arms import make_arm
from gormpo_density.augmenting.config import AugmentConfig, load_augment_config
from gormpo_density.config import dump_config
from gormpo_density.config_files import shipped_configs
from gormpo_density.errors import ConfigError

SHIPPED = sorted(path.stem for path in (shipped_configs() / "augment").glob("*.yaml"))


def load(*settings: str, model: str | None = None) -> AugmentConfig:
    return load_augment_config(None, settings, model=model)


def from_file(tmp_path: Path, values: dict[str, object], *settings: str) -> AugmentConfig:
    (tmp_path / "config.json").write_text(json.dumps(values))
    return load_augment_config(tmp_path / "config.json", settings)


def problems(*settings: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        load(*settings)
    return caught.value.problems


def test_shipped_configurations_are_there() -> None:
    assert SHIPPED == ["shapes", "symbols"]


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_configurations_are_valid_and_read_back(name: str, tmp_path: Path) -> None:
    config = load_augment_config(f"augment/{name}")
    (tmp_path / "again.yaml").write_text(dump_config(config))
    assert load_augment_config(tmp_path / "again.yaml") == config


def test_the_defaults_are_those_of_lstsaug() -> None:
    config = load()
    assert (config.data.dataset, config.seed, config.model.name) == ("Symbols", 42, "vae")
    assert config.model.params["latent_dim"] == 64
    fit = dict(config.fit)
    assert (fit["epochs"], fit["batch_size"], fit["lr"]) == (400, 64, 1e-3)
    classifier = config.classifier
    assert (classifier.epochs, classifier.batch_size, classifier.lr) == (400, 64, 1e-3)
    assert (config.augment.noise, config.augment.num_samples) == (0.1, 1)
    assert (config.augment.use_trained, config.report.augment_plot) == (False, False)
    assert config.arms == {}


def test_the_shipped_symbols_are_the_defaults_with_two_arms() -> None:
    config = load_augment_config("augment/symbols")
    assert config.model_copy(update={"arms": {}}) == load()
    assert list(config.arms) == ["baseline", "noise"]


def test_no_early_stop_unless_asked_for() -> None:
    assert dict(load("num_epochs=7").fit)["patience"] == 7
    assert dict(load("fit.patience=3").fit)["patience"] == 3


def test_shared_flags_set_both_trainings_where_a_section_says_nothing(tmp_path) -> None:
    config = load("num_epochs=5", "batch_size=8", "learning_rate=0.01", "classifier.epochs=6")
    assert (dict(config.fit)["epochs"], config.classifier.epochs) == (5, 6)
    assert (dict(config.fit)["batch_size"], config.classifier.batch_size) == (8, 8)
    assert (dict(config.fit)["lr"], config.classifier.lr) == (0.01, 0.01)
    file = {"num-epochs": 9, "fit": {"epochs": 3}}
    assert dict(from_file(tmp_path, file).fit)["epochs"] == 3
    assert from_file(tmp_path, file).classifier.epochs == 9
    overruled = from_file(tmp_path, file, "num_epochs=4")
    assert (dict(overruled.fit)["epochs"], overruled.classifier.epochs) == (4, 4)


def test_the_flag_of_epochs_comes_before_the_steps_of_a_file(tmp_path) -> None:
    file = {"classifier": {"steps": 200}}
    assert from_file(tmp_path, file, "num_epochs=4").classifier.steps is None
    both = from_file(tmp_path, file, "num_epochs=4", "classifier.steps=7")
    assert both.classifier.steps == 7
    assert from_file(tmp_path, {**file, "num_epochs": 4}).classifier.steps == 200


def test_the_flags_of_lstsaug_have_their_places(tmp_path) -> None:
    flat = {"dataset": "Coffee", "data_dir": "d", "model_dir": "m", "results_dir": "r"}
    flat |= {"latent_dim": 3, "noise": 0.2, "num_samples": 4, "use_trained": True}
    config = from_file(tmp_path, {**flat, "baseline": True, "augment_plot": True})
    assert (config.data.dataset, config.data.data_dir) == ("Coffee", Path("d"))
    assert (config.export.model_dir, config.export.results_dir) == (Path("m"), Path("r"))
    assert config.model.params["latent_dim"] == 3
    assert (config.augment.noise, config.augment.num_samples) == (0.2, 4)
    assert config.augment.use_trained
    assert config.report.augment_plot
    assert list(config.arms) == ["baseline"]


# Arms ---------------------------------------------------------------------------------------


def test_switches_add_arms_in_order_and_once() -> None:
    assert list(load("test_augment=true", "baseline=true").arms) == ["baseline", "noise"]
    assert list(load("arms=[jitter, noise]", "test_augment=true").arms) == ["jitter", "noise"]
    assert list(load("arms=[jitter]", "baseline=true").arms) == ["baseline", "jitter"]
    assert list(load("test_augment=true", "augment.method=posterior").arms) == ["posterior"]
    assert list(load("baseline=false", "arms=[noise]").arms) == ["noise"]


def test_an_arm_may_have_a_name_and_parameters_of_its_own(tmp_path) -> None:
    file = {"arms": {"baseline": None, "strong": {"method": "jitter", "sigma": 0.3}}}
    config = from_file(tmp_path, file, "arms.noise.noise=0.5")
    assert config.arms["strong"].params == {"sigma": 0.3}
    assert config.arms["noise"].params == {"noise": 0.5}
    assert list(config.arms) == ["baseline", "strong", "noise"]


BAD_ARMS = {
    "unknown": ("arms=[jiter]", "arms.jiter: 'jiter' is unknown, did you mean 'jitter'"),
    "baseline": ("arms={baseline: {noise: 1}}", "arms.baseline: noise is unknown"),
    "latent": ("arms={noise: {sigma: 1}}", "arms.noise: sigma is unknown; choose from noise"),
    "range": ("arms={noise: {noise: -1}}", "arms.noise: noise must be greater than or equal to 0"),
    "classic": ("arms={jitter: {sigma: -1}}", "sigma"),
    "classic key": ("arms={jitter: {sigm: 1}}", "sigm"),
    "name": ("arms={'a b': {method: noise}}", "arm 'a b': a name has letters, digits, - and _"),
    "kind": ("arms=3", "arms must be an object, is 3"),
    "entries": ("arms=[3]", "arms must be an object, is [3]"),
    "switch": ("baseline=3", "command line: baseline must be true or false, is 3"),
}


def test_a_switch_hides_no_bad_arm() -> None:
    (problem,) = problems("arms=[3, noise]", "baseline=true")
    assert "arms must be an object" in problem


@pytest.mark.parametrize(("setting", "text"), BAD_ARMS.values(), ids=BAD_ARMS)
def test_bad_arms_are_told(setting: str, text: str) -> None:
    (problem,) = problems(setting)
    assert text in problem


BAD = {
    "no latents": ("model.name=kde", "model 'kde' has no latent space to augment in"),
    "folds": ("evaluation.folds=1", "evaluation.folds must be greater than or equal to 2, is 1"),
    "scale": ("data.scale=both", "data.scale must be 'series', 'train' or 'none'"),
    "method": ("augment.method=nois", "augment.method must be 'noise', 'posterior'"),
    "classifier": ("classifier.name=resnt", "'resnt' is unknown, did you mean 'resnet'"),
    "option": ("data.time_step=3", "data.time_step is unknown"),
}


@pytest.mark.parametrize(("setting", "text"), BAD.values(), ids=BAD)
def test_bad_values_are_told(setting: str, text: str) -> None:
    (problem,) = problems(setting)
    assert text in problem


def test_the_options_of_the_simulated_set_are_keys_of_the_data_section() -> None:
    config = load("data.dataset=shapes", "data.time_steps=30")
    assert config.data.options["time_steps"] == 30
    assert "data.time_step is unknown, did you mean 'time_steps'" in str(
        problems("data.dataset=shapes", "data.time_step=3")
    )


def test_another_model_keeps_its_own_defaults() -> None:
    assert "latent_dim" not in load(model="realnvp").model.params
    assert dict(load(model="realnvp").fit)["epochs"] == 400


@pytest.mark.parametrize(
    "settings",
    [
        ("augment.method=class_gaussian", "augment.residual=true"),
        ("arms={class_gaussian: {residual: true}}",),
    ],
)
def test_a_residual_is_for_methods_that_have_one(settings: tuple[str, ...]) -> None:
    (problem,) = problems(*settings)
    assert "cannot keep a residual: class_gaussian makes its rows from no row" in problem


def test_the_residual_of_the_section_is_left_out_where_there_is_none(vae) -> None:
    config = load("augment.residual=true", "arms=[noise, interpolate, class_gaussian]")
    kept = {name: make_arm(config, name, vae).residual for name in config.arms}
    assert kept == {"noise": True, "interpolate": True, "class_gaussian": False}


@pytest.fixture(scope="module")
def vae() -> VAE:
    return VAE((8, 1), latent_dim=2, hidden_dims=(4,))
