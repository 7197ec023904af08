"""Latent augmentation: each method against its definition, strength 0, labels, sources, errors."""

import numpy as np
import pytest
import torch

from gormpo_density import VAE, LatentAugmenter, RealNVP, make_model
from gormpo_density.augmentation.acceptance import Acceptance
from gormpo_density.augmentation.latent import METHODS, slerp
from gormpo_density.errors import ConfigError, DataError, NotFittedError, ShapeError

QUICK = {"epochs": 5}
LENGTH = 12


def waves(n: int = 24, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return rising and falling lines (n, LENGTH, 1) of random height, and which they are."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    slope = (2 * y - 1) * rng.uniform(0.5, 1.5, n)
    x = slope[:, None] * np.linspace(-1, 1, LENGTH) + 0.05 * rng.normal(size=(n, LENGTH))
    return x[..., None].astype(np.float32), y


@pytest.fixture(scope="module")
def vae() -> VAE:
    model = VAE((LENGTH, 1), latent_dim=2, hidden_dims=(16,))
    model.fit(waves()[0], epochs=60, lr=1e-2)
    return model


@pytest.fixture(scope="module")
def flow() -> RealNVP:
    model = RealNVP((LENGTH, 1), num_layers=2, hidden_dims=(8,))
    model.fit(waves()[0], epochs=3)
    return model


def reconstructed(model, x) -> np.ndarray:
    with torch.no_grad():
        return model.decode(model.encode(torch.as_tensor(x))).numpy()


@pytest.mark.parametrize("method", ["noise", "posterior", "interpolate"])
def test_strength_0_is_the_reconstruction(vae, method) -> None:
    x, y = waves()
    made = LatentAugmenter(vae, method, 0.0, num_samples=2).fit(x, y).augment(x, y)
    np.testing.assert_allclose(made.x, np.tile(reconstructed(vae, x), (2, 1, 1)), atol=1e-5)
    assert made.y.tolist() == np.tile(y, 2).tolist()
    assert made.rejected == 0


@pytest.mark.parametrize("method", ["noise", "posterior", "interpolate"])
def test_with_the_residual_strength_0_is_the_row_itself(vae, method) -> None:
    x, y = waves()
    assert np.abs(reconstructed(vae, x) - x).max() > 0.05
    made = LatentAugmenter(vae, method, 0.0, residual=True).fit(x, y).augment(x, y)
    np.testing.assert_allclose(made.x, x, atol=1e-6)


@pytest.mark.parametrize("method", ["noise", "posterior", "interpolate"])
def test_the_residual_is_added_to_the_same_draw(vae, method) -> None:
    x, y = waves()
    plain, kept = (
        LatentAugmenter(vae, method, num_samples=2, residual=keeps).augment(x, y, seed=3)
        for keeps in (False, True)
    )
    rest = np.tile(x - reconstructed(vae, x), (2, 1, 1))
    np.testing.assert_allclose(kept.x, plain.x + rest, atol=1e-5)
    assert kept.source.tolist() == plain.source.tolist()


def test_rows_that_are_made_from_no_row_have_no_residual(vae) -> None:
    with pytest.raises(ConfigError, match="cannot keep a residual: class_gaussian makes"):
        LatentAugmenter(vae, "class_gaussian", residual=True)


def test_a_flow_reconstructs_the_row_itself(flow) -> None:
    x, y = waves()
    augmenter = LatentAugmenter(flow, "noise", 0.0)
    np.testing.assert_allclose(augmenter.augment(x, y).x, x, atol=1e-4)
    assert augmenter.reconstruction_error(x) < 1e-4


def test_noise_is_of_the_given_size_in_the_latent_space(flow) -> None:
    x, y = waves()
    made = LatentAugmenter(flow, "noise", 0.3, num_samples=50).augment(x, y)
    with torch.no_grad():
        z, made_z = (flow.encode(torch.as_tensor(part)) for part in (x, made.x))
    noise = (made_z - z[made.source]).double()
    assert noise.std().item() == pytest.approx(0.3, rel=0.03)
    assert abs(noise.mean().item()) < 0.01


def test_the_posterior_s_spread_is_the_model_s(vae) -> None:
    x, y = waves(2)
    augmenter = LatentAugmenter(vae, "posterior", num_samples=4000)
    with torch.no_grad():
        mu, logvar = vae.encoder(torch.as_tensor(x))
    drawn: list[torch.Tensor] = []
    decode = vae.decode
    vae.decode = lambda z: drawn.append(z) or decode(z)  # type: ignore[method-assign]
    try:
        made = augmenter.augment(x, y)
    finally:
        del vae.decode
    first = drawn[0][made.source == 0]
    torch.testing.assert_close(first.mean(0), mu[0], atol=0.1, rtol=0)
    torch.testing.assert_close(first.std(0), (0.5 * logvar[0]).exp(), rtol=0.1, atol=0)


@pytest.mark.parametrize("name", ["vae", "flow"])
def test_interpolation_stays_between_rows_of_a_class(name, vae, flow) -> None:
    x, y = waves()
    made = LatentAugmenter({"vae": vae, "flow": flow}[name], "interpolate").augment(x, y)
    assert (made.source == -1).all()
    assert made.y.tolist() == y.tolist()
    slope = made.x[:, -3:, 0].mean(1) - made.x[:, :3, 0].mean(1)
    assert ((slope > 0) == (y == 1)).mean() > 0.9


def test_a_row_that_is_alone_in_its_class_is_reconstructed(vae) -> None:
    x, y = waves(5)
    y = np.array([0, 0, 0, 0, 7])
    made = LatentAugmenter(vae, "interpolate").augment(x, y)
    np.testing.assert_allclose(made.x[4], reconstructed(vae, x)[4], atol=1e-5)
    assert made.source.tolist() == [-1, -1, -1, -1, 4]


def test_class_gaussians_give_rows_of_their_class_and_never_nan(vae) -> None:
    x, y = waves()
    y = y.copy()
    y[0] = 2  # a class of one row
    made = LatentAugmenter(vae, "class_gaussian", num_samples=3).fit(x, y).augment(x, y, seed=1)
    assert np.isfinite(made.x).all()
    assert (made.source == -1).all()
    assert made.y.tolist() == np.tile(y, 3).tolist()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor])
