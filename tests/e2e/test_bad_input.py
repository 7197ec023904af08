"""Bad configurations and bad data: one clear line each, exit code 2, nothing lost."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from gormpo_density import load_model

pytestmark = pytest.mark.usefixtures("without_report")


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
    np.savetxt(tmp_path / "few.csv", OBS[:3], delimiter=",")
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


def test_a_hostile_data_file_runs_nothing(complaint, small, tmp_path, hostile_pickle) -> None:
    content, proof = hostile_pickle
    path = tmp_path / "hostile.pkl"
    path.write_bytes(content)
    (told,) = complaint(*small, "--data_path", path)
    assert told.startswith(f"{path}: ")
    assert not proof.exists()


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
