from argparse import Namespace

import numpy as np
import pytest
import torch

from gormpo_density.data import sources
from gormpo_density.data.columns import from_columns
from gormpo_density.data.rl import load_rl_data, load_rl_data_for_vae
from gormpo_density.errors import ConfigError

N_EPISODES, LENGTH = 50, 10
N = N_EPISODES * LENGTH
OBS = np.stack([np.repeat(np.arange(N_EPISODES), LENGTH), np.tile(np.arange(LENGTH), 50)], axis=1)
COLUMNS = {
    "observations": OBS,
    "actions": OBS[:, :1] / 100,
    "next_observations": OBS + np.array([0, 1]),
    "terminals": np.zeros(N),
    "timeouts": np.tile(np.arange(LENGTH) == LENGTH - 1, N_EPISODES),
}


class Env:
    def get_dataset(self):
        return COLUMNS


@pytest.fixture
def path(tmp_path):
    np.savez(tmp_path / "own.npz", **COLUMNS)
    return str(tmp_path / "own.npz")


def test_rows_are_next_observation_and_action_split_by_episode(path):
    parts = load_rl_data(Namespace(data_path=path, task="custom", obs_dim=2, action_dim=1))
    assert [len(part) for part in parts] == [300, 100, 100]
    assert all(part.dtype == torch.float32 for part in parts)
    rows = torch.cat(parts)
    torch.testing.assert_close(rows[:, 2], rows[:, 0] / 100)
    assert set(rows[:, 1].tolist()) == set(range(1, LENGTH + 1))
    episodes = [set(part[:, 0].tolist()) for part in parts]
    assert sum(map(len, episodes)) == len(set.union(*episodes)) == N_EPISODES


def test_no_split_is_the_tail_of_the_file(path):
    for part in load_rl_data({"data_path": path}):
        assert 5 < part[:, 0].mean() < 45


def test_the_vae_loader_also_gives_the_width(path):
    *parts, width = load_rl_data_for_vae({"data_path": path}, None, 0.1, 0.3)
    assert [len(part) for part in parts] == [300, 50, 150]
    assert width == 3
    for part, other in zip(parts, load_rl_data({"data_path": path}, None, 0.1, 0.3), strict=True):
        assert torch.equal(part, other)


def test_the_seed_of_args_fixes_the_split(path):
    first = [load_rl_data({"data_path": path, "seed": seed})[0][:, 0] for seed in (0, 0, 1)]
    assert torch.equal(first[0], first[1])
    assert not torch.equal(first[0], first[2])


def test_an_environment_may_hold_the_data():
    args = Namespace(data_path=None, task="hopper-medium-v2", obs_shape=(2,), action_dim=1)
    assert len(load_rl_data(args, Env())[0]) == 300


def test_a_task_is_looked_up(monkeypatch):
    data = from_columns(COLUMNS)
    asked = []
    monkeypatch.setattr(sources, "load_dataset", lambda task: asked.append(task) or data)
    assert len(load_rl_data({"task": "hopper-medium-v2"})[0]) == 300
    assert asked == ["hopper-medium-v2"]


@pytest.mark.parametrize(
    ("widths", "problems"),
    [
        ({"obs_dim": (11,)}, ("obs_dim is 11, but own.npz has 2",)),
        (
            {"obs_dim": 11, "action_dim": 3},
            ("obs_dim is 11, but own.npz has 2", "action_dim is 3, but own.npz has 1"),
        ),
        ({"obs_shape": (2, 2)}, ("a width must be one number, got (2, 2)",)),
    ],
)
def test_widths_that_contradict_the_data(widths, problems, path):
    with pytest.raises(ConfigError) as caught:
        load_rl_data({"data_path": path, **widths})
    assert caught.value.problems == problems


def test_no_data_is_told():
    with pytest.raises(ConfigError, match="neither data_path nor task"):
        load_rl_data(Namespace(data_path=None), env=object())
