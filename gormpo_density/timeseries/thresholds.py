"""Thresholds from the scores of held-out normal data, each with the false-alarm rate it promises.

Never from the scores that are judged: a percentile of those flags that share of them, come what
may. Scores of overlapping windows are not exchangeable, so beside each promise stands its
standard error for the number of windows that do not overlap.
"""

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from gormpo_density.errors import ConfigError, DataError

logger = logging.getLogger(__name__)

ThresholdMethod = Literal["conformal", "quantile", "pot"]
Scores = NDArray[np.float64]

#: Share of the scores, and least number of them, that the tail is fitted to.
_TAIL_SHARE, _TAIL_SCORES = 0.02, 20
#: A larger share is no tail.
_LARGEST_TAIL = 0.5
#: Scores closer together than this, relatively, are equal but for rounding.
_ROUNDING = 1e-6


@dataclass(frozen=True)
class Threshold:
    """Where normal ends, and how often normal data falls below it.

    Attributes:
        value: Scores below it are anomalies, score units.
        false_alarm_rate: Expected share of normal data below it, on average over calibration sets.
        standard_error: Standard deviation of that share from calibration set to calibration set.
    """

    value: float
    false_alarm_rate: float
    standard_error: float


def find_threshold(
    scores: Scores,
    alpha: float,
    method: ThresholdMethod = "conformal",
    n_effective: int | None = None,
) -> Threshold:
    """Return the threshold at level alpha from the scores of held-out normal data.

    "conformal": the k-th smallest score, k = floor(alpha (n + 1)), see `Calibration`; with fewer
    than 1/alpha - 1 scores the lowest, whose false-alarm rate is above alpha. "quantile": the
    empirical alpha quantile, which is right in the limit only. "pot": peaks over threshold, a
    generalised Pareto tail that also reaches levels below 1/n; see `_peaks_over_threshold`.

    Args:
        scores: (n,), higher is more normal.
        alpha: Asked-for false-alarm rate, in (0, 1).
        method: One of the three.
        n_effective: How many of the scores count as independent; all when absent.

    Equal scores cannot tell anything apart: the threshold then lies just below them, so that
    nothing like them is flagged, and a warning says so.

    Raises:
        DataError: There are no scores, one is not finite, alpha is not in (0, 1), or "pot" has
            fewer than 40 scores or an alpha above .25.
        ConfigError: There is no such method.
    """
    check_method(method)
    _check(scores, alpha)
    check_enough(len(scores), alpha, method)
    ordered = np.sort(scores)
    if is_constant(ordered):
        logger.warning(
            "all %d calibration scores are %g: the threshold lies just below them, nothing like "
            "them is flagged",
            *(len(scores), ordered[0]),
        )
        return Threshold(_below(ordered), 0.0, 0.0)
    n = len(ordered) if n_effective is None else max(1, n_effective)
    return _METHODS[method](ordered, alpha, n)


def check_method(method: str) -> None:
    """Raise ConfigError unless the method is one of the three."""
    if method not in _METHODS:
        raise ConfigError(
            f"threshold {method!r} is unknown; choose from {', '.join(get_args(ThresholdMethod))}"
        )


def check_enough(n: int, alpha: float, method: ThresholdMethod) -> None:
    """Raise DataError where n scores cannot give a threshold, before anything is trained."""
    needed = int(_TAIL_SCORES / _LARGEST_TAIL)
    if method == "pot" and (n < needed or alpha > _LARGEST_TAIL / 2):
        raise DataError(
            f"threshold 'pot' needs {needed} calibration scores and alpha at most "
            f"{_LARGEST_TAIL / 2}, got {n} and {alpha:g}"
        )


def is_constant(scores: Scores) -> bool:
    """Tell whether the scores differ by no more than rounding."""
    return bool(np.ptp(scores) <= _ROUNDING * np.abs(scores).max())


def _check(scores: Scores, alpha: float) -> None:
    if len(scores) == 0:
        raise DataError("a threshold needs at least one score, got 0")
    bad = ~np.isfinite(scores)
    if bad.any():
        raise DataError(f"score {int(bad.argmax())} is {scores[bad.argmax()]}")
    if not 0 < alpha < 1:
        raise DataError(f"alpha must be in (0, 1), got {alpha}")


