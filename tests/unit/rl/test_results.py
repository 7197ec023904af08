from types import SimpleNamespace

import numpy as np
import torch

from gormpo_density.data.transitions import DatasetInfo
from rl.evaluate import Evaluation
from rl.results import collect_results

INFO = DatasetInfo("own.npz", "file")
OBS = torch.arange(12.0).reshape(6, 2)
DATA = SimpleNamespace(
    info=INFO,
    obs=OBS,
    action=torch.zeros(6, 1),
    reward=torch.arange(6.0),
    next_obs=OBS + 1,
    obs_dim=2,
    splits={"test": torch.tensor([1, 4])},
)
EPISODES = Evaluation(np.ones(2), np.ones(2), (np.zeros((3, 2)), np.ones((2, 2))))
UNSEEN = Evaluation(np.ones(2), np.ones(2))


def r2(obs, action, reward, next_obs) -> torch.Tensor:
    """Stands for the ensemble's: the sums of what it is asked about."""
    return torch.stack([obs.sum(), next_obs.sum(), reward.sum()])


def setup(**parts) -> SimpleNamespace:
    nothing = {"loop": None, "dynamics": None, "dynamics_history": None}
    return SimpleNamespace(data=DATA, **(nothing | parts))


def test_a_clone_has_states_and_returns_only() -> None:
    results = collect_results(setup(), {}, {"clone": (EPISODES, UNSEEN)})
    assert (results.info, results.dynamics_r2, results.dynamics_history) == (INFO, {}, {})
    assert np.isnan(results.q_alarm)
    assert list(results.states) == ["data", "policy in the environment"]
    assert results.states["data"].tolist() == [[2.0, 3.0], [8.0, 9.0]]
    assert len(results.states["policy in the environment"]) == 5


def test_the_dynamics_are_judged_on_test_rows_by_name() -> None:
    curves = {"train_loss": [1.0]}
    made = setup(dynamics=SimpleNamespace(r2=r2), dynamics_history=curves)
    results = collect_results(made, {}, {"policy": (UNSEEN, EPISODES)})
    assert results.dynamics_r2 == {"obs 0": 22.0, "obs 1": 26.0, "reward": 5.0}
    assert results.dynamics_history == curves
    assert list(results.states) == ["data"]


def test_the_newest_rollouts_are_shown() -> None:
    buffer = SimpleNamespace(
        generations={3: torch.full((2, 2), 3.0), 4: torch.full((2, 2), 4.0)},
        layout=SimpleNamespace(unpack=lambda rows: SimpleNamespace(obs=rows)),
    )
    loop = SimpleNamespace(buffer=buffer, probe=SimpleNamespace(limit=7.0))
    results = collect_results(setup(loop=loop), {}, {"policy": (EPISODES, UNSEEN)})
    assert results.q_alarm == 7.0
    assert results.states["model rollouts"].tolist() == [[4.0, 4.0]] * 2


def test_a_loop_without_a_model_has_no_rollouts() -> None:
    loop = SimpleNamespace(
        buffer=SimpleNamespace(generations={}), probe=SimpleNamespace(limit=7.0)
    )
    results = collect_results(setup(loop=loop), {}, {"policy": (EPISODES, UNSEEN)})
    assert "model rollouts" not in results.states
