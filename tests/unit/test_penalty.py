import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gormpo_density import penalty
from gormpo_density.penalty import GORMPO_KINDS, KINDS

CAP = 10.0
#: Surprise of 999 calibration rows: threshold at the 50th, median at the 500th.
CALIBRATION_U = torch.cat([torch.linspace(-2, -1, 500), torch.linspace(-0.99, 0, 450)[:-1],
                           torch.linspace(0, 3, 50)])  # fmt: skip
OURS: dict[str, Callable[..., Any]] = {
    **KINDS,
    "conformal": partial(penalty.conformal, calibration_u=CALIBRATION_U),
}
each_kind = pytest.mark.parametrize("kind", OURS)
each_gormpo_kind = pytest.mark.parametrize("kind", GORMPO_KINDS)
surprises = st.lists(st.floats(width=32) | st.floats(-3, 12, width=32), max_size=12)
caps = st.floats(0.125, 100, width=32)


@each_kind
@given(u=surprises, cap=caps)
@settings(derandomize=True, max_examples=40, deadline=None)
def test_a_penalty_is_finite_within_its_cap_and_never_falls(
    kind: str, u: list[float], cap: float
) -> None:
    rows = torch.tensor(sorted(u, key=lambda value: (math.isnan(value), value)))
    values = OURS[kind](rows, cap)
    assert values.shape == rows.shape
    assert values.isfinite().all()
    assert (values >= 0).all()
    assert (values <= cap * (1 + 1e-6)).all()
    assert (values.diff() >= -1e-6 * cap).all()


@each_kind
@given(u=surprises)
@settings(derandomize=True, max_examples=20, deadline=None)
def test_a_row_does_not_see_the_others_and_numpy_equals_torch(kind: str, u: list[float]) -> None:
    rows = torch.tensor(u, dtype=torch.float64)
    together = OURS[kind](rows, CAP)
    for row, value in zip(rows, together, strict=True):
        torch.testing.assert_close(OURS[kind](row[None], CAP)[0], value)
    from_numpy = OURS[kind](rows.numpy(), CAP)
    assert isinstance(from_numpy, np.ndarray)
    assert from_numpy.dtype == np.float64
    np.testing.assert_array_equal(from_numpy, together.numpy())


@each_kind
@pytest.mark.parametrize("value", [math.nan, math.inf, 1e30, 3e38])
def test_what_cannot_be_measured_costs_as_much_as_the_cap(kind: str, value: float) -> None:
    worst = OURS[kind](torch.tensor([value]), CAP)
    assert torch.equal(worst, OURS[kind](torch.tensor([CAP]), CAP))


@each_kind
def test_a_typical_row_is_all_but_free(kind: str) -> None:
    inside = OURS[kind](torch.tensor([-1.0, -5.0, -1e30, -math.inf]), CAP)
    assert inside.max() <= (0.0014 if kind == "softplus" else 0)


@pytest.mark.parametrize(
    ("kind", "at_threshold", "slope", "at_one", "limit"),
    [
        ("linear", 0, 1, 1, 10),
        ("tanh", 0, 1, 0.7616, 1),
        ("inverse", 0, 1, 0.5, 0.9091),
        ("exponential", 0, 0.5820, 0.6121, 10),
        ("softplus", 0.1386, 0.5, 1.0013, 10),
    ],
)
def test_the_numbers_of_the_table(
    kind: str, at_threshold: float, slope: float, at_one: float, limit: float
) -> None:
    step = 1e-6
    u = torch.tensor([0.0, step, 1.0, 1e9], dtype=torch.float64)
    start, after, one, end = KINDS[kind](u, CAP).tolist()
    assert start == pytest.approx(at_threshold, abs=1e-4)
    assert (after - start) / step == pytest.approx(slope, abs=1e-3)
    assert one == pytest.approx(at_one, abs=1e-4)
    assert end == pytest.approx(limit, abs=1e-4)


def test_softplus_rises_inside_the_support() -> None:
    assert (penalty.softplus(torch.linspace(-1, 0, 20), CAP).diff() > 0).all()


@pytest.mark.parametrize("cap", [0.1, 1.0, 10.0])
def test_exponential_and_linear_end_at_the_cap(cap: float) -> None:
    end = torch.tensor([1e9])
    assert penalty.exponential(end, cap).item() == pytest.approx(cap)
    assert penalty.linear(end, cap).item() == pytest.approx(cap)


