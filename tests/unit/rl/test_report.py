import math
import re
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gormpo_density.data.transitions import DatasetInfo
from rl import plots
from rl.config import load_mopo_config
from rl.evaluate import Evaluation
from rl.report import summarise, write_mopo_report
from rl.results import MOPOResults

INFO = DatasetInfo("gormpo/hopper/medium-v0", "minari", env_id="Hopper-v5")
METRICS: dict[str, Any] = {
    "dataset": "gormpo/hopper/medium-v0",
    "dataset_requested": "gormpo/hopper/medium-v0",
    "env_id": "Hopper-v5",
    "episodes": 50,
    "return_mean": 2532.4,
    "return_ci_low": 2296.0,
    "return_ci_high": 2768.8,
    "normalized_score": 78.4,
    "stochastic_return_mean": 2396.0,
    "behaviour_return": 1574.0,
    "clone_return_mean": 1279.0,
    "clone_stochastic_return_mean": 1610.0,
    "q_returns": 305.0,
    "q_alarm_epoch": None,
    "return_last": 2478.0,
    "return_last10_mean": 2165.0,
    "return_best": 2631.0,
}
DETERMINISTIC = Evaluation(np.array([2300.0, 2700.0]), np.array([700, 900]))
STOCHASTIC = Evaluation(np.array([1900.0, 2100.0]), np.array([600, 800]))
CLONE = Evaluation(np.array([1100.0, 1300.0]), np.array([400, 500]))
EVALUATIONS = {"reported": (DETERMINISTIC, STOCHASTIC), "clone": (CLONE, CLONE)}
HISTORY = {
    "updates": [1000.0, 2000.0, 3000.0, 4000.0],
    "critic_loss": [4.0, 2.0, 1.0, 0.9],
    "kl": [0.1, 0.2, 0.3, 0.4],
    "q_data": [313.0, 310.0, 300.0, 296.0],
    "coef": [1.0] * 4,
    "penalty_mean": [0.3, 0.31, 0.29, 0.3],
    "flagged_fraction": [0.13, 0.14, 0.13, 0.12],
    "return_det": [math.nan, 1382.0, math.nan, 2478.0],
    "return_stoch": [math.nan, 1165.0, math.nan, 2030.0],
}
ON_THE_WAY = ("return_last", "return_last10_mean", "return_best")
STATES = np.random.default_rng(0).normal(size=(20, 3))


@pytest.fixture
def written(tmp_path):
    """A function that reports on a run, and gives the page and the names of the figures."""

    def write(*settings: str, metrics: dict[str, Any] = METRICS, **parts) -> SimpleNamespace:
        config = load_mopo_config(None, ["task=hopper-medium-v2", *settings])
        if "history" not in parts:  # no evaluations on the way
            metrics = {k: v for k, v in metrics.items() if k not in ON_THE_WAY}
        results = MOPOResults(INFO, **({"history": {}, "evaluations": EVALUATIONS} | parts))
        write_mopo_report(tmp_path, config, metrics, results)
        page = (tmp_path / "report.html").read_text()
        names = sorted(path.stem for path in (tmp_path / "plots").glob("*.png"))
        return SimpleNamespace(page=page, names=names)

    return write


def test_a_run_of_mopo_shows_everything(written) -> None:
    report = written(
        history=HISTORY,
        q_alarm=335.5,
        dynamics_history={"train_loss": [1.0, 0.5], "val_loss": [1.0, 0.6]},
        dynamics_r2={"obs 0": 0.99, "reward": 0.9},
        states={"data": STATES, "model rollouts": STATES, "policy": STATES},
    )
    names = ["dynamics", "learning", "penalty", "returns", "states", "values"]
    assert report.names == names
    assert report.page.count("<figure") == len(names)
    assert "<h1>hopper-medium-v2: MOPO, penalty density</h1>" in report.page
    assert "2,532 (95 % interval 2,296 to 2,769)" in report.page
    assert "best, known with hindsight" in report.page
    assert "average of the actors on the way (EMA)" in report.page
    assert "a label only" in report.page
    assert "not on this machine" not in report.page
    assert "over-estimate" not in report.page
    assert "under noise" not in report.page


