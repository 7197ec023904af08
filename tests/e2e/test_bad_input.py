"""Bad input: one clear line each, exit code 2, nothing lost."""

import errno
import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from gormpo_density import (
    VAE,
    OODPenalty,
    RealNVP,
    atomic,
    create_synthetic_data,
    density_run,
    load_model,
    registry,
)
from gormpo_density.errors import (
    ModelFileError,
    NotCalibratedError,
    NotFittedError,
    ShapeError,
)
from gormpo_density.persistence import load_tensors, save_tensors

ROWS = create_synthetic_data(n_samples=200, dim=3)[0]


@pytest.fixture(autouse=True)
def without_report(monkeypatch):
    """Save the time that figures take."""
    monkeypatch.setattr(density_run, "write_density_report", lambda *_: None)


@pytest.fixture
def complaint(train, tmp_path):
    """Return a function of a command line that must be refused; it gives the lines told."""

    def refuse(*args: object, run: Path = tmp_path / "refused") -> list[str]:
        outcome = train(*args, "--run-dir", run)
        assert (outcome.code, outcome.out) == (2, "")
        assert not (run / "metrics.json").exists()
        return outcome.err.splitlines()

    return refuse


# The configuration --------------------------------------------------------------------------


def test_all_problems_of_a_configuration_are_told_at_once(tmp_path) -> None:
    (tmp_path / "own.yaml").write_text(
        "task: hopper-medium-v2\n"
        "fti: {epochs: 3}\n"
        "fit: {epochs: 2.5, lrr: 0.1, batch_size: -4, patience: yes}\n"
        "data: {val_ratio: 1.5, rows: actions}\n"
        "model: {name: realnvp, hidden_dims: 64}\n"
    )
    command = [sys.executable, "-m", "gormpo_density.train", "--config", "own.yaml"]
    done = subprocess.run(
        [*command, "--set", "seed=-1", "--set", "ood=[obs1, ob2]"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (2, "")
    told = sorted(done.stderr.splitlines())
    expected = [
        "command line: ood.1 ood level 'ob2' is unknown, did you mean 'obs2'?",
        "command line: seed must be greater than or equal to 0, is -1",
        "own.yaml: data.rows must be 'state_action', 'next_state_action', 'state' or 'transition',"
        ' is "actions"',
        "own.yaml: data.val_ratio must be less than 1, is 1.5",
        "own.yaml: fit.batch_size must be greater than or equal to 1, is -4",
        "own.yaml: fit.epochs must be a valid integer, is 2.5",
        "own.yaml: fit.lrr is unknown, did you mean 'lr'?",
        "own.yaml: fit.patience must be a valid integer, is true",
        "own.yaml: fti is unknown, did you mean 'fit'?",
        "own.yaml: model.hidden_dims must be a valid array, is 64",
    ]
    assert told == expected
    assert [path.name for path in tmp_path.iterdir()] == ["own.yaml"]


@pytest.mark.parametrize(
    ("args", "line"),
    [
        (["--config", "nowhere.yaml"], "config 'nowhere.yaml' is not found; there are "),
        (["--config", "hoper.yaml"], "config 'hoper.yaml' is not found; there are hopper.yaml"),
        (["--data_path", "nowhere.npz"], "nowhere.npz: no such file"),
        (
            ["--task", "custom"],
            "command line: task custom needs data.data_path (--data_path FILE)",
        ),
        (["--task", "hoper-medium-v2"], "unknown dataset or task 'hoper-medium-v2', did you mean"),
        (["--epochs", "2"], "command line: no data: give data.dataset, data.data_path or a task"),
        (
            ["--config", "hopper.yaml", "--model", "vea"],
            "command line: model 'vea' is unknown, did",
        ),
        (
            ["--config", "hopper.yaml", "--epoch", "2"],
            "argument --epoch is unknown, did you mean ",
        ),
    ],
)
def test_what_is_not_there_is_named(complaint, args, line) -> None:
    (told,) = complaint(*args)
    assert told.startswith(line)


def test_an_absent_gpu_is_named(complaint, small, monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    told = complaint(*small, "--device", "cuda")
    assert told == ["device cuda is not there (0 CUDA devices found); --device cpu works anywhere"]


def test_a_dataset_that_cannot_be_downloaded_is_named(complaint, monkeypatch) -> None:
    import minari

    def no_network(*_: object) -> None:
        raise ConnectionError("Name or service not known\n(try again)")

    monkeypatch.setattr(minari, "download_dataset", no_network)
    (told,) = complaint("--task", "mujoco/hopper/medium-v0")
    assert "mujoco/hopper/medium-v0 is not in the local Minari folder" in told
    assert "Name or service not known (try again)" in told
    assert told.endswith("without one use 'gormpo/hopper/medium-v0'")


# The data -----------------------------------------------------------------------------------

OBS = np.random.default_rng(0).normal(size=(600, 3))


def with_value(value: float) -> np.ndarray:
    bad = OBS.copy()
    bad[7, 1] = value
    return bad


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"obs": None, "observatoins": OBS}, "no obs or observations; found action, reward, "),
        ({"action": None}, "no action or actions; found obs, reward, next_obs, episode"),
        ({"action": np.zeros((5, 2))}, "action has 5 rows, obs has 600"),
        ({"obs": OBS[:, :, None]}, "obs must have shape (N, features), got (600, 3, 1)"),
        ({"next_obs": OBS[:, :2]}, "obs has 3 features, next_obs 2"),
        ({"obs": OBS.astype(str)}, "obs holds <U"),
        ({"obs": with_value(np.nan)}, "obs column 1 row 7 is nan (1 such values)"),
        ({"obs": with_value(np.inf)}, "obs column 1 row 7 is inf (1 such values)"),
        ({"obs": with_value(1e300)}, "obs column 1 row 7 is inf (1 such values)"),
        ({"reward": np.full(600, np.nan)}, "reward row 0 is nan (600 such values)"),
        ({"terminated": np.full(600, 0.5)}, "terminated row 0 is 0.5, not 0 or 1"),
    ],
)
def test_a_fault_in_the_data_is_told_with_file_and_place(
    complaint, written, small, changes, reason
) -> None:
    path = written("own.npz", **changes)
    (told,) = complaint(*small, "--data_path", path)
    assert told.startswith(f"{path}: {reason}")


