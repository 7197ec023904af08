"""`python -m gormpo_density.train` where there is a run already: finished, other, or killed."""

import os
import shutil
import signal
import subprocess
import sys

import pytest

pytestmark = pytest.mark.usefixtures("without_report")


@pytest.mark.parametrize("flags", [[], ["--resume"]])
def test_a_finished_run_says_where_it_is(finished_run, small, train, flags) -> None:
    file = finished_run.path / "metrics.json"
    before = file.stat().st_mtime_ns
    outcome = train(*small, "--run-dir", finished_run.path, *flags)
    assert outcome.code == 0
    assert outcome.out.startswith(f"finished already: {finished_run.path}")
    assert outcome.out.endswith(f"report: {finished_run.path / 'report.html'}\n")
    assert file.stat().st_mtime_ns == before


def test_another_configuration_needs_overwrite(finished_run, small, train, run_at) -> None:
    run = run_at("run")
    shutil.copytree(finished_run.path, run.path)
    other = [*small, "--run-dir", run.path, "--epochs", "1"]
    outcome = train(*other)
    assert outcome.code == 2
    assert "(fit.epochs: 2 there, 1 now); --overwrite replaces it" in outcome.err
    run.assert_equals(finished_run)
    assert train(*other, "--overwrite").code == 0
    assert len(run.history) == 1 + 1


def test_a_folder_of_something_else_is_left_alone(small, train, tmp_path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    outcome = train(*small, "--run-dir", tmp_path, "--overwrite")
    assert outcome.code == 2
    assert "has files in it and is not a run folder" in outcome.err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_resume_of_nothing_starts(finished_run, small, train, run_at) -> None:
    run = run_at("run")
    assert train(*small, "--run-dir", run.path, "--resume").code == 0
    run.assert_equals(finished_run)


KILLED = """
import os, signal, sys
from gormpo_density import fitting, train
save = fitting.Trainer._save

def save_or_die(trainer, path):
    if trainer.epoch == {epoch}:
        os.kill(os.getpid(), signal.SIGKILL)
    save(trainer, path)

fitting.Trainer._save = save_or_die
train.main(sys.argv[1:])
"""


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("epoch", [1, 2])
def test_a_run_killed_before_a_checkpoint_is_resumed_to_the_same_result(
    small, train, finished_run, run_at, epoch
) -> None:
    run = run_at("run")
    args = [*small, "--run-dir", str(run.path)]
    program = KILLED.format(epoch=epoch)
    killed = subprocess.run([sys.executable, "-c", program, *args], capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert len(run.history) == 1 + epoch
    assert run.checkpoint.exists() == (epoch == 2)

    refused = train(*args)
    assert refused.code == 2
    assert refused.err.endswith("--resume goes on with it, --overwrite starts again\n")
    assert train(*args, "--resume").code == 0
    run.assert_equals(finished_run)
