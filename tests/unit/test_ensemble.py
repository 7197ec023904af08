import numpy as np
import pytest
import torch
from torch import Tensor

from gormpo_density import persistence, registry
from gormpo_density.base import DensityModel
from gormpo_density.errors import ConfigError, GormpoDensityError
from gormpo_density.models.ensemble import Ensemble
from gormpo_density.models.gmm import GMM
from gormpo_density.models.realnvp import RealNVP
from gormpo_density.models.vae import VAE
from gormpo_density.registry import make_model

FLOW = {"name": "realnvp", "num_layers": 2, "hidden_dims": [8]}
KERNELS = {"name": "kde", "max_rows": 30}


def normal(n, dim=2, seed=0):
    return np.random.default_rng(seed).normal(size=(n, dim)).astype(np.float32)


class Recorder(DensityModel):
    """Keeps what it is fitted with; its score and its samples are its level, set by the test."""

    scores = {"log_prob": "exact", "twice": "surrogate"}  # noqa: RUF012
    level = 0.0

    def _fit(self, splits, options, hooks):
        self.splits, self.options, self.hooks = splits, options, hooks
        for epoch in (1, 2):
            if hooks.on_epoch is not None:
                hooks.on_epoch(epoch, {"val_loss": epoch / 2})
        return {"val_loss": [0.5, 1.0]}

    def _log_prob(self, z: Tensor) -> Tensor:
        return z.flatten(1).sum(1) * 0 + self.level

    def _score(self, z: Tensor, name: str) -> Tensor:
        return 2 * self._log_prob(z)

    def _sample(self, num_samples, generator):
        return torch.full((num_samples, *self.event_shape), self.level)


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch):
    monkeypatch.setattr(registry, "_registered", {"recorder": Recorder})


@pytest.fixture
def recorders():
    """Three members with levels 0, 10 and 20, on rows of mean 0 and scale 1."""
    model = Ensemble("recorder", k=3, input_dim=1)
    rows = np.array([[-1.0], [1.0]])
    model.fit(rows, rows, rows, epochs=7, batch_size=3, seed=5)
    for i, member in enumerate(model.members):
        member.level = 10.0 * i
    return model


def test_scores_are_the_means_of_the_members(recorders):
    x = np.zeros((4, 1))
    np.testing.assert_array_equal(recorders.score_samples(x), [10.0] * 4)
    np.testing.assert_array_equal(recorders.score_samples(x, "twice"), [20.0] * 4)


def test_a_density_becomes_a_bound_and_a_surrogate_stays_one(recorders):
    assert recorders.scores == {"log_prob": "bound", "twice": "surrogate"}
    assert Ensemble("vae", input_dim=2).scores == VAE.scores
    assert Ensemble("knn", input_dim=2).score_kind == "surrogate"
    assert RealNVP.scores == {"log_prob": "exact"}


def test_members_get_the_options_but_seeds_of_their_own(recorders):
    options = [member.options for member in recorders.members]
    assert {(o.epochs, o.batch_size) for o in options} == {(7, 3)}
    seeds = [o.seed for o in options]
    assert len({5, *seeds}) == 4
    again, other = (Ensemble("recorder", k=2, input_dim=1) for _ in range(2))
    again.fit(normal(9, 1), seed=5)
    other.fit(normal(9, 1), seed=6)
    assert [member.options.seed for member in again.members] == seeds[:2]
    assert not {member.options.seed for member in other.members} & set(seeds)


def test_members_see_the_same_standardised_splits(recorders):
    first, *others = (member.splits for member in recorders.members)
    assert set(first) == {"train", "val", "test"}
    for splits in others:
        assert all(torch.equal(splits[name], first[name]) for name in first)
    assert torch.equal(first["train"], torch.tensor([[-1.0], [1.0]]))


def test_curves_and_epochs_follow_one_another():
    rows = []
    model = Ensemble("recorder", k=2, input_dim=1)
    history = model.fit(normal(9, 1), on_epoch=lambda *row: rows.append(row))
    assert history == {"val_loss": [0.5, 1.0, 0.5, 1.0], "member": [0, 0, 1, 1]}
    assert rows == [
        (1, {"val_loss": 0.5, "member": 0}),
        (2, {"val_loss": 1.0, "member": 0}),
        (3, {"val_loss": 0.5, "member": 1}),
        (4, {"val_loss": 1.0, "member": 1}),
    ]


def test_samples_come_from_every_member(recorders):
    levels, counts = recorders.sample(3000, seed=0).unique(return_counts=True)
    assert levels.tolist() == [0, 10, 20]
    assert counts.min() > 900