def test_too_few_rows_are_counted(complaint, small, tmp_path) -> None:
    np.savetxt(tmp_path / "few.csv", ROWS[:3], delimiter=",")
    assert complaint(*small, "--data_path", tmp_path / "few.csv") == [
        "few.csv: 3 rows cannot fill 4 splits"
    ]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off", b"obs,action\n1,x\n"])
@pytest.mark.parametrize("suffix", ["npz", "csv", "pkl", "hdf5"])
def test_a_file_that_cannot_be_read_is_named(complaint, small, tmp_path, suffix, content) -> None:
    path = tmp_path / f"broken.{suffix}"
    path.write_bytes(content)
    (told,) = complaint(*small, "--data_path", path)
    assert told.startswith(f"{path}: ")


def test_a_hostile_data_file_runs_nothing(complaint, small, tmp_path) -> None:
    path, proof = tmp_path / "hostile.pkl", tmp_path / "proof"
    path.write_bytes(pickle.dumps(Touch(proof)))
    (told,) = complaint(*small, "--data_path", path)
    assert told.startswith(f"{path}: ")
    assert not proof.exists()


class Touch:
    """Makes a file when it is unpickled without care."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_constant_column_is_a_warning(train, small, written, tmp_path, caplog) -> None:
    still = OBS.copy()
    still[:, 2] = 4.0
    path, run = written("own.npz", obs=still), tmp_path / "run"
    assert train(*small, "--data_path", path, "--run-dir", run).code == 0
    assert "constant columns [2]: their scale is set to 1" in caplog.text
    model = load_model(run)
    assert model.standardizer.scale[2] == 1
    assert model.score_samples(np.float32([[0, 0, 4, 0, 0]])) > -100


def test_after_the_data_is_mended_the_same_command_works(
    complaint, train, small, written, tmp_path
) -> None:
    path, run = tmp_path / "own.npz", tmp_path / "run"
    args = [*small, "--data_path", path]
    complaint(*args, run=run)
    written("own.npz")
    assert train(*args, "--run-dir", run).code == 0


# Models -------------------------------------------------------------------------------------


def test_rows_of_another_width_are_refused(finished_run, evaluate, tmp_path) -> None:
    model = load_model(finished_run)
    for rows in (np.zeros((2, 3)), torch.zeros(2, 3), np.zeros(5)):
        with pytest.raises(ShapeError, match=r"^x must have shape \(B, 5\), got \("):
            model.score_samples(rows)
    wide = tmp_path / "wide.npz"
    np.savez(wide, obs=np.ones((20, 5)), action=np.ones((20, 2)))
    outcome = evaluate(finished_run, "--ood", wide)
    assert outcome.code == 2
    assert outcome.err == (f"ood level '{wide}': rows of {wide} have shape (7,), not (5,)\n")


def test_a_model_is_fitted_before_it_scores_and_calibrated_before_it_penalises() -> None:
    model = RealNVP(3, num_layers=2, hidden_dims=[4])
    for use in (model.score_samples, model.calibrate, model.predict_anomaly):
        with pytest.raises(NotFittedError, match=r"^RealNVP: call fit or load_model first$"):
            use(ROWS)
    model.fit(ROWS, epochs=1)
    with pytest.raises(NotCalibratedError, match=r"'log_prob' is not calibrated: call model\.cal"):
        OODPenalty(model)
    with pytest.raises(NotCalibratedError, match="no threshold: call calibrate or set_threshold"):
        model.predict(ROWS)


@pytest.fixture
def run(finished_run, tmp_path) -> Path:
    """A finished run of one's own, to damage."""
    return shutil.copytree(finished_run, tmp_path / "run")


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


