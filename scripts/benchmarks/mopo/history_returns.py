"""Returns on Hopper of penalties that see the path of a rollout, beside those of the others.

The arms are tuned on as many points and seeds as those of the part "returns", whose runs are used
again where they are there.
"""

from benchmarks.cells import Bench
from benchmarks.mopo.arms import HISTORY_ARMS, SEEDS
from benchmarks.mopo.returns import (
    HOPPER,
    arms_table,
    confirm,
    differences_table,
    tune,
    tuned_settings,
)

_OTHERS = ("no penalty", "MOPO std", "density (ours)", "combination")


def report(bench: Bench) -> str:
    """Return the tables of the fresh seeds, and what was chosen for them."""
    others = tuned_settings(bench)
    chosen = tune(bench, HOPPER, HISTORY_ARMS)
    own = {arm.name: {**arm.settings, **chosen[arm.name]} for arm in HISTORY_ARMS}
    results = confirm(bench, "returns", HOPPER, {arm: others[arm] for arm in _OTHERS} | own, SEEDS)
    points = [f"{name}: {', '.join(f'{k}={v}' for k, v in p.items())}" for name, p in own.items()]
    return "\n\n".join(
        [
            "Chosen on the tuning seeds: " + "; ".join(points) + ".",
            f"On seeds {', '.join(map(str, SEEDS))}, none of which chose anything:",
            arms_table(results),
            *(differences_table(results, arm) for arm in own),
        ]
    )
