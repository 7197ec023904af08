import numpy as np
import pytest

from gormpo_density import density_data
from gormpo_density.config import DataConfig
from gormpo_density.data import minari
from gormpo_density.density_data import (
    check_density_data,
    load_density_data,
    load_other_rows,
)
from gormpo_density.errors import ConfigError, DataError, ShapeError

N_EPISODES, LENGTH = 20, 10
N = N_EPISODES * LENGTH


@pytest.fixture
def arrays():
    """Transitions whose numbers tell where they come from: obs = row, action = row / 1000."""
    row = np.arange(N, dtype=np.float32)
    return {
        "obs": np.stack([row, -row], axis=1),
        "action": row[:, None] / 1000,
        "reward": np.zeros(N),
        "next_obs": np.stack([row + 1, -row - 1], axis=1),
        "episode": np.repeat(np.arange(N_EPISODES), LENGTH),
    }


@pytest.fixture
def npz(tmp_path, arrays):
    np.savez(tmp_path / "own.npz", **arrays)
    return tmp_path / "own.npz"


def load(path=None, seed=0, **values):
    return load_density_data(DataConfig(data_path=path, **values), seed, progress=False)


def test_every_row_is_in_one_split_with_its_episode(npz) -> None:
    data = load(npz)
    assert data.input_dim == 3
    assert (data.obs_dim, data.action_dim, data.info.name) == (2, 1, "own.npz")
    rows = np.concatenate(list(data.rows.values()))
    assert sorted(rows[:, 0]) == list(range(N))
    np.testing.assert_allclose(rows[:, 2], rows[:, 0] / 1000)
    assert {name: len(part) for name, part in data.rows.items()} == {
        **{"train": 140, "val": 20, "cal": 20, "test": 20},
    }
    for name, part in data.rows.items():
        np.testing.assert_array_equal(data.episodes[name], part[:, 0] // LENGTH)
    assert [data.n_episodes(name) for name in data.rows] == [14, 2, 2, 2]
    assert data.left_out.shape == (0, 3)


def test_the_seed_and_the_ratios_decide_the_splits(npz) -> None:
    first, again, other = load(npz), load(npz), load(npz, seed=1)
    np.testing.assert_array_equal(first.rows["test"], again.rows["test"])
    assert not np.array_equal(first.rows["test"], other.rows["test"])
    larger = load(npz, test_ratio=0.5, val_ratio=0.05, cal_ratio=0.2)
    assert [len(part) for part in larger.rows.values()] == [50, 10, 40, 100]


@pytest.mark.parametrize(
    ("kind", "width", "action_dim"),
    [("state_action", 3, 1), ("next_state_action", 3, 1), ("state", 2, 0), ("transition", 6, 1)],
)
def test_a_row_is_what_the_configuration_says(npz, kind, width, action_dim) -> None:
    data = load(npz, rows=kind)
    assert (data.input_dim, data.obs_dim, data.action_dim) == (width, 2, action_dim)
    assert [len(bound) for bound in data.action_bounds] == [action_dim, action_dim]


def test_action_bounds_are_the_usual_ones_or_what_the_actions_span(tmp_path, arrays) -> None:
    assert [bound.tolist() for bound in density_data._bounds(arrays["action"])] == [[-1], [1]]
    wide = np.array([[0.5, -3], [2, 0]], dtype=np.float32)
    assert [bound.tolist() for bound in density_data._bounds(wide)] == [[-1, -3], [2, 1]]


def test_plain_rows_are_their_own_episodes_and_have_no_actions(tmp_path) -> None:
    np.savetxt(tmp_path / "rows.csv", np.arange(120).reshape(40, 3), delimiter=",")
    data = load(tmp_path / "rows.csv")
    assert (data.input_dim, data.obs_dim, data.action_dim) == (3, 3, 0)
    assert sum(data.n_episodes(name) for name in data.rows) == 40


def test_plain_rows_cannot_be_made_of_parts(tmp_path) -> None:
    np.save(tmp_path / "rows.npy", np.zeros((9, 3)))
    with pytest.raises(DataError, match=r"rows\.npy: holds plain rows of shape \(9, 3\)"):
        load(tmp_path / "rows.npy", rows="state")
    with pytest.raises(ConfigError, match=r"data\.sparse needs transitions with rewards"):
        load(tmp_path / "rows.npy", sparse=True)


def test_transitions_with_a_fault_are_not_taken_for_plain_rows(tmp_path, arrays) -> None:
    np.savez(tmp_path / "bad.npz", **{**arrays, "action": arrays["action"][:5]})
    with pytest.raises(ShapeError, match=r"bad\.npz: action has 5 rows, obs has 200"):
        load(tmp_path / "bad.npz")


@pytest.mark.parametrize(
    ("dataset", "place"),
    [("own", "own.npz"), ("own.npz", "own.npz"), ("own", "own/own.npz"), ("a/own", "a/own.npz")],
)
def test_a_folder_holds_the_file_or_a_folder_of_its_name(tmp_path, npz, dataset, place) -> None:
    folder = tmp_path / "data"
    (folder / place).parent.mkdir(parents=True)
    npz.rename(folder / place)
    assert load_density_data(DataConfig(dataset=dataset, data_dir=folder), 0).input_dim == 3


def test_an_absent_file_of_a_folder_is_named(tmp_path) -> None:
    with pytest.raises(DataError, match=rf"{tmp_path}: no file own \(\.npz, .*\) in it or in own"):
        load_density_data(DataConfig(dataset="own", data_dir=tmp_path), 0)


def test_every_stated_width_is_checked(npz) -> None:
    load(npz, obs_dim=2, action_dim=1, input_dim=3)
    with pytest.raises(ConfigError) as error:
        load(npz, obs_dim=11, action_dim=3, input_dim=3)
    assert error.value.problems == (
        "data.obs_dim is 11, but own.npz has 2",
        "data.action_dim is 3, but own.npz has 1",
    )


def test_too_few_rows_are_told_with_their_file(tmp_path) -> None:
    np.save(tmp_path / "few.npy", np.zeros((3, 2)))
    with pytest.raises(DataError, match=r"^few\.npy: 3 rows cannot fill 4 splits"):
        load(tmp_path / "few.npy")


@pytest.fixture
def sparse_npz(tmp_path, arrays):
    """Ten of the twenty episodes have one gentle, well rewarded row."""
    gentle = np.arange(0, N // 2, LENGTH)
    arrays["action"] = np.linspace(0.5, 1, N, dtype=np.float32)[:, None]
    arrays["reward"] = np.linspace(0, 1, N)
    arrays["action"][gentle], arrays["reward"][gentle] = 0.01, 5
    np.savez(tmp_path / "own.npz", **arrays)
    return tmp_path / "own.npz"


def test_sparse_data_keeps_what_it_leaves_out(sparse_npz) -> None:
    data = load(sparse_npz, sparse=True)
    assert data.info.name == "own.npz-sparse75"
    kept = np.concatenate(list(data.rows.values()))
    assert len(kept) == 150
    assert len(data.left_out) == 50
    assert sorted([*kept[:, 0], *data.left_out[:, 0]]) == list(range(N))
    assert data.left_out[:, 0].max() < N // 2


def test_other_rows_are_left_out_rows_another_file_or_a_dataset(sparse_npz, monkeypatch) -> None:
    config = DataConfig(data_path=sparse_npz, sparse=True)
    data = load_density_data(config, 0)
    assert load_other_rows("sparse", config, data) is data.left_out
    assert load_other_rows(str(sparse_npz), config, data).shape == (N, 3)
    monkeypatch.setitem(minari._PARTS, "random", {"random": 200})
    name = "gormpo/inverted_pendulum/random-v0"
    assert load_other_rows(name, config, data, progress=False).shape[1] == 5


def test_there_are_no_left_out_rows_unless_the_data_is_sparse(npz) -> None:
    with pytest.raises(ConfigError, match=r"ood level 'sparse' needs data\.sparse: true"):
        load_other_rows("sparse", DataConfig(data_path=npz), load(npz))


def test_a_task_is_loaded_under_its_own_name(monkeypatch) -> None:
    monkeypatch.setitem(minari._PARTS, "random", {"random": 400})
    data = load(dataset="inverted_pendulum-random-v2")
    assert data.info.requested == "inverted_pendulum-random-v2"
    assert data.info.name == "gormpo/inverted_pendulum/random-v0"
    assert (data.obs_dim, data.action_dim) == (4, 1)


def test_no_data_is_told() -> None:
    with pytest.raises(ConfigError, match=r"no data: give data\.dataset, data\.data_path or a"):
        load()


def test_a_check_makes_and_downloads_nothing(npz, monkeypatch) -> None:
    assert check_density_data(DataConfig(data_path=npz), 0) is None
    absent = npz.with_name("absent.npz")
    told = check_density_data(DataConfig(data_path=absent), 0)
    assert told == f"{absent} is not there (--data_path FILE names another)"
    monkeypatch.setattr(minari, "_create", None)
    embedded = "gormpo/hopper/medium-v0"
    told = check_density_data(DataConfig(dataset=embedded), 0)
    assert told == f"{embedded} is not here yet"
    told = check_density_data(DataConfig(dataset="hopper-medium-v2"), 0)
    assert told == (
        f"hopper-medium-v2 is not here yet, nor is {embedded}, which would stand in for it"
    )
    with pytest.raises(ConfigError, match=r"data\.obs_dim is 3"):
        check_density_data(DataConfig(data_path=npz, obs_dim=3), 0)
