"""Classic augmentations of what is measured: noise, scale, smooth gain, mixtures of two series.

The first parameter of each is its strength: 0 gives the real series back, exactly. What is done
to one series does not depend on the others (but for `Mixup`), nor on its offset and unit. Default
strengths (but `Mixup`'s) are those of the code of Iwana & Uchida 2021, "An empirical survey of
data augmentation for time series classification with neural networks", PLOS ONE 16(7), counted
here in standard deviations of the series.

They are written here because no well-kept library has them: tsaug has rested since 2020, warns
with today's SciPy and repeats its draws at every call; sktime has only white noise of these, aeon
oversamples small classes, tsgm draws from global state, and the others are for sound or EEG.
"""

import functools
import math
import numbers
from abc import abstractmethod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gormpo_density.augmentation.augmenter import Augmented, Augmenter
from gormpo_density.errors import ConfigError


class RowAugmenter(Augmenter):
    """Makes each synthetic row out of one real row, whose label it keeps.

    A subclass gives `_transform`. Rows come in num_samples rounds over the real ones.
    """

    def _augment(self, x: Tensor, y: Tensor, generator: torch.Generator) -> Augmented:
        source = torch.arange(len(x), device=x.device).repeat(self.num_samples)
        return Augmented(self._transform(x[source], generator), y[source], source)

    @abstractmethod
    def _transform(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Return a changed copy (m, T, D) of rows (m, T, D)."""


class Jitter(RowAugmenter):
    """Add white noise: x'_t = x_t + sigma s e_t with e_t ~ N(0, 1).

    s is the standard deviation of the series over time, channel by channel: a constant channel
    stays as it is.

    Args:
        sigma: Standard deviation of the noise, in standard deviations of the series.
        num_samples: Synthetic rows for each real row.

    Raises:
        ConfigError: sigma is not a finite number of at least 0.

    Source:
        Um et al. 2017, "Data augmentation of wearable sensor data for Parkinson's disease
        monitoring using convolutional neural networks", ICMI, arXiv:1706.00527.
    """

    def __init__(self, sigma: float = 0.03, num_samples: int = 1) -> None:
        super().__init__(num_samples)
        self.sigma = checked_strength("sigma", sigma)

    def _transform(self, x: Tensor, generator: torch.Generator) -> Tensor:
        spread = x.std(1, correction=0, keepdim=True)
        return x + self.sigma * spread * _normal(x.shape, x, generator)


class Scaling(RowAugmenter):
    """Stretch each channel about its mean: x' = x + sigma e (x - mean x) with e ~ N(0, 1).

    Args:
        sigma: Standard deviation of the factor 1 + sigma e.
        num_samples: Synthetic rows for each real row.

    Raises:
        ConfigError: sigma is not a finite number of at least 0.

    Source:
        Um et al. 2017, arXiv:1706.00527. Differs: about the mean of the series instead of 0,
        which is the same for centred series and spares the others a jump of their level.
    """

    def __init__(self, sigma: float = 0.1, num_samples: int = 1) -> None:
        super().__init__(num_samples)
        self.sigma = checked_strength("sigma", sigma)

    def _transform(self, x: Tensor, generator: torch.Generator) -> Tensor:
        gain = self.sigma * _normal((len(x), 1, x.shape[2]), x, generator)
        return x + gain * (x - x.mean(1, keepdim=True))


class MagnitudeWarp(RowAugmenter):
    """Stretch each channel by a factor that drifts: x'_t = x_t + sigma c_t (x_t - mean x).

    c is a smooth random curve, one for each channel, see `smooth_curves`.

    Args:
        sigma: Standard deviation of the factor 1 + sigma c at the knots.
        knots: Knots of the curve between its two ends.
        num_samples: Synthetic rows for each real row.

    Raises:
        ConfigError: sigma is not a finite number of at least 0, or knots no integer of at least 0.

    Source:
        Um et al. 2017, arXiv:1706.00527. Differs: about the mean, as in `Scaling`.
    """

    def __init__(self, sigma: float = 0.2, knots: int = 4, num_samples: int = 1) -> None:
        super().__init__(num_samples)
        self.sigma = checked_strength("sigma", sigma)
        self.knots = checked_count("knots", knots)

    def _transform(self, x: Tensor, generator: torch.Generator) -> Tensor:
        n, length, channels = x.shape
        curves = smooth_curves(n * channels, length, self.knots, generator).to(x.dtype)
        gain = self.sigma * curves.view(n, channels, length).transpose(1, 2)
        return x + gain * (x - x.mean(1, keepdim=True))


class Mixup(Augmenter):
    """Mix each row with another of its class: x' = x + w (x_other - x), w = min(v, 1 - v).

    v ~ Beta(alpha, alpha), so w is at most a half and a small alpha seldom changes a row much.
    The label stays what it was: mixtures of two classes would need soft labels, and labels are
    integers here. A row that is alone in its class stays as it is.

    Args:
        alpha: Both parameters of the Beta distribution.
        num_samples: Synthetic rows for each real row.

    Raises:
        ConfigError: alpha is not a finite number of at least 0.

    Source:
        Zhang et al. 2018, "mixup: beyond empirical risk minimization", ICLR, arXiv:1710.09412,
        where alpha is .1 to .4. Differs: within a class.
    """

    def __init__(self, alpha: float = 0.2, num_samples: int = 1) -> None:
        super().__init__(num_samples)
        self.alpha = checked_strength("alpha", alpha)

    def _augment(self, x: Tensor, y: Tensor, generator: torch.Generator) -> Augmented:
        first = torch.arange(len(x), device=x.device).repeat(self.num_samples)
        second = classmates(y, self.num_samples, generator)
        weight = self._weights(len(first), generator).to(x)[:, None, None]
        source = torch.where((first == second) | (weight.flatten() == 0), first, -1)
        return Augmented(torch.lerp(x[first], x[second], weight), y[first], source)

    def _weights(self, n: int, generator: torch.Generator) -> Tensor:
        if self.alpha == 0:
            return torch.zeros(n)
        seed = torch.randint(2**62, (), generator=generator, device=generator.device)
        v = torch.from_numpy(np.random.default_rng(int(seed)).beta(self.alpha, self.alpha, n))
        return torch.minimum(v, 1 - v)


def smooth_curves(n: int, length: int, knots: int, generator: torch.Generator) -> Tensor:
    """Return curves (n, length), float64: natural cubic splines through N(0, 1) at their knots.

    The knots are evenly spaced, and there is one more at each end.

    Source:
        Um et al. 2017, arXiv:1706.00527, where the spline is not said to be natural.
    """
    at_knots = torch.randn(
        n, knots + 2, generator=generator, device=generator.device, dtype=torch.float64
    )
    return at_knots @ torch.from_numpy(_spline(knots + 2, length)).to(at_knots.device)


@functools.lru_cache(maxsize=16)
def _spline(knots: int, length: int) -> NDArray[np.float64]:
    """Return (knots, length): what a value of 1 at one knot adds to the curve."""
    from scipy.interpolate import CubicSpline

    unit_curves = CubicSpline(np.linspace(0, 1, knots), np.eye(knots), bc_type="natural")
    return np.ascontiguousarray(unit_curves(np.linspace(0, 1, length)).T)


def _normal(shape: tuple[int, ...], like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=generator, device=like.device, dtype=like.dtype)


def classmates(y: Tensor, rounds: int, generator: torch.Generator) -> Tensor:
    """Return (rounds * n,): for each row another of its class, itself where it is alone.

    Rows are lined up by class; a row's mate stands 1 to size - 1 places on, in a circle.
    """
    by_class = y.argsort(stable=True)
    place = torch.empty_like(by_class)
    place[by_class] = torch.arange(len(y), device=y.device)
    _, label, sizes = y.unique(return_inverse=True, return_counts=True)
    start, size = (sizes.cumsum(0) - sizes)[label], sizes[label]
    draws = torch.rand(rounds, len(y), generator=generator, device=y.device, dtype=torch.float64)
    steps = 1 + (draws * (size - 1)).long()
    return by_class[start + (place - start + steps) % size].flatten()


def checked_strength(name: str, value: float, below: float = math.inf) -> float:
    """Return a strength as a float; ConfigError unless it is a number in [0, below)."""
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not (is_number and 0 <= value < below):
        limit = "finite" if below == math.inf else f"below {below:g}"
        raise ConfigError(f"{name} must be a number of at least 0 and {limit}, is {value!r}")
    return float(value)


def checked_count(name: str, value: int) -> int:
    """Return a count; ConfigError unless it is an integer of at least 0."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < 0:
        raise ConfigError(f"{name} must be an integer of at least 0, is {value!r}")
    return int(value)
