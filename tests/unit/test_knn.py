import numpy as np
import pytest
import torch

from gormpo_density import persistence
from gormpo_density.errors import DataError
from gormpo_density.models import knn as knn_module
from gormpo_density.models.knn import KNN

LINE = np.array([[-2.0], [-1.0], [0.0], [1.0], [2.0]])  # standard deviation sqrt(2)


def normal(n, dim=2, seed=0):
    return np.random.default_rng(seed).normal(size=(n, dim)).astype(np.float32)


@pytest.mark.parametrize(
    ("k", "x", "distance"),
    [
        (1, 0.0, 0),
        (2, 0.0, 1),
        (3, 0.0, 1),
        (5, 0.0, 2),
        (1, 3.0, 1),
        (2, 3.0, 2),
        (1, 0.25, 0.25),
    ],
)
def test_known_distances_on_a_line(k, x, distance):
    model = KNN(1, k=k)
    model.fit(LINE, LINE)
    score = model.score_samples(np.array([[x]]))
    np.testing.assert_allclose(score, -distance / np.sqrt(2), atol=1e-6)


def test_the_score_is_a_surrogate_that_ignores_units():
    model, scaled = KNN(1), KNN(1)
    model.fit(LINE, LINE)
    scaled.fit(100 * LINE, 100 * LINE)
    assert model.score_kind == "surrogate"
    np.testing.assert_allclose(
        scaled.score_samples(100 * LINE), model.score_samples(LINE), rtol=1e-6
    )


def test_more_neighbours_than_rows_are_refused():
    with pytest.raises(DataError, match="k = 5 neighbours among 4 training rows"):
        KNN(1, k=5).fit(LINE[:4], LINE)
    with pytest.raises(DataError, match="k = 5 neighbours among 3 training rows"):
        KNN(1, k=5, max_rows=3).fit(LINE, LINE)
    KNN(1, k=5).fit(LINE, LINE)


def test_rows_are_a_seeded_choice_of_the_training_rows():
    first, again, other = KNN(2, max_rows=30), KNN(2, max_rows=30), KNN(2, max_rows=30)
    for model, seed in ((first, 0), (again, 0), (other, 1)):
        model.fit(normal(100), normal(10, seed=1), seed=seed)
        assert model.rows.shape == (30, 2)
    assert torch.equal(first.rows, again.rows)
    assert not torch.equal(first.rows, other.rows)


@pytest.mark.parametrize("block", [1, 3, 7, 49, 50, 51])
def test_blocks_of_rows_change_nothing(monkeypatch, block):
    model, x = KNN(3, k=6), normal(20, 3, seed=2)
    model.fit(normal(50, 3), normal(10, 3, seed=1))
    whole = model.score_samples(x)
    monkeypatch.setattr(knn_module, "BLOCK_ROWS", block)
    np.testing.assert_array_equal(model.score_samples(x), whole)


def test_far_rows_rank_by_distance():
    model = KNN(2)
    model.fit(normal(100), normal(20, seed=1))
    distances = np.array([5.0, 10.0, 10.1, 100.0, 101.0, 1e3, 1.01e3, 1e6, 1e12, 1e18])
    scores = model.score_samples(np.stack([distances, np.zeros_like(distances)], 1))
    assert (np.diff(scores) < 0).all()
    assert np.isfinite(model.score_samples(np.array([[1e20, 0.0], [0.0, -1e38]]))).all()


def test_the_gradient_points_away_from_the_neighbour():
    model = KNN(2, k=1)
    square = np.array([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]])
    model.fit(square, square)
    x = torch.tensor([[4.0, 5.0], [1.0, 1.0]], requires_grad=True)
    (gradient,) = torch.autograd.grad(model.log_prob(x).sum(), x)
    torch.testing.assert_close(gradient, torch.tensor([[-0.6, -0.8], [0.0, 0.0]]))


def test_the_history_is_the_mean_distance():
    model = KNN(1, k=2)
    history = model.fit(LINE, np.array([[0.5]]))
    assert history["val_loss"] == [pytest.approx(0.5 / np.sqrt(2))]
    assert history["train_loss"] == [pytest.approx(1 / np.sqrt(2))]


def test_a_saved_model_scores_the_same(tmp_path):
    model, x = KNN((2, 3), k=3), normal(20, 6, seed=2).reshape(20, 2, 3)
    windows = normal(100, 6).reshape(100, 2, 3)
    model.fit(windows, windows[:10])
    model.save(tmp_path)
    loaded = persistence.load_model(tmp_path)
    assert loaded.params() == {"input_dim": (2, 3), "k": 3, "max_rows": 40_000}
    np.testing.assert_array_equal(loaded.score_samples(x), model.score_samples(x))
