"""Returns on Hopper of a penalty that sees the path of a rollout, beside those of the others.

It has no tuning of its own: coefficient and KL target are those that tuning chose for the density
penalty of rows. The other arms' runs are those of the part "returns".
"""

from benchmarks.cells import Bench
from benchmarks.mopo.arms import HISTORY_ARM, SEEDS
from benchmarks.mopo.returns import (
    HOPPER,
    OURS,
    arms_table,
    confirm,
    differences_table,
    tuned_settings,
)

_OTHERS = ("no penalty", "MOPO std", OURS, "combination")


def report(bench: Bench) -> str:
    """Return the tables of the fresh seeds."""
    tuned = tuned_settings(bench)
    settings = {arm: tuned[arm] for arm in _OTHERS}
    settings |= {HISTORY_ARM.name: {**tuned[OURS], **HISTORY_ARM.settings}}
    results = confirm(bench, "returns", HOPPER, settings, SEEDS)
    return "\n\n".join(
        [
            f"On seeds {', '.join(map(str, SEEDS))}; history has the settings that tuning chose "
            f"for {OURS}:",
            arms_table(results),
            differences_table(results, HISTORY_ARM.name),
        ]
    )
