"""Models and runs that cannot go on: one clear line each, exit code 2, nothing lost."""

import errno
import os
import shutil
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

pytestmark = pytest.mark.usefixtures("without_report")

ROWS = create_synthetic_data(n_samples=200, dim=3)[0]


# Models -------------------------------------------------------------------------------------


def test_rows_of_another_width_are_refused(finished_run, evaluate, tmp_path) -> None:
    model = load_model(finished_run.path)
    for rows in (np.zeros((2, 3)), torch.zeros(2, 3), np.zeros(5)):
        with pytest.raises(ShapeError, match=r"^x must have shape \(B, 5\), got \("):
            model.score_samples(rows)
    wide = tmp_path / "wide.npz"
    np.savez(wide, obs=np.ones((20, 5)), action=np.ones((20, 2)))
    outcome = evaluate(finished_run.path, "--ood", wide)
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
def folder(finished_run, tmp_path) -> Path:
    """A finished run of one's own, to damage."""
    return shutil.copytree(finished_run.path, tmp_path / "run")


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
def test_a_model_file_that_will_not_do_is_told(folder, evaluate, damage, reason) -> None:
    file = folder / "model" / "model.safetensors"
    damage(file)
    outcome = evaluate(folder)
    assert (outcome.code, outcome.err.count("\n")) == (2, 1)
    assert outcome.err.startswith(f"{file}: ")
    assert reason in outcome.err


def test_a_hostile_pair_of_files_runs_nothing(tmp_path, hostile_pickle) -> None:
    content, proof = hostile_pickle
    model = VAE(3, latent_dim=1, hidden_dims=[4])
    model.fit(ROWS, epochs=1)
    model.save_model(tmp_path / "vae")
    (tmp_path / "vae_meta_data.pkl").write_bytes(content)
    with pytest.raises(ModelFileError, match=r"vae_meta_data\.pkl"):
        VAE.load_model(tmp_path / "vae")
    assert not proof.exists()


# Runs ---------------------------------------------------------------------------------------


def test_a_run_of_another_configuration_is_left_as_it_was(folder, train, small) -> None:
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    outcome = train(*small, "--run-dir", folder, "--lr", "0.5")
    assert outcome.code == 2
    assert outcome.err.startswith(f"{folder} holds a run of another configuration (fit.lr: 0.")
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_a_full_disk_leaves_the_last_checkpoint_to_go_on_from(
    complaint, train, small, finished_run, run_at, monkeypatch
) -> None:
    run = run_at("new")
    folder = run.checkpoint.parent
    fsync = os.fsync

    def full(handle: int) -> None:
        if run.checkpoint.exists() and len(list(folder.iterdir())) > 1:  # the second is written
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(handle)

    with monkeypatch.context() as patch:
        patch.setattr(atomic.os, "fsync", full)
        assert complaint(*small, run=run.path) == [f"{run.checkpoint}: No space left on device"]
    assert load_tensors(run.checkpoint)[1]["progress"]["epoch"] == 1
    assert list(folder.iterdir()) == [run.checkpoint]
    assert train(*small, "--run-dir", run.path, "--resume").code == 0
    run.assert_equals(finished_run)


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
