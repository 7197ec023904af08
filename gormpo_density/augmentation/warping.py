"""Classic augmentations of when it is measured: warped, cut and shuffled time.

All but `Permutation` read the real series at other times: x'_t = x(g(t)), where g rises from
step to step, x between two steps is their linear interpolation, and every channel of a series
has the same g. To warp several series alike, stack them as channels, or augment each with one
seed. The first parameter of each is its strength: 0 gives the real series back, exactly.
"""

from abc import abstractmethod

import torch
from torch import Tensor

from gormpo_density.augmentation.augmenter import Augmented
from gormpo_density.augmentation.classic import (
    RowAugmenter,
    checked_count,
    checked_strength,
    smooth_curves,
)
from gormpo_density.errors import ConfigError, ShapeError

#: Shorter series have no shape to warp.
SHORTEST = 4


class TimeAugmenter(RowAugmenter):
    """Reads the real series at other times; a subclass gives `_times`.

    Raises:
        ShapeError: From `augment`: a series has fewer than 4 time steps.
    """

    def _augment(self, x: Tensor, y: Tensor, generator: torch.Generator) -> Augmented:
        if x.shape[1] < SHORTEST:
            name = type(self).__name__
            raise ShapeError(f"{name} needs {SHORTEST} time steps or more, x has {x.shape[1]}")
        return super()._augment(x, y, generator)

    def _transform(self, x: Tensor, generator: torch.Generator) -> Tensor:
        return resample(x, self._times(len(x), x.shape[1], generator))

    @abstractmethod
    def _times(self, n: int, length: int, generator: torch.Generator) -> Tensor:
        """Return g (n, T), float64, rising within [0, T - 1]."""


class TimeWarp(TimeAugmenter):
    """Let time run at a speed that drifts: g(t) is the integral of e^(sigma c), from 0 to T - 1.

    c is a smooth random curve, see `smooth_curves`. The ends stay where they are.

    Args:
        sigma: Standard deviation of the logarithm of the speed at the knots.
        knots: Knots of the curve between its two ends.
        num_samples: Synthetic rows for each real row.

    Raises:
        ConfigError: sigma is not a finite number of at least 0, or knots no integer of at least 0.

    Source:
        Um et al. 2017, arXiv:1706.00527. Differs: their speed is 1 + sigma c, which a large sigma
        makes negative; this one is always positive, so no time runs backwards.
    """

    def __init__(self, sigma: float = 0.2, knots: int = 4, num_samples: int = 1) -> None:
        super().__init__(num_samples)
        self.sigma = checked_strength("sigma", sigma)
        self.knots = checked_count("knots", knots)

    def _times(self, n: int, length: int, generator: torch.Generator) -> Tensor:
        log_speed = self.sigma * smooth_curves(n, length - 1, self.knots, generator)
        log_speed -= log_speed.amax(1, keepdim=True)  # the highest speed is 1: no overflow
        speed = log_speed.exp()
        elapsed = torch.cat([torch.zeros_like(speed[:, :1]), speed.cumsum(1)], 1)
        return elapsed * ((length - 1) / elapsed[:, -1:])


class WindowSlice(TimeAugmenter):
    """Keep a window at a random place and stretch it back to the length of the series.

    g(t) = cut (T - 1) u + (1 - cut) t with u ~ U(0, 1).

    Args:
        cut: Fraction of the time that is cut away, below 1.
        num_samples: Synthetic rows for each real row.

    Raises:
        ConfigError: cut is not a number in [0, 1).

    Source:
        Le Guennec et al. 2016, "Data augmentation for time series classification using
        convolutional neural networks", AALTD: windows of 90 %. Differs: stretched back, as in
        Iwana & Uchida 2021, so that one classifier fits all; the window may start between steps.
    """

    def __init__(self, cut: float = 0.1, num_samples: int = 1) -> None:
        super().__init__(num_samples)
        self.cut = checked_strength("cut", cut, below=1)

    def _times(self, n: int, length: int, generator: torch.Generator) -> Tensor:
        start = self.cut * (length - 1) * _uniform(n, generator)
        return start + (1 - self.cut) * _steps(length, generator)


