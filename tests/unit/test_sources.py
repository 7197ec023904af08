import logging

import h5py
import numpy as np
import pytest

import gormpo_density.data.minari as minari_module
from gormpo_density.data.minari import load_minari
from gormpo_density.data.sources import is_here, load_dataset, resolve_task
from gormpo_density.data.transitions import DatasetInfo
from gormpo_density.errors import ConfigError


@pytest.fixture(autouse=True)
def no_real_data(monkeypatch, tmp_path):
    """No D4RL files on this machine, and embedded datasets of 1,000 steps."""
    monkeypatch.setenv("D4RL_DATASET_DIR", str(tmp_path / "d4rl"))
    monkeypatch.setattr(minari_module, "_DIVISOR", dict.fromkeys(minari_module.ENV_IDS, 100))


def test_embedded_id_is_loaded_as_it_is():
    data = load_dataset("gormpo/hopper/medium-v0", progress=False)
    assert data.info.name == "gormpo/hopper/medium-v0"
    assert data.info.requested is None


def test_substitution_is_said_and_recorded(caplog):
    with caplog.at_level(logging.WARNING):
        is_here("hopper-medium-v2")  # says nothing: a dry run checks, then loads
        data = load_dataset("hopper-medium-v2", progress=False)
    embedded = "using the embedded gormpo/hopper/medium-v0 instead"
    assert caplog.messages == [f"hopper-medium-v2 is not on this machine; {embedded}"]
    assert data.info.requested == "hopper-medium-v2"
    assert data.info.name == "gormpo/hopper/medium-v0"
    assert data.info.source == "embedded"


@pytest.mark.parametrize(
    ("task", "embedded"),
    [
        ("halfcheetah-medium-replay-v2", "gormpo/halfcheetah/medium-replay-v0"),
        ("walker2d-random-v0", "gormpo/walker2d/random-v0"),
        ("inverted_pendulum-medium-expert-v1", "gormpo/inverted_pendulum/medium-expert-v0"),
    ],
)
def test_every_task_has_an_embedded_stand_in(task, embedded):
    assert resolve_task(task) == embedded


def test_real_set_in_the_minari_folder_wins(monkeypatch):
    monkeypatch.setattr(
        "gormpo_density.data.sources.is_local", lambda id_: id_ == "D4RL/hopper/medium-v2"
    )
    assert resolve_task("hopper-medium-v2") == "D4RL/hopper/medium-v2"


def test_real_file_of_d4rl_wins(tmp_path):
    file = tmp_path / "d4rl" / "hopper_medium_replay-v2.hdf5"
    file.parent.mkdir()
    file.touch()
    assert resolve_task("hopper-medium-replay-v2") == file


def test_real_file_of_d4rl_is_loaded_and_described(tmp_path):
    (tmp_path / "d4rl").mkdir()
    with h5py.File(tmp_path / "d4rl" / "walker2d_medium-v2.hdf5", "w") as file:
        file["observations"] = np.arange(40.0).reshape(4, 10)
        file["next_observations"] = np.arange(40.0).reshape(4, 10) + 10
        file["actions"] = np.zeros((4, 2))
        file["rewards"] = np.ones(4)
        file["terminals"] = np.array([False, True, False, False])
        file["timeouts"] = np.array([False, False, False, True])
    data = load_dataset("walker2d-medium-v2")
    assert data.n_episodes == 2
    assert data.info == DatasetInfo(
        name="walker2d_medium-v2.hdf5",
        source="file",
        requested="walker2d-medium-v2",
        env_id="Walker2d-v4",
        ref_min_score=1.629008,
        ref_max_score=4592.3,
    )


def test_local_minari_dataset_without_a_namespace_is_found(monkeypatch):
    data = load_minari("gormpo/hopper/random-v0", progress=False)
    monkeypatch.setattr("gormpo_density.data.sources.is_local", lambda id_: id_ == "mine-v0")
    monkeypatch.setattr("gormpo_density.data.sources.load_minari", lambda *_, **__: data)
    np.testing.assert_array_equal(load_dataset("mine-v0").obs, data.obs)


def test_custom_needs_a_file():
    with pytest.raises(ConfigError, match="data_path"):
        load_dataset("custom")


@pytest.mark.parametrize(
    ("task", "suggestion"),
    [
        ("hoper-medium-v2", "hopper-medium-v2"),
        ("hopper-medium", "hopper-medium-v2"),
        ("walker2d-medium-reply-v2", "walker2d-medium-replay-v2"),
        ("hopper-medium-v9", "hopper-medium-v2"),
    ],
)
def test_unknown_task_suggests_one(task, suggestion):
    with pytest.raises(ConfigError, match=f"did you mean '{suggestion}'"):
        load_dataset(task)
