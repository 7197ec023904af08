"""Comparing speeds on a machine that has other things to do: interleaved, in CPU seconds."""

import time
from collections.abc import Callable, Mapping
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


def peak_memory(call: Callable[[], object]) -> float | None:
    """Return by how many MB a call raises the memory in use at its peak; None off Linux."""
    if not CLEAR_REFS.exists():
        return None
    CLEAR_REFS.write_text("5")  # sets the recorded peak back to what is in use now
    before = _resident("VmHWM")
    call()
    return _resident("VmHWM") - before


def _resident(field: str) -> float:
    lines = STATUS.read_text().splitlines()
    kilobytes = next(line.split()[1] for line in lines if line.startswith(field))
    return int(kilobytes) / 1024
