"""The latent model of a run: where a trained one is looked for, and which one will do."""

import re

import numpy as np
import pytest
import torch

from gormpo_density import make_model
from gormpo_density.augmenting.config import load_augment_config
from gormpo_density.augmenting.training import (
    folder_name,
    make_latent_model,
    model_rows,
    reconstruction_error,
    run_name,
    trained_model,
)
from gormpo_density.config import dump_config
from gormpo_density.errors import ConfigError

CPU = torch.device("cpu")
SMALL = ("data.dataset=shapes", "model.latent_dim=2", "model.hidden_dims=[4]")
SHAPE = (8, 1)


def load(*settings: str):
    return load_augment_config(None, [*SMALL, *settings])


@pytest.fixture(scope="module")
def model():
    model = make_latent_model(load(), SHAPE, CPU)
    x = np.random.default_rng(0).normal(size=(20, *SHAPE))
    model.fit(model_rows(model, x), epochs=1)
    return model


def test_names_tell_training_alone_from_a_comparison() -> None:
    assert run_name(load()) == "vae"
    assert run_name(load("arms=[noise]")) == "vae-resnet"
    assert folder_name(load("seed=3"), "vae") == "shapes-vae-seed3"
    assert folder_name(load("task=t"), "vae") == "t-vae-seed42"


@pytest.mark.parametrize("place", ["models/shapes-vae-seed42", "models", "run/model"])
def test_a_trained_model_is_found(tmp_path, model, place) -> None:
    model.save(tmp_path / place)
    config = load(f"export.model_dir={tmp_path}/models")
    found = trained_model(config, tmp_path / "run", SHAPE, CPU)
    x = torch.ones(3, *SHAPE)
    assert torch.equal(found.encode(x), model.encode(x))


def test_the_run_that_trains_alone_is_looked_at_too(tmp_path, model) -> None:
    model.save(tmp_path / "shapes-vae-seed42" / "model")
    path = tmp_path / "shapes-vae-resnet-seed42"
    assert trained_model(load("arms=[noise]"), path, SHAPE, CPU).is_fitted


def test_an_absent_model_is_one_line_with_every_place(tmp_path) -> None:
    config = load(f"export.model_dir={tmp_path}/models")
    with pytest.raises(ConfigError, match=r"no model in .*the command without --use-trained") as e:
        trained_model(config, tmp_path / "run", SHAPE, CPU)
    (problem,) = e.value.problems
    assert problem.count("nor in") == 3


DIFFERENT = {
    "size": (("model.latent_dim=3",), SHAPE, "latent_dim: 2 there, 3 now"),
    "length": ((), (9, 1), r"input_dim: [8, 1] there, [9, 1] now"),
    "data": (("data.time_steps=50",), SHAPE, "data.time_steps: 96 there, 50 now"),
    "scale": (("data.scale=none",), SHAPE, 'data.scale: "series" there, "none" now'),
}


@pytest.mark.parametrize(("settings", "shape", "text"), DIFFERENT.values(), ids=DIFFERENT)
def test_another_model_or_other_data_is_refused(tmp_path, model, settings, shape, text) -> None:
    model.save(tmp_path / "run" / "model")
    (tmp_path / "run" / "config.yaml").write_text(dump_config(load()))
    with pytest.raises(ConfigError, match="holds another model") as caught:
        trained_model(load(*settings), tmp_path / "run", shape, CPU)
    assert re.search(re.escape(text), str(caught.value))


def test_another_place_of_the_same_data_is_no_other_data(tmp_path, model) -> None:
    model.save(tmp_path / "run" / "model")
    (tmp_path / "run" / "config.yaml").write_text(dump_config(load("data.data_dir=/elsewhere")))
    assert trained_model(load(), tmp_path / "run", SHAPE, CPU).is_fitted


def test_a_model_without_a_latent_space_is_refused(tmp_path) -> None:
    kde = make_model("kde", input_dim=SHAPE)
    kde.fit(np.random.default_rng(0).normal(size=(20, *SHAPE)))
    kde.save(tmp_path / "run" / "model")
    with pytest.raises(ConfigError, match="holds a KDE, which has no latent space"):
        trained_model(load(), tmp_path / "run", SHAPE, CPU)


def test_the_reconstruction_error_is_a_mean_square(model) -> None:
    x = np.random.default_rng(1).normal(size=(5, *SHAPE))
    back = model.decode(model.encode(torch.tensor(x, dtype=torch.float32))).detach().numpy()
    assert reconstruction_error(model, x) == pytest.approx(np.square(back - x).mean(), rel=1e-5)


def test_a_model_of_the_set_that_stood_in_is_not_one_of_the_set_itself(tmp_path, model) -> None:
    model.save(tmp_path / "run" / "model")
    stood_in = load("data.dataset=ECG200")
    (tmp_path / "run" / "config.yaml").write_text(dump_config(stood_in))
    assert trained_model(stood_in, tmp_path / "run", SHAPE, CPU).is_fitted
    there = load("data.dataset=ECG200", f"data.data_dir={tmp_path}")
    with pytest.raises(ConfigError, match=r'data\.dataset: "shapes" there, "ECG200" now'):
        trained_model(there, tmp_path / "run", SHAPE, CPU)
