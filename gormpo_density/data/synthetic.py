"""Synthetic data: toy normals with anomalies, and distributions whose density is known."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.special import log_ndtr, logsumexp, ndtr, ndtri
from torch import Tensor

from gormpo_density.errors import ConfigError
from gormpo_density.registry import suggestion

Array = NDArray[np.float64]


class KnownDensity(Protocol):
    """A distribution to hold a density model against: samples and their true log-density."""

    @property
    def dim(self) -> int:
        """D, the number of features."""

    def sample(self, n: int, rng: np.random.Generator) -> Array:
        """Draw n independent rows, (n, D)."""

    def log_prob(self, x: ArrayLike) -> Array:
        """Return the log-density in nats, (n, D) -> (n,)."""


@dataclass(frozen=True, eq=False)
class GaussianMixture:
    """Mixture of K round Gaussians: p(x) = sum_k w_k N(x; m_k, s_k^2 I).

    Attributes:
        weights: (K,) positive, summing to 1.
        means: (K, D).
        scales: (K,) standard deviations.
    """

    weights: Array
    means: Array
    scales: Array

    @property
    def dim(self) -> int:
        """D, the number of features."""
        return int(self.means.shape[1])

    def sample(self, n: int, rng: np.random.Generator) -> Array:
        """Draw n rows, (n, D)."""
        k = rng.choice(len(self.weights), size=n, p=self.weights)
        noise = rng.standard_normal((n, self.dim))
        return self.means[k] + self.scales[k, None] * noise

    def log_prob(self, x: ArrayLike) -> Array:
        """Return the log-density in nats, (n, D) -> (n,)."""
        points = np.asarray(x, dtype=np.float64)[:, None]
        each = _log_normal(points, self.means, self.scales[:, None]).sum(axis=-1)
        return np.asarray(logsumexp(each + np.log(self.weights), axis=1))


@dataclass(frozen=True, eq=False)
class LinearFactorModel:
    """x = W z + m + s e with z, e standard normal, so p(x) = N(x; m, W W' + s^2 I).

    What a linear VAE assumes: its bound can reach this density exactly.

    Attributes:
        loadings: W, (D, L).
        mean: m, (D,).
        noise: s > 0, standard deviation of the noise.

    Source:
        Tipping and Bishop 1999, Probabilistic principal component analysis, eq. 2-4.
    """

    loadings: Array
    mean: Array
    noise: float

    @property
    def dim(self) -> int:
        """D, the number of features."""
        return len(self.mean)

    def sample(self, n: int, rng: np.random.Generator) -> Array:
        """Draw n rows, (n, D)."""
        factors = rng.standard_normal((n, self.loadings.shape[1]))
        noise = rng.standard_normal((n, self.dim))
        return np.asarray(factors @ self.loadings.T + self.mean + self.noise * noise)

    def log_prob(self, x: ArrayLike) -> Array:
        """Return the log-density in nats, (n, D) -> (n,)."""
        covariance = self.loadings @ self.loadings.T + self.noise**2 * np.eye(self.dim)
        root = np.linalg.cholesky(covariance)
        white = np.linalg.solve(root, (np.asarray(x) - self.mean).T).T
        log_det = np.log(np.diag(root)).sum()
        return np.asarray(_log_normal(white, 0.0, 1.0).sum(axis=1) - log_det)


@dataclass(frozen=True)
class Ring:
    """Ring in the plane: radius r ~ N(radius, width^2) given r > 0, angle uniform.

    log p(x) = log p(r) - log(2 pi r) with r = |x|: polar coordinates have area element r. The
    density is infinite at the centre itself, where r = 0.

    Attributes:
        radius: Of the middle of the ring.
        width: Standard deviation across it.
    """

    radius: float = 3.0
    width: float = 0.2

    @property
    def dim(self) -> int:
        """D = 2."""
        return 2

    def sample(self, n: int, rng: np.random.Generator) -> Array:
        """Draw n rows, (n, 2)."""
        lowest = ndtr(-self.radius / self.width)
        r = self.radius + self.width * ndtri(rng.uniform(lowest, 1, size=n))
        angle = rng.uniform(0, 2 * np.pi, size=n)
        return np.stack([r * np.cos(angle), r * np.sin(angle)], axis=1)

    def log_prob(self, x: ArrayLike) -> Array:
        """Return the log-density in nats, (n, 2) -> (n,)."""
        r = np.linalg.norm(np.asarray(x, dtype=np.float64), axis=1)
        log_p_r = _log_normal(r, self.radius, self.width) - log_ndtr(self.radius / self.width)
        with np.errstate(divide="ignore"):
            return np.asarray(log_p_r - np.log(2 * np.pi * r))


@dataclass(frozen=True)
class SineChain:
    """A curved chain: x_1 ~ N(0, 1) and x_{i+1} = sin(2 x_i) + noise e_i, e_i standard normal.

    log p(x) = log N(x_1; 0, 1) + sum_i log N(x_{i+1}; sin(2 x_i), noise^2).

    Attributes:
        dim: D, the number of links.
        noise: Standard deviation of each link.
    """

    dim: int = 6
    noise: float = 0.3

    def sample(self, n: int, rng: np.random.Generator) -> Array:
        """Draw n rows, (n, D)."""
        x = rng.standard_normal((n, self.dim))
        for i in range(1, self.dim):
            x[:, i] = np.sin(2 * x[:, i - 1]) + self.noise * x[:, i]
        return x

    def log_prob(self, x: ArrayLike) -> Array:
        """Return the log-density in nats, (n, D) -> (n,)."""
        points = np.asarray(x, dtype=np.float64)
        links = _log_normal(points[:, 1:], np.sin(2 * points[:, :-1]), self.noise)
        return np.asarray(_log_normal(points[:, 0], 0.0, 1.0) + links.sum(axis=1))


def _log_normal(x: Array, mean: Array | float, scale: Array | float) -> Array:
    return np.asarray(-0.5 * ((x - mean) / scale) ** 2 - np.log(scale * np.sqrt(2 * np.pi)))


ANOMALY_TYPES = ("outlier", "uniform", "shift", "cluster")


def create_synthetic_data(
    n_samples: int = 2000, dim: int = 5, anomaly_type: str = "outlier", seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Make toy normal data and anomalies to try a model on.

    Normal rows come from two round Gaussians of standard deviation 1, centred at +2 and -2 in
    every feature. The anomalies are, by type:

    outlier  the same two centres, but a standard deviation of 5: around the data on all sides;
    uniform  uniform in the box [-8, 8]^D, which encloses the data;
    shift    normal rows moved by 4 in every other feature, each row up or down;
    cluster  a tight group (standard deviation 0.3) between the two normal ones, at 0.

    Args:
        n_samples: Normal rows; a fifth as many anomalies (at least one) are made.
        dim: D, the number of features.
        anomaly_type: One of `ANOMALY_TYPES`.
        seed: The same seed gives the same data.

    Returns:
        Normal rows (n_samples, D) and anomalies, float32.

    Raises:
        ConfigError: The type is unknown, or a number is below 1.
    """
    if anomaly_type not in ANOMALY_TYPES:
        hint = suggestion(anomaly_type, ANOMALY_TYPES)
        raise ConfigError(f"anomaly_type {anomaly_type!r} is unknown{hint}")
    if n_samples < 1 or dim < 1:
        raise ConfigError(f"n_samples {n_samples} and dim {dim} must be at least 1")
    rng = np.random.default_rng(seed)
    normal = _two_groups(dim, scale=1.0).sample(n_samples, rng)
    anomalies = _anomalies(anomaly_type, max(1, n_samples // 5), dim, rng)
    return torch.tensor(normal, dtype=torch.float32), torch.tensor(anomalies, dtype=torch.float32)


def _two_groups(dim: int, scale: float) -> GaussianMixture:
    centres = np.outer([2.0, -2.0], np.ones(dim))
    return GaussianMixture(np.array([0.5, 0.5]), centres, np.array([scale, scale]))


def _anomalies(anomaly_type: str, n: int, dim: int, rng: np.random.Generator) -> Array:
    match anomaly_type:
        case "outlier":
            return _two_groups(dim, scale=5.0).sample(n, rng)
        case "uniform":
            return rng.uniform(-8, 8, size=(n, dim))
        case "cluster":
            return rng.normal(scale=0.3, size=(n, dim))
        case _:
            step = rng.choice([-4.0, 4.0], size=(n, 1)) * (np.arange(dim) % 2 == 0)
            return np.asarray(_two_groups(dim, scale=1.0).sample(n, rng) + step)
