"""Saved detectors: all of them comes back, and what cannot be read is told."""

import json
import shutil

import numpy as np
import pytest
import torch

from gormpo_density import TimeSeriesDetector, load_model
from gormpo_density.errors import GormpoDensityError, ModelFileError
from gormpo_density.persistence import load_tensors, save_tensors
from gormpo_density.registry import make_model
from gormpo_density.timeseries.baselines import ZScore

FILE = "detector.safetensors"
VAE = {"name": "vae", "latent_dim": 1, "hidden_dims": [4]}


def noise(n=300, seed=0):
    return np.random.default_rng(seed).normal(size=(n, 2))


def fitted(model="zscore", **arguments):
    detector = TimeSeriesDetector(model, window=4, **arguments)
    detector.fit(noise(), **({"epochs": 1} if isinstance(model, dict) else {}))
    return detector


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folders = {}
    for name, model in {"baseline": "zscore", "model": VAE}.items():
        folders[name] = tmp_path_factory.mktemp(name) / "detector"
        fitted(model).save(folders[name])
    return folders


@pytest.fixture(params=["baseline", "model"])
def folder(request, saved, tmp_path):
    """A copy of a saved detector, to be spoilt."""
    return shutil.copytree(saved[request.param], tmp_path / "detector")


def edit(folder, **changes):
    """Change the metadata that loading reads; KeyError in place of a value drops it."""
    tensors, config = load_tensors(folder / FILE)
    config = {k: v for k, v in {**config, **changes}.items() if v is not KeyError}
    save_tensors(folder / FILE, tensors, config)


def test_arguments_come_back(tmp_path):
    arguments = {
        "stride": 2,
        "scaler": "minmax",
        "aggregation": "max",
        "score": "reconstruction",
        "alpha": 0.07,
        "threshold": "quantile",
    }
    detector = fitted(VAE, **arguments)
    detector.save(tmp_path)
    loaded = TimeSeriesDetector.load(tmp_path)
    assert {name: getattr(loaded.config, name) for name in arguments} == arguments
    assert loaded.config.model.items() >= VAE.items()
    assert loaded.default_score == "reconstruction"
    assert (loaded.window_length, loaded.n_channels) == (4, 2)
    loaded.fit(noise(), epochs=1)
    np.testing.assert_array_equal(
        loaded.score_samples(noise(seed=1)), detector.score_samples(noise(seed=1))
    )


def test_a_threshold_set_by_hand_comes_back(tmp_path):
    detector = fitted()
    calibrated = detector.threshold
    detector.threshold = -7.5
    detector.save(tmp_path)
    loaded = TimeSeriesDetector.load(tmp_path)
    assert loaded.threshold == -7.5
    assert loaded.calibrations["score"].threshold == calibrated
    assert loaded.thresholds == detector.thresholds


def test_a_calibration_of_its_own_comes_back(tmp_path):
    detector = fitted()
    detector.calibrate(noise(200, seed=5), alpha=0.2, n_episodes=3)
    detector.save(tmp_path)
    loaded = TimeSeriesDetector.load(tmp_path)
    assert loaded.threshold == detector.threshold
    assert (loaded.calibration.alpha, loaded.calibration.n_episodes) == (0.2, 3)


def test_gaps_are_told_by_the_time_step_of_training(tmp_path):
    detector = TimeSeriesDetector("zscore", window=4)
    detector.fit(noise(), timestamps=np.datetime64("2024-01-01") + np.arange(300))
    detector.save(tmp_path)
    times = np.datetime64("2024-01-01") + 3 * np.arange(20)
    with pytest.raises(GormpoDensityError, match=r"longest run of its 20 rows .* has 1"):
        TimeSeriesDetector.load(tmp_path).score_samples(noise(20), timestamps=times)


def test_a_model_given_as_it_is_comes_back(tmp_path):
    fitted(make_model("gmm", input_dim=(4, 2), n_components=2)).save(tmp_path)
    loaded = TimeSeriesDetector.load(tmp_path)
    assert loaded.config.model["name"] == "gmm"
    assert loaded.model.n_components == 2


def test_the_models_own_folder_is_one_of_a_model(saved):
    model = load_model(saved["model"])
    windows = noise(40).reshape(10, 4, 2).astype(np.float32)
    loaded = TimeSeriesDetector.load(saved["model"])
    np.testing.assert_array_equal(
        model.score_samples(windows), loaded.model.score_samples(windows)
    )


def test_a_run_folder_holds_its_detector_in_model(saved, tmp_path):
    shutil.copytree(saved["model"], tmp_path / "model")
    assert TimeSeriesDetector.load(tmp_path).window_length == 4


