"""MOPO from data to metrics on a task whose returns are known.

A random policy gets -2.5, that of the data 2.1, one that goes straight to 0 gets 17.9.
"""

import numpy as np
import pytest
import torch

from gormpo_density.persistence import load_tensors

BEHAVIOUR, GOOD = 2.1, 10.0


def test_it_beats_the_policy_of_the_data(finished) -> None:
    metrics = finished.metrics
    assert metrics["behaviour_return"] == pytest.approx(BEHAVIOUR, abs=0.1)
    assert metrics["clone_return_mean"] < 5
    assert metrics["return_mean"] > GOOD
    assert metrics["stochastic_return_mean"] > GOOD
    assert 0 < metrics["flagged_fraction"] < 0.2
    assert metrics["env_id"] == "point_mass:PointMass-v0"
    assert len(finished.history) == 1 + 6


def test_one_seed_gives_one_result_whatever_the_global_state(mopo, finished, tmp_path) -> None:
    """The second makes every part itself, the first may have found them."""
    torch.manual_seed(7)
    np.random.seed(7)  # noqa: NPY002  (the global state is the point)
    mopo(stages=tmp_path / "stages").assert_equals(finished)


def test_another_seed_gives_another_result(mopo) -> None:
    short = ("sac.epochs=1", "sac.steps_per_epoch=20", "evaluation.episodes=2")
    runs = [mopo(*short, f"seed={seed}", name=str(seed)) for seed in (0, 1)]
    assert runs[0].history != runs[1].history


SHORT = ("sac.epochs=2", "sac.steps_per_epoch=40", "rollout.frequency=30")
SHORT += ("evaluation.episodes=3", "evaluation.every=0")


@pytest.mark.parametrize(
    "name", ["none", "mopo", "disagreement", "total_std", "density", "combination"]
)
def test_every_penalty_makes_a_run(mopo, name) -> None:
    metrics = mopo(*SHORT, f"penalty.name={name}").metrics
    assert metrics["penalty"] == name
    assert np.isfinite(metrics["return_mean"])
    assert (metrics["penalty_mean"] > 0) == (name != "none")
    assert (metrics["flagged_fraction"] is not None) == (name in ("density", "combination"))


def test_behaviour_cloning_is_the_clone_and_nothing_more(mopo) -> None:
    run = mopo("algorithm=bc")
    assert run.metrics["return_mean"] == run.metrics["clone_return_mean"]
    assert "q_data" not in run.metrics
    assert (run.metrics["actor"], run.metrics["penalty"]) == ("clone", None)
    assert not (run.path / "history.csv").exists()
    assert [file.name for file in (run.path / "policy").iterdir()] == ["clone.safetensors"]


def test_noise_of_actions_lowers_what_a_policy_earns(mopo) -> None:
    quiet = mopo("algorithm=bc", name="quiet").metrics
    pushed = mopo(
        "algorithm=bc", "evaluation.noise={action_rate: 1, loc: 1}", name="pushed"
    ).metrics
    assert pushed["return_mean"] < quiet["return_mean"] - 3
    assert pushed["behaviour_return"] == quiet["behaviour_return"]


def test_td3bc_is_better_than_its_data_without_a_model(mopo) -> None:
    run = mopo("algorithm=td3bc")
    assert run.metrics["return_mean"] > 5
    assert "penalty_mean" not in run.metrics
    assert not (run.path / "dynamics").exists()


@pytest.mark.parametrize(
    "settings",
    [
        ("penalty.truncate=0.5",),
        ("penalty.coef=auto",),
        ("sac.warm_start=false", "sac.kl=0"),
        ("sac.real_ratio=0",),
        ("rollout.termination=learned",),
        ("data.rows=next_state_action",),
        ("penalty.calibrate_on=data", "evaluation.actor=last"),
    ],
)
def test_what_a_configuration_can_say_makes_a_run(mopo, settings) -> None:
    run = mopo(*SHORT, *settings)
    assert np.isfinite(run.metrics["return_mean"])


def test_dynamics_and_density_of_another_run_are_reused(mopo, finished, tmp_path) -> None:
    parts = f"dynamics.run={finished.path}", f"density={finished.path}"
    mopo(*parts, stages=tmp_path / "stages").assert_equals(finished)
    made = {path.name.partition("-")[0] for path in (tmp_path / "stages").iterdir()}
    assert made == {"clone", "critics"}


def test_a_finished_run_holds_what_it_promises(finished) -> None:
    for name in ("config.yaml", "versions.json", "history.csv", "metrics.json", "tensorboard"):
        assert (finished.path / name).exists()
    for name in ("clone", "last", "ema"):
        weights, _ = load_tensors(finished.path / "policy" / f"{name}.safetensors")
        assert all(value.isfinite().all() for value in weights.values())
    columns, *rows = (line.split(",") for line in finished.history)
    assert columns[:2] == ["epoch", "updates"]
    assert {"q_data", "coef", "penalty_mean", "return_det", "return_stoch"} < set(columns)
    measured = [row[columns.index("return_det")] for row in rows]
    assert [value == "nan" for value in measured] == [True, False] * 3  # evaluation.every is 2


def test_actions_that_no_policy_can_take_are_told(mopo, line, tmp_path, caplog) -> None:
    with np.load(line) as arrays:
        np.savez(tmp_path / "far.npz", **{**arrays, "action": 10 * arrays["action"]})
    short = ("algorithm=bc", "bc.steps=2", "evaluation.episodes=1")
    mopo(*short, f"data.data_path={tmp_path / 'far.npz'}", stages=tmp_path / "stages")
    assert "of the actions are beyond the bounds of point_mass:PointMass-v0" in caplog.text
    caplog.clear()
    mopo(*short, name="near", stages=tmp_path / "stages")
    assert caplog.text == ""
