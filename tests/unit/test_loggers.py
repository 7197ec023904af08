import math
import sys
from types import SimpleNamespace

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from gormpo_density.errors import ConfigError
from gormpo_density.loggers import import_wandb, open_loggers


def curve(run, name: str) -> list[tuple[int, float]]:
    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars(name)]


def test_what_was_measured_goes_to_tensorboard(tmp_path) -> None:
    with open_loggers(tmp_path, {}) as log:
        log(100, {"q_data": 1.0, "return_det": math.nan})
        log(200, {"q_data": 2.0, "return_det": 7.0})
    assert curve(tmp_path, "q_data") == [(100, 1.0), (200, 2.0)]
    assert curve(tmp_path, "return_det") == [(200, 7.0)]


def test_a_resumed_run_has_one_curve(tmp_path) -> None:
    with open_loggers(tmp_path, {}) as log:
        for updates in (100, 200, 300):
            log(updates, {"q_data": 1.0})
    with open_loggers(tmp_path, {}, done=100) as log:
        log(200, {"q_data": 5.0})
    assert curve(tmp_path, "q_data") == [(100, 1.0), (200, 5.0)]


@pytest.fixture
def wandb(monkeypatch):
    """A stand-in that keeps what it is called with."""
    calls = []
    run = SimpleNamespace(
        log=lambda values, step: calls.append((step, values)),
        finish=lambda: calls.append("finished"),
    )

    def init(**how):
        calls.append(how)
        return run

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=init))
    return calls


def test_wandb_gets_the_same_values(tmp_path, wandb) -> None:
    with open_loggers(tmp_path / "run", {"seed": 3}, use_wandb=True) as log:
        log(100, {"q_data": 1.0, "return_det": math.nan})
    opened, logged, closed = wandb
    assert (opened["group"], opened["config"]) == ("run", {"seed": 3})
    assert (logged, closed) == ((100, {"q_data": 1.0}), "finished")


def test_wandb_is_left_alone_unless_asked_for(tmp_path, wandb) -> None:
    with open_loggers(tmp_path, {}) as log:
        log(100, {"q_data": 1.0})
    assert wandb == []


def test_an_absent_wandb_is_one_line(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ConfigError, match=r"pip install 'gormpo-density\[wandb\]'"):
        import_wandb()
