import logging
import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gormpo_density.calibration import Calibration
from gormpo_density.errors import DataError, NotCalibratedError, ShapeError

SHUFFLE = torch.Generator().manual_seed(0)


def shuffled(n: int) -> torch.Tensor:
    """The scores 1 ... n in some order."""
    return 1.0 + torch.randperm(n, generator=SHUFFLE)


def one_to(n: int, alpha: float) -> Calibration:
    return Calibration.from_scores(shuffled(n), alpha)


@pytest.mark.parametrize(
    ("n", "alpha", "k"),
    [(1, 0.5, 1), (9, 0.1, 1), (19, 0.05, 1), (38, 0.05, 1), (39, 0.05, 2), (99, 0.05, 5),
     (99, 0.07, 7), (99, 0.29, 29), (99, 0.57, 57), (999, 0.01, 10), (4, 0.99, 4)],
)  # fmt: skip
def test_threshold_is_the_kth_smallest_score(n: int, alpha: float, k: int) -> None:
    assert one_to(n, alpha).threshold == k


@given(percent=st.integers(1, 99), n=st.integers(99, 2000))
@settings(derandomize=True, max_examples=60, deadline=None)
def test_rank_is_that_of_exact_arithmetic(percent: int, n: int) -> None:
    k = math.floor(Fraction(percent, 100) * (n + 1))
    assert one_to(n, percent / 100).threshold == k


def test_scores_are_kept_in_order_apart_from_their_graph() -> None:
    scores = torch.tensor([3.0, 1.0, 2.0], requires_grad=True)
    calibration = Calibration.from_scores(scores, 0.5, n_episodes=2)
    assert calibration.scores.tolist() == [1, 2, 3]
    assert not calibration.scores.requires_grad
    assert (calibration.alpha, calibration.n_episodes) == (0.5, 2)


def test_too_few_rows_warn_and_take_the_lowest_score(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert one_to(18, 0.05).threshold == 1
    assert "18 calibration rows are too few for alpha=0.05 (19 needed)" in caplog.text
    assert "at most 0.0526" in caplog.text  # 1 / 19


def test_enough_rows_do_not_warn(caplog: pytest.LogCaptureFixture) -> None:
    one_to(19, 0.05)
    assert caplog.text == ""


@pytest.mark.parametrize("alpha", [0.0, 1.0, -0.1, math.nan])
def test_alpha_outside_0_1_is_refused(alpha: float) -> None:
    with pytest.raises(DataError, match="alpha must be in"):
        one_to(9, alpha)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_non_finite_scores_are_refused(value: float) -> None:
    with pytest.raises(DataError, match="scores row 1"):
        Calibration.from_scores(torch.tensor([1.0, value]))


def test_no_scores_are_refused() -> None:
    with pytest.raises(DataError, match="at least one row"):
        Calibration.from_scores(torch.empty(0))


def test_a_column_of_scores_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"scores must have shape \(B\), got \(3, 1\)"):
        Calibration.from_scores(torch.ones(3, 1))


def test_p_value_counts_calibration_scores_not_above() -> None:
    score = torch.tensor([[-math.inf, 0.0, 1.0], [2.5, 4.0, math.inf]])
    expected = torch.tensor([[1.0, 1.0, 2.0], [3.0, 5.0, 5.0]]) / 5
    assert torch.equal(one_to(4, 0.5).p_value(score), expected)


def test_p_value_counts_ties() -> None:
    calibration = Calibration.from_scores(torch.tensor([1.0, 1.0, 1.0, 2.0]), 0.2)
    assert calibration.p_value(torch.tensor([1.0])).item() == pytest.approx(4 / 5)


def test_p_value_of_nan_is_the_smallest_there_is() -> None:
    assert one_to(9, 0.1).p_value(torch.tensor([math.nan])).item() == pytest.approx(1 / 10)


def test_p_value_takes_the_dtype_and_any_strides_of_the_scores() -> None:
    score = torch.arange(6.0, dtype=torch.float64)[::2]
    p = one_to(4, 0.5).p_value(score)
    assert p.dtype == torch.float64
    assert p.tolist() == [0.2, 0.6, 1.0]


@given(n=st.integers(19, 300), percent=st.integers(6, 49))
@settings(derandomize=True, max_examples=40, deadline=None)
def test_threshold_and_p_value_agree(n: int, percent: int) -> None:
    calibration = one_to(n, percent / 100)
    score = torch.arange(0.0, n + 2, dtype=torch.float64) + 0.5
    flagged = score < calibration.threshold
    assert torch.equal(flagged, calibration.p_value(score) <= percent / 100 + 1e-12)


def test_surprise_is_0_at_the_threshold_and_minus_1_at_the_median() -> None:
    calibration = one_to(99, 0.05)  # threshold 5, median 50
    score = torch.tensor([50.0, 5.0, -40.0, 95.0])
    assert calibration.median == 50
    assert calibration.scale == 45
    assert torch.equal(calibration.surprise(score), torch.tensor([-1.0, 0.0, 1.0, -2.0]))


def test_surprise_has_no_unit() -> None:
    scores, rows = torch.randn(500, generator=SHUFFLE), torch.linspace(-9, 3, 50)
    plain = Calibration.from_scores(scores).surprise(rows)
    scaled = Calibration.from_scores(1e3 * scores - 7e3).surprise(1e3 * rows - 7e3)
    torch.testing.assert_close(plain, scaled, rtol=1e-4, atol=1e-5)


def test_threshold_by_hand_moves_the_surprise_only() -> None:
    calibration = one_to(99, 0.05)
    moved = calibration.with_threshold(40.0)
    score = torch.tensor([40.0, 30.0])
    assert moved.surprise(score).tolist() == [0.0, 1.0]
    assert torch.equal(moved.p_value(score), calibration.p_value(score))
    assert calibration.threshold == 5


@pytest.mark.parametrize("threshold", [50.0, 60.0, math.nan])
def test_a_threshold_not_below_the_median_gives_no_scale(threshold: float) -> None:
    calibration = one_to(99, 0.05).with_threshold(threshold)
    with pytest.raises(NotCalibratedError, match="not below the median calibration score 50"):
        calibration.surprise(torch.zeros(1))


def test_surprise_reads_the_calibration_scores_once() -> None:
    calibration = one_to(99, 0.05)
    first = calibration.surprise(torch.zeros(1))
    calibration.scores.fill_(math.nan)  # a second look would also wait for the device
    assert torch.equal(calibration.surprise(torch.zeros(1)), first)
