import numpy as np
import pytest
import torch

from gormpo_density.base import FLOOR
from gormpo_density.config import load_config
from gormpo_density.errors import ConfigError
from gormpo_density.models.vae import VAE
from gormpo_density.models.vae_lstm import VAELSTM, distinct
from gormpo_density.persistence import load_model
from gormpo_density.phases import NoisyPhaseOptions

SMALL = {"window": 2, "sequence_length": 3, "latent_dim": 2, "hidden_dims": [8]}


def walks(n, seed=0):
    steps = np.random.default_rng(seed).normal(size=(n, 6, 2))
    return (10 + steps.cumsum(1)).astype(np.float32)


X = walks(60)


def small():
    return VAELSTM(2, lstm_hidden_dim=4, **SMALL)


def test_options_are_those_of_the_fit_unless_a_phase_has_its_own():
    history = small().fit(X, X, X, epochs=3, lstm={"epochs": 2}, joint={"epochs": 1})
    assert history["phase"] == [0, 0, 0, 1, 1, 2]
    own = {"vae": NoisyPhaseOptions(epochs=1), "lstm": {"lr": 1e-2}, "joint": None}
    assert small().fit(X, X, epochs=2, **own)["phase"] == [0, 1, 1]
    assert small().fit(X, X, epochs=1)["phase"] == [0, 1, 2]


def test_each_phase_stops_by_itself():
    history = small().fit(X, X, epochs=3, vae={"epochs": 50, "lr": 1e-9, "patience": 2})
    phases = history["phase"]
    assert phases.count(0) < 20
    assert phases.count(1) == phases.count(2) == 3


def test_curves_are_shares_of_minus_the_elbo():
    model = small()
    history = model.fit(X, X, X, epochs=3)
    parts = [
        f"{split}_{part}" for split in ("train", "val", "test") for part in ("loss", "recon", "kl")
    ]
    assert set(history) == {*parts, "phase"}
    for split in ("val", "test"):
        total = np.add(history[f"{split}_recon"], history[f"{split}_kl"])
        np.testing.assert_allclose(history[f"{split}_loss"], total, rtol=1e-5)
    best = min(np.array(history["val_loss"])[np.array(history["phase"]) == 2])
    elbo = model.score_samples(X).mean() - float(model.standardizer.log_abs_det)
    assert -3 * best == pytest.approx(elbo + float(model.draws_add.sum()), rel=1e-4)


def test_the_lstm_leaves_the_vae_as_it_is_and_joint_training_does_not():
    rows = {}
    for name, own in (("two", {"joint": None}), ("three", {})):
        model = small()
        history = model.fit(X, X, epochs=2, **own)
        rows[name] = model.encode(torch.from_numpy(X)), history["val_recon"]
    latents, recon = rows["two"]
    assert recon[2] == recon[3]  # of the VAE that the first phase has left
    assert not torch.equal(latents, rows["three"][0])
    only_vae = small()
    only_vae.fit(X, X, epochs=2, lstm={"epochs": 1}, joint=None)
    assert torch.equal(latents, only_vae.encode(torch.from_numpy(X)))


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"vae": {"epocs": 1}}, "vae.epocs is unknown, did you mean 'epochs'"),
        ({"lstm": {"noise": 0.1}}, "lstm.noise is unknown"),
        ({"lstm": {"lr": "fast"}}, "lstm.lr must be a valid number"),
        ({"vae": 3}, "vae must be"),
        ({"joint": {"epochs": 0}, "vae": {"epochs": -1}}, r"(?s)vae.epochs .*joint.epochs"),
    ],
)
def test_wrong_options_of_a_phase_are_refused(own, message):
    with pytest.raises(ConfigError, match=message):
        small().fit(X, **own)


def test_phases_are_configured_in_the_words_of_fit():
    settings = ["data.dataset=x", "model.name=vae_lstm", "model.window=2"]
    own = ["fit.epochs=1", "fit.vae.lr=1e-3", "fit.lstm.epochs=3", "fit.joint=null"]
    config = load_config(None, [*settings, *own])
    assert not {"n_features", "sequence_length"} & config.model.params.keys()
    dumped = config.model_dump(mode="json")["fit"]
    assert [dumped[k] for k in ("vae", "lstm", "joint")] == [{"lr": 1e-3}, {"epochs": 3}, None]
    assert small().fit(X, **dict(config.fit))["phase"] == [0, 1, 1, 1]
    with pytest.raises(ConfigError) as error:
        load_config(None, [*settings, "fit.vae.epocs=3", "fit.lstm.noise=1"])
    assert error.value.problems == (
        "command line: fit.vae.epocs is unknown, did you mean 'epochs'?",
        "command line: fit.lstm.noise is unknown, did you mean 'fit.noise'?",
    )


