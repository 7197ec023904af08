"""Penalties: what a row costs for being off the data's support.

Our kinds are functions of the surprise u of `Calibration`: 0 at the threshold, -1 at a typical
row, without a unit, so one coefficient means the same for every model. Each is finite, within
[0, cap], non-decreasing in u and depends on its row alone; NaN counts as infinitely surprising.
With v = u clipped to [0, cap]:

    kind         formula                             u = -1  u = 0  slope  u = 1  limit
    linear       v                                   0       0      1      1      cap
    tanh         tanh(v)                             0       0      1      .76    tanh(cap)
    inverse      1 - 1 / (1 + v)                     0       0      1      .5     1 - 1 / (1 + cap)
    exponential  cap (e^(v / cap) - 1) / (e - 1)     0       0      .58    .61    cap
    softplus     log(1 + e^(5 u)) / 5, at most cap   .0013   .14    .5     1.001  cap
    conformal    log(p(0) / p(v)) / log(p(-1) / p(0)), in steps: see there

The slope is that just above the threshold; .61 is for cap = 10. GORMPO's own formulas
("gormpo-...") are kept for comparison: functions of the raw score and the raw threshold, so a
coefficient fits one model only. They are not capped. Other packages' kinds, functions of u and
cap too, are found by name: see `gormpo_density.register_penalty`.

Source:
    GORMPO, arXiv:2605.24405, and its transition_model.py. Differs: there some models' scores (not
    thresholds) were standardised first; softplus crashed and inverse could overflow.
"""

import math
from collections.abc import Mapping
from typing import Any, Protocol, TypeVar

import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from gormpo_density.errors import ConfigError, NotCalibratedError
from gormpo_density.registry import Formula, plugged_penalty

ArrayT = TypeVar("ArrayT", NDArray[Any], Tensor)

#: Sharpness of `softplus`: a typical row stays all but free.
SHARPNESS = 5.0


def linear(u: ArrayT, cap: float) -> ArrayT:
    """Return v = u clipped to [0, cap]: every step away from the support costs the same."""
    return _as_kind(_clipped(u, cap), u)


def tanh(u: ArrayT, cap: float) -> ArrayT:
    """Return the hyperbolic tangent of v: nearly a yes or no, at most 1."""
    return _as_kind(_clipped(u, cap).tanh(), u)


def inverse(u: ArrayT, cap: float) -> ArrayT:
    """Return 1 - 1 / (1 + v): below 1 too, but still rising far out."""
    v = _clipped(u, cap)
    return _as_kind(v / (1 + v), u)


def exponential(u: ArrayT, cap: float) -> ArrayT:
    """Return cap (e^(v / cap) - 1) / (e - 1): each step costs more than the one before."""
    return _as_kind((_clipped(u, cap) / cap).expm1() * (cap / math.expm1(1)), u)


def softplus(u: ArrayT, cap: float) -> ArrayT:
    """Return log(1 + e^(5 u)) / 5, at most cap: smooth, and rising inside the support too."""
    below = _clipped(u, cap, floor=-math.inf)
    # Past 5 u = 40 torch returns u itself, which no float64 tells from the formula.
    return _as_kind(functional.softplus(below, SHARPNESS, threshold=40).clamp(max=cap), u)


