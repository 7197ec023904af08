"""The monitor says of one row what the model says of a batch."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from gormpo_density import Monitor, make_model
from gormpo_density.base import FLOOR, DensityModel
from gormpo_density.errors import ConfigError, DataError, NotCalibratedError, ShapeError
from gormpo_density.fitting import FitOptions, History, Hooks

SMALL = {
    "realnvp": {"num_layers": 3, "hidden_dims": [16]},
    "vae": {"latent_dim": 2, "hidden_dims": [16]},
    "kde": {"max_rows": 100},
    "gmm": {"n_components": 2, "reg_covar": 1e-3},
    "knn": {},
    "ensemble": {"model": {"name": "realnvp", "num_layers": 2, "hidden_dims": [8]}, "k": 2},
}
OBS_DIM, ACTION_DIM = 4, 2


def rows(n: int, seed: int, scale: float = 1.0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=(n, OBS_DIM + ACTION_DIM))
    return (3 + scale * noise * [1, 2, 4, 8, 0.1, 1]).astype(np.float32)


def calibrated(name: str) -> DensityModel:
    model = make_model(name, input_dim=OBS_DIM + ACTION_DIM, **SMALL[name])
    model.fit(rows(200, 0), rows(50, 1), epochs=2)
    model.calibrate(rows(99, 2))
    return model


class Line(DensityModel):
    """The score is the first feature, unless it is below 0: then it is twice as far down."""

    def _log_prob(self, z: Tensor) -> Tensor:
        return 2 * z[:, 0] if z[0, 0] < 0 else z[:, 0]

    def _fit(self, splits: dict[str, Tensor], options: FitOptions, hooks: Hooks) -> History:
        return {}


@pytest.fixture(scope="module")
def gmm() -> DensityModel:
    return calibrated("gmm")


@pytest.mark.parametrize("name", SMALL)
def test_a_verdict_is_what_the_model_says(name: str) -> None:
    model = calibrated(name)
    monitor = Monitor(model)
    assert monitor.is_recorded
    assert model.calibration is not None
    for row in rows(40, 3, scale=3.0):
        score = model.score_samples(row[None])
        verdict = monitor(row[:OBS_DIM], row[OBS_DIM:])
        assert verdict.score == pytest.approx(score.item(), rel=1e-5, abs=1e-5)
        found = torch.tensor([verdict.score])
        assert verdict.p_value == pytest.approx(model.calibration.p_value(found).item())
        assert verdict.surprise == pytest.approx(
            model.calibration.surprise(found).item(), rel=1e-4
        )
        assert verdict.is_anomaly == (verdict.score < model.threshold)


def test_another_score_by_name() -> None:
    model = calibrated("vae")
    with pytest.raises(NotCalibratedError, match="score 'iwae' is not calibrated"):
        Monitor(model, "iwae")
    model.calibrate(rows(99, 2), score="iwae")
    row = rows(1, 3)
    expected = model.score_samples(row, "iwae").item()
    assert Monitor(model, "iwae")(row[0]).score == pytest.approx(expected, rel=1e-5)


def test_p_values_of_normal_rows_are_uniform(gmm: DensityModel) -> None:
    monitor = Monitor(gmm)
    p_values = np.sort([monitor(row).p_value for row in rows(500, 4)])
    uniform = (np.arange(500) + 0.5) / 500
    assert abs(p_values - uniform).max() < 1.63 / math.sqrt(99) + 1.63 / math.sqrt(500)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e300, -1e39])
def test_what_is_not_finite_is_the_largest_alarm(gmm: DensityModel, value: float) -> None:
    row = rows(1, 3)[0].astype(float)
    row[2] = value
    verdict = Monitor(gmm)(row[:OBS_DIM], row[OBS_DIM:])
    assert verdict[:3] == (FLOOR, 1 / 100, True)
    assert verdict.surprise > 1e20


def test_a_threshold_set_by_hand_counts(gmm: DensityModel) -> None:
    row = rows(1, 3)[0]
    median = float(np.median(gmm.score_samples(rows(99, 2))))
    gmm.threshold = median - 1e-3
    monitor = Monitor(gmm)
    gmm.threshold = -1e9  # later changes are not the monitor's
    score = monitor(row).score
    assert monitor(row).is_anomaly == (score < median - 1e-3)
    assert monitor(row).surprise == pytest.approx((median - 1e-3 - score) / 1e-3, rel=0.02)
    gmm.hand_threshold = None


def test_a_model_that_branches_on_the_row_is_not_recorded() -> None:
    model = Line(OBS_DIM + ACTION_DIM)
    model.fit(rows(200, 0))
    model.calibrate(rows(99, 2))
    monitor = Monitor(model)
    assert not monitor.is_recorded
    for row in rows(10, 3):
        assert monitor(row).score == pytest.approx(model.score_samples(row[None]).item())


@pytest.mark.parametrize("make", [np.asarray, list, torch.from_numpy])
def test_any_array_will_do(gmm: DensityModel, make: Callable[[np.ndarray], object]) -> None:
    row = rows(1, 3)[0]
    parts = [make(part) for part in np.split(row, [OBS_DIM])]
    assert Monitor(gmm)(*parts) == Monitor(gmm)(row.astype(np.float64))


@pytest.mark.parametrize(
    ("parts", "error", "text"),
    [
        ([np.zeros(4), np.zeros(3)], ShapeError, r"a row has 6 values, .*; got \(4,\) \+ \(3,\)"),
        ([np.zeros((1, 6))], ShapeError, r"got \(1, 6\)"),
        ([3.0], ShapeError, r"got \(\)"),
        ([], ShapeError, "got nothing"),
        ([["a"] * 6], DataError, "a row of <U1 does not hold real numbers"),
        ([np.zeros(6, complex)], DataError, "a row of complex128 does not hold real numbers"),
        ([np.zeros(4), [[1.0, 2.0], [3.0]]], DataError, "a part of a row is no array"),
    ],
)
def test_what_is_no_row_is_told(
    gmm: DensityModel, parts: list[object], error: type[Exception], text: str
) -> None:
    monitor = Monitor(gmm)
    with pytest.raises(error, match=text):
        monitor(*parts)
    monitor(rows(1, 3)[0])  # goes on afterwards


def test_what_cannot_be_monitored_is_told() -> None:
    model = make_model("gmm", input_dim=(4, 2))
    with pytest.raises(ConfigError, match=r"a monitor scores rows; the model's are \(4, 2\)"):
        Monitor(model)
    with pytest.raises(NotCalibratedError, match="'log_prob' is not calibrated"):
        Monitor(make_model("gmm", input_dim=4))
    with pytest.raises(ConfigError, match="score 'elbo' is unknown"):
        Monitor(make_model("gmm", input_dim=4), "elbo")


def test_it_is_loaded_from_a_saved_model(gmm: DensityModel, tmp_path: Path) -> None:
    gmm.save(tmp_path / "run" / "model")  # where runs keep it
    row = rows(1, 3)[0]
    assert Monitor.load(tmp_path / "run")(row) == Monitor(gmm)(row)
    assert Monitor.load(tmp_path / "run" / "model")(row) == Monitor(gmm)(row)