def test_kind_and_rank_are_kept_and_the_seed_decides(vae, method, kind) -> None:
    x, y = waves()
    augmenter = LatentAugmenter(vae, method, 0.5).fit(x, y)
    flat = kind(x[..., 0])
    first, again, other = (augmenter.augment(flat, kind(y), seed=seed).x for seed in (0, 0, 1))
    assert type(first) is type(flat)
    assert first.shape == flat.shape
    assert bool((first == again).all())
    assert not bool((first == other).all())


@pytest.mark.parametrize("name", ["vae", "realnvp", "pca_flow", "vae_lstm"])
def test_a_model_by_name_is_fitted_to_the_rows(name) -> None:
    x, y = waves(16)
    augmenter = LatentAugmenter(name, "noise", fit_options=QUICK)
    with pytest.raises(NotFittedError, match="call fit first"):
        augmenter.augment(x, y)
    made = augmenter.fit(x, y, seed=3).augment(x, y)
    assert made.x.shape == x.shape
    assert np.isfinite(made.x).all()
    again = LatentAugmenter(name, "noise", fit_options=QUICK).fit(x, y, seed=3).augment(x, y)
    assert np.array_equal(made.x, again.x)


def test_a_model_by_name_is_fitted_anew_and_a_fitted_one_is_left_alone(vae) -> None:
    x, y = waves()
    by_name = LatentAugmenter({"name": "vae", "latent_dim": 20}, fit_options=QUICK)
    first = by_name.fit(x, y).model
    assert by_name.fit(x[:10], y[:10]).model is not first
    before = vae.score_samples(x)
    assert LatentAugmenter(vae).fit(x[:10], y[:10]).model is vae
    assert np.array_equal(before, vae.score_samples(x))