class Interrupted(Exception):
    pass


@pytest.mark.parametrize("stop", [1, 2, 3, 5, 6])
def test_an_interrupted_fit_goes_on_to_the_same_model(tmp_path, stop):
    def interrupt(epoch, row):
        rows.append((epoch, row))
        if epoch == stop:
            raise Interrupted

    rows, checkpoint = [], tmp_path / "fit.safetensors"
    options = {"epochs": 2}
    whole, resumed = small(), small()
    expected = whole.fit(X, on_epoch=lambda *row: rows.append(row), **options)
    uninterrupted = dict(rows)
    rows.clear()
    with pytest.raises(Interrupted):
        resumed.fit(X, checkpoint=checkpoint, on_epoch=interrupt, **options)
    resumed = small()
    history = resumed.fit(
        X, checkpoint=checkpoint, on_epoch=lambda *row: rows.append(row), **options
    )
    assert history == expected
    assert dict(rows) == uninterrupted
    for name in whole.scores:
        np.testing.assert_array_equal(resumed.score_samples(X, name), whole.score_samples(X, name))


def test_a_loaded_model_steps_the_same(tmp_path):
    model = small()
    model.fit(X, epochs=1)
    model.save(tmp_path)
    loaded, window = load_model(tmp_path), torch.from_numpy(X[:, :2])
    for state, expected in zip(
        loaded.step(window, loaded.init_state(60))[1],
        model.step(window, model.init_state(60))[1],
        strict=True,
    ):
        assert torch.equal(state, expected)


def test_far_windows_do_not_spoil_a_state():
    model = small()
    model.fit(X, epochs=1)
    for far in (1e10, 1e30, 3e38):
        window = torch.full((1, 2, 2), far)
        low, state = model.step(window, model.init_state())
        assert FLOOR <= low < -1e9
        for start in (0, 2, 4, 0, 2):
            score, state = model.step(torch.from_numpy(X[:1, start : start + 2]), state)
        assert score > -1e3
        assert all(tensor.isfinite().all() for tensor in state)


def test_what_the_stored_draws_add_is_taken_off_step_by_step():
    x = torch.randn(400, 6, 2, generator=torch.Generator().manual_seed(0)).sign()
    means = []
    for seed in range(3):
        model = small()
        model.fit(x, epochs=10, seed=0)
        half = torch.randn(4, 3, 2, generator=torch.Generator().manual_seed(seed))
        model.prior.noise_draws.copy_(torch.cat([half, -half]))
        model._measure_draws(model.standardizer(x), seed)
        means.append(model.score_samples(x).mean().item())
        assert model.draws_add.abs().max() > 0.01
    assert max(means) - min(means) < 0.1


def test_encode_and_decode_go_window_by_window():
    model, x = small(), torch.from_numpy(X)
    model.fit(X, epochs=1)
    latent = model.encode(x)
    assert latent.shape == (60, 3 * 2)
    decoded = model.decode(latent)
    assert decoded.shape == x.shape
    changed = x.clone()
    changed[:, 2:4] += 1
    moved = (model.encode(changed) != latent).reshape(60, 3, 2).any(0).any(1)
    assert moved.tolist() == [False, True, False]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_distinct_keeps_the_first_of_equal_rows_in_order(dtype):
    rows = torch.tensor([[3, 0], [1, 1], [0, 3], [1, 1], [3, 0], [1, 2]], dtype=dtype)
    assert torch.equal(distinct(rows), rows[[0, 1, 2, 5]])
    series = torch.arange(10, dtype=dtype)[:, None]
    windows = series.unfold(0, 6, 1).mT
    parts = windows.reshape(-1, 2, 1)
    assert len(parts) == 15
    assert len(distinct(parts)) == 9


def test_the_vae_learns_from_each_window_once(monkeypatch):
    sizes, losses = set(), VAE.losses

    def spy(self, z, *args):
        sizes.add(len(z))
        return losses(self, z, *args)

    monkeypatch.setattr(VAE, "losses", spy)
    series = walks(7).reshape(-1, 2)
    x = np.stack([series[i : i + 6] for i in range(37)])  # 41 windows of two steps
    small().fit(x, x, epochs=1)
    assert sizes == {41}
