"""Returns on Hopper of penalties that see the path of a rollout, beside those of the others.

These arms have no tuning of their own: coefficient and KL target are those that tuning chose for
the density penalty of rows. The other arms' runs are those of the part "returns".
"""

from benchmarks.cells import Bench
from benchmarks.mopo.arms import HISTORY_ARMS, SEEDS
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
    own = {arm.name: {**tuned[OURS], **arm.settings} for arm in HISTORY_ARMS}
    results = confirm(bench, "returns", HOPPER, {arm: tuned[arm] for arm in _OTHERS} | own, SEEDS)
    return "\n\n".join(
        [
            f"On seeds {', '.join(map(str, SEEDS))}, with the settings that tuning chose for "
            f"{OURS}:",
            arms_table(results),
            *(differences_table(results, arm) for arm in own),
        ]
    )
