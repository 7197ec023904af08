"""Returns on Hopper where nothing but the penalty differs: the settings are the shipped ones.

In the part "returns" each arm has its own best setting, so an arm's gain may be that of its KL
target. Here every arm has the configuration that users get; the seeds are those of "returns",
whose runs of an arm that has these settings there are taken as they are.
"""

from collections.abc import Mapping

from benchmarks.cells import Bench
from benchmarks.mopo.arms import SEEDS, Settings
from benchmarks.mopo.returns import (
    COMBINATION,
    HOPPER,
    OURS,
    arms_table,
    confirm,
    differences_table,
    draw_arms,
    seeds_table,
)
from rl.config import PenaltyConfig, SACConfig

_PENALTIES = {
    "no penalty": "none",
    "MOPO std": "mopo",
    OURS: "density",
    COMBINATION: "combination",
}


def report(bench: Bench) -> str:
    """Return the tables."""
    results = confirm(bench, "returns", HOPPER, settings(), SEEDS)
    draw_arms(results, bench.out / "shipped.png")
    differences = [differences_table(results, arm) for arm in (OURS, COMBINATION)]
    return "\n\n".join([arms_table(results), *differences, seeds_table(results)])


def settings() -> Mapping[str, Settings]:
    """Return the settings of each arm: its penalty, and the defaults of what the arms tune."""
    coef, kl_target = PenaltyConfig().coef, SACConfig().kl_target
    return {
        arm: {
            "penalty.name": name,
            **({} if name == "none" else {"penalty.coef": coef}),
            "sac.kl_target": kl_target,
        }
        for arm, name in _PENALTIES.items()
    }
