"""Part "speed": our flow and those of other libraries at equal size, and what our defaults cost.

Everything is in CPU seconds of one thread. Timings that are compared are taken in turn, round by
round; a ratio is the median over rounds of the ratio in one round, with a median's 95 % interval.
"""

import torch

from benchmarks import footprint, peers, race, throughput
from benchmarks.cells import Bench


def report(bench: Bench) -> str:
    """Measure what is missing and return the tables."""
    installed = peers.versions(*peers.FLOW_LIBRARIES) or "no other library"
    capability = torch.backends.cpu.get_cpu_capability()
    machine = f"PyTorch {torch.__version__}, {capability}, one thread; {installed}."
    if absent := peers.missing(*peers.FLOW_LIBRARIES):
        machine += f" Not installed, so not measured: {absent}."
    parts = [throughput.report(bench), footprint.report(bench), race.report(bench)]
    return "\n\n".join([machine, *parts])
