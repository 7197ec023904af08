"""What is accepted: real rows but for alpha, no outliers, nothing of another class."""

import numpy as np
import pytest
import torch
from scipy import stats

from gormpo_density.augmentation.acceptance import Acceptance
from gormpo_density.augmentation.class_gaussians import ClassGaussians
from gormpo_density.errors import ConfigError, DataError, NotFittedError


def blobs(counts=(40, 40), seed=0, distance=4.0, dim=6) -> tuple[torch.Tensor, torch.Tensor]:
    """Return Gaussian rows (n, dim, 1), class c around c times the distance."""
    rng = np.random.default_rng(seed)
    y = np.repeat(np.arange(len(counts)), counts)
    x = rng.normal(size=(len(y), dim)) + distance * y[:, None]
    return torch.as_tensor(x[..., None]).float(), torch.as_tensor(y)


def test_fresh_real_rows_are_rejected_about_as_often_as_asked() -> None:
    accept = Acceptance(alpha=0.1).fit(*blobs((200, 200)))
    p = accept.p_value(*blobs((1000, 1000), seed=1))
    assert (p < 0.1).float().mean().item() == pytest.approx(0.1, abs=0.04)


def test_small_classes_share_their_calibration_and_keep_it() -> None:
    shares = []
    for seed in range(10):
        accept = Acceptance(alpha=0.1).fit(*blobs((8, 7, 6), seed=seed))
        p = accept.p_value(*blobs((200, 200, 200), seed=100 + seed))
        shares.append((p < 0.1).float().mean().item())
    assert np.mean(shares) == pytest.approx(0.1, abs=0.06)


def test_outliers_and_rows_of_another_class_are_not_accepted() -> None:
    accept = Acceptance().fit(*blobs())
    x, y = blobs(seed=1)
    assert accept(x, y).float().mean() > 0.9
    assert not accept(x, 1 - y).any()
    assert not accept(x + 100, y).any()
    assert accept.log_prob(x).shape == (80, 2)


def test_a_class_too_small_to_reject_by_its_own_scores_shares_them() -> None:
    """Of 19 rows, the least p-value is 1 / 20: not below alpha."""
    x, y = blobs((19, 19), distance=20.0)
    accept = Acceptance(alpha=0.05).fit(x, y)
    assert (accept.p_value(x[:1] - 30, y[:1]) < 0.05).all()
    assert not accept(x[:1] - 30, y[:1]).any()


def test_a_class_of_one_row_is_accepted_around_it() -> None:
    x, y = blobs((30, 1), distance=8.0)
    accept = Acceptance().fit(x, y)
    assert accept(x[-1:] + 0.1, y[-1:]).all()
    assert not accept(x[-1:], y[:1]).any()


def test_the_seed_decides_the_folds() -> None:
    data, new = blobs((12, 12)), blobs((50, 50), seed=1)
    first, again, other = (
        Acceptance(alpha=0.2).fit(*data, seed=seed).p_value(*new) for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("alpha", [0, 1, -0.1, float("nan")])
def test_a_level_out_of_range(alpha) -> None:
    with pytest.raises(ConfigError, match="alpha must be in"):
        Acceptance(alpha=alpha)


def test_before_fit_and_too_few_rows() -> None:
    x, y = blobs((2, 2))
    with pytest.raises(NotFittedError):
        Acceptance()(x, y)
    with pytest.raises(DataError, match="four real ones at least, got 3"):
        Acceptance().fit(x[:3], y[:3])
    with pytest.raises(DataError, match="class of two real ones"):
        Acceptance().fit(x, torch.arange(4))


def test_class_gaussians_are_those_of_scikit_learn() -> None:
    from sklearn.covariance import ledoit_wolf

    x, y = (part.double() if part.is_floating_point() else part for part in blobs((9, 30)))
    rows = x.flatten(1)
    gaussians = ClassGaussians().fit(rows, y)
    for c in range(2):
        own = rows[y == c].numpy()
        cov = ledoit_wolf(own)[0] + 1e-6 * np.eye(6)
        expected = stats.multivariate_normal(own.mean(0), cov).logpdf(rows.numpy())
        np.testing.assert_allclose(gaussians.log_prob(rows)[:, c], expected, rtol=1e-6)


def test_draws_have_the_moments_of_their_class() -> None:
    x, y = blobs((60, 60))
    rows = x.flatten(1).double()
    gaussians = ClassGaussians().fit(rows, y)
    generator = torch.Generator().manual_seed(0)
    drawn = gaussians.draw(torch.ones(20_000, dtype=torch.int64), 2.0, generator)
    torch.testing.assert_close(drawn.mean(0), rows[y == 1].mean(0), atol=0.06, rtol=0)
    whitener = gaussians._gaussians[1].whitener
    white = (drawn - drawn.mean(0)) @ whitener.T / 2
    torch.testing.assert_close(white.T.cov(), torch.eye(6).double(), atol=0.05, rtol=0)


def test_classes_that_were_not_seen_have_no_column() -> None:
    x, y = blobs((5, 5))
    gaussians = ClassGaussians().fit(x.flatten(1), 2 * y + 1)
    assert gaussians.position(torch.tensor([0, 1, 2, 3, 9])).tolist() == [-1, 0, -1, 1, -1]


def test_rows_that_never_vary_within_a_class_are_no_nan() -> None:
    x = torch.arange(4.0)[:, None].expand(4, 3)
    gaussians = ClassGaussians().fit(x, torch.arange(4))
    assert gaussians.log_prob(x).isfinite().all()
    drawn = gaussians.draw(torch.arange(4), 1.0, torch.Generator().manual_seed(0))
    torch.testing.assert_close(drawn, x.contiguous(), atol=0.02, rtol=0)