def flip(file: Path) -> None:
    file.write_bytes(b"\xff" * 8 + file.read_bytes()[8:])


def claim(**changes: object):
    """Return a function that changes what a model file says about itself."""

    def rewrite(file: Path) -> None:
        tensors, config = load_tensors(file)
        save_tensors(file, tensors, {**config, **changes})

    return rewrite


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (cut, "not a readable gormpo_density file"),
        (flip, "not a readable gormpo_density file"),
        (claim(format_version=99), "format version 99 cannot be read; this version of"),
        (claim(model={"name": "os:system", "input_dim": 5}), "model 'os:system' is unknown"),
        (claim(model={"name": "realnvp", "input_dim": 4}), "the model cannot be built"),
    ],
    ids=["truncated", "corrupt", "from the future", "hostile", "not its weights"],
)
def test_a_model_file_that_will_not_do_is_told(run, evaluate, damage, reason) -> None:
    file = run / "model" / "model.safetensors"
    damage(file)
    outcome = evaluate(run)
    assert (outcome.code, outcome.err.count("\n")) == (2, 1)
    assert outcome.err.startswith(f"{file}: ")
    assert reason in outcome.err


def test_a_hostile_pair_of_files_runs_nothing(tmp_path) -> None:
    model = VAE(3, latent_dim=1, hidden_dims=[4])
    model.fit(ROWS, epochs=1)
    model.save_model(tmp_path / "vae")
    (tmp_path / "vae_meta_data.pkl").write_bytes(pickle.dumps(Touch(tmp_path / "proof")))
    with pytest.raises(ModelFileError, match=r"vae_meta_data\.pkl"):
        VAE.load_model(tmp_path / "vae")
    assert not (tmp_path / "proof").exists()


# Runs ---------------------------------------------------------------------------------------


def test_a_run_of_another_configuration_is_left_as_it_was(run, complaint, train, small) -> None:
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    outcome = train(*small, "--run-dir", run, "--lr", "0.5")
    assert outcome.code == 2
    assert outcome.err.startswith(f"{run} holds a run of another configuration (fit.lr: 0.")
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_a_full_disk_leaves_the_last_checkpoint_to_go_on_from(
    complaint, train, small, finished_run, tmp_path, monkeypatch
) -> None:
    run = tmp_path / "run"
    checkpoint = run / "checkpoints" / "fit.safetensors"
    fsync = os.fsync

    def full(handle: int) -> None:
        if checkpoint.exists() and len(list(checkpoint.parent.iterdir())) > 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(handle)

    with monkeypatch.context() as patch:
        patch.setattr(atomic.os, "fsync", full)
        assert complaint(*small, run=run) == [f"{checkpoint}: No space left on device"]
    assert load_tensors(checkpoint)[1]["progress"]["epoch"] == 1
    assert list(checkpoint.parent.iterdir()) == [checkpoint]
    assert train(*small, "--run-dir", run, "--resume").code == 0
    whole, resumed = (json.loads((r / "metrics.json").read_text()) for r in (finished_run, run))
    assert whole.pop("seconds") != resumed.pop("seconds")
    assert whole == resumed


PLUGIN = """
import torch
from gormpo_density import DensityModel

class Divergent(DensityModel):
    def __init__(self, input_dim: int, device: str = "cpu") -> None:
        super().__init__(input_dim)
        self.shift = torch.nn.Parameter(torch.zeros(input_dim))

    def _log_prob(self, z):
        return (z + self.shift).sum(1) * torch.nan
"""


@pytest.mark.parametrize(
    ("epochs", "line"),
    [
        (
            50,
            "epoch 10, batch 2: loss is nan; 20 steps in a row were not finite (try a smaller lr)",
        ),
        (3, "epochs 1 to 3: no validation loss was finite (try a smaller lr)"),
    ],
)
def test_a_loss_that_is_no_number_ends_the_run(
    complaint, transitions, tmp_path, monkeypatch, epochs, line
) -> None:
    (tmp_path / "divergent.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))
    told = complaint(
        *("--data_path", transitions, "--model", "divergent:Divergent", "--epochs", epochs),
        *("--device", "cpu", "--quiet"),
    )
    assert told == [line]
    assert not (tmp_path / "refused" / "model").exists()
