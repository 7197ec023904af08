import sys
from types import SimpleNamespace

import numpy as np
import pytest

from gormpo_density.errors import ConfigError, DataError
from gormpo_density.timeseries.labelled import LabelledSet, write_labelled
from gormpo_density.timeseries.labelled_sets import labelled_names, load_labelled

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(4, 5)), np.array([1, 2, 1, 2])


def write_pair(folder, name="Mine", suffix=".tsv", **changes):
    folder.mkdir(parents=True, exist_ok=True)
    for half in ("TRAIN", "TEST"):
        path = folder / f"{name}_{half}{suffix}"
        write_labelled(path, changes.get(half, X), Y - 1, ("1", "2"))
    return folder


@pytest.fixture
def function(monkeypatch):
    def register(returned):
        module = SimpleNamespace(load=lambda: returned, number=3)
        monkeypatch.setitem(sys.modules, "my_sets", module)
        return "my_sets:load"

    return register


@pytest.mark.parametrize("suffix", [".tsv", ".ts", ".npz"])
@pytest.mark.parametrize("folder", ["Mine", "ucr/Mine", "."])
def test_a_named_set_is_found(tmp_path, suffix, folder):
    write_pair(tmp_path / folder, suffix=suffix)
    found = load_labelled("Mine", tmp_path)
    np.testing.assert_array_equal(found.train_x[..., 0], X)
    np.testing.assert_array_equal(found.test_y, Y - 1)


def test_what_is_there_is_listed(tmp_path):
    write_pair(tmp_path / "Coffee", "Coffee")
    write_pair(tmp_path / "ucr" / "Beef", "Beef")
    (tmp_path / "ucr" / "Beef" / "Beef_TRAIN.png").touch()
    assert labelled_names(tmp_path) == ["Beef", "Coffee"]
    with pytest.raises(
        DataError, match=r"no data set 'Cofee', did you mean 'Coffee'\? it holds B"
    ):
        load_labelled("Cofee", tmp_path)
    with pytest.raises(DataError, match=r"no data set 'Wine'; it holds Beef, Coffee$"):
        load_labelled("Wine", tmp_path)
    with pytest.raises(DataError, match=r"no data set 'Wine'; it holds none$"):
        load_labelled("Wine", _empty(tmp_path))


def _empty(folder):
    (folder / "empty").mkdir()
    return folder / "empty"


def test_a_folder_of_ones_own(tmp_path):
    write_pair(tmp_path, "Mine", ".ts")
    assert load_labelled(data_path=tmp_path).name == "Mine"
    write_pair(tmp_path, "Other")
    with pytest.raises(DataError, match="could be any of Mine, Other; data_dir and dataset"):
        load_labelled(data_path=tmp_path)
    with pytest.raises(DataError, match="has no NAME_TRAIN file"):
        load_labelled(data_path=_empty(tmp_path))


def test_an_npz_of_ones_own(tmp_path):
    path = tmp_path / "mine.npz"
    np.savez(path, x_train=X, y_train=Y, x_test=X[..., None], y_test=Y)
    found = load_labelled(data_path=path)
    assert (found.name, found.classes) == ("mine", ("1", "2"))
    np.testing.assert_array_equal(found.test_x, found.train_x)


def test_a_function_of_ones_own(function):
    assert load_labelled(function((X, Y, X, Y))).train_x.shape == (4, 5, 1)
    made = LabelledSet.of("made", X, Y, X, Y)
    assert load_labelled(function(made)) is made


BAD_FUNCTIONS = {
    "absent": ("no_such_module:load", ConfigError, "cannot be imported: No module"),
    "no name": ("my_sets:other", ConfigError, "cannot be imported"),
    "no function": ("my_sets:number", ConfigError, "is not a function"),
    "result": ("my_sets:load", DataError, "must return a LabelledSet, or x_train, y_train"),
}


@pytest.mark.parametrize(("name", "error", "text"), BAD_FUNCTIONS.values(), ids=BAD_FUNCTIONS)
def test_bad_functions_are_told(function, name, error, text):
    function((X, Y))
    with pytest.raises(error, match=text):
        load_labelled(name)


def test_bad_files_are_told(tmp_path):
    np.savez(tmp_path / "a.npz", x_train=X)
    with pytest.raises(DataError, match="does not hold arrays x_train, y_train, x_test, y_test"):
        load_labelled(data_path=tmp_path / "a.npz")
    with pytest.raises(DataError, match="cannot be read"):
        load_labelled(data_path=tmp_path / "b.npz")
    with pytest.raises(DataError, match="must be a folder with NAME_TRAIN and NAME_TEST"):
        load_labelled(data_path=tmp_path / "b.csv")
    with pytest.raises(ConfigError, match="needs a name or a data_path"):
        load_labelled()


def test_halves_of_unequal_lengths_are_refused(tmp_path):
    write_pair(tmp_path, TEST=X[:, :3])
    with pytest.raises(DataError, match="Mine: windows of the two halves differ in shape"):
        load_labelled("Mine", tmp_path)


def test_options_belong_to_the_simulated_set(tmp_path):
    assert load_labelled("shapes", options={"time_steps": 20}).train_x.shape == (24, 20, 1)
    with pytest.raises(ConfigError, match="time_step is unknown, did you mean 'time_steps'"):
        load_labelled("shapes", options={"time_step": 20})
    with pytest.raises(ConfigError, match="time_steps is unknown"):
        load_labelled("Mine", tmp_path, options={"time_steps": 20})
