"""The checks of penalties: ours pass, and each broken promise is named."""

import math
from functools import partial

import pytest
import torch

from gormpo_density import penalty
from gormpo_density.penalty import KINDS
from gormpo_density.testing import check_penalty, penalty_checks

BROKEN = {
    "one_finite_number_a_row: a penalty is not finite": lambda u, cap: u.clamp(min=0),
    "one_finite_number_a_row: a penalty is negative": lambda u, cap: u.nan_to_num(cap, cap, -1),
    "one_finite_number_a_row: penalties .1,. of .57,.": lambda u, cap: penalty.linear(u, cap)[:1],
    "one_finite_number_a_row: a float is returned": lambda u, cap: 1.0,
    "one_finite_number_a_row: penalties of torch.float64 are torch.float32": (
        lambda u, cap: penalty.linear(u, cap).float()
    ),
    "one_finite_number_a_row: u itself was changed": (
        lambda u, cap: u.nan_to_num_(nan=cap).clamp_(0, cap)
    ),
    "it_never_falls: it falls after u = .*, cap 0.5": (
        lambda u, cap: penalty.linear(u, cap) * (penalty.linear(u, cap) < 0.4)
    ),
    "it_never_falls: it is 0 everywhere": lambda u, cap: 0 * penalty.linear(u, cap),
    "nothing_costs_more_than_the_cap: beyond u = 0.5": lambda u, cap: penalty.linear(u, 2 * cap),
    "a_typical_row_is_all_but_free: 0.5 at u <= -1, 1 at u = 0.5": (
        lambda u, cap: 0.5 + penalty.linear(u, cap)
    ),
    "a_row_does_not_see_the_others": (lambda u, cap: penalty.linear(u, cap) * min(len(u), 2)),
    "nothing_is_read_on_the_host": (
        lambda u, cap: torch.tensor(
            [min(max(x, 0), cap) if not math.isnan(x) else cap for x in u.tolist()], dtype=u.dtype
        )
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_ours_pass(kind):
    check_penalty(KINDS[kind])


@pytest.mark.parametrize("text", BROKEN)
def test_a_broken_promise_is_named(text):
    with pytest.raises(AssertionError, match=f"^{text}"):
        check_penalty(BROKEN[text])


def test_checks_can_be_chosen_by_name():
    names = [str(check) for check in penalty_checks(penalty.tanh)]
    assert "it_never_falls" in names
    assert len(names) == len(set(names)) == 6


def test_conformal_passes_with_its_calibration_rows():
    check_penalty(partial(penalty.conformal, calibration_u=torch.linspace(-2, 1, 999)))
