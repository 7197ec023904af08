import math

import numpy as np
import pytest
import torch

from gormpo_density import persistence
from gormpo_density.errors import ConfigError
from gormpo_density.models import kde as kde_module
from gormpo_density.models.kde import KDE


def normal(n, dim=2, seed=0):
    return np.random.default_rng(seed).normal(size=(n, dim)).astype(np.float32)


def test_two_centres_give_the_mean_of_two_bumps():
    model = KDE(1, bandwidth=0.5)
    model.fit(np.array([[-1.0], [1.0]]), np.zeros((1, 1)))
    peak = 1 / (0.5 * math.sqrt(2 * math.pi))
    near, far = peak, peak * math.exp(-((2 / 0.5) ** 2) / 2)
    expected = [math.log(peak * math.exp(-2)), math.log((near + far) / 2)]
    scores = model.log_prob(torch.tensor([[0.0], [1.0]]))
    torch.testing.assert_close(scores, torch.tensor(expected))


@pytest.mark.parametrize(("n", "dim"), [(50, 1), (50, 3), (400, 3)])
def test_scotts_bandwidth(n, dim):
    model = KDE(dim, bandwidth="scott")
    model.fit(normal(n, dim), normal(5, dim))
    assert model.width.item() == pytest.approx(n ** (-1 / (dim + 4)))


def test_a_given_bandwidth_is_kept():
    model = KDE(2, bandwidth=0.3)
    model.fit(normal(20), normal(5))
    assert model.width.item() == pytest.approx(0.3)


def test_held_out_rows_choose_the_likeliest_bandwidth():
    train, val = normal(200), normal(100, seed=1)
    chosen = KDE(2)
    loss = chosen.fit(train, val)["val_loss"][0]
    scott = 200 ** (-1 / 6)
    for factor in kde_module.HELD_OUT_GRID:
        other = KDE(2, bandwidth=factor * scott).fit(train, val)["val_loss"][0]
        assert loss <= other + 1e-6
    assert 0.25 < chosen.width.item() / scott < 2


def test_rows_repeated_in_the_validation_set_do_not_collapse_the_kernels():
    train = normal(100)
    model = KDE(2)
    model.fit(train, train[:20])
    assert model.width.item() >= 100 ** (-1 / 6) / 16 - 1e-6
    assert np.isfinite(model.score_samples(normal(50, seed=1))).all()


def test_centres_are_a_seeded_choice_of_the_training_rows():
    train, val = normal(100), normal(10, seed=1)
    first, again, other = KDE(2, max_rows=30), KDE(2, max_rows=30), KDE(2, max_rows=30)
    for model, seed in ((first, 0), (again, 0), (other, 1)):
        model.fit(train, val, seed=seed)
        assert model.centres.shape == (30, 2)
        back = model.standardizer.inverse(model.centres).numpy()
        assert np.abs(back[:, None] - train).max(2).min(1).max() < 1e-5
        assert len(model.centres.unique(dim=0)) == 30
    assert torch.equal(first.centres, again.centres)
    assert not torch.equal(first.centres, other.centres)


def test_few_rows_are_all_kept():
    model = KDE(2, max_rows=30)
    model.fit(normal(29), normal(10, seed=1))
    assert torch.equal(model.centres, model.standardizer(torch.from_numpy(normal(29))))


def test_the_history_has_one_entry_which_is_reported():
    rows = []
    model = KDE(2)
    history = model.fit(
        normal(50), normal(10, seed=1), normal(10, seed=2), on_epoch=lambda *row: rows.append(row)
    )
    assert rows == [(1, {name: curve[0] for name, curve in history.items()})]
    assert list(history) == ["train_loss", "val_loss", "test_loss"]
    scores = model.score_samples(normal(10, seed=1))
    in_standardised_units = scores.mean() - model.standardizer.log_abs_det.item()
    assert history["val_loss"] == [pytest.approx(-in_standardised_units, abs=1e-5)]


@pytest.mark.parametrize("block", [1, 7, 49, 50, 51])
def test_blocks_of_centres_change_nothing(monkeypatch, block):
    model, x = KDE(3), normal(20, 3, seed=2)
    model.fit(normal(50, 3), normal(10, 3, seed=1))
    whole = model.score_samples(x)
    monkeypatch.setattr(kde_module, "BLOCK_ROWS", block)
    np.testing.assert_allclose(model.score_samples(x), whole, rtol=1e-6)


def test_far_rows_rank_by_distance():
    model = KDE(2)
    model.fit(normal(100), normal(20, seed=1))
    distances = np.array([5.0, 10.0, 10.1, 100.0, 101.0, 1e3, 1.01e3, 1e6, 1e12, 1e14])
    scores = model.score_samples(np.stack([distances, np.zeros_like(distances)], 1))
    assert (np.diff(scores) < 0).all()
    assert np.isfinite(model.score_samples(np.array([[1e20, 0.0], [0.0, -1e38]]))).all()


def test_samples_scatter_around_the_centres():
    train = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    model = KDE(2, bandwidth=0.01)
    model.fit(train, train)
    samples = model.sample(3000, seed=0).numpy()
    distances = np.linalg.norm(samples[:, None] - train, axis=2)
    nearest = distances.argmin(1)
    assert np.bincount(nearest).min() > 900
    offsets = (samples - train[nearest]) / model.standardizer.scale.numpy()
    np.testing.assert_allclose(offsets.std(0), 0.01, rtol=0.05)


def test_a_saved_model_scores_the_same(tmp_path):
    model, x = KDE((2, 3), max_rows=40), normal(20, 6, seed=2).reshape(20, 2, 3)
    windows = normal(100, 6).reshape(100, 2, 3)
    model.fit(windows, windows[:10])
    model.save(tmp_path)
    loaded = persistence.load_model(tmp_path)
    assert loaded.params() == {"input_dim": (2, 3), "bandwidth": "held_out", "max_rows": 40}
    np.testing.assert_array_equal(loaded.score_samples(x), model.score_samples(x))
    torch.testing.assert_close(loaded.sample(5, seed=0), model.sample(5, seed=0), rtol=0, atol=0)


@pytest.mark.parametrize("bandwidth", ["scot", 0.0, -1.0, np.nan])
def test_a_bandwidth_that_is_none_is_refused(bandwidth):
    with pytest.raises(ConfigError, match="bandwidth must be 'held_out', 'scott' or above 0"):
        KDE(2, bandwidth=bandwidth)
