import contextlib
import errno
import json
import math
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import save, save_file

from gormpo_density import atomic, persistence, registry
from gormpo_density.errors import GormpoDensityError, ModelFileError
from gormpo_density.models.realnvp import RealNVP
from gormpo_density.models.vae import VAE
from gormpo_density.persistence import load_model, load_tensors, save_tensors
from gormpo_density.registry import register_model

ROWS = np.random.default_rng(0).normal(size=(60, 2)).astype(np.float32)


def fitted(seed=0):
    model = RealNVP(2, num_layers=2, hidden_dims=[4])
    model.fit(ROWS, epochs=1, seed=seed)
    model.calibrate(ROWS, alpha=0.1, n_episodes=7)
    return model


@pytest.fixture(scope="module")
def model():
    return fitted()


@pytest.fixture
def folder(model, tmp_path):
    model.save(tmp_path / "model")
    return tmp_path / "model"


def rewrite(folder, **changes):
    """Save the file anew with changes to its metadata; a None takes the entry out."""
    path = folder / "model.safetensors"
    tensors, config = load_tensors(path)
    config = {key: value for key, value in (config | changes).items() if value is not None}
    save_tensors(path, tensors, config)


# Folders ------------------------------------------------------------------------------------


def test_a_model_comes_back_whole(model, folder):
    loaded = load_model(folder)
    assert loaded.params() == model.params()
    assert not loaded.training
    np.testing.assert_array_equal(loaded.score_samples(ROWS), model.score_samples(ROWS))
    assert loaded.threshold == model.threshold
    assert loaded.calibration.alpha == 0.1
    assert loaded.calibration.n_episodes == 7
    assert torch.equal(loaded.calibration.scores, model.calibration.scores)
    assert loaded.hand_threshold is None


def test_every_calibration_and_a_threshold_set_by_hand_are_kept(tmp_path):
    model = VAE((3, 2), latent_dim=2, hidden_dims=[4])
    model.fit(ROWS.reshape(20, 3, 2), epochs=1)
    for name in ("elbo", "reconstruction"):
        model.calibrate(ROWS.reshape(20, 3, 2), 0.2, name)
    model.threshold = -7.5
    model.save(tmp_path)
    loaded = load_model(tmp_path)
    assert loaded.event_shape == (3, 2)
    assert loaded.threshold == -7.5
    assert set(loaded.calibrations) == {"elbo", "reconstruction"}
    for name, calibration in model.calibrations.items():
        assert loaded.calibrations[name].threshold == calibration.threshold


def test_the_model_of_a_run_folder_is_found(model, tmp_path):
    model.save(tmp_path / "run" / "model")
    assert load_model(str(tmp_path / "run")).threshold == model.threshold


def test_config_json_is_for_people_only(model, folder):
    config = json.loads((folder / "config.json").read_text())
    assert config["model"] == {"name": "realnvp", **model.params()}
    assert config["score_kind"] == "exact"
    (folder / "config.json").write_text("nonsense")
    assert load_model(folder).threshold == model.threshold
    (folder / "config.json").unlink()
    assert load_model(folder).threshold == model.threshold


def test_a_plug_in_is_loaded_once_its_class_is_registered(tmp_path, monkeypatch):
    class Mine(RealNVP):
        pass

    monkeypatch.setattr(registry, "_registered", {})
    model = Mine(2, num_layers=1, hidden_dims=[4])
    model.fit(ROWS, epochs=1)
    model.save(tmp_path)
    with pytest.raises(GormpoDensityError, match="Mine' is unknown"):
        load_model(tmp_path)
    register_model(persistence.model_name(Mine))(Mine)
    assert isinstance(load_model(tmp_path), Mine)


# Bad files ----------------------------------------------------------------------------------


def test_a_folder_without_a_model_is_named(tmp_path):
    with pytest.raises(ModelFileError, match=r"absent: no model\.safetensors in it"):
        load_model(tmp_path / "absent")


@pytest.mark.parametrize("share", [0.0, 0.001, 0.1, 0.5, 0.99])
def test_a_truncated_file_is_refused(folder, share):
    path = folder / "model.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ModelFileError, match=r"model\.safetensors: not a readable"):
        load_model(folder)


def test_damaged_bytes_never_end_in_another_error(folder):
    path = folder / "model.safetensors"
    content = path.read_bytes()
    header = int.from_bytes(content[:8], "little")
    rng = np.random.default_rng(0)
    for _ in range(200):
        damaged = bytearray(content)
        damaged[rng.integers(8 + header)] = rng.integers(256)
        path.write_bytes(damaged)
        with contextlib.suppress(GormpoDensityError):
            load_model(folder)


def test_a_file_of_somebody_else_is_refused(folder):
    save_file({"weight": torch.zeros(2)}, folder / "model.safetensors")
    with pytest.raises(ModelFileError, match="not a readable gormpo_density file"):
        load_model(folder)


@pytest.mark.parametrize("metadata", [[], 5, "text", None, [["format_version", 1]]])
def test_metadata_of_another_kind_is_refused(folder, metadata):
    save_tensors(folder / "model.safetensors", {}, metadata)
    with pytest.raises(ModelFileError, match="not a readable gormpo_density file"):
        load_model(folder)


