import math

import numpy as np
import pytest
import torch
from torch import Tensor

from gormpo_density.errors import ConfigError
from rl.dynamics import Prediction
from rl.uncertainty import UNCERTAINTIES, Uncertainty

OBS_STD = torch.tensor([1.0, 0.5])


class GrowingDynamics:
    """Member i adds i * action; its standard deviation is (1 + i) |action|."""

    obs_std = OBS_STD

    def __init__(self, members: int = 3) -> None:
        self.members = members
        self.largest_batch = 0

    def predict(self, obs: Tensor, action: Tensor) -> Prediction:
        self.largest_batch = max(self.largest_batch, len(obs))
        i = torch.arange(float(self.members))[:, None, None]
        row = torch.cat([obs, 0 * action], 1)
        return Prediction(row + i * action, (1 + i + 0 * row) * action.abs())


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mopo", 3 * math.sqrt(3)),  # the third member's std, in 2 observations and the reward
        ("disagreement", math.sqrt(2 / 3) * math.sqrt(1 + 4)),
        ("total_std", math.sqrt(14 / 3 + 2 / 3) * math.sqrt(1 + 4)),
    ],
)
def test_known_values(name: str, expected: float) -> None:
    obs, action = torch.tensor([[5.0, -7.0], [0.0, 1.0]]), torch.tensor([[1.0], [-2.0]])
    found = UNCERTAINTIES[name](GrowingDynamics().predict(obs, action), OBS_STD)
    torch.testing.assert_close(found, torch.tensor([expected, 2 * expected]))


def test_formulas_against_numpy() -> None:
    generator = torch.Generator().manual_seed(0)
    mean = torch.randn(7, 20, 3, generator=generator, dtype=torch.float64)
    std = torch.rand(7, 20, 3, generator=generator, dtype=torch.float64)
    mu, sigma, scale = mean.numpy()[:, :, :-1], std.numpy()[:, :, :-1], OBS_STD.numpy()
    direct = {
        "mopo": np.linalg.norm(std.numpy(), axis=2).max(0),
        "disagreement": np.linalg.norm(mu.std(0) / scale, axis=1),
        "total_std": np.linalg.norm(np.sqrt((sigma**2).mean(0) + mu.var(0)) / scale, axis=1),
    }
    assert direct.keys() == UNCERTAINTIES.keys()
    for name, formula in UNCERTAINTIES.items():
        found = formula(Prediction(mean, std), OBS_STD.double())
        np.testing.assert_allclose(found.numpy(), direct[name], rtol=1e-12)


def test_the_reward_counts_for_mopo_only() -> None:
    prediction = GrowingDynamics().predict(torch.zeros(1, 2), torch.ones(1, 1))
    louder = Prediction(prediction.mean.clone(), prediction.std.clone())
    louder.mean[0, :, -1] += 100
    louder.std[:, :, -1] += 100
    changed = {
        name: bool((formula(louder, OBS_STD) != formula(prediction, OBS_STD)).any())
        for name, formula in UNCERTAINTIES.items()
    }
    assert changed == {"mopo": True, "disagreement": False, "total_std": False}


def test_per_dimension_units_do_not_depend_on_those_of_the_data() -> None:
    prediction = GrowingDynamics().predict(torch.zeros(1, 2), torch.ones(1, 1))
    units = torch.tensor([1000.0, 0.001, 1.0])
    rescaled = Prediction(prediction.mean * units, prediction.std * units)
    for name in ("disagreement", "total_std"):
        formula = UNCERTAINTIES[name]
        torch.testing.assert_close(
            formula(rescaled, OBS_STD * units[:-1]), formula(prediction, OBS_STD)
        )


@pytest.mark.parametrize("name", UNCERTAINTIES)
def test_the_unit_is_the_median_of_held_out_rows(name: str) -> None:
    action = torch.tensor([[1.0], [2.0], [9.0]])
    uncertainty = Uncertainty(name, GrowingDynamics(), torch.zeros(3, 2), action)
    prediction = GrowingDynamics().predict(torch.zeros(1, 2), torch.tensor([[6.0]]))
    assert uncertainty(prediction).item() == pytest.approx(3)
    assert uncertainty.raw(prediction).item() == pytest.approx(3 * uncertainty.unit)


def test_a_large_held_out_set_is_thinned_evenly_and_predicted_in_pieces() -> None:
    n = 30_000
    dynamics, action = GrowingDynamics(), torch.arange(1.0, n + 1)[:, None]
    whole = Uncertainty("mopo", dynamics, torch.zeros(n, 2), action)
    assert whole.unit == pytest.approx(3 * math.sqrt(3) * n / 2, rel=1e-3)
    assert dynamics.largest_batch <= 2048


@pytest.mark.parametrize(
    ("name", "members", "action", "value"),
    [("disagreement", 1, 1.0, "0 with 1 members"), ("mopo", 3, math.nan, "nan with 3 members")],
)
def test_an_uncertainty_without_a_scale_is_refused(
    name: str, members: int, action: float, value: str
) -> None:
    with pytest.raises(ConfigError, match=f"{name} has no scale: .* 9 held-out rows is {value}"):
        Uncertainty(name, GrowingDynamics(members), torch.zeros(9, 2), torch.full((9, 1), action))
