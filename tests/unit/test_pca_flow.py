"""PCA flows: how many components there are, and what a saved one remembers."""

import numpy as np
import pytest
import torch

from gormpo_density.models.pca_flow import PCAFlow
from gormpo_density.models.subspace import Subspace
from gormpo_density.persistence import load_model

FIT = {"epochs": 3, "batch_size": 16}


def smooth(n, steps=40, seed=0):
    """Return waves (n, steps, 1) of random height, phase and slope: four dimensions' worth."""
    rng = np.random.default_rng(seed)
    t = np.linspace(0, 1, steps)
    height, phase, slope = rng.normal(size=(3, n, 1))
    waves = height * np.sin(6 * t + phase) + slope * t + 0.01 * rng.normal(size=(n, steps))
    return waves[..., None].astype(np.float32)


@pytest.mark.parametrize(("rows", "asked", "found"), [(5, 16, 4), (50, 16, 16), (50, 3, 3)])
def test_there_are_never_more_components_than_rows_less_one(rows, asked, found):
    model = PCAFlow((40, 1), n_components=asked, num_layers=2, hidden_dims=[8])
    model.fit(smooth(rows), smooth(4, seed=1), **FIT)
    assert model.encode(torch.as_tensor(smooth(2))).shape == (2, found)
    assert model.params()["n_components"] == asked
    assert np.isfinite(model.score_samples(smooth(20, seed=2))).all()


def test_directions_without_variance_are_left_out():
    rows = torch.randn(30, 2, generator=torch.Generator().manual_seed(0)) @ torch.ones(2, 6)
    subspace = Subspace(6)
    subspace.fit(rows + 3.0, n_components=4)
    assert subspace.basis.shape == (6, 1)
    assert torch.allclose(subspace.basis, torch.full((6, 1), 6**-0.5), atol=1e-5)


def test_equal_rows_have_one_component():
    subspace = Subspace(3)
    subspace.fit(torch.ones(4, 3), n_components=2)
    assert subspace.basis.shape == (3, 1)
    assert torch.allclose(subspace.inverse(subspace(torch.ones(1, 3))[0]), torch.ones(1, 3))


def test_the_residual_is_measured_on_rows_that_chose_no_direction():
    noise = torch.randn(10, 50, generator=torch.Generator().manual_seed(0))
    subspace = Subspace(50)
    subspace.fit(noise, n_components=9)
    _, squared = subspace(noise)
    assert squared.max() < 1e-6  # nine directions hold ten rows
    # of 8 rows: the mean is off by 1/8 of the noise, and 43 dimensions are left out, not 41
    expected = (1 + 1 / 8) * 43 / 41
    assert subspace.variance.item() == pytest.approx(expected, abs=0.2)


def test_a_wide_latent_is_cut_down_to_the_row():
    model = PCAFlow(3, n_components=64, num_layers=2, hidden_dims=[8])
    model.fit(smooth(50)[:, :3, 0], **FIT)
    x = torch.as_tensor(smooth(5, seed=1)[:, :3, 0])
    assert torch.allclose(model.decode(model.encode(x)), x, atol=1e-4)


def test_a_fit_to_fewer_rows_makes_a_smaller_flow_again(tmp_path):
    model = PCAFlow((40, 1), num_layers=2, hidden_dims=[8])
    for rows in (40, 6):
        model.fit(smooth(rows), smooth(4, seed=1), **FIT)
    model.save(tmp_path)
    loaded = load_model(tmp_path)
    x = smooth(7, seed=2)
    assert loaded.flow.input_dim == 5
    np.testing.assert_array_equal(loaded.score_samples(x), model.score_samples(x))


def test_a_fit_goes_on_from_its_checkpoint(tmp_path):
    def fitted(epochs, checkpoint):
        model = PCAFlow((40, 1), n_components=3, num_layers=2, hidden_dims=[8])

        def stop(epoch, _):
            if epoch == epochs:
                raise KeyboardInterrupt

        model.fit(smooth(30), smooth(9, seed=1), epochs=4, checkpoint=checkpoint, on_epoch=stop)
        return model

    path = tmp_path / "fit.safetensors"
    with pytest.raises(KeyboardInterrupt):
        fitted(2, path)
    with pytest.raises(KeyboardInterrupt):
        fitted(3, path)
    x = smooth(5, seed=2)
    resumed, whole = fitted(0, path), fitted(0, None)
    np.testing.assert_array_equal(resumed.score_samples(x), whole.score_samples(x))
