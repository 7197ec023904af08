"""Comparing speeds on a machine that has other things to do: interleaved, in CPU seconds."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

STATUS = Path("/proc/self/status")
CLEAR_REFS = Path("/proc/self/clear_refs")


def cpu_seconds(call: Callable[[], object]) -> float:
    """Return the CPU seconds a call takes, user and system."""
    start = time.process_time()
    call()
    return time.process_time() - start


def interleaved(calls: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Time calls in turn, once a round, each round beginning with another; one to warm up.

    Returns:
        CPU seconds by call, one per round, so that equal places are pairs.
    """
    for call in calls.values():
        call()
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    names = list(calls)
    for _ in range(rounds):
        for name in names:
            seconds[name].append(cpu_seconds(calls[name]))
        names.append(names.pop(0))
    return seconds


@dataclass
class Cost:
    """What a block of code took.

    Attributes:
        seconds: Of CPU.
        before: MB that the process held at its beginning; None off Linux, as the next.
        peak: Most MB that it held.
    """

    seconds: float = math.nan
    before: float | None = None
    peak: float | None = None

    @property
    def added(self) -> float | None:
        """MB by which the block raised the memory in use at its peak."""
        return None if self.peak is None or self.before is None else self.peak - self.before


@contextmanager
def measured() -> Iterator[Cost]:
    """Measure a block: the cost is filled in when it is left."""
    cost, start = Cost(), time.process_time()
    if CLEAR_REFS.exists():
        CLEAR_REFS.write_text("5")  # sets the recorded peak back to what is in use now
        cost.before = _resident("VmHWM")
    yield cost
    cost.seconds = time.process_time() - start
    if cost.before is not None:
        cost.peak = _resident("VmHWM")


def peak_memory(call: Callable[[], object]) -> float | None:
    """Return by how many MB a call raises the memory in use at its peak; None off Linux."""
    with measured() as cost:
        call()
    return cost.added


def _resident(field: str) -> float:
    lines = STATUS.read_text().splitlines()
    kilobytes = next(line.split()[1] for line in lines if line.startswith(field))
    return int(kilobytes) / 1024
