"""OODPenalty on a density of known form; its formulas are tested in test_penalty.py."""

import math
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from gormpo_density import available_penalties, register_penalty, registry
from gormpo_density.base import DensityModel
from gormpo_density.decisions import ScoreKind
from gormpo_density.errors import ConfigError, DataError, NotCalibratedError
from gormpo_density.fitting import FitOptions, History, Hooks
from gormpo_density.penalty import GORMPO_KINDS, KINDS, OODPenalty


class StandardNormal(DensityModel):
    """The density of N(0, I), which needs no training."""

    scores: ClassVar[Mapping[str, ScoreKind]] = {"log_prob": "exact", "first": "surrogate"}

    def _log_prob(self, z: Tensor) -> Tensor:
        return -0.5 * (z.square() + math.log(2 * math.pi)).sum(1)

    def _score(self, z: Tensor, name: str) -> Tensor:
        return z[:, 0]

    def _fit(self, splits: dict[str, Tensor], options: FitOptions, hooks: Hooks) -> History:
        return {}


def normal_rows(n: int, seed: int = 0) -> Tensor:
    return torch.randn(n, 2, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def model() -> StandardNormal:
    model = StandardNormal(2)
    model.fit(normal_rows(400))
    model.calibrate(normal_rows(999, seed=1))
    return model


OURS = [*KINDS, "conformal"]
each_kind = pytest.mark.parametrize("kind", OURS)
each_gormpo_kind = pytest.mark.parametrize("kind", GORMPO_KINDS)
all_kinds = pytest.mark.parametrize("kind", [*OURS, *GORMPO_KINDS])


def test_a_penalty_is_coef_times_kind_of_the_calibrated_surprise(model: StandardNormal) -> None:
    x = normal_rows(50, seed=2) * 3
    assert model.calibration is not None
    u = model.calibration.surprise(model.score_samples(x))
    ood = OODPenalty(model, "tanh", coef=0.5, cap=2.0)
    torch.testing.assert_close(ood.surprise(x), u)
    torch.testing.assert_close(ood(x), 0.5 * u.clamp(0, 2).tanh())


def test_the_default_is_linear_with_coefficient_1_and_cap_10(model: StandardNormal) -> None:
    x = normal_rows(50, seed=2) * 3
    ood = OODPenalty(model)
    torch.testing.assert_close(ood(x), ood.surprise(x).clamp(0, 10))


def test_penalty_and_surprise_come_from_one_scoring(
    model: StandardNormal, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = normal_rows(50, seed=2) * 3
    ood = OODPenalty(model, "tanh", coef=0.5)
    expected = ood(x), ood.surprise(x)
    calls: list[Tensor] = []
    score_samples = model.score_samples
    monkeypatch.setattr(
        model, "score_samples", lambda x, score: calls.append(x) or score_samples(x, score)
    )
    torch.testing.assert_close(ood.with_surprise(x), expected)
    assert len(calls) == 1


def test_conformal_is_zero_exactly_where_nothing_is_flagged(model: StandardNormal) -> None:
    x = normal_rows(500, seed=2) * 2
    flagged = model.predict_anomaly(x)
    assert 0 < flagged.sum() < len(flagged)
    assert torch.equal(OODPenalty(model, "conformal")(x) > 0, flagged)


def test_conformal_follows_the_p_value(model: StandardNormal) -> None:
    x = normal_rows(500, seed=2) * 2
    assert model.calibration is not None
    p = model.calibration.p_value(model.score_samples(x))
    expected = ((51 / 1000 / p).log() / math.log(501 / 51)).clamp(min=0)
    torch.testing.assert_close(OODPenalty(model, "conformal")(x), expected, rtol=1e-4, atol=1e-5)


@all_kinds
@pytest.mark.parametrize("value", [10.0, 1e20, -1e20, math.inf, -math.inf, math.nan])
def test_no_row_costs_more_than_a_finite_amount(
    model: StandardNormal, kind: str, value: float
) -> None:
    x = torch.zeros(3, 2)
    x[1, 0] = value
    assert OODPenalty(model, kind, coef=2.0)(x).isfinite().all()


@each_kind
def test_unusable_rows_cost_what_an_endless_distance_costs(
    model: StandardNormal, kind: str
) -> None:
    x = torch.tensor([[math.nan, 0.0], [0.0, math.inf], [1e30, 0.0]])
    last_step = torch.tensor(math.log(51) / math.log(501 / 51))
    worst = last_step if kind == "conformal" else KINDS[kind](torch.tensor(10.0), 10.0)
    torch.testing.assert_close(OODPenalty(model, kind, 2.0)(x), 2 * worst.expand(3))


@all_kinds
def test_numpy_in_numpy_out(model: StandardNormal, kind: str) -> None:
    x = normal_rows(20, seed=2) * 3
    ood = OODPenalty(model, kind)
    found = ood(x.numpy())
    assert isinstance(found, np.ndarray)
    np.testing.assert_array_equal(found, ood(x).numpy())
    np.testing.assert_array_equal(ood.surprise(x.numpy()), ood.surprise(x).numpy())


def test_a_non_finite_numpy_row_is_an_error(model: StandardNormal) -> None:
    with pytest.raises(DataError, match="x column 1 row 0 is nan"):
        OODPenalty(model)(np.array([[0.0, math.nan]], dtype=np.float32))


@all_kinds
def test_an_empty_batch_costs_nothing(model: StandardNormal, kind: str) -> None:
    assert OODPenalty(model, kind)(torch.empty(0, 2)).shape == (0,)


@each_gormpo_kind
def test_gormpo_kinds_take_the_raw_score_and_know_no_cap(model: StandardNormal, kind: str) -> None:
    x = normal_rows(50, seed=2) * 3
    expected = 0.5 * GORMPO_KINDS[kind](model.score_samples(x), model.threshold)
    torch.testing.assert_close(OODPenalty(model, kind, coef=0.5, cap=1e-3)(x), expected)


def test_a_threshold_set_before_counts_and_one_set_later_does_not(model: StandardNormal) -> None:
    row = torch.tensor([[0.0, 6.0]])
    calibrated = OODPenalty(model)
    before = calibrated(row)
    model.threshold = model.threshold - 5
    assert OODPenalty(model)(row) < before
    assert torch.equal(calibrated(row), before)


def test_another_calibrated_score_can_be_used(model: StandardNormal) -> None:
    model.calibrate(normal_rows(999, seed=1), score="first")
    x = torch.tensor([[-20.0, 0.0], [20.0, 0.0]])
    assert OODPenalty(model, score="first")(x).tolist() == [10.0, 0.0]
    assert OODPenalty(model)(x).tolist() == [10.0, 10.0]


def test_an_uncalibrated_model_is_refused() -> None:
    model = StandardNormal(2)
    model.fit(normal_rows(400))
    model.threshold = -50.0  # a threshold alone gives the surprise no scale
    with pytest.raises(NotCalibratedError, match=r"'log_prob' is not calibrated: call model\."):
        OODPenalty(model)
    model.calibrate(normal_rows(99))
    with pytest.raises(NotCalibratedError, match="'first' is not calibrated"):
        OODPenalty(model, score="first")


def test_a_threshold_above_the_median_is_refused(model: StandardNormal) -> None:
    model.threshold = 5.0
    with pytest.raises(NotCalibratedError, match="not below the median"):
        OODPenalty(model)


def test_all_wrong_arguments_are_reported_at_once(model: StandardNormal) -> None:
    with pytest.raises(ConfigError) as caught:
        OODPenalty(model, "tahn", coef=-1.0, cap=math.nan)
    kind, coef, cap = caught.value.problems
    assert "'tahn' is unknown; choose from linear, tanh" in kind
    assert "coef must be finite and not negative, got -1.0" in coef
    assert "cap must be finite and positive, got nan" in cap


@pytest.mark.parametrize("kind", ["", "gormpo-exponential"])  # GORMPO names it, without a formula
def test_unknown_kinds_are_refused(model: StandardNormal, kind: str) -> None:
    with pytest.raises(ConfigError, match="is unknown; choose from"):
        OODPenalty(model, kind)


@pytest.fixture
def _own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_penalties", {})


def step(u: Tensor, cap: float) -> Tensor:
    """The largest penalty on every anomaly."""
    return torch.where(u <= 0, 0.0, cap)


@pytest.mark.usefixtures("_own_registry")
def test_a_kind_of_ones_own(model: StandardNormal) -> None:
    assert register_penalty("step")(step) is step
    assert available_penalties()[-1] == "step"
    x = torch.tensor([[0.0, 0.0], [9.0, 9.0]])
    assert OODPenalty(model, "step", coef=3.0, cap=2.0)(x).tolist() == [0.0, 6.0]


@pytest.mark.usefixtures("_own_registry")
def test_a_kind_by_its_path(model: StandardNormal) -> None:
    x = normal_rows(20, seed=2) * 3
    by_path = OODPenalty(model, "gormpo_density.penalty:tanh")
    assert torch.equal(by_path(x), OODPenalty(model, "tanh")(x))


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("gormpo_density.penalty:cubic", "penalty '.*cubic' cannot be imported: .*cubic"),
        ("absent_package:cubic", "penalty '.*cubic' cannot be imported: .*absent_package"),
        ("math:pi", "penalty 'math:pi' is not a function of u and cap"),
        (":", "cannot be imported"),
    ],
)
@pytest.mark.usefixtures("_own_registry")
def test_a_path_that_leads_nowhere_is_refused(model: StandardNormal, kind: str, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        OODPenalty(model, kind)