class WindowWarp(TimeAugmenter):
    """Make a window at a random place last longer or shorter, then fit the whole into T steps.

    With r = 1 + stretch or 1 / (1 + stretch) at even odds, w the window as a fraction, a its start
    and s = t (1 + (r - 1) w): g(t) = s - (1 - 1 / r) min(max(s - a, 0), r w (T - 1)).

    Args:
        stretch: The window lasts 1 + stretch times as long, or as short.
        window: Length of the window as a fraction of the series', above 0 and at most 1.
        num_samples: Synthetic rows for each real row.

    Raises:
        ConfigError: stretch is not a finite number of at least 0, or window not in (0, 1].

    Source:
        Le Guennec et al. 2016, AALTD: windows of 10 %, half or twice as long.
    """

    def __init__(self, stretch: float = 1.0, window: float = 0.1, num_samples: int = 1) -> None:
        super().__init__(num_samples)
        self.stretch = checked_strength("stretch", stretch)
        self.window = checked_strength("window", window)
        if not 0 < self.window <= 1:
            raise ConfigError(f"window must be in (0, 1], is {window!r}")

    def _times(self, n: int, length: int, generator: torch.Generator) -> Tensor:
        side = _uniform(n, generator).round() * 2 - 1  # 1 or -1
        ratio = (1 + self.stretch) ** side
        window = self.window * (length - 1)
        start = _uniform(n, generator) * (length - 1 - window)
        clock = _steps(length, generator) * (1 + (ratio - 1) * self.window)
        inside = torch.minimum((clock - start).clamp(min=0), ratio * window)
        return clock - (1 - 1 / ratio) * inside


class Permutation(RowAugmenter):
    """Cut the series into equal segments, 1 to cuts + 1 of them, and shuffle these.

    All channels of a series are shuffled alike, and time runs on within a segment. One segment
    leaves the series as it is.

    Args:
        cuts: Most cuts of one series; T - 1 where that is fewer.
        num_samples: Synthetic rows for each real row.

    Raises:
        ConfigError: cuts is not an integer of at least 0.

    Source:
        Um et al. 2017, arXiv:1706.00527; the random number of segments is Iwana & Uchida's 2021.
    """

    def __init__(self, cuts: int = 4, num_samples: int = 1) -> None:
        super().__init__(num_samples)
        self.cuts = checked_count("cuts", cuts)

    def _transform(self, x: Tensor, generator: torch.Generator) -> Tensor:
        n, length, channels = x.shape
        most = min(self.cuts + 1, length)
        count = torch.randint(1, most + 1, (n, 1), generator=generator, device=x.device)
        segment = torch.arange(length, device=x.device) * count // length
        rank = torch.rand(n, most, generator=generator, device=x.device, dtype=torch.float64)
        order = rank.gather(1, segment).argsort(dim=1, stable=True)
        return x.gather(1, order[..., None].expand(-1, -1, channels))


def resample(x: Tensor, times: Tensor) -> Tensor:
    """Return series (n, T', D) read off series (n, T, D) at times (n, T') in [0, T - 1].

    Between two steps the series is their linear interpolation; at a step it is exact. Times
    beyond the ends count as the ends. T is at least 2.
    """
    times = times.clamp(0, x.shape[1] - 1)
    before = times.floor().clamp(max=x.shape[1] - 2)
    index = before.long()[..., None].expand(-1, -1, x.shape[2])
    weight = (times - before).to(x.dtype)[..., None]
    return torch.lerp(x.gather(1, index), x.gather(1, index + 1), weight)


def _uniform(n: int, generator: torch.Generator) -> Tensor:
    return torch.rand(n, 1, generator=generator, device=generator.device, dtype=torch.float64)


def _steps(length: int, generator: torch.Generator) -> Tensor:
    return torch.arange(length, device=generator.device, dtype=torch.float64)