def test_people_can_read_the_numbers(folder):
    config = json.loads((folder / "detector.json").read_text())
    assert config["window"] == 4
    assert config["thresholds"].keys() == config["calibrations"].keys()


def test_saving_again_replaces_all(folder):
    again = fitted(scaler="minmax")
    again.save(folder)
    loaded = TimeSeriesDetector.load(folder)
    np.testing.assert_array_equal(loaded.score_samples(noise()), again.score_samples(noise()))


# What is not saved, or cannot be read -----------------------------------------------------


def test_a_forest_is_not_saved(tmp_path):
    detector = fitted("isolation_forest")
    with pytest.raises(GormpoDensityError, match="an isolation forest is not saved"):
        detector.save(tmp_path / "detector")
    assert not (tmp_path / "detector").exists()


def test_a_baseline_of_another_package_is_not_saved(tmp_path):
    class Mine(ZScore):
        pass

    with pytest.raises(GormpoDensityError, match="Mine is no baseline known by name: not saved"):
        fitted(Mine((4, 2))).save(tmp_path)


def test_nothing_there(tmp_path):
    for place in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(ModelFileError, match=r"no detector\.safetensors in it, nor in its"):
            TimeSeriesDetector.load(place)


def test_a_file_cut_short(folder):
    path = folder / FILE
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ModelFileError, match="not a readable gormpo_density file"):
        TimeSeriesDetector.load(folder)


def test_a_newer_version(folder):
    edit(folder, format_version=99)
    with pytest.raises(ModelFileError, match=r"format version 99 cannot be read; .* reads 1"):
        TimeSeriesDetector.load(folder)


def test_a_model_that_is_gone_or_of_another_save(saved, tmp_path):
    folder = shutil.copytree(saved["model"], tmp_path / "detector")
    other = make_model("gmm", input_dim=(4, 2))
    other.fit(noise(400).reshape(100, 4, 2))
    other.save(folder)
    with pytest.raises(ModelFileError, match=r"model\.safetensors is not the one saved with det"):
        TimeSeriesDetector.load(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelFileError, match=r"no model\.safetensors"):
        TimeSeriesDetector.load(folder)


@pytest.mark.parametrize(
    "changes",
    [
        {"detector": KeyError},
        {"detector": {"model": {"name": "zscore", "input_dim": [4, 2]}}},
        {"window": 5},
        {"window": "long"},
        {"n_channels": 3},
        {"default_score": "nll"},
        {"threshold": "low"},
        {"thresholds": {"score": {"value": 1.0}}},
        {"thresholds": {}},
        {"stream_thresholds": {"nll": {"value": 1, "false_alarm_rate": 0, "standard_error": 0}}},
        {"calibrations": {"nll": {"alpha": 0.1, "threshold": 0.0, "n_episodes": 2}}},
        {"calibrations": None},
    ],
)
def test_a_file_whose_parts_do_not_fit(folder, changes):
    edit(folder, **changes)
    with pytest.raises(ModelFileError, match=f"{FILE}: the (detector|baseline) cannot be built"):
        TimeSeriesDetector.load(folder)


@pytest.mark.parametrize("change", [{"alpha": 7}, {"stride": 0}, {"speed": 3}, {"scaler": "no"}])
def test_arguments_that_no_detector_takes(folder, change):
    _, config = load_tensors(folder / FILE)
    edit(folder, detector={**config["detector"], **change})
    with pytest.raises(ModelFileError, match=f"{FILE}: the detector cannot be built"):
        TimeSeriesDetector.load(folder)


@pytest.mark.parametrize("name", ["references", "scaler.scale", "calibration."])
def test_tensors_that_are_missing_or_too_small(folder, name):
    tensors, config = load_tensors(folder / FILE)
    name = next(key for key in tensors if key.startswith(name))
    save_tensors(folder / FILE, {k: v for k, v in tensors.items() if k != name}, config)
    with pytest.raises(ModelFileError, match="cannot be built"):
        TimeSeriesDetector.load(folder)
    if not name.startswith("calibration."):
        save_tensors(folder / FILE, {**tensors, name: torch.ones(1, 1, 1)}, config)
        with pytest.raises(ModelFileError, match="cannot be built"):
            TimeSeriesDetector.load(folder)


def test_a_file_cannot_name_code_to_run(saved, tmp_path):
    folder = shutil.copytree(saved["baseline"], tmp_path / "detector")
    _, config = load_tensors(folder / FILE)
    model = {"name": "os:system", "input_dim": [4, 2]}
    edit(folder, detector={**config["detector"], "model": model})
    with pytest.raises(ModelFileError, match="baseline 'os:system' is unknown"):
        TimeSeriesDetector.load(folder)