@each_kind
def test_formulas_read_no_value_on_the_host(kind: str) -> None:
    """Reading one would make a GPU wait; a meta tensor has none to read."""
    u = torch.empty(5, device="meta")
    reference = {"calibration_u": CALIBRATION_U.to("meta")} if kind == "conformal" else {}
    formula = penalty.conformal if kind == "conformal" else KINDS[kind]
    assert formula(u, CAP, **reference).shape == (5,)


@each_gormpo_kind
def test_gormpo_formulas_read_no_value_on_the_host(kind: str) -> None:
    assert GORMPO_KINDS[kind](torch.empty(5, device="meta"), -3.0).shape == (5,)


def test_conformal_counts_calibration_rows() -> None:
    calibration_u = torch.tensor([-2.0, -1.5, -1.0, 0.0, 2.0])  # p(-1) = 4/6, p(0) = 3/6
    u = torch.tensor([-0.5, 0.0, 0.1, 2.0, 2.1, 9.0])  # p = 3/6, 3/6, 2/6, 2/6, 1/6, 1/6
    unit = math.log(4 / 3)
    expected = torch.tensor([0, 0, math.log(3 / 2), math.log(3 / 2), math.log(3), math.log(3)])
    torch.testing.assert_close(penalty.conformal(u, CAP, calibration_u), expected / unit)


def test_conformal_ends_at_the_limit_it_states() -> None:
    limit = penalty.conformal(torch.tensor([3.1]), CAP, CALIBRATION_U).item()
    assert limit == pytest.approx(math.log(51) / math.log(501 / 51))
    assert limit == pytest.approx(1.7, abs=0.05)


def test_conformal_is_linear_on_an_exponential_tail() -> None:
    p = (torch.arange(100_000.0, dtype=torch.float64) + 0.5) / 100_000
    score = p.log()  # P(score < s) = e^s; threshold log .05, median log .5
    calibration_u = ((math.log(0.05) - score) / math.log(10)).flip(0)
    u = torch.tensor([0.25, 0.5, 1.0, 2.0], dtype=torch.float64)
    found = penalty.conformal(u, CAP, calibration_u)
    torch.testing.assert_close(found, u, rtol=0.01, atol=0)


SCORES = np.array([-80.0, -12.0, -5.0, -1.0, 0.5, 3.0, 30.0])
THRESHOLD = -2.0


def direct_linear(score: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    w = THRESHOLD - score
    q1, q3 = np.percentile(w, [25, 75])
    return np.clip(w, 0, q3 + 1.5 * (q3 - q1))


@pytest.mark.parametrize(
    ("kind", "direct"),
    [
        ("gormpo-linear", direct_linear),
        ("gormpo-inverse",
         lambda s: np.where(s < THRESHOLD, np.exp(THRESHOLD) / (np.exp(s) + 1e-6), 0.0)),
        ("gormpo-tanh", lambda s: np.maximum(0, np.tanh(0.1 * (THRESHOLD - s)))),
        ("gormpo-tanh_reg", lambda s: np.tanh(0.1 * (THRESHOLD - s))),
        ("gormpo-softplus", lambda s: np.log(1 + np.exp(-s))),
    ],
)  # fmt: skip
def test_gormpo_formulas_are_exact(
    kind: str, direct: Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]
) -> None:
    formula: Callable[..., Any] = GORMPO_KINDS[kind]
    found = formula(SCORES, THRESHOLD)
    assert isinstance(found, np.ndarray)
    np.testing.assert_allclose(found, direct(SCORES), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(
        formula(torch.tensor(SCORES, dtype=torch.float32), THRESHOLD),
        torch.tensor(found, dtype=torch.float32),
        rtol=1e-5,
        atol=1e-6,
    )


def test_gormpo_linear_depends_on_the_batch_and_can_reward() -> None:
    """What most of a batch inside the support does to its one anomaly."""
    score = torch.tensor([-9.0] + [50.0 + i for i in range(9)])
    found = penalty.gormpo_linear(score, THRESHOLD)
    assert (found < 0).all()
    assert (found == found[0]).all()
    assert penalty.gormpo_linear(score[:1], THRESHOLD).item() == 7


@each_gormpo_kind
@given(score=st.lists(st.floats(-(2.0**100), 2.0**100, width=32), max_size=8))
@settings(derandomize=True, max_examples=25, deadline=None)
def test_gormpo_formulas_do_not_overflow(kind: str, score: list[float]) -> None:
    for threshold in (-1e4, 0.0, 1e4):
        found = GORMPO_KINDS[kind](torch.tensor(score), threshold)
        assert found.shape == (len(score),)
        assert found.isfinite().all()
