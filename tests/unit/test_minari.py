import logging
from concurrent.futures import ThreadPoolExecutor

import gymnasium as gym
import minari
import numpy as np
import pytest
from minari.data_collector import EpisodeBuffer
from minari.dataset._storages.hdf5_storage import HDF5Storage
from minari.storage import get_dataset_path

import gormpo_density.data.minari as module
from gormpo_density.data.minari import embedded_ids, load_minari, reference_scores
from gormpo_density.errors import ConfigError, DataError

HOPPER = "gormpo/hopper/medium-v0"


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """A hundred times smaller datasets."""
    monkeypatch.setattr(module, "_DIVISOR", dict.fromkeys(module.ENV_IDS, 100))


def load(dataset_id=HOPPER):
    return load_minari(dataset_id, progress=False)


def test_there_are_five_levels_of_four_environments():
    assert len(embedded_ids()) == 20
    assert "gormpo/inverted_pendulum/medium-replay-v0" in embedded_ids()


def test_embedded_dataset_is_made_and_described():
    data = load()
    assert len(data) == 1000
    assert data.obs.shape[1] == 11
    assert data.info.name == HOPPER
    assert data.info.source == "embedded"
    assert data.info.env_id == "Hopper-v5"
    assert (data.info.ref_min_score, data.info.ref_max_score) == reference_scores("hopper")


def test_episodes_keep_one_more_observation_and_next_obs_never_crosses():
    data = load()
    for index, episode in enumerate(minari.load_dataset(HOPPER).iterate_episodes()):
        rows = data.episode == index
        assert len(episode.observations) == rows.sum() + 1
        np.testing.assert_allclose(data.obs[rows], episode.observations[:-1], rtol=1e-6)
        np.testing.assert_allclose(data.next_obs[rows], episode.observations[1:], rtol=1e-6)


def test_ends_are_the_last_rows_and_a_cut_is_no_termination():
    data = load("gormpo/inverted_pendulum/random-v0")
    last = np.append(np.diff(data.episode) == 1, True)
    np.testing.assert_array_equal(data.terminated | data.truncated, last)
    assert data.terminated.sum() == data.n_episodes - 1
    assert data.truncated[-1]
    assert not data.terminated[-1]


def test_made_twice_is_equal(tmp_path, monkeypatch):
    first = load()
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "elsewhere"))
    second = load()
    np.testing.assert_array_equal(first.obs, second.obs)
    np.testing.assert_array_equal(first.action, second.action)


def test_second_load_reads_what_is_stored(monkeypatch):
    first = load()
    monkeypatch.setattr(module, "collect", None)
    np.testing.assert_array_equal(first.reward, load().reward)


def test_levels_do_not_share_rows():
    medium, both = load(), load("gormpo/hopper/medium-expert-v0")
    assert not set(medium.obs[:, 0]) & set(both.obs[:, 0])


def test_minari_can_normalise_scores():
    load()
    dataset = minari.load_dataset(HOPPER)
    low, high = reference_scores("hopper")
    scores = minari.get_normalized_score(dataset, np.array([low, high]))
    assert scores == pytest.approx([0, 1])


def test_pendulum_reference_is_the_measured_random_return():
    low, high = reference_scores("inverted_pendulum")
    assert 0 < low < 20
    assert high == 1000


@pytest.mark.parametrize("damage", ["no metadata", "no data", "cut short"])
def test_broken_dataset_is_made_again(damage, caplog):
    whole = load()
    folder = get_dataset_path(HOPPER) / "data"
    match damage:
        case "no metadata":
            (folder / "metadata.json").unlink()
        case "no data":
            (folder / "main_data.hdf5").unlink()
        case "cut short":
            content = (folder / "main_data.hdf5").read_bytes()
            (folder / "main_data.hdf5").write_bytes(content[: len(content) // 2])
    with caplog.at_level(logging.WARNING):
        again = load()
    assert "making it again" in caplog.text
    np.testing.assert_array_equal(again.obs, whole.obs)


def test_interrupted_creation_is_made_again(monkeypatch):
    def interrupt(*_args, **_kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(HDF5Storage, "update_episodes", interrupt)
        with pytest.raises(KeyboardInterrupt):
            load()
    assert get_dataset_path(HOPPER).exists()
    assert len(load()) == 1000


def test_two_makers_at_once_make_it_once(monkeypatch):
    collect, calls = module.collect, []

    def counted(*args, **kwargs):
        calls.append(args)
        return collect(*args, **kwargs)

    monkeypatch.setattr(module, "collect", counted)
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(load, [HOPPER, HOPPER])
    np.testing.assert_array_equal(first.obs, second.obs)
    assert len(calls) == 1


def test_disk_full_is_a_data_error(monkeypatch):
    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(minari, "create_dataset_from_buffers", full)
    with pytest.raises(DataError, match=f"cannot store dataset {HOPPER}.*No space left"):
        load()


def test_minari_folder_that_cannot_be_made_is_a_data_error(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "file" / "folder"))
    with pytest.raises(DataError, match="folder cannot be made"):
        load()


def store(dataset_id, observation_space, action_space, env=None):
    """Store one episode of three steps, as another package might."""
    minari.create_dataset_from_buffers(
        dataset_id,
        [
            EpisodeBuffer(
                observations=np.stack([observation_space.sample() for _ in range(4)]),
                actions=np.stack([action_space.sample() for _ in range(3)]),
                rewards=np.arange(3.0),
                terminations=np.array([False, False, True]),
                truncations=np.zeros(3, dtype=bool),
            )
        ],
        env=env,
        eval_env=env or "Hopper-v5",
        observation_space=observation_space,
        action_space=action_space,
        **dict.fromkeys(("algorithm_name", "author", "author_email", "description"), "test"),
        code_permalink="test",
    )


BOX = gym.spaces.Box(-1, 1, (2,), np.float64, seed=0)


def test_other_minari_dataset_gets_reference_scores_of_its_environment():
    store("lab/hopper/tiny-v0", BOX, BOX, env="Hopper-v5")
    data = load("lab/hopper/tiny-v0")
    assert data.info.source == "minari"
    assert (data.info.ref_min_score, data.info.ref_max_score) == reference_scores("hopper")
    np.testing.assert_array_equal(data.reward, [0, 1, 2])
    np.testing.assert_array_equal(data.obs[1:], data.next_obs[:-1])


@pytest.mark.filterwarnings("ignore:env_spec is None")
def test_discrete_actions_are_refused():
    store("lab/discrete-v0", BOX, gym.spaces.Discrete(3, seed=0))
    with pytest.raises(DataError, match=r"lab/discrete-v0.*action_space is Discrete"):
        load("lab/discrete-v0")


def test_unknown_embedded_id_suggests_one():
    with pytest.raises(ConfigError, match="did you mean 'gormpo/hopper/medium-v0'"):
        load("gormpo/hoper/medium-v0")


@pytest.mark.parametrize("name", ["../x-v0", "/etc-v0", "a b-v0", "hopper", ""])
def test_what_is_no_id_is_refused(name):
    with pytest.raises(ConfigError, match="not a Minari id"):
        load(name)


def test_failed_download_names_an_embedded_dataset(monkeypatch):
    def offline(_):
        raise ConnectionError("no route to host")

    monkeypatch.setattr(minari, "download_dataset", offline)
    with pytest.raises(DataError, match=r"no route to host.*'gormpo/hopper/medium-v0'"):
        load("mujoco/hopper/medium-v0")
