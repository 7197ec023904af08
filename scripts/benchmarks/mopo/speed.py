"""Part "speed": updates, model rollouts and dynamics training, against what others would do.

Everything is in CPU seconds of one thread. Timings that are compared are taken in turn, round by
round; a ratio is the median over rounds of the ratio in one round, with a median's 95 % interval.
"""

import torch

from benchmarks import peers
from benchmarks.cells import Bench
from benchmarks.mopo import ensembles, rollouts, updates
from benchmarks.mopo.sb3 import PACKAGE

BUSY = (
    "CPU seconds of one thread on a virtual machine that others used at the same time: trust "
    "ratios, which are of neighbouring moments, rather than absolute speeds."
)


def report(bench: Bench) -> str:
    """Measure what is missing and return the tables."""
    installed = peers.versions(PACKAGE) or f"not installed, so not measured: {PACKAGE}"
    capability = torch.backends.cpu.get_cpu_capability()
    machine = f"PyTorch {torch.__version__}, {capability}; {installed}.\n\n{BUSY}"
    return "\n\n".join([machine, *(part.report(bench) for part in (updates, rollouts, ensembles))])
