import errno
import json
import logging
import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from gormpo_density import runs
from gormpo_density.errors import RunFolderError
from gormpo_density.runs import HistoryFile, RunFolder, default_run_path, package_versions

CONFIG = "task: x\nfit:\n  lr: 0.1\n  epochs: 3\n"


def open_run(path: Path, text: str = CONFIG, **how: bool) -> RunFolder:
    return RunFolder.open(path, text, **how)


def refusal(path: Path, text: str = CONFIG, **how: bool) -> str:
    with pytest.raises(RunFolderError) as error:
        open_run(path, text, **how)
    return str(error.value)


@pytest.fixture
def unfinished(tmp_path) -> Path:
    with open_run(tmp_path / "run") as run:
        run.history.append(1, {"loss": 2.0})
    return tmp_path / "run"


@pytest.fixture
def finished(unfinished) -> Path:
    with open_run(unfinished, resume=True) as run:
        run.finish({"nll": 1.0})
    return unfinished


def test_the_default_folder_has_a_plain_name() -> None:
    assert default_run_path("hopper", "vae", 3) == Path("runs/hopper-vae-seed3")
    assert default_run_path("a/b c", "pkg.mod:Model", 0) == Path("runs/a-b-c-pkg.mod-Model-seed0")


@pytest.mark.parametrize("how", [{}, {"resume": True}, {"overwrite": True}])
def test_a_new_run_starts_with_its_configuration(tmp_path, how) -> None:
    with open_run(tmp_path / "a" / "run", **how) as run:
        assert (run.is_resumed, run.is_finished) == (False, False)
        assert (run.path / "config.yaml").read_text() == CONFIG
        assert json.loads((run.path / "versions.json").read_text()) == package_versions()


def test_versions_name_python_and_torch() -> None:
    versions = package_versions()
    assert versions["python"] == sys.version.split()[0]
    assert versions["torch"] == torch.__version__


def test_an_unfinished_run_wants_to_know_what_to_do(unfinished) -> None:
    assert "holds an unfinished run; --resume goes on with it" in refusal(unfinished)


def test_a_run_that_never_began_gives_way_to_any_other(tmp_path) -> None:
    open_run(tmp_path / "run").close()
    for how in ({}, {"resume": True}):
        with open_run(tmp_path / "run", "task: y\n", **how) as run:
            assert (run.is_resumed, run.is_finished) == (False, False)
            assert (run.path / "config.yaml").read_text() == "task: y\n"


def test_an_unfinished_run_is_resumed(unfinished) -> None:
    with open_run(unfinished, resume=True) as run:
        assert (run.is_resumed, run.is_finished) == (True, False)
        assert run.history.read() == {"epoch": [1.0], "loss": [2.0]}


@pytest.mark.parametrize("resume", [False, True])
def test_a_finished_run_is_found(finished, resume) -> None:
    with open_run(finished, resume=resume) as run:
        assert run.is_finished
        assert json.loads((run.path / "metrics.json").read_text()) == {"nll": 1.0}


@pytest.mark.parametrize("folder", ["unfinished", "finished"])
@pytest.mark.parametrize("resume", [False, True])
def test_a_run_of_another_configuration_is_left_alone(folder, resume, request) -> None:
    path = request.getfixturevalue(folder)
    text = refusal(path, "task: x\nfit:\n  lr: 0.2\n  patience: 5\n", resume=resume)
    assert "fit.epochs: 3 there, absent now; fit.lr: 0.1 there, 0.2 now" in text
    assert "fit.patience: absent there, 5 now" in text
    assert (path / "config.yaml").read_text() == CONFIG


def test_the_same_configuration_in_other_words_is_the_same(finished) -> None:
    with open_run(finished, "{fit: {epochs: 3, lr: 1e-1}, task: x}") as run:
        assert run.is_finished


def test_overwrite_removes_what_a_run_writes_and_nothing_else(finished) -> None:
    for name in ("checkpoints/a", "plots/b", "model/c"):
        (finished / name).parent.mkdir(exist_ok=True)
        (finished / name).touch()
    (finished / "notes.txt").write_text("mine")
    with open_run(finished, "task: y\n", overwrite=True) as run:
        assert not run.is_finished
    left = sorted(path.name for path in finished.iterdir() if path.name[0] != ".")
    assert left == ["config.yaml", "notes.txt", "versions.json"]
    assert (finished / "config.yaml").read_text() == "task: y\n"


def test_overwrite_does_not_follow_links(finished, tmp_path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "precious").touch()
    (finished / "model").symlink_to(elsewhere)
    open_run(finished, overwrite=True).close()
    assert (elsewhere / "precious").exists()
    assert not (finished / "model").exists()


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_that_is_no_run_is_never_touched(tmp_path, overwrite) -> None:
    (tmp_path / "config.yaml").write_text("mine")
    assert "is not a run folder" in refusal(tmp_path, overwrite=overwrite)
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]


def test_a_file_is_no_run_folder(tmp_path) -> None:
    (tmp_path / "run").touch()
    assert refusal(tmp_path / "run").endswith("run is a file; --run-dir must name a folder")


