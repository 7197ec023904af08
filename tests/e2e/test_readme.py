"""The README's Python runs, and its commands are ones the parsers know."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from gormpo_density import GMM, registry
from gormpo_density import augment as augmentation
from gormpo_density import detect as detection
from gormpo_density import train as density
from rl import train as mopo

README = (Path(__file__).parents[2] / "README.md").read_text()
PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
COMMANDS = re.findall(
    r"^python -m ((?:gormpo_density|rl)\.(?:train|detect|augment)) "
    r"(--(?:config|task|dataset) .*?)(?:  #.*)?$",
    README,
    re.MULTILINE,
)
PROGRAMS = {
    "gormpo_density.train": density.main,
    "gormpo_density.detect": detection.main,
    "gormpo_density.augment": augmentation.main,
    "rl.train": mopo.main,
}


def arrays() -> dict[str, np.ndarray]:
    """What the README's reader brings along: transitions of their own."""
    rng = np.random.default_rng(0)
    obs, action = rng.normal(size=(600, 3)), rng.uniform(-1, 1, size=(600, 2))
    rows = np.concatenate([obs, action], axis=1)[:50]
    series = np.sin(np.arange(4000) / 8) + 0.1 * rng.normal(size=4000)
    series[3500:3520] += 3
    return {
        "obs": obs,
        "action": action,
        "reward": np.zeros(50),
        "model_rows": rows,
        "series": series,
        "windows": np.sin(rng.uniform(0, 6, (40, 1)) + np.arange(24) / 4),
        "labels": np.arange(40) % 2,
    }


def save_run(names: dict[str, np.ndarray], folder: Path) -> None:
    """Leave the model of a finished run on the reader's transitions."""
    rows = np.concatenate([names["obs"], names["action"]], axis=1)
    model = GMM(input_dim=rows.shape[1])
    model.fit(rows[:300], rows[300:400])
    model.calibrate(rows[400:])
    model.save(folder / "model")


@pytest.mark.parametrize("code", PYTHON, ids=range(len(PYTHON)))
def test_python_blocks_run(code: str, monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))
    monkeypatch.chdir(tmp_path)
    names = arrays()
    if "Monitor.load" in code:
        save_run(names, tmp_path / "runs" / "hopper-realnvp-seed0")
    exec(code.replace("progress=True", "epochs=2"), names)
    if "reward_for_model_rollout" in code:
        assert np.isfinite(names["reward_for_model_rollout"]).all()


@pytest.mark.parametrize(("program", "arguments"), COMMANDS)
def test_training_commands_are_understood(
    program: str, arguments: str, tmp_path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    assert PROGRAMS[program]([*shlex.split(arguments), "--dry-run"]) == 0
    assert "model:" in capsys.readouterr().out


def test_there_is_something_to_test() -> None:
    assert len(PYTHON) >= 4
    assert len(COMMANDS) >= 10
