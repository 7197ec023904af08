import logging

import numpy as np
import pytest
import torch

from gormpo_density.errors import ConfigError
from gormpo_density.models import cnf
from gormpo_density.models.cnf import CNF

ROWS = np.random.default_rng(0).normal(size=(100, 3)).astype(np.float32)
SMALL = {"hidden_dims": [8, 8], "steps": 1}


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"solver": "dopri5"}, "solver must be one of euler, midpoint, rk4, got 'dopri5'"),
        ({"trace": "hutch"}, "trace must be one of exact, hutchinson, got 'hutch'"),
        ({"activation": "relu"}, "activation must be one of silu, softplus, tanh, got 'relu'"),
        ({"t1": 0.0}, "t1 must be after t0, got t0 = 0.0 and t1 = 0.0"),
        ({"t0": float("nan")}, "t1 must be after t0"),
    ],
)
def test_a_wrong_argument_is_refused(wrong, text):
    with pytest.raises(ConfigError, match=text):
        CNF(3, **wrong)


@pytest.mark.parametrize("hidden_dims", [[8], [8, 8], [8, 8, 8]])
@pytest.mark.parametrize("trace", ["exact", "hutchinson"])
def test_any_depth_trains_with_either_trace(hidden_dims, trace):
    model = CNF(3, hidden_dims, trace=trace, steps=1)
    history = model.fit(ROWS**3, ROWS**3, epochs=10, batch_size=20, lr=1e-2)
    assert history["val_loss"][-1] < history["val_loss"][0] - 0.01


def test_training_moves_the_inner_times_and_nothing_else_does():
    """So that a field cannot learn to profit from the solver's errors on one grid."""
    model = CNF(3, hidden_dims=[8], steps=4, t0=1.0, t1=3.0)
    grids = []
    solve = model._solve
    model._solve = lambda f, start, times: grids.append(times) or solve(f, start, times)
    z, generator = torch.as_tensor(ROWS), torch.Generator().manual_seed(0)
    for _ in range(50):
        model.losses(z, generator)
    moved = torch.stack(grids)
    assert (moved[:, 0] == 1).all()
    assert (moved[:, -1] == 3).all()
    assert (moved.diff() > 0).all()
    assert (moved[:, 1:-1].std(0) > 0.45 * 0.5 / 3**0.5 * 0.8).all()  # uniform, steps of .5
    grids.clear()
    assert model.losses(z)["loss"] == -model._log_prob(z).mean()
    assert all(torch.equal(grid, model.times) for grid in grids)


def test_a_loose_tolerance_keeps_the_steps_of_training():
    model = CNF(3, atol=100.0, **SMALL)
    model.fit(ROWS, epochs=1)
    assert model.steps_taken == 1


def test_a_tolerance_out_of_reach_takes_the_most_steps_and_warns(caplog, monkeypatch):
    monkeypatch.setattr(cnf, "_MOST_STEPS", 4)
    model = CNF(3, rtol=0.0, atol=1e-12, **SMALL)
    with caplog.at_level(logging.WARNING):
        model.fit(ROWS, epochs=1)
    assert model.steps_taken == 4
    assert "4 steps of rk4 leave" in caplog.text


def test_many_steps_of_training_are_measured_too(caplog, monkeypatch):
    monkeypatch.setattr(cnf, "_MOST_STEPS", 4)
    model = CNF(3, hidden_dims=[4], steps=3)
    with caplog.at_level(logging.WARNING):
        model.fit(ROWS, epochs=1)
    assert model.steps_taken == 3
    assert caplog.text == ""


def test_a_new_fit_goes_back_to_the_steps_of_training():
    model = CNF(3, rtol=0.0, atol=1e-4, **SMALL)
    model.fit(ROWS**3, epochs=3)
    assert model.steps_taken > 1
    model._reset(seed=0)
    assert model.steps_taken == 1


def test_the_steps_are_saved(tmp_path):
    from gormpo_density import load_model

    model = CNF(3, rtol=0.0, atol=1e-4, **SMALL)
    model.fit(ROWS**3, epochs=3)
    model.save(tmp_path)
    assert load_model(tmp_path).steps_taken == model.steps_taken
