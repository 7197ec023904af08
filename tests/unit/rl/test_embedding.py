"""States that are embedded: whose they are, how many, and what mixes with what."""

import io
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from rl import embedding
from rl.config import load_mopo_config
from rl.diagnosis_plots import plot_embedding
from rl.embedding import embed_states, visited_states


@pytest.fixture(autouse=True)
def _few_states(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding, "MOST_STATES", 60)


def cloud(n: int, seed: int, centre: float = 0.0) -> np.ndarray:
    return centre + np.random.default_rng(seed).normal(size=(n, 4)) * [1, 10, 100, 0]


def test_what_mixes_stays_mixed_and_what_is_apart_stays_apart() -> None:
    sets = {"data": cloud(200, 0), "like it": cloud(50, 1), "far": cloud(80, 2, centre=1e4)}
    points = embed_states(sets)
    assert {name: rows.shape for name, rows in points.items()} == {
        "data": (60, 2),
        "like it": (50, 2),
        "far": (60, 2),
    }

    def share_of_data_nearby(name: str) -> float:
        """How many of the ten points nearest to a point are the data's."""
        everyone = np.concatenate([points["data"], points[name]])
        away = np.linalg.norm(points[name][:, None] - everyone, axis=2)
        nearest = np.argsort(away, axis=1)[:, 1:11]
        return float((nearest < len(points["data"])).mean())

    assert share_of_data_nearby("like it") > 0.35
    assert share_of_data_nearby("far") == 0.0


def test_a_seed_gives_the_same_points() -> None:
    sets = {"data": cloud(80, 0), "policy": cloud(20, 1)}
    once, again, other = (embed_states(sets, seed)["policy"] for seed in (1, 1, 2))
    np.testing.assert_array_equal(once, again)
    assert not np.array_equal(once, other)


def test_every_set_is_drawn_over_the_data() -> None:
    points = {"data": cloud(9, 0)[:, :2], "p_$": cloud(5, 1)[:, :2], "q": cloud(5, 2)[:, :2]}
    figure = plot_embedding(points)
    figure.savefig(io.BytesIO(), format="png")
    first, second = figure.axes
    assert second.get_title("left") == "q"
    np.testing.assert_array_equal(first.collections[0].get_offsets(), points["data"])
    np.testing.assert_array_equal(second.collections[2].get_offsets(), points["q"])
    assert first.get_xlim() == second.get_xlim()


class Drift:
    """A model whose states move on by the action."""

    def sample(
        self, obs: Tensor, action: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, ...]:
        return obs + action, obs[:, 0]


def run_of(act: float) -> SimpleNamespace:
    obs = torch.arange(20.0)[:, None]
    policy, clone = (
        SimpleNamespace(act=lambda obs, generator, a=a: torch.full_like(obs, a))
        for a in (act, -act)
    )
    data = SimpleNamespace(obs=obs, splits={"test": torch.arange(10, 20)}, device=obs.device)
    config = load_mopo_config(None, ["task=x"])
    parts = {"policy": policy, "clone": clone, "dynamics": Drift()}
    return SimpleNamespace(data=data, config=config, env_id="Line-v0", **parts)


def ends_at_22(obs: Tensor, action: Tensor, next_obs: Tensor) -> Tensor:
    return next_obs[:, 0] >= 22


@pytest.fixture
def _line(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment that shows what a policy does from state 0, three times."""

    def lived(act: Any, *_: object, **__: object) -> SimpleNamespace:
        return SimpleNamespace(visited=(act(torch.zeros(3, 1)).numpy(),))

    monkeypatch.setattr(embedding, "evaluate_policy", lived)


@pytest.mark.usefixtures("_line")
def test_rollouts_start_at_held_out_states_and_stop_at_terminal_ones() -> None:
    states = visited_states(run_of(2.0), 10, 3, 0, ends_at_22)
    assert [*states] == [
        "data",
        "clone in the environment",
        "policy in the environment",
        "policy in the model",
    ]
    np.testing.assert_array_equal(states["data"][:, 0], np.arange(10, 20))
    for name, act in (("clone", -2.0), ("policy", 2.0)):
        lived = states[f"{name} in the environment"]
        np.testing.assert_array_equal(lived, np.full((3, 1), act))
    expected = [start + 2 * step for start in range(10, 20) for step in (1, 2, 3)]
    found = np.sort(states["policy in the model"][:, 0])
    np.testing.assert_array_equal(found, sorted(state for state in expected if state < 22))


@pytest.mark.usefixtures("_line")
def test_a_model_that_runs_away_is_not_followed() -> None:
    far = visited_states(run_of(1e9), 4, 3, 0, ends_at_22)
    assert far["policy in the model"].shape == (0, 1)
    near = visited_states(run_of(0.5), 4, 1, 0, ends_at_22)
    assert near["policy in the model"].shape == (4, 1)
