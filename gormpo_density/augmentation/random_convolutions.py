"""MiniRocket: features of series by fixed convolutions with biases drawn from the data."""

import itertools
import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from gormpo_density.errors import ConfigError

_LENGTH = 9
_N_DILATIONS = 32
#: The places of the three weights 2 among six weights -1: 84 kernels, each of sum 0.
_KERNELS = tuple(itertools.combinations(range(_LENGTH), 3))


class MiniRocket:
    """Share of a series' convolution that is above a bias, for many kernels, dilations, biases.

    Feature = mean_t [(w_k * x)_t > b], with w_k one of 84 kernels of 6 weights -1 and 3 weights
    2, at up to 32 dilations from 1 to (T - 1) / 8 in geometric steps, and biases b that are
    quantiles of the convolution of a training row. Every other combination of kernel and dilation
    sees the series padded with zeros. The channels of a multivariate series are summed.

    Args:
        n_features: Rounded down to a multiple of 84.

    Raises:
        ConfigError: n_features is below 84.

    Source:
        Dempster, Schmidt & Webb 2021, https://arxiv.org/abs/2012.08791, section 3. Differs:
        channels are summed with random signs, where the paper has one channel only.
    """

    def __init__(self, n_features: int = 9_996) -> None:
        if n_features < len(_KERNELS):
            raise ConfigError(f"n_features must be at least {len(_KERNELS)}, is {n_features}")
        self.per_kernel = n_features // len(_KERNELS)

    def fit(self, x: Tensor, seed: int = 0) -> "MiniRocket":
        """Draw the biases from rows (n, T, D) of which some are chosen under the seed."""
        rng = np.random.default_rng(seed)
        signs = rng.choice([-1.0, 1.0], x.shape[2]) if x.shape[2] > 1 else np.ones(1)
        self.signs = torch.from_numpy(signs).float()
        self.dilations = _dilations(x.shape[1], self.per_kernel)
        position, golden = 0, (math.sqrt(5) + 1) / 2
        self.biases = []
        for dilation, count in self.dilations:
            levels = (torch.arange(1, 84 * count + 1, dtype=torch.float64) + position) * golden % 1
            position += 84 * count
            rows = x[torch.from_numpy(rng.integers(len(x), size=84))]
            response = self._responses(rows, dilation).diagonal().T  # kernel k of row k
            quantiles = [
                torch.quantile(r.double(), q)
                for r, q in zip(response, levels.reshape(84, count), strict=True)
            ]
            self.biases.append(torch.stack(quantiles).float())
        return self

    def __call__(self, x: Tensor) -> Tensor:
        """Return the features (n, 84 * m) of series (n, T, D)."""
        return torch.cat([self._features(rows) for rows in x.split(256)])

    def _features(self, x: Tensor) -> Tensor:
        parts = []
        for i, ((dilation, _), biases) in enumerate(zip(self.dilations, self.biases, strict=True)):
            response = self._responses(x, dilation)
            margin = (_LENGTH - 1) * dilation // 2
            inner = response[:, :, margin : response.shape[2] - margin]
            inner = inner if inner.shape[2] else response  # a series shorter than the kernel
            for bias in biases.T:
                whole = (response > bias[None, :, None]).float().mean(2)
                part = (inner > bias[None, :, None]).float().mean(2)
                is_padded = (torch.arange(len(_KERNELS)) + i) % 2 == 0
                parts.append(torch.where(is_padded, whole, part))
        return torch.cat(parts, 1)

    def _responses(self, x: Tensor, dilation: int) -> Tensor:
        """Return the convolution (n, 84, T) with every kernel, zeros around the series."""
        series = (x * self.signs).sum(2)
        margin = (_LENGTH - 1) * dilation // 2
        shifts = F.pad(series, (margin, margin)).unfold(1, series.shape[1], dilation)
        return torch.einsum("kj,njt->nkt", _kernels(), shifts)


def _kernels() -> Tensor:
    weights = torch.full((len(_KERNELS), _LENGTH), -1.0)
    weights[torch.arange(len(_KERNELS))[:, None], torch.tensor(_KERNELS)] = 2.0
    return weights


def _dilations(length: int, per_kernel: int) -> list[tuple[int, int]]:
    """Return the dilations and how many features a kernel has at each."""
    largest = max(1, (length - 1) // (_LENGTH - 1))
    n = min(per_kernel, _N_DILATIONS)
    exponents = np.linspace(0, math.log2(largest), n)
    dilations, counts = np.unique((2**exponents).astype(int), return_counts=True)
    counts = counts * (per_kernel // n)
    for i in range(per_kernel - int(counts.sum())):  # what the division left over
        counts[i % len(counts)] += 1
    return list(zip(map(int, dilations), map(int, counts), strict=True))