def test_a_model_of_sequences_has_a_posterior_too() -> None:
    x, y = waves(16)
    augmenter = LatentAugmenter("vae_lstm", "posterior", fit_options=QUICK).fit(x, y)
    assert np.isfinite(augmenter.augment(x, y).x).all()


def test_rejected_rows_are_drawn_again_and_counted(vae) -> None:
    x, y = waves(60)
    accept = Acceptance(alpha=0.1)
    made = LatentAugmenter(vae, "noise", 0.8, accept=accept).fit(x, y).augment(x, y)
    kept = accept(torch.as_tensor(made.x), torch.as_tensor(made.y))
    assert kept.all()
    assert made.rejected > 0
    assert len(made.x) <= len(x)
    assert (made.y == y[made.source]).all()


def test_when_all_are_rejected_it_says_how_many(vae) -> None:
    x, y = waves(60)
    augmenter = LatentAugmenter(vae, "noise", 1e6, accept=Acceptance()).fit(x, y)
    with pytest.raises(DataError, match="all 600 candidates were rejected"):
        augmenter.augment(x, y)


def test_the_reconstruction_error_is_a_share_of_the_spread(vae) -> None:
    x, _ = waves()
    expected = np.sqrt(np.mean((reconstructed(vae, x) - x) ** 2) / x.var())
    assert LatentAugmenter(vae).reconstruction_error(x) == pytest.approx(expected, rel=1e-4)
    assert LatentAugmenter(vae).reconstruction_error(x[..., 0]) == pytest.approx(
        expected, rel=1e-4
    )


def test_slerp_follows_the_great_circle_and_keeps_lengths() -> None:
    a, b = torch.tensor([[2.0, 0.0]]).double(), torch.tensor([[0.0, 4.0]]).double()
    middle = slerp(a, b, torch.tensor([[0.5]]).double())
    torch.testing.assert_close(middle, torch.tensor([[3.0, 3.0]]).double() / 2**0.5)
    for share, end in ((0.0, a), (1.0, b)):
        torch.testing.assert_close(slerp(a, b, torch.tensor([[share]]).double()), end)
    torch.testing.assert_close(slerp(a, 3 * a, torch.tensor([[0.5]]).double()), 2 * a)
    torch.testing.assert_close(slerp(a, 0 * a, torch.tensor([[0.5]]).double()), a / 2)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("vae", "nois"), "method must be one of noise, posterior, .*is 'nois'"),
        (("vae", "noise", -0.1), "noise must be at least 0, is -0.1"),
        (("vae", "noise", float("nan")), "noise must be at least 0, is nan"),
        ((make_model("realnvp", input_dim=LENGTH), "posterior"), "no posterior"),
    ],
)
def test_bad_arguments(arguments, problem) -> None:
    with pytest.raises(ConfigError, match=problem):
        LatentAugmenter(*arguments)


def test_a_model_without_a_latent_space_is_told() -> None:
    x, y = waves()
    with pytest.raises(ConfigError, match="KDE has no latent space"):
        LatentAugmenter("kde").fit(x, y)


def test_too_few_rows_and_other_lengths(vae) -> None:
    x, y = waves()
    with pytest.raises(DataError, match="four rows at least, got 3"):
        LatentAugmenter("vae").fit(x[:3], y[:3])
    with pytest.raises(ShapeError, match="12 values a series, got 11"):
        LatentAugmenter(vae).augment(x[:, :-1], y)
    with pytest.raises(NotFittedError, match="class_gaussian needs fit first"):
        LatentAugmenter(vae, "class_gaussian").augment(x, y)
