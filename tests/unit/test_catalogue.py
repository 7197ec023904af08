"""The list of models: what is measured, and what becomes of one that fails."""

import math

import pytest
from torch import Tensor

from gormpo_density import catalogue, registry
from gormpo_density.base import DensityModel
from gormpo_density.catalogue import ROW_WIDTH, WINDOW_STEPS, list_models
from gormpo_density.errors import ConfigError
from gormpo_density.fitting import FitOptions, History, Hooks
from gormpo_density.models.__main__ import main
from gormpo_density.registry import model_origin, register_model


class Flat(DensityModel):
    def _log_prob(self, z: Tensor) -> Tensor:
        return z.flatten(1).sum(1)

    def _fit(self, splits: dict[str, Tensor], options: FitOptions, hooks: Hooks) -> History:
        return {}


class Broken(Flat):
    def _log_prob(self, z: Tensor) -> Tensor:
        raise KeyError("of the plug-in's own")


@pytest.fixture(autouse=True)
def _few_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_registered", {})
    register_model("flat")(Flat)
    register_model("broken")(Broken)
    monkeypatch.setattr(catalogue, "available_models", lambda: ("gmm", "broken", "flat"))


def test_a_model_is_listed_with_its_scores_and_cost() -> None:
    listing = next(list_models())
    assert (listing.name, listing.origin, listing.problem) == ("gmm", "built in", None)
    assert listing.scores == {"log_prob": "exact"}
    assert listing.event_shape == (ROW_WIDTH,)
    assert 0 < listing.microseconds < 1e6


def test_a_model_that_fails_does_not_hide_the_others() -> None:
    _, broken, flat = list_models()
    assert broken.problem == 'KeyError: "of the plug-in\'s own"'
    assert broken.scores == {}
    assert math.isnan(broken.microseconds)
    assert flat.problem is None


def test_a_model_of_windows_is_measured_on_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    class Windows(Flat):
        def __init__(self, input_dim: tuple[int, int]) -> None:
            if isinstance(input_dim, int):
                raise ConfigError("windows only")
            super().__init__(input_dim)

    register_model("windows")(Windows)
    monkeypatch.setattr(catalogue, "available_models", lambda: ("windows",))
    (listing,) = list_models()
    assert listing.event_shape == (WINDOW_STEPS, ROW_WIDTH)


def test_origins() -> None:
    assert model_origin("vae") == "built in"
    assert model_origin("flat") == Flat.__module__


def test_the_command_prints_a_line_for_each(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("gmm            exact  ")
    assert lines[1].endswith("log_prob [built in]")
    assert "broken         -                 -  cannot be used: KeyError" in lines[2]
    assert lines[-1].startswith("penalties: linear, tanh")


def test_the_command_takes_no_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--fast"]) == 2
    assert "argument --fast is unknown" in capsys.readouterr().err
