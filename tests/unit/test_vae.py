import numpy as np
import pytest
import torch

from gormpo_density.errors import GormpoDensityError
from gormpo_density.models.vae import VAE

ROWS = np.random.default_rng(0).normal(size=(100, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def model():
    model = VAE(input_dim=3, latent_dim=2, hidden_dims=[8], device="cpu")
    model.fit(ROWS, epochs=2)
    return model


def test_the_history_tells_reconstruction_and_kl_of_every_split():
    history = VAE(3, latent_dim=2, hidden_dims=[8]).fit(ROWS, ROWS, ROWS, epochs=2)
    parts = ("loss", "recon", "kl")
    assert set(history) == {f"{s}_{part}" for s in ("train", "val", "test") for part in parts}
    for split in ("val", "test"):
        total = np.add(history[f"{split}_recon"], history[f"{split}_kl"])
        np.testing.assert_allclose(history[f"{split}_loss"], total, rtol=1e-5)


def test_beta_given_to_fit_replaces_the_models():
    model = VAE(3, latent_dim=2, hidden_dims=[8])
    history = model.fit(ROWS, ROWS, epochs=2, beta=4.0)
    assert model.params()["beta"] == 4.0
    total = np.add(history["val_recon"], 4 * np.array(history["val_kl"]))
    np.testing.assert_allclose(history["val_loss"], total, rtol=1e-5)
    model.fit(ROWS, ROWS, epochs=1)
    assert model.beta == 4.0


def test_another_option_is_refused():
    with pytest.raises((TypeError, GormpoDensityError), match="betta"):
        VAE(3).fit(ROWS, betta=4.0)


def test_encoder_forward_and_decode_have_gormpos_shapes(model):
    x = torch.from_numpy(ROWS)
    mu, logvar = model.encoder(x)
    assert mu.shape == logvar.shape == (100, 2)
    assert torch.equal(model.encode(x), mu)
    reconstruction, mean, _ = model(x)
    assert torch.equal(mean, mu)
    assert reconstruction.shape == model.decode(mu).shape == (100, 3)


def test_a_generator_makes_forward_draw(model):
    x = torch.from_numpy(ROWS)
    draws = [model(x, torch.Generator().manual_seed(seed))[0] for seed in (0, 0, 1)]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_windows_are_flattened_inside():
    model = VAE((4, 3), latent_dim=2, hidden_dims=[8])
    windows = ROWS.reshape(25, 4, 3)
    model.fit(windows, windows, epochs=1)
    x = torch.from_numpy(windows)
    assert model(x)[0].shape == model.sample(25, seed=0).shape == x.shape
    recon = model.loss_function(*model(x)[:1], x, *model.encoder(x))[1]
    assert recon.isfinite()


@pytest.mark.parametrize("latent_dim", [1, 5])
def test_one_latent_or_more_than_features(latent_dim):
    model = VAE(3, latent_dim=latent_dim, hidden_dims=[8])
    model.fit(ROWS, epochs=1)
    for score in model.scores:
        assert np.isfinite(model.score_samples(ROWS, score)).all()


def test_statistics_of_the_latents_are_taken_in_chunks(monkeypatch):
    sizes, posterior = [], VAE._posterior

    def spy(self, z):
        sizes.append(len(z))
        return posterior(self, z)

    monkeypatch.setattr(VAE, "_posterior", spy)
    monkeypatch.setattr(VAE, "chunk_rows", 40)
    VAE(3, latent_dim=2, hidden_dims=[8]).fit(ROWS, ROWS, epochs=1)
    assert sizes[-3:] == [40, 40, 20]


def test_what_the_stored_draws_add_to_all_rows_is_taken_off() -> None:
    x = torch.randn(2000, 2, generator=torch.Generator().manual_seed(0))
    x = x / x.norm(dim=1, keepdim=True) + 0.1 * x  # a ring: one draw suits all rows alike
    means = []
    for seed in range(3):
        model = VAE(2, latent_dim=2, hidden_dims=[32])
        model.fit(x, epochs=5, seed=0)
        model.noise_draws.copy_(_other_draws(seed))
        model._measure_draws(model.standardizer(x), seed)
        means.append(model.score_samples(x).mean().item())
    assert abs(model.draws_add).max() > 0.01
    assert max(means) - min(means) < 0.05


def _other_draws(seed: int) -> torch.Tensor:
    half = torch.randn(4, 1, 2, generator=torch.Generator().manual_seed(seed))
    return torch.cat([half, -half])
