import functools
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gormpo_density import processes as module
from gormpo_density.processes import Processes

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc of Linux")

#: Writes the ids of itself and of a child of its own, then sleeps.
SLEEPER = """
import os, pathlib, signal, subprocess, sys, time
if "deaf" in sys.argv:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen(["sleep", "600"])
part = pathlib.Path(sys.argv[1] + ".part")
part.write_text(f"{os.getpid()} {child.pid}")
part.rename(sys.argv[1])
time.sleep(600)
"""

#: A program that runs the sleeper and can be killed.
OWNER = """
import sys
from gormpo_density.processes import Processes
with Processes() as processes, open(sys.argv[1] + ".log", "wb") as log:
    processes.run(["-c", sys.argv[2], sys.argv[1]], log, log)
"""


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def is_alive(pid: int) -> bool:
    """Tell whether a process runs; one that waits to be reaped does not."""
    stat = Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def pids(file: Path) -> list[int]:
    wait_for(file.exists)
    return [int(pid) for pid in file.read_text().split()]


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., tuple[int, str, str]]:
    """A function that runs Python code; it gives exit code, stdout and stderr."""

    def call(code: str, processes: Processes | None = None) -> tuple[int, str, str]:
        files = tmp_path / "out", tmp_path / "err"
        with files[0].open("wb") as out, files[1].open("wb") as err:
            result = (processes or Processes()).run(["-c", code], out, err)
        return result, files[0].read_text(), files[1].read_text()

    return call


def test_a_program_runs_to_its_end_on_one_thread_without_input(run) -> None:
    code = """
import os, sys
print(os.environ["OMP_NUM_THREADS"], os.environ["OMP_WAIT_POLICY"], repr(sys.stdin.read()))
print("complaint", file=sys.stderr)
sys.exit(3)
"""
    assert run(code) == (3, "1 PASSIVE ''\n", "complaint\n")


def test_a_program_that_a_signal_ended_says_which(run) -> None:
    assert run("import os; os.kill(os.getpid(), 9)") == (-signal.SIGKILL, "", "")


def test_nothing_starts_after_the_end(run) -> None:
    with Processes() as processes:
        assert run("print('early')", processes) == (0, "early\n", "")
    assert run("print('late')", processes) == (-signal.SIGTERM, "", "")


@pytest.mark.parametrize("kind", ["polite", "deaf"])
def test_stop_ends_a_program_and_what_it_started(tmp_path, monkeypatch, kind) -> None:
    monkeypatch.setattr(module, "_GRACE", 0.5)
    codes = []
    with Processes() as processes, (tmp_path / "log").open("wb") as log:
        arguments = ["-c", SLEEPER, str(tmp_path / "pids"), kind]
        thread = threading.Thread(target=lambda: codes.append(processes.run(arguments, log, log)))
        thread.start()
        sleeper, child = pids(tmp_path / "pids")
    thread.join()
    assert codes == [-signal.SIGTERM if kind == "polite" else -signal.SIGKILL]
    wait_for(lambda: not is_alive(sleeper) and not is_alive(child))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nothing_outlives_us(tmp_path, number) -> None:
    file = tmp_path / "pids"
    # A suite that runs in the background ignores Ctrl-C, and its children would too.
    listen = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(file), SLEEPER],
        stderr=subprocess.DEVNULL,
        preexec_fn=listen,
    )
    found = pids(file)
    assert all(map(is_alive, found))
    owner.send_signal(number)
    assert owner.wait() == -number
    wait_for(lambda: not any(map(is_alive, found)))
