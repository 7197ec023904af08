"""A run that was stopped anywhere goes on to the result of one that was not."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from gormpo_density.config import dump_config
from gormpo_density.errors import FitError, ModelFileError, RunFolderError
from gormpo_density.persistence import load_tensors, save_tensors
from gormpo_density.runs import RunFolder
from rl.dynamics_training import DynamicsTrainer
from rl.mopo import Loop
from rl.sac import SAC

HERE = Path(__file__).parent


class StoppedError(Exception):
    """What stops a run."""


def stop_at(call: int, function):
    """Return the function, whose given call fails."""
    calls = []

    def stopping(*args):
        calls.append(1)
        if len(calls) == call:
            raise StoppedError
        return function(*args)

    return stopping


@pytest.mark.parametrize("update", [30, 101, 437])
def test_it_goes_on_after_an_error_in_the_policy_phase(
    mopo, finished, monkeypatch, update
) -> None:
    """In the first epoch, right after a checkpoint, and between two generations of rollouts."""
    with monkeypatch.context() as patch:
        patch.setattr(SAC, "update", stop_at(update, SAC.update))
        with pytest.raises(StoppedError):
            mopo()
    with pytest.raises(RunFolderError, match="--resume goes on with it"):
        mopo()
    mopo(resume=True).assert_equals(finished)


def test_a_penalty_of_paths_goes_on_too(mopo, monkeypatch) -> None:
    beside = ("sac.epochs=2", "history.length=6", "history.sequences=128", "history.beside=true")
    whole = mopo(*beside, name="whole")
    with monkeypatch.context() as patch:
        patch.setattr(SAC, "update", stop_at(130, SAC.update))
        with pytest.raises(StoppedError):
            mopo(*beside)
    mopo(*beside, resume=True).assert_equals(whole)


def test_a_checkpoint_of_another_kind_of_device_is_told_in_one_line(
    mopo, monkeypatch, tmp_path
) -> None:
    """A GPU's generator has a state of 16 bytes."""
    with monkeypatch.context() as patch:
        patch.setattr(SAC, "update", stop_at(130, SAC.update))
        with pytest.raises(StoppedError):
            mopo()
    (path,) = tmp_path.rglob("mopo.safetensors")
    state, metadata = load_tensors(path, torch.device("cpu"))
    (name,) = [name for name in state if name.startswith("updates")]
    save_tensors(path, state | {name: torch.zeros(16, dtype=torch.uint8)}, metadata)
    with pytest.raises(ModelFileError, match="of another kind of device, or corrupt") as caught:
        mopo(resume=True)
    assert "\n" not in str(caught.value)


def test_it_goes_on_between_history_and_checkpoint(mopo, finished, monkeypatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Loop, "save", stop_at(4, Loop.save))
        with pytest.raises(StoppedError):
            mopo()
    mopo(resume=True).assert_equals(finished)


def test_it_goes_on_after_the_last_epoch(mopo, finished, monkeypatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "finish", stop_at(1, RunFolder.finish))
        with pytest.raises(StoppedError):
            mopo()
    mopo(resume=True).assert_equals(finished)


def test_it_goes_on_where_it_stopped_training_a_part(
    mopo, finished, monkeypatch, tmp_path
) -> None:
    step = DynamicsTrainer._train_epoch
    with monkeypatch.context() as patch:
        patch.setattr(DynamicsTrainer, "_train_epoch", stop_at(4, step))
        with pytest.raises(StoppedError):
            mopo(stages=tmp_path / "stages")
    with monkeypatch.context() as patch:
        patch.setattr(DynamicsTrainer, "_train_epoch", stop_at(4, step))  # three are left
        run = mopo(stages=tmp_path / "stages", resume=True)
    run.assert_equals(finished)


def test_a_diverging_run_keeps_its_last_good_checkpoint(
    mopo, finished, monkeypatch, caplog
) -> None:
    def poisoned(learner: SAC, *args) -> None:
        update(learner, *args)
        if learner.updates == 250:
            learner.sums.fill_(float("nan"))

    update = SAC.update
    with monkeypatch.context() as patch:
        patch.setattr(SAC, "update", poisoned)
        with pytest.raises(FitError, match=r"epoch 3 \(to update 300\): critic_loss is nan"):
            mopo()
    mopo(resume=True).assert_equals(finished)


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_kill_9_at_any_moment_of_the_policy_phase(
    config_of, stages, finished, train, tmp_path
) -> None:
    run = type(finished)(tmp_path / "run")
    (tmp_path / "line.yaml").write_text(dump_config(config_of()))
    args = ["--config", tmp_path / "line.yaml", "--run-dir", run.path, "--stages", stages]
    command = [sys.executable, "-m", "rl.train", *map(str, args), "--quiet"]
    path = os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])
    with subprocess.Popen(command, env=os.environ | {"PYTHONPATH": path}) as process:
        checkpoint = run.path / "checkpoints" / "mopo.safetensors"
        while not checkpoint.exists() and process.poll() is None:
            time.sleep(0.01)
        time.sleep(0.25)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert not (run.path / "metrics.json").exists()
    assert train(*args, "--resume")[0] == 0
    run.assert_equals(finished)
