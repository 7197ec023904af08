import functools
import sys
from importlib.metadata import EntryPoint

import pytest
import torch

from gormpo_density import registry
from gormpo_density.base import DensityModel
from gormpo_density.errors import ConfigError
from gormpo_density.models.realnvp import RealNVP
from gormpo_density.models.vae import VAE
from gormpo_density.registry import (
    available_models,
    available_penalties,
    make_model,
    model_class,
    model_name,
    plugged_penalty,
    register_model,
    register_penalty,
    suggestion,
)

PLUG_IN = """
from gormpo_density.base import DensityModel

class Plugged(DensityModel):
    def __init__(self, input_dim, width=3):
        super().__init__(input_dim)
        self.width = width

    def _log_prob(self, z):
        return z.flatten(1).sum(1)

class Stranger:
    pass

def twice(u, cap):
    return (2 * u).clamp(0, 2 * cap)
"""


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch):
    monkeypatch.setattr(registry, "_registered", {})
    monkeypatch.setattr(registry, "_penalties", {})


@pytest.fixture
def plug_in(tmp_path, monkeypatch):
    """A package of somebody else's, importable but not imported."""
    (tmp_path / "their_plug_in.py").write_text(PLUG_IN)
    monkeypatch.syspath_prepend(tmp_path)
    yield "their_plug_in:Plugged"
    sys.modules.pop("their_plug_in", None)


def install(monkeypatch, group=registry.ENTRY_POINT_GROUP, **points):
    found = [EntryPoint(name, path, group) for name, path in points.items()]
    monkeypatch.setattr(
        registry, "entry_points", lambda group: [point for point in found if point.group == group]
    )


class Toy(DensityModel):
    def _log_prob(self, z):
        return z.flatten(1).sum(1)


class OtherToy(Toy):
    pass


def test_built_in_models_are_found_by_name():
    assert {"realnvp", "vae"} <= set(available_models())
    assert list(available_models()) == sorted(available_models())
    for name in available_models():
        assert issubclass(model_class(name), DensityModel)
        assert model_name(model_class(name)) == name
    assert model_class("vae") is VAE


def test_make_model_hands_the_parameters_on():
    model = make_model("realnvp", input_dim=(4, 2), num_layers=2, hidden_dims=[8])
    assert isinstance(model, RealNVP)
    assert model.params()["num_layers"] == 2
    assert model_name(model) == "realnvp"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("realnpv", "model 'realnpv' is unknown, did you mean 'realnvp'?"),
        ("xyz", "model 'xyz' is unknown; choose from .*realnvp.*vae"),
    ],
)
def test_an_unknown_name_is_answered_with_the_known(name, text):
    with pytest.raises(ConfigError, match=text):
        make_model(name, input_dim=3)


def test_a_parameter_that_does_not_fit_is_named():
    with pytest.raises(ConfigError, match=r"model 'vae': .*'latent'"):
        make_model("vae", input_dim=3, latent=2)
    with pytest.raises(ConfigError, match=r"model 'vae': .*'input_dim'"):
        make_model("vae")


def test_a_registered_class_is_found():
    assert register_model("toy")(Toy) is Toy
    assert "toy" in available_models()
    assert isinstance(make_model("toy", input_dim=3), Toy)
    assert model_name(Toy(3)) == "toy"
    register_model("toy")(Toy)  # a module that is imported twice does no harm


def test_a_name_is_given_once():
    register_model("toy")(Toy)
    with pytest.raises(ConfigError, match=r"'toy' is taken by .*:Toy$"):
        register_model("toy")(OtherToy)
    with pytest.raises(ConfigError, match=r"'vae' is taken by gormpo_density.models.vae:VAE$"):
        register_model("vae")(Toy)
    assert model_class("vae") is VAE


def test_a_class_without_a_name_goes_by_its_path():
    assert model_name(Toy) == f"{Toy.__module__}:Toy"


def test_an_installed_plug_in_is_found_and_imported_only_when_used(plug_in, monkeypatch):
    install(monkeypatch, plugged=plug_in)
    assert "plugged" in available_models()
    assert "their_plug_in" not in sys.modules
    model = make_model("plugged", input_dim=2, width=5)
    assert model.params() == {"input_dim": 2, "width": 5}
    assert model_name(model) == "plugged"


def test_an_installed_plug_in_keeps_its_name_when_imported_directly(plug_in, monkeypatch):
    install(monkeypatch, plugged=plug_in)
    from their_plug_in import Plugged

    assert model_name(Plugged(2)) == "plugged"


def test_an_installed_plug_in_cannot_take_a_built_in_name(plug_in, monkeypatch):
    install(monkeypatch, vae=plug_in)
    assert model_class("vae") is VAE


def test_an_installed_penalty_is_found_and_imported_only_when_used(plug_in, monkeypatch):
    install(monkeypatch, registry.PENALTY_GROUP, twice="their_plug_in:twice")
    assert available_penalties()[0] == "linear"
    assert available_penalties()[-1] == "twice"
    assert "twice" not in available_models()
    assert "their_plug_in" not in sys.modules
    assert plugged_penalty("twice")(torch.tensor([-1.0, 3.0]), 10.0).tolist() == [0, 6]


def test_a_penalty_kind_is_given_once(plug_in):
    formula = plugged_penalty("their_plug_in:twice")
    register_penalty("twice")(formula)
    register_penalty("twice")(formula)
    with pytest.raises(ConfigError, match=r"penalty kind 'twice' is taken by their_plug_in:twice"):
        register_penalty("twice")(torch.clamp_max)
    for name in ("linear", "conformal", "gormpo-tanh"):
        with pytest.raises(ConfigError, match=f"'{name}' is taken by gormpo_density.penalty"):
            register_penalty(name)(formula)


def test_a_penalty_without_a_name_of_its_own_can_be_registered():
    half = functools.partial(torch.mul, 0.5)
    register_penalty("half")(half)
    register_penalty("half")(half)
    with pytest.raises(ConfigError, match=r"'half' is taken by functools:functools\.partial"):
        register_penalty("half")(functools.partial(torch.mul, 0.25))


def test_an_unknown_penalty_is_answered_with_the_known(plug_in, monkeypatch):
    install(monkeypatch, registry.PENALTY_GROUP, twice="their_plug_in:twice")
    with pytest.raises(ConfigError, match=r"kind 'cubic' is unknown; choose from linear.*twice$"):
        plugged_penalty("cubic")


def test_a_path_is_imported(plug_in):
    model = make_model(plug_in, input_dim=2)
    assert type(model).__name__ == "Plugged"
    assert model_name(model) == plug_in


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("their_plug_in:Stranger", "is not a subclass of gormpo_density.DensityModel"),
        ("os:system", "is not a subclass of gormpo_density.DensityModel"),
        ("their_plug_in:Absent", "cannot be imported: .*Absent"),
        ("absent_package.module:Model", "cannot be imported: .*absent_package"),
        (":Model", "cannot be imported"),
        ("their_plug_in:", "cannot be imported"),
        ("..relative:Model", "cannot be imported"),
    ],
)
@pytest.mark.usefixtures("plug_in")
def test_a_path_that_leads_nowhere_is_refused(path, text):
    with pytest.raises(ConfigError, match=f"^model '{path}' {text}"):
        make_model(path, input_dim=2)


def test_suggestions():
    assert suggestion("betta", ["alpha", "beta"]) == ", did you mean 'beta'?"
    assert suggestion("xyz", ("alpha", "beta")) == "; choose from alpha, beta"