def _below(ordered: Scores) -> float:
    lowest = float(ordered[0])
    return lowest - _ROUNDING * max(1.0, abs(lowest))


def _conformal(ordered: Scores, alpha: float, n: int) -> Threshold:
    # The small slack undoes rounding, as in `Calibration`.
    rank = max(1, math.floor(alpha * (len(ordered) + 1) + 1e-9))
    rate = rank / (len(ordered) + 1)
    return Threshold(float(ordered[rank - 1]), rate, math.sqrt(rate * (1 - rate) / (n + 2)))


def _quantile(ordered: Scores, alpha: float, n: int) -> Threshold:
    error = math.sqrt(alpha * (1 - alpha) / (n + 2))
    return Threshold(float(np.quantile(ordered, alpha)), alpha, error)


def _peaks_over_threshold(ordered: Scores, alpha: float, n: int) -> Threshold:
    """Fit a generalised Pareto tail to anomaly scores a = -score above a high level t.

    P(a > t + y) = (N_t / n) (1 + gamma y / sigma)^(-1 / gamma) is set to alpha:
    z = t + (sigma / gamma) ((alpha n / N_t)^(-gamma) - 1), and the logarithm for gamma = 0. t
    leaves the largest share max(.02, 2 alpha, 20 / n) of the anomaly scores above it; gamma and
    sigma are those of the largest likelihood. The standard error is that of the delta method:
    Var log p = (1 - q) / (n q) + g' I^-1 g / (n q), q = N_t / n, with the gradient g of
    log P(y) in (gamma, sigma) and the information I of Smith 1987 (gamma above -1/2). Where the
    scores beyond t are all equal there is no tail, and the lowest score is the threshold.

    Source:
        Siffer et al. 2017, "Anomaly detection in streams with extreme value theory", eq. 1 and
        section 3.2; Smith 1987, "Estimating tails of probability distributions".
    """
    from scipy.stats import genpareto

    share = max(_TAIL_SHARE, 2 * alpha, _TAIL_SCORES / len(ordered))
    anomaly = -ordered[::-1]
    level = float(np.quantile(anomaly, 1 - share))
    excess = anomaly[anomaly > level] - level
    if len(excess) == 0 or is_constant(excess):  # no spread to fit a tail to
        return _conformal(ordered, 1 / (len(ordered) + 1), n)
    q = len(excess) / len(ordered)
    unit = float(excess.mean())
    gamma, _, sigma = genpareto.fit(excess / unit, floc=0)
    y = _pareto_excess(alpha / q, gamma, sigma)
    error = alpha * math.sqrt(_log_variance(y, gamma, sigma, q, n))
    return Threshold(float(-(level + unit * y)), alpha, error)


def _pareto_excess(p: float, gamma: float, sigma: float) -> float:
    """Return y with (1 + gamma y / sigma)^(-1 / gamma) = p."""
    if abs(gamma) < 1e-9:
        return -sigma * math.log(p)
    return sigma / gamma * (math.exp(-gamma * math.log(p)) - 1)


def _log_variance(y: float, gamma: float, sigma: float, q: float, n: int) -> float:
    u = y / sigma
    inside = 1 + gamma * u
    if abs(gamma) < 1e-4:
        by_gamma = u * u / 2
    else:
        by_gamma = math.log(inside) / gamma**2 - u / (gamma * inside)
    by_scale = u / inside  # with respect to log sigma
    fisher = (1 + gamma) * np.array([[1 + gamma, -1.0], [-1.0, 2.0]])
    gradient = np.array([by_gamma, by_scale])
    spread = max(0.0, float(gradient @ fisher @ gradient))
    return (1 - q) / (n * q) + spread / (n * q)


_METHODS: dict[str, Callable[[Scores, float, int], Threshold]] = {
    "conformal": _conformal,
    "quantile": _quantile,
    "pot": _peaks_over_threshold,
}