def test_samples_leave_the_members_own_units(recorders):
    for member in recorders.members:
        member.standardizer.mean.fill_(100.0)
    assert recorders.sample(100, seed=0).unique().tolist() == [100, 110, 120]


def test_members_that_cannot_sample_say_so():
    model = Ensemble("knn", input_dim=2)
    model.fit(normal(50))
    with pytest.raises(GormpoDensityError, match="KNN cannot be sampled from"):
        model.sample(3)


@pytest.mark.parametrize(
    "model",
    [FLOW, {**FLOW, "input_dim": 2}, RealNVP(2, num_layers=2, hidden_dims=[8])],
    ids=["mapping", "whole", "instance"],
)
def test_members_may_be_given_in_several_ways(model):
    ensemble = make_model("ensemble", model=model, k=2, input_dim=2)
    assert ensemble.event_shape == (2,)
    assert len(ensemble.members) == ensemble.k == 2
    for member in ensemble.members:
        assert (type(member), member.num_layers, member.hidden_dims) == (RealNVP, 2, [8])


def test_an_instance_brings_its_input_dim():
    ensemble = Ensemble(GMM((4, 2), n_components=3), k=2)
    assert ensemble.event_shape == (4, 2)
    assert ensemble.params()["model"] == GMM((4, 2), n_components=3).params() | {"name": "gmm"}


def test_what_the_mapping_says_is_not_handed_down():
    assert Ensemble({"name": "gmm", "input_dim": 3}, input_dim=2).event_shape == (3,)


def test_a_name_takes_the_models_defaults():
    members = Ensemble("realnvp", input_dim=3).members
    assert [m.params() for m in members] == [RealNVP(3).params()] * 3


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"model": {"num_layers": 2}}, "has no name"),
        ({"model": "realnpv"}, "did you mean 'realnvp'"),
        ({"model": {"name": "gmm", "components": 2}}, "components"),
        ({"k": 0}, "k is 0"),
    ],
)
def test_wrong_members_are_refused(params, message):
    with pytest.raises(ConfigError, match=message):
        Ensemble(**{"input_dim": 2, **params})


def test_members_without_a_width_are_refused():
    with pytest.raises(ConfigError, match="input_dim"):
        Ensemble("realnvp")


@pytest.mark.parametrize("member", [FLOW, KERNELS], ids=lambda member: member["name"])
def test_members_differ_by_their_seed(member):
    model = Ensemble(member, k=2, input_dim=2)
    model.fit(normal(100), epochs=2)
    first, second = (m.score_samples(normal(20, seed=1)) for m in model.members)
    assert not np.allclose(first, second)


@pytest.mark.parametrize(
    "member", [FLOW, KERNELS, {"name": "ensemble", "model": KERNELS, "k": 2}], ids=str
)
def test_a_saved_ensemble_scores_the_same(tmp_path, member):
    model, x = Ensemble(member, k=2, input_dim=2), normal(20, seed=1)
    model.fit(normal(100), epochs=2)
    model.calibrate(normal(50, seed=2))
    model.save(tmp_path)
    loaded = persistence.load_model(tmp_path)
    assert loaded.params() == model.params()
    assert loaded.threshold == model.threshold
    np.testing.assert_array_equal(loaded.score_samples(x), model.score_samples(x))
    torch.testing.assert_close(loaded.sample(5, seed=0), model.sample(5, seed=0), rtol=0, atol=0)


class Interrupted(Exception):
    pass


@pytest.mark.parametrize("stop", [1, 3, 4, 6])
def test_an_interrupted_fit_goes_on_to_the_same_ensemble(tmp_path, stop):
    def interrupt(epoch, row):
        rows.append((epoch, row))
        if epoch == stop:
            raise Interrupted

    rows, checkpoint = [], tmp_path / "fit.safetensors"
    whole, resumed, x = Ensemble(FLOW, 2, 2), Ensemble(FLOW, 2, 2), normal(20, seed=1)
    expected = whole.fit(normal(100), epochs=3, on_epoch=lambda *row: rows.append(row))
    uninterrupted = dict(rows)
    rows.clear()
    with pytest.raises(Interrupted):
        resumed.fit(normal(100), epochs=3, checkpoint=checkpoint, on_epoch=interrupt)
    history = resumed.fit(
        normal(100), epochs=3, checkpoint=checkpoint, on_epoch=lambda *row: rows.append(row)
    )
    assert history == expected
    assert dict(rows) == uninterrupted
    np.testing.assert_array_equal(resumed.score_samples(x), whole.score_samples(x))
    assert {path.name for path in tmp_path.iterdir()} == {
        "fit-0.safetensors",
        "fit-1.safetensors",
    }
