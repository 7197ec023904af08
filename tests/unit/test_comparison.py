import json

import numpy as np
import pytest

from gormpo_density import comparison, registry
from gormpo_density.comparison import SavedRun, compare_runs
from gormpo_density.config import dump_config, load_config
from gormpo_density.density_data import load_density_data
from gormpo_density.errors import ConfigError, ModelFileError, RunFolderError
from gormpo_density.registry import make_model

N_EPISODES, LENGTH = 40, 10


@pytest.fixture
def npz(tmp_path):
    rng = np.random.default_rng(0)
    obs = rng.normal(size=(N_EPISODES * LENGTH, 2))
    action = np.tanh(obs[:, :1] + 0.1 * rng.normal(size=(len(obs), 1)))
    episode = np.repeat(np.arange(N_EPISODES), LENGTH)
    np.savez(tmp_path / "own.npz", obs=obs, action=action, episode=episode)
    return tmp_path / "own.npz"


@pytest.fixture
def save(tmp_path, npz):
    """Return a function that saves a run of a Gaussian mixture under a name, and opens it."""

    def saved(name, *settings, k=1, seed=0, data_path=npz):
        config = load_config(
            None,
            [
                *("model.name=gmm", f"data.data_path={data_path}", f"seed={seed}"),
                *("ood=[obs1, perm]", *settings),
            ],
        )
        data = load_density_data(config.data, seed)
        model = make_model("gmm", input_dim=data.input_dim, n_components=k)
        model.fit(data.rows["train"], data.rows["val"])
        model.calibrate(data.rows["cal"])
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").write_text(dump_config(config))
        model.save(tmp_path / name / "model")
        return SavedRun.open(tmp_path / name)

    return saved


def compare(*runs, ood=None):
    return compare_runs(runs, ood, progress=False)


def test_a_run_is_opened_with_its_configuration_and_its_model(save, tmp_path) -> None:
    run = save("first")
    assert (run.name, run.path) == ("first", tmp_path / "first")
    assert run.config.ood == ("obs1", "perm")
    assert run.model.calibration is not None


def test_what_is_no_run_is_told(save, tmp_path) -> None:
    with pytest.raises(RunFolderError, match="nowhere is not a run folder: it has no config"):
        SavedRun.open(tmp_path / "nowhere")
    run = save("first")
    (run.path / "model" / "model.safetensors").unlink()
    with pytest.raises(ModelFileError, match=r"first: no model\.safetensors in it, nor in its"):
        SavedRun.open(run.path)


def test_one_run_is_measured_on_its_own_sets_or_on_others(save, npz) -> None:
    run = save("first")
    found = compare(run)
    assert (list(found.evaluations), list(found.ood)) == (["first"], ["obs1", "perm"])
    assert found.differences == {}
    assert found.config_text == dump_config(run.config)
    other = compare(run, ood=["obs2", str(npz)])
    assert list(other.ood) == ["obs2", str(npz)]
    with pytest.raises(ConfigError, match="ood level 'ob2' is unknown, did you mean 'obs2'"):
        compare(run, ood=["ob2"])


def test_a_comparison_has_the_runs_own_test_rows(save) -> None:
    run = save("first")
    data = load_density_data(run.config.data, run.config.seed)
    found = compare(run).evaluations["first"]
    np.testing.assert_array_equal(found.splits["test"], run.model.score_samples(data.rows["test"]))


def test_the_difference_to_the_first_run_has_an_interval(save) -> None:
    first, copy, other = save("first"), save("copy"), save("other", k=3)
    found = compare(first, copy, other, ood=["obs1", "perm", "act0.5"])
    assert list(found.differences) == ["copy", "other"]
    assert found.differences["copy"] == (0, 0, 0)  # level in every resample
    aurocs = {
        name: np.mean([run.metrics[f"ood.{level}.roc_auc"] for level in found.ood])
        for name, run in found.evaluations.items()
    }
    estimate, low, high = found.differences["other"]
    assert estimate == pytest.approx(aurocs["other"] - aurocs["first"])
    assert low < estimate < high


def test_without_sets_there_is_no_difference(save) -> None:
    assert compare(save("first"), save("copy"), ood=[]).differences == {}


def test_runs_that_cannot_be_compared_are_all_told(save, tmp_path) -> None:
    first = save("first")
    others = [save("seed", seed=1), save("data", "data.test_ratio=0.2"), first]
    with pytest.raises(ConfigError) as error:
        compare(first, *others)
    problems = error.value.problems
    assert problems[0] == "two runs are called first"
    for problem, name in zip(problems[1:], ["seed", "data"], strict=True):
        assert problem.startswith(f"{tmp_path / name} has other data, splits or seed than ")


def test_widths_that_were_only_checked_make_no_other_data(save) -> None:
    found = compare(save("first"), save("flags", "data.obs_dim=2", "data.action_dim=1"))
    assert list(found.evaluations) == ["first", "flags"]


def test_a_single_test_episode_tells_nothing_about_others(save, tmp_path) -> None:
    rng = np.random.default_rng(0)
    path = tmp_path / "one.npz"
    np.savez(path, obs=rng.normal(size=(200, 2)), action=rng.normal(size=(200, 1)))
    found = compare(save("first", data_path=path), save("other", k=2, data_path=path))
    estimate, low, high = found.differences["other"]
    assert (low, high) == (-1, 1)
    assert -0.5 < estimate < 0.5


def test_rows_are_labelled_by_where_they_come_from(save, npz) -> None:
    run = save("first")
    found = compare(run, ood=["obs1", str(npz)])
    labels = comparison._episodes(run.config, found.data, found.ood)
    np.testing.assert_array_equal(labels["test"], labels["obs1"])
    assert len(set(labels["test"])) == found.data.n_episodes("test")
    assert set(labels["test"]).isdisjoint(labels[str(npz)])


@pytest.mark.parametrize(("n", "groups"), [(1, 1), (200, 200), (201, 101), (100_000, 200)])
def test_many_episodes_are_joined_to_few_groups(n, groups) -> None:
    labels = comparison._grouped(np.repeat(np.arange(n) * 3, 2))
    assert sorted(set(labels)) == list(range(groups))
    assert (labels[::2] == labels[1::2]).all()  # episodes stay whole
    assert (np.diff(labels) >= 0).all()


def test_an_ensemble_of_somebodys_own_models_is_opened_where_they_are_not_imported(
    tmp_path, npz, monkeypatch
) -> None:
    (tmp_path / "elsewhere.py").write_text(
        "from gormpo_density.models.gmm import GMM\nclass Mine(GMM):\n    pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))
    member = {"name": "elsewhere:Mine", "n_components": 1}
    settings = [f"model={{name: ensemble, k: 2, model: {json.dumps(member)}}}"]
    config = load_config(None, [f"data.data_path={npz}", *settings])
    data = load_density_data(config.data, 0)
    model = make_model("ensemble", input_dim=data.input_dim, **config.model.params)
    model.fit(data.rows["train"], data.rows["val"])
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text(dump_config(config))
    model.save(tmp_path / "run" / "model")
    del registry._registered["elsewhere:Mine"]
    assert SavedRun.open(tmp_path / "run").model.k == 2
