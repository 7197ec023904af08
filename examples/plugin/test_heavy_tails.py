"""What a plug-in has to show: the promises are kept, names are found, the formula is right."""

import math

import pytest
import torch
from heavy_tails import StudentT, quadratic
from scipy.stats import multivariate_t

from gormpo_density import OODPenalty, available_penalties, make_model
from gormpo_density.testing import density_model_checks, penalty_checks


@pytest.mark.parametrize("check", density_model_checks(StudentT), ids=str)
def test_the_model_keeps_its_promises(check):
    check()


@pytest.mark.parametrize("check", penalty_checks(quadratic), ids=str)
def test_the_penalty_keeps_its_promises(check):
    check()


def test_both_are_found_by_name():
    rows = torch.randn(400, 3, generator=torch.Generator().manual_seed(0))
    model = make_model("student_t", input_dim=3)
    model.fit(rows[:200], epochs=3)
    model.calibrate(rows[200:])
    assert isinstance(model, StudentT)
    assert "quadratic" in available_penalties()
    assert OODPenalty(model, "quadratic")(torch.full((1, 3), 1e9)).item() == 10.0


def test_the_density_is_scipys():
    model = StudentT(2).double()
    with torch.no_grad():
        model.mean.copy_(torch.tensor([1.0, -2.0]))
        model.factor.copy_(torch.tensor([[0.3, 9.9], [0.7, -0.2]]))  # 9.9 is not of the triangle
        model.freedom.fill_(1.5)
        lower = torch.tensor([[math.exp(0.3), 0], [0.7, math.exp(-0.2)]], dtype=torch.float64)
        z = torch.randn(20, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        shape, freedom = (lower @ lower.T).inverse().numpy(), 1 + math.log1p(math.exp(1.5))
        expected = multivariate_t(model.mean.numpy(), shape, freedom).logpdf(z.numpy())
        torch.testing.assert_close(model._log_prob(z), torch.from_numpy(expected))
