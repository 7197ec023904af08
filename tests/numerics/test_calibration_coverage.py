"""What a conformal threshold promises, on scores whose law is known."""

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from gormpo_density.calibration import Calibration
from gormpo_density.metrics import (
    conformal_interval,
    false_alarm_bootstrap,
    false_alarm_interval,
)

REPETITIONS = 2000
ALPHA = 0.05
N = 199
RANK = 10  # floor(.05 * 200)


def normal_scores(*shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


@pytest.fixture(scope="module")
def realised_rates() -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Exact false-alarm rate of each of 2,000 thresholds: P(a new score lies below it)."""
    scores = normal_scores(REPETITIONS, N)
    thresholds = [Calibration.from_scores(row, ALPHA).threshold for row in scores]
    return np.asarray(stats.norm.cdf(thresholds))


def test_realised_false_alarm_rates_follow_the_beta_law(
    realised_rates: np.ndarray[tuple[int], np.dtype[np.float64]],
) -> None:
    law = stats.beta(RANK, N + 1 - RANK)
    error = law.std() / np.sqrt(REPETITIONS)
    assert law.mean() == pytest.approx(ALPHA)
    assert realised_rates.mean() == pytest.approx(ALPHA, abs=3 * error)
    assert stats.kstest(realised_rates, law.cdf).pvalue > 0.01


def test_conformal_interval_holds_its_share_of_them(
    realised_rates: np.ndarray[tuple[int], np.dtype[np.float64]],
) -> None:
    low, high = conformal_interval(N, ALPHA, confidence=0.9)
    inside = np.mean((realised_rates >= low) & (realised_rates <= high))
    assert inside == pytest.approx(0.9, abs=3 * np.sqrt(0.9 * 0.1 / REPETITIONS))


def test_p_values_of_normal_rows_are_uniform_on_their_grid() -> None:
    n = 19
    scores = normal_scores(REPETITIONS, n + 1)
    p = torch.cat([Calibration.from_scores(row[:n], 0.5).p_value(row[n:]) for row in scores])
    steps = (p * (n + 1)).round().long()
    counts = torch.bincount(steps, minlength=n + 2)
    assert counts[0] == 0
    assert stats.chisquare(counts[1:].numpy()).pvalue > 0.01


@pytest.mark.parametrize("rate", [0.01, 0.05, 0.1, 0.5])
def test_clopper_pearson_covers_independent_rows(rate: float) -> None:
    n = 60
    ends = [false_alarm_interval(np.arange(n) < flagged) for flagged in range(n + 1)]
    covers = [low <= rate <= high for _, low, high in ends]
    assert stats.binom.pmf(np.arange(n + 1), n, rate) @ covers >= 0.95


def test_rows_of_episodes_need_the_episode_bootstrap() -> None:
    """Forty episodes of 25 rows, each with an offset of its own: rate 10 % over all."""
    draws = normal_scores(300, 40, 26)
    scores = (draws[:, :, :1] + draws[:, :, 1:]) / np.sqrt(2)
    flags = (scores < stats.norm.ppf(0.1)).numpy().reshape(300, -1)
    episodes, rng = np.repeat(np.arange(40), 25), np.random.default_rng(0)
    by_row = [false_alarm_interval(row) for row in flags]
    by_episode = [false_alarm_bootstrap(row, episodes, rng) for row in flags]
    row_coverage, episode_coverage = (
        np.mean([low <= 0.1 <= high for _, low, high in ends]) for ends in (by_row, by_episode)
    )
    assert row_coverage < 0.75
    assert episode_coverage > 0.88  # .95 nominal; 300 draws have a standard error of .013
