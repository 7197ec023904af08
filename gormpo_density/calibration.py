"""Split-conformal calibration: thresholds, p-values and the unit-free surprise."""

import logging
import math
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from gormpo_density.arrays import check_finite, check_shape
from gormpo_density.errors import DataError, NotCalibratedError

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Calibration:
    """Scores of normal rows that neither trained the model nor stopped its training.

    With n such rows, exchangeable with future normal rows, the threshold is the k-th smallest
    score, k = floor(alpha (n + 1)): a normal row scores below it with probability at most alpha.
    Given the calibration rows, that probability is Beta(k, n + 1 - k) distributed. Rows of one
    episode are not exchangeable, so the number of episodes is kept beside the guarantee.

    Attributes:
        scores: (n,) calibration scores in ascending order, log_prob units.
        alpha: Nominal false-alarm rate.
        threshold: Rows scoring below it are anomalies, log_prob units.
        n_episodes: Number of episodes the rows come from, None when rows are independent.

    Source:
        Bates et al. 2023, "Testing for outliers with conformal p-values", arXiv:2104.08279.
    """

    scores: Tensor
    alpha: float
    threshold: float
    n_episodes: int | None = None

    @classmethod
    def from_scores(
        cls, scores: Tensor, alpha: float = 0.05, n_episodes: int | None = None
    ) -> "Calibration":
        """Build from the scores (n,) of held-out normal rows.

        With fewer than 1/alpha - 1 rows no threshold has the asked-for guarantee: the lowest
        score is taken, with a warning that says the rate it does guarantee.

        Raises:
            ShapeError: scores is not (n,).
            DataError: There are no scores, one is NaN or infinite, or alpha is not in (0, 1).
        """
        check_shape(scores, (), "scores")
        check_finite(scores, "scores")
        n = len(scores)
        if n == 0:
            raise DataError("calibration needs at least one row, got 0")
        if not 0 < alpha < 1:
            raise DataError(f"alpha must be in (0, 1), got {alpha}")
        # The small slack undoes rounding: 0.05 * 100 must count as 5, not as 4.999...
        rank = math.floor(alpha * (n + 1) + 1e-9)
        if rank == 0:
            logger.warning(
                "%d calibration rows are too few for alpha=%g (%d needed): "
                "the threshold is the lowest score, false-alarm rate at most %.3g",
                *(n, alpha, math.ceil(1 / alpha) - 1, 1 / (n + 1)),
            )
        ordered = scores.detach().sort().values.cpu()
        return cls(ordered, alpha, ordered[max(rank, 1) - 1].item(), n_episodes)

    def with_threshold(self, threshold: float) -> "Calibration":
        """Return a copy whose threshold was chosen by hand."""
        return replace(self, threshold=threshold)

    @cached_property
    def median(self) -> float:
        """Score of a typical normal row, log_prob units."""
        return self.scores.median().item()

    def p_value(self, score: Tensor) -> Tensor:
        """Return the conformal p-value (1 + #{calibration <= score}) / (n + 1), same shape.

        It is at most a with probability at most a for a normal row, for every a. NaN counts as
        the lowest score.
        """
        ordered = self.scores.to(score.device, score.dtype)
        ranked = score.nan_to_num(nan=-math.inf).contiguous()
        below = torch.searchsorted(ordered, ranked, right=True)
        return (1 + below).to(score.dtype) / (len(ordered) + 1)

    def surprise(self, score: Tensor) -> Tensor:
        """Return u = (threshold - score) / (median - threshold), same shape as score.

        u is 0 at the threshold, -1 at a typical row and grows as the row becomes less likely;
        it has no unit, so one penalty coefficient means the same for every model.

        Raises:
            NotCalibratedError: The threshold is not below the median, which gives u no scale.
        """
        return (self.threshold - score) / self.scale

    @cached_property
    def scale(self) -> float:
        """Median minus threshold: the score difference that one unit of surprise stands for."""
        scale = self.median - self.threshold
        if not scale > 0:
            raise NotCalibratedError(
                f"threshold {self.threshold:.6g} is not below the median calibration score "
                f"{self.median:.6g}, so the surprise has no scale"
            )
        return scale