@pytest.mark.skipif(sys.platform == "win32", reason="no flock")
def test_two_processes_cannot_share_a_folder(tmp_path) -> None:
    with open_run(tmp_path / "run"):
        program = f"""
from gormpo_density.runs import RunFolder
try:
    RunFolder.open({str(tmp_path / "run")!r}, "task: x", overwrite=True)
except Exception as error:
    print(error)
"""
        answer = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True
        )
        assert answer.stdout.endswith("run is in use by another process\n")
    open_run(tmp_path / "run", resume=True).close()


def test_a_refused_folder_is_not_held(unfinished) -> None:
    refusal(unfinished)
    open_run(unfinished, resume=True).close()


def test_other_versions_are_told_on_resume(unfinished, caplog) -> None:
    versions = {**package_versions(), "torch": "0.4"}
    (unfinished / "versions.json").write_text(json.dumps(versions))
    with caplog.at_level(logging.WARNING):
        open_run(unfinished, resume=True).close()
    assert f"torch 0.4 -> {torch.__version__}" in caplog.text


def test_a_run_killed_after_its_first_file_is_resumed(unfinished) -> None:
    (unfinished / "versions.json").unlink()
    open_run(unfinished, resume=True).close()
    assert json.loads((unfinished / "versions.json").read_text()) == package_versions()


def test_json_has_plain_numbers_and_null_for_nan(tmp_path) -> None:
    with open_run(tmp_path / "run") as run:
        run.finish(
            {
                "a": np.float32(0.5),
                "b": math.nan,
                "c": torch.tensor(3),
                "d": [np.inf, True, None, "x"],
                "e": {"f": (1, np.int64(2))},
            }
        )
    assert json.loads((tmp_path / "run/metrics.json").read_text()) == {
        "a": 0.5,
        "b": None,
        "c": 3,
        "d": [None, True, None, "x"],
        "e": {"f": [1, 2]},
    }


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file(finished, monkeypatch, call) -> None:
    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    before = sorted(finished.iterdir())
    with open_run(finished) as run:
        monkeypatch.setattr(os, call, full)
        with pytest.raises(OSError, match="No space left"):
            run.finish({"nll": 2.0})
    assert json.loads((finished / "metrics.json").read_text()) == {"nll": 1.0}
    assert sorted(finished.iterdir()) == before


def test_history_has_one_line_an_epoch(tmp_path) -> None:
    history = HistoryFile(tmp_path / "history.csv")
    assert history.read() == {}
    history.append(1, {"loss": 0.1 + 0.2, "kl": math.nan})
    history.append(2, {"loss": -1e-300, "kl": 2})
    assert (tmp_path / "history.csv").read_text() == (
        "epoch,loss,kl\n1,0.30000000000000004,nan\n2,-1e-300,2\n"
    )
    assert history.read()["loss"] == [0.1 + 0.2, -1e-300]


@pytest.mark.parametrize(
    "left",
    [
        "epoch,loss\n1,0.1\n2,0.2\n",
        "epoch,loss\n1,0.1\n2,0.2\n3,0.3\n4,0.4\n",
        "epoch,loss\n1,0.1\n2,0.2\n3",
        "epoch,loss\n1,0.1\n2,0.2\n3,0.",
    ],
)
def test_history_goes_on_without_repeats_or_gaps(tmp_path, left: str) -> None:
    path = tmp_path / "history.csv"
    path.write_text(left)
    history = HistoryFile(path)
    history.append(3, {"loss": 0.3})
    history.append(4, {"loss": 0.4})
    assert path.read_text() == "epoch,loss\n1,0.1\n2,0.2\n3,0.3\n4,0.4\n"


def test_history_starts_again_with_epoch_one(tmp_path) -> None:
    (tmp_path / "history.csv").write_text("epoch,loss\n1,9\n2,9\n")
    HistoryFile(tmp_path / "history.csv").append(1, {"loss": 0.1})
    assert (tmp_path / "history.csv").read_text() == "epoch,loss\n1,0.1\n"


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_a_killed_run_is_gone_on_with(tmp_path) -> None:
    program = f"""
import itertools
from gormpo_density.runs import RunFolder
run = RunFolder.open({str(tmp_path / "run")!r}, {CONFIG!r})
for epoch in itertools.count(1):
    run.history.append(epoch, {{"loss": 1 / epoch}})
    print(epoch, flush=True)
"""
    child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    for line in child.stdout:
        if int(line) == 5:
            break
    child.send_signal(signal.SIGKILL)
    child.communicate()
    with open_run(tmp_path / "run", resume=True) as run:
        run.history.append(4, {"loss": 0.25})  # the last checkpoint was of epoch 3
        assert run.history.read() == {"epoch": [1, 2, 3, 4], "loss": [1, 1 / 2, 1 / 3, 1 / 4]}


def test_the_lock_marks_a_run_folder(unfinished) -> None:
    assert (unfinished / runs._LOCK).is_file()