def conformal(u: ArrayT, cap: float, calibration_u: Tensor) -> ArrayT:
    """Return log(p(0) / p(v)) / log(p(-1) / p(0)), at most cap.

    p(u) = (1 + #{calibration_u >= u}) / (n + 1) is the conformal p-value. This is the surprise
    with log p in place of the score: it equals `linear` where the scores' tail is exponential.
    Beyond the last calibration row p stays 1 / (n + 1), so all rows out there cost the same:
    log(k + 1) / log((n + 3) / (2 k + 2)) or so, with k calibration rows at or below the threshold;
    1.7 for n = 1,000 and alpha = .05.

    Args:
        u: Surprise (B,).
        cap: Largest penalty.
        calibration_u: Surprise of the calibration rows (n,), ascending.

    Source:
        Bates et al. 2023, "Testing for outliers with conformal p-values", arXiv:2104.08279.
    """
    v = _clipped(u, cap)
    known = calibration_u.to(v.device, v.dtype)
    n = len(known)

    def log_rank(points: Tensor) -> Tensor:
        return (1 + n - torch.searchsorted(known, points)).to(v.dtype).log()

    threshold, median = log_rank(v.new_zeros(1)), math.log(1 + (n + 1) // 2)
    return _as_kind(((threshold - log_rank(v)) / (median - threshold)).clamp(0, cap), u)


def gormpo_linear(score: ArrayT, threshold: float) -> ArrayT:
    """Return clip(w, 0, q3 + 1.5 (q3 - q1)), w = threshold - score, quartiles of the batch.

    Kept with its faults: a row's penalty depends on the other rows, and while the upper end is
    negative (most of the batch well inside the support) every row gets it, as a bonus.
    """
    w = threshold - _tensor(score)
    if len(w) == 0:
        return _as_kind(w, score)
    q1, q3 = w.quantile(0.25), w.quantile(0.75)
    return _as_kind(w.clamp(min=0).minimum(q3 + 1.5 * (q3 - q1)), score)


def gormpo_inverse(score: ArrayT, threshold: float) -> ArrayT:
    """Return e^threshold / (e^score + 1e-6) below the threshold, 0 above it; at most 1e30."""
    s = _tensor(score)
    ratio = (threshold - s.logaddexp(torch.full_like(s, math.log(1e-6)))).exp()
    return _as_kind(torch.where(s < threshold, ratio.clamp(max=1e30), 0.0), score)


def gormpo_tanh(score: ArrayT, threshold: float) -> ArrayT:
    """Return max(0, tanh(0.1 (threshold - score))), the one its experiments use."""
    return _as_kind(_tensor(gormpo_tanh_reg(score, threshold)).clamp(min=0), score)


def gormpo_tanh_reg(score: ArrayT, threshold: float) -> ArrayT:
    """Return tanh(0.1 (threshold - score)): negative, so a bonus, inside the support."""
    return _as_kind((0.1 * (threshold - _tensor(score))).tanh(), score)


def gormpo_softplus(score: ArrayT, threshold: float) -> ArrayT:
    """Return log(1 + e^-score), whatever the threshold."""
    return _as_kind(functional.softplus(-_tensor(score), threshold=40), score)


#: Functions of (u, cap).
KINDS: dict[str, Formula] = {
    "linear": linear,
    "tanh": tanh,
    "softplus": softplus,
    "exponential": exponential,
    "inverse": inverse,
}

#: Functions of (score, threshold). Its "exponential" is a word of its command line without a
#: formula behind it, so there is none here.
GORMPO_KINDS: dict[str, Formula] = {
    "gormpo-linear": gormpo_linear,
    "gormpo-inverse": gormpo_inverse,
    "gormpo-tanh": gormpo_tanh,
    "gormpo-tanh_reg": gormpo_tanh_reg,
    "gormpo-softplus": gormpo_softplus,
}


class CalibrationLike(Protocol):
    """What a penalty uses of a `Calibration`."""

    @property
    def scores(self) -> Tensor:
        """Calibration scores (n,), ascending."""

    @property
    def threshold(self) -> float:
        """Rows scoring below it are anomalies."""

    def surprise(self, score: Tensor) -> Tensor:
        """Return u of scores, same shape."""


class Scorer(Protocol):
    """What a penalty uses of a `DensityModel`."""

    @property
    def calibration(self) -> CalibrationLike | None:
        """Calibration of the default score."""

    @property
    def calibrations(self) -> Mapping[str, CalibrationLike]:
        """Calibrations by score."""

    @property
    def default_score(self) -> str:
        """Name of the default score."""

    @property
    def device(self) -> torch.device:
        """Where the model is."""

    def score_samples(self, x: ArrayT, score: str | None = None) -> ArrayT:
        """Return the scores (B,) of x (B, *event_shape)."""


class OODPenalty:
    """Penalty of rows or windows by how far they are off a model's support.

    penalty(x) = coef * kind(u(x)), u the calibrated surprise of x; subtract it from a reward. The
    calibration is taken when the penalty is made: what happens to the model's threshold later
    does not change it. A non-finite row of a tensor gets what an infinitely surprising one gets;
    in a numpy array it is an error.

    Args:
        model: A calibrated `DensityModel`.
        kind: A name of `available_penalties()` or "package.module:function". "gormpo-linear" and
            "gormpo-tanh_reg" can be negative.
        coef: Factor, not negative.
        cap: Largest u that counts, positive. GORMPO's kinds have none.
        score: The calibrated score to use; the model's default one when absent.

    Raises:
        ConfigError: kind is unknown or cannot be imported, coef negative or cap not positive.
        NotCalibratedError: The model has no calibration of that score, or one whose threshold is
            not below its median.
    """

    def __init__(
        self,
        model: Scorer,
        kind: str = "linear",
        coef: float = 1.0,
        cap: float = 10.0,
        score: str | None = None,
    ) -> None:
        _check(kind, coef, cap)
        self.model = model
        self.kind = kind
        self.coef = coef
        self.cap = cap
        self.score = score
        self.calibration = _calibration(model, score)
        calibration_u = self.calibration.surprise(self.calibration.scores)
        self._calibration_u = calibration_u.flip(0).to(model.device)

    def __call__(self, x: ArrayT) -> ArrayT:
        """Return the penalty (B,) of x (B, *event_shape): numpy for numpy, tensor for tensor."""
        return self.with_surprise(x)[0]

    def with_surprise(self, x: ArrayT) -> tuple[ArrayT, ArrayT]:
        """Return the penalty (B,) and u (B,), not clipped, of x, which is scored once."""
        penalty, u = self.of_score(_tensor(self.model.score_samples(x, self.score)))
        return _as_kind(penalty, x), _as_kind(u, x)

    def of_score(self, score: Tensor) -> tuple[Tensor, Tensor]:
        """Return the penalty (B,) and u (B,), not clipped, of known scores (B,)."""
        return self.coef * self._of_score(score), self.calibration.surprise(score)

    def _of_score(self, score: Tensor) -> Tensor:
        if self.kind in GORMPO_KINDS:
            return GORMPO_KINDS[self.kind](score, self.calibration.threshold)
        u = self.calibration.surprise(score)
        if self.kind == "conformal":
            return conformal(u, self.cap, self._calibration_u)
        formula = KINDS.get(self.kind) or plugged_penalty(self.kind)
        return formula(u, self.cap)

    def surprise(self, x: ArrayT) -> ArrayT:
        """Return u (B,) of x (B, *event_shape), not clipped."""
        return self.with_surprise(x)[1]


def check_kind(kind: str) -> None:
    """Raise ConfigError unless `OODPenalty` has that kind; another package's is imported."""
    if kind not in (*KINDS, "conformal", *GORMPO_KINDS):
        plugged_penalty(kind)


def _check(kind: str, coef: float, cap: float) -> None:
    problems: list[str] = []
    try:
        check_kind(kind)
    except ConfigError as error:
        problems += error.problems
    if not 0 <= coef < math.inf:
        problems.append(f"penalty coef must be finite and not negative, got {coef}")
    if not 0 < cap < math.inf:
        problems.append(f"penalty cap must be finite and positive, got {cap}")
    if problems:
        raise ConfigError(problems)


def _calibration(model: Scorer, score: str | None) -> CalibrationLike:
    name = score or model.default_score
    is_default = name == model.default_score
    calibration = model.calibration if is_default else model.calibrations.get(name)
    if calibration is None:
        raise NotCalibratedError(
            f"score {name!r} is not calibrated: call model.calibrate(data, score={name!r}) first"
        )
    return calibration


def _clipped(u: NDArray[Any] | Tensor, cap: float, floor: float = 0.0) -> Tensor:
    """Return u within [floor, cap], cap where it is NaN."""
    return _tensor(u).nan_to_num(nan=cap).clamp(floor, cap)


def _tensor(rows: NDArray[Any] | Tensor) -> Tensor:
    return rows if isinstance(rows, Tensor) else torch.tensor(rows)


def _as_kind(result: Tensor, like: ArrayT) -> ArrayT:
    return result if isinstance(like, Tensor) else result.numpy()