def test_noise_of_the_environment_is_told(written) -> None:
    report = written("evaluation.noise={obs_rate: 1, obs_scale: 0.1}")
    assert "All episodes in the environment are under noise" in report.page
    assert "obs_rate 1, obs_scale 0.1" in report.page


def test_a_clone_is_a_table_and_nothing_drawn(written) -> None:
    report = written("algorithm=bc", metrics=METRICS | {"normalized_score": None})
    assert report.names == []
    assert "<h1>hopper-medium-v2: behaviour cloning</h1>" in report.page
    assert "reported, deterministic" in report.page
    assert "EMA" not in report.page
    assert "a label only" not in report.page


def test_without_a_model_there_is_no_penalty(written) -> None:
    history = {key: values for key, values in HISTORY.items() if key != "penalty_mean"}
    assert written("algorithm=td3bc", history=history).names == ["learning", "returns", "values"]


def test_what_a_reader_must_know_comes_first(written) -> None:
    metrics = METRICS | {"dataset_requested": "hopper-medium-v2", "q_alarm_epoch": 3}
    page = written("evaluation.actor=last", metrics=metrics).page
    first = "hopper-medium-v2 is not on this machine: gormpo/hopper/medium-v0 was used"
    assert page.index(first) < page.index("From epoch 3 on") < page.index("is the last actor")


def test_a_policy_below_its_clone_is_told(written) -> None:
    assert "The clone returns more" not in written().page
    page = written(metrics=METRICS | {"clone_return_mean": 2800.0}).page
    assert "The clone returns more: 2,800." in page


def test_each_way_of_acting_has_its_own_row_and_its_own_interval(written, monkeypatch) -> None:
    drawn: dict[str, Any] = {}

    def keep(name: str) -> Any:
        original = getattr(plots, name)

        def draw(*args: Any) -> Any:
            drawn[name] = [*drawn.get(name, []), args]
            return original(*args)

        return draw

    for name in ("plot_returns", "plot_curves"):
        monkeypatch.setattr(plots, name, keep(name))
    page = written("calibration.alpha=0.07", history=HISTORY, q_alarm=335.5).page
    text = re.sub("<[^>]*>", " ", page)
    assert re.search(r"reported, deterministic\s+2,?500\b", text)
    assert re.search(r"reported, stochastic\s+2,?000\b", text)
    ((_, references, final),) = drawn["plot_returns"]
    assert references == {"data": 1574.0, "behaviour cloning": 1279.0}
    assert [final[way].estimate for way in ("return_det", "return_stoch")] == [2500, 2000]
    _, (_, panels) = drawn["plot_curves"]
    assert panels["flagged_fraction"].level == (0.07, "aimed at: 7.0%")


def test_what_cannot_be_known_is_left_out(written) -> None:
    assert "mean of the last 2<" in written(history=HISTORY, q_alarm=335.5).page
    one_episode = METRICS | {"return_ci_low": math.nan, "return_ci_high": math.nan}
    assert dict(summarise(one_episode))["return, deterministic, 50 episodes"] == "2,532"
    report = written("history.beside=true", history=HISTORY, q_alarm=335.5)
    assert report.names == ["learning", "penalty", "returns", "values"]


def test_returns_are_normalised_with_their_spread(written) -> None:
    page = written().page
    low, high = -20.272305, 3234.3
    assert f"{100 * (2500 - low) / (high - low):.3f}" in page
    assert f"{100 * 200 / (high - low):.3f}" in page


def test_the_summary_tells_the_clone_and_the_data_too() -> None:
    assert summarise(METRICS) == [
        ("return, deterministic, 50 episodes", "2,532 (95 % interval 2,296 to 2,769)"),
        ("return, stochastic", "2,396"),
        ("behaviour cloning, deterministic and stochastic", "1,279, 1,610"),
        ("mean return of the data", "1,574"),
    ]
