import builtins
import signal
import threading
from pathlib import Path

import pytest

from gormpo_density.errors import ConfigError
from gormpo_density.processes import Processes
from gormpo_density.sweep_jobs import (
    Job,
    Outcome,
    complaints,
    in_threads,
    run_job,
    run_on_cores,
    run_on_ray,
)

TRACEBACK = """\
WARNING: far off
Traceback (most recent call last):
  File "program.py", line 1, in <module>
    1 / 0
ZeroDivisionError: division by zero
"""


def job(name: str, code: str, logs: Path) -> Job:
    return Job(name, ("-c", code), logs)


@pytest.mark.parametrize(
    ("code", "stderr", "told"),
    [
        (0, "WARNING: odd\n", []),
        (1, TRACEBACK, ["ZeroDivisionError: division by zero"]),
        (2, "warning: odd\nfirst\nsecond\n", ["first", "second"]),
        (2, "", ["exit code 2"]),
        (5, "\n \n", ["exit code 5"]),
        (-signal.SIGKILL, "told before\n", ["killed by signal 9 (Killed)"]),
    ],
)
def test_complaints_are_what_a_person_needs(code: int, stderr: str, told: list[str]) -> None:
    assert complaints(code, stderr) == told


def test_a_job_leaves_what_it_printed(tmp_path: Path) -> None:
    logs = tmp_path / "deep" / "logs"
    program = "import sys; print('ü'); print('a', file=sys.stderr); sys.exit('b\\nc')"
    assert run_job(Processes(), job("one", program, logs)) == Outcome("one", "c")
    assert (logs / "one.out").read_bytes() == "ü\n".encode()
    assert (logs / "one.err").read_text() == "a\nb\nc\n"


def test_jobs_on_cores_all_end_whatever_becomes_of_the_others(tmp_path: Path) -> None:
    jobs = [job(str(code), f"raise SystemExit({code})", tmp_path) for code in (0, 2, 3)]
    outcomes = {outcome.name: outcome.problem for outcome in run_on_cores(jobs, 2)}
    assert outcomes == {"0": "", "2": "exit code 2", "3": "exit code 3"}
    assert list(run_on_cores([], None)) == []


def test_threads_yield_what_ends_first(tmp_path: Path) -> None:
    is_late = threading.Event()

    def task(_: Processes, item: str) -> str:
        if item == "slow":
            is_late.wait(60)
        return item

    results = in_threads(task, ["slow", "fast"], 2)
    assert next(results) == "fast"
    is_late.set()
    assert list(results) == ["slow"]


def test_leaving_the_iteration_stops_what_runs(tmp_path: Path) -> None:
    jobs = [
        job("fast", "", tmp_path),
        *(job(name, "import time; time.sleep(600)", tmp_path) for name in ("a", "b", "c")),
    ]
    outcomes = run_on_cores(jobs, 2)
    assert next(outcomes) == Outcome("fast")
    with pytest.warns(UserWarning, match="cancelled"):  # joblib's
        outcomes.close()  # waits for what was killed
    assert not (tmp_path / "c.out").exists()


def test_ray_is_asked_for_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without_ray(name: str, *args: object) -> object:
        if name == "ray":
            raise ImportError(name)
        return real(name, *args)

    monkeypatch.setattr(builtins, "__import__", without_ray)
    with pytest.raises(ConfigError, match=r"pip install 'gormpo-density\[ray\]'"):
        list(run_on_ray([], None))
