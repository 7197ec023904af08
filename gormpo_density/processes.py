"""Python programs run as processes of their own, none of which outlives us."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import IO

_GRACE = 5.0  # seconds between asking a program to end and killing it

#: A run has one thread, since as many runs as there are cores go on beside it.
_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}


class Processes:
    """Starts programs, from several threads if need be, and stops all of them at the end.

    Each program leads a process group, so that what it started is stopped with it. If we are
    killed before the end, even by kill -9, a guard kills the group.

    Use it as a context manager.
    """

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._is_stopped = False

    def run(self, arguments: Sequence[str], stdout: IO[bytes], stderr: IO[bytes]) -> int:
        """Run `python ARGUMENTS` to its end.

        Args:
            arguments: What follows the interpreter, for instance "-m", "module".
            stdout: File for what it prints.
            stderr: File for its complaints.

        Returns:
            The exit code; -N if signal N ended it, also where `stop` was before it.
        """
        with self._lock:
            if self._is_stopped:
                return -signal.SIGTERM
            process = subprocess.Popen(
                [sys.executable, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                env=os.environ | _ENVIRONMENT,
                start_new_session=True,
            )
            self._running.add(process)
        try:
            with _guarded(process.pid):
                return process.wait()
        finally:
            self._stop([process])
            self._running.discard(process)

    def stop(self) -> None:
        """End all programs that are running, and let no other one start."""
        with self._lock:
            self._is_stopped = True
            self._stop(list(self._running))

    @staticmethod
    def _stop(processes: Sequence[subprocess.Popen[bytes]]) -> None:
        for process in processes:
            _signal(process, signal.SIGTERM)
        for process in processes:
            try:
                process.wait(_GRACE)
            except subprocess.TimeoutExpired:
                _signal(process, signal.SIGKILL)
                process.wait()

    def __enter__(self) -> "Processes":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


def _signal(process: subprocess.Popen[bytes], number: int) -> None:
    """Send a signal to the whole group of a process that has not ended."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)


@contextlib.contextmanager
def _guarded(group: int) -> Iterator[None]:
    """Have a process group killed if we die within the block.

    The guard waits for a line; if we die, the pipe closes without one.
    """
    guard = subprocess.Popen(
        ["sh", "-c", f"read -r _ || kill -s KILL -- -{group}"],
        stdin=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield
    finally:
        guard.communicate(b"\n")
