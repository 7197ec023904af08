"""MiniRocket: its kernels, dilations and features against their definition."""

import numpy as np
import pytest
import torch

from gormpo_density.augmentation.random_convolutions import (
    _KERNELS,
    MiniRocket,
    _dilations,
    _kernels,
)
from gormpo_density.errors import ConfigError


def series(n: int = 6, length: int = 40, channels: int = 1) -> torch.Tensor:
    return torch.randn(n, length, channels, generator=torch.Generator().manual_seed(0))


def test_the_kernels_are_all_that_have_three_weights_two_and_sum_to_zero() -> None:
    kernels = _kernels()
    assert kernels.shape == (84, 9)
    assert torch.equal(kernels.sum(1), torch.zeros(84))
    assert torch.equal((kernels == 2).sum(1), torch.full((84,), 3))
    assert len({tuple(row) for row in kernels.tolist()}) == 84


@pytest.mark.parametrize(("length", "per_kernel"), [(9, 10), (24, 119), (150, 119), (1000, 119)])
def test_dilations_span_the_series_and_share_the_features(length, per_kernel) -> None:
    dilations, counts = zip(*_dilations(length, per_kernel), strict=True)
    assert sum(counts) == per_kernel
    assert dilations[0] == 1
    assert list(dilations) == sorted(set(dilations))
    assert dilations[-1] * 8 <= length - 1
    assert len(dilations) <= 32


@pytest.mark.parametrize("length", [5, 9, 30])
def test_features_are_shares_of_time_above_the_bias(length) -> None:
    x = series(4, length)
    rocket = MiniRocket(168).fit(x)
    features = rocket(x)
    assert features.shape == (4, 168)
    assert ((features >= 0) & (features <= 1)).all()
    (dilation, _), bias = rocket.dilations[0], rocket.biases[0][3, 0]
    weights = np.full(9, -1.0)
    weights[list(_KERNELS[3])] = 2.0
    padded = np.pad(x[0, :, 0].double().numpy(), 4 * dilation)
    response = np.array(
        [weights @ padded[t : t + 8 * dilation + 1 : dilation] for t in range(length)]
    )
    inner = response[4 * dilation : length - 4 * dilation]  # kernel 3 is not padded
    if len(inner):
        assert features[0, 3] == pytest.approx(np.mean(inner > bias.item()), abs=1e-6)


def test_constants_do_not_matter_inside_and_scale_does_not_matter_after_fitting_anew() -> None:
    x = series()
    rocket = MiniRocket(84 * 4).fit(x, seed=1)
    is_inner = (torch.arange(84)) % 2 == 1  # of the first dilation, the kernels without padding
    torch.testing.assert_close(rocket(x + 5)[:, :84][:, is_inner], rocket(x)[:, :84][:, is_inner])
    torch.testing.assert_close(MiniRocket(84 * 4).fit(8 * x, seed=1)(8 * x), rocket(x))


def test_the_seed_decides_the_biases_and_rows_do_not_depend_on_each_other() -> None:
    x = series(channels=3)
    first, again, other = (MiniRocket(840).fit(x, seed)(x) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(MiniRocket(840).fit(x, 0)(x[2:3]), first[2:3])


def test_too_few_features() -> None:
    with pytest.raises(ConfigError, match="n_features must be at least 84, is 83"):
        MiniRocket(83)