def test_metadata_nested_too_deeply_is_refused(folder):
    nested = save({"weight": torch.zeros(2)}, {"gormpo_density": "[" * 100_000})
    (folder / "model.safetensors").write_bytes(nested)
    with pytest.raises(ModelFileError, match="not a readable gormpo_density file"):
        load_model(folder)


@pytest.mark.parametrize("version", [2, 0, -1, "1", 1.5, None, [1]])
def test_another_version_is_refused_naming_both(folder, version):
    rewrite(folder, format_version=version)
    with pytest.raises(ModelFileError, match=r"format version .* reads 1 to 1"):
        load_model(folder)


@pytest.mark.parametrize(
    "stored",
    [
        {"name": "os:system"},
        {"name": "antigravity:fly"},
        {"name": "gormpo_density.models.vae:VAE"},
        {"name": "ensemble", "k": 1, "model": {"name": "antigravity:fly"}},
        {"name": "ensemble", "k": 1, "model": "antigravity:fly"},
        {"name": "realnvpp"},
        {"name": ["x"]},
        {"name": 5},
    ],
    ids=str,
)
def test_a_file_does_not_decide_what_is_imported(folder, stored, monkeypatch):
    def refuse(path):
        raise AssertionError(f"{path} was imported")

    registry.model_class("ensemble")  # from here on it is imported
    monkeypatch.setattr(registry.importlib, "import_module", refuse)
    rewrite(folder, model={"input_dim": 2, **stored})
    with pytest.raises(ModelFileError, match=r"model\.safetensors: the model cannot be built"):
        load_model(folder)


@pytest.mark.parametrize(
    "changes",
    [
        {"model": None},
        {"model": []},
        {"model": {"input_dim": 2}},
        {"model": {"name": "realnvp"}},
        {"model": {"name": "realnvp", "input_dim": 3}},
        {"model": {"name": "realnvp", "input_dim": "2"}},
        {"model": {"name": "realnvp", "input_dim": 2, "surprise": 1}},
        {"model": {"name": "realnvp", "input_dim": 2, "hidden_dims": [10**12]}},
        {"model": {"name": "vae", "input_dim": 2}},
        {"threshold": "high"},
        {"threshold": math.nan},
        {"calibrations": None},
        {"calibrations": {"elbo": {"alpha": 0.1, "threshold": 0.0, "n_episodes": None}}},
        {"calibrations": {"log_prob": {"alpha": 0.1}}},
        {"calibrations": {"log_prob": 5}},
    ],
    ids=str,
)
def test_content_that_does_not_fit_is_refused(folder, changes):
    rewrite(folder, **changes)
    with pytest.raises(ModelFileError, match=r"model\.safetensors: the model cannot be built"):
        load_model(folder)


def test_weights_of_another_shape_are_refused(folder):
    path = folder / "model.safetensors"
    tensors, config = load_tensors(path)
    tensors["model.standardizer.mean"] = torch.zeros(3)
    save_tensors(path, tensors, config)
    with pytest.raises(ModelFileError, match=r"cannot be built \(.* size mismatch for .*mean"):
        load_model(folder)


# Saving that goes wrong ---------------------------------------------------------------------


def test_a_full_disk_keeps_the_old_model(model, folder, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(atomic.os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left.*model\.safetensors"):
        fitted(seed=1).save(folder)
    monkeypatch.undo()
    np.testing.assert_array_equal(
        load_model(folder).score_samples(ROWS), model.score_samples(ROWS)
    )
    assert sorted(os.listdir(folder)) == ["config.json", "model.safetensors"]


@pytest.mark.skipif(os.name != "posix", reason="limits of POSIX")
@pytest.mark.parametrize("method", ["save", "save_model"])
def test_a_write_that_fails_half_way_is_an_error_of_the_system(model, folder, method):
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, before[1]))  # what writes get from a full disk
    try:
        with pytest.raises(OSError, match=r"File too large.*\.(safetensors|pth)"):
            getattr(fitted(seed=1), method)(folder)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    np.testing.assert_array_equal(
        load_model(folder).score_samples(ROWS), model.score_samples(ROWS)
    )


KILLED = """
import os, signal, sys
from gormpo_density import load_model, persistence
model = load_model(sys.argv[1])
model.threshold = 123.0
real, steps = os.{call}, []
def {call}(*args, **options):
    steps.append(args)
    if len(steps) == {step}:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*args, **options)
os.{call} = {call}
model.save(sys.argv[1])
"""


@pytest.mark.skipif(os.name != "posix", reason="kill -9 of POSIX")
@pytest.mark.parametrize(
    ("call", "step", "saved"),
    [("fsync", 1, False), ("replace", 1, False), ("fsync", 2, True), ("replace", 2, True)],
)
def test_kill_9_while_saving_leaves_a_whole_model(model, folder, call, step, saved):
    program = KILLED.format(call=call, step=step)
    killed = subprocess.run([sys.executable, "-c", program, folder], check=False)
    assert killed.returncode == -signal.SIGKILL
    loaded = load_model(folder)
    assert loaded.threshold == (123.0 if saved else model.threshold)
    np.testing.assert_array_equal(loaded.score_samples(ROWS), model.score_samples(ROWS))
