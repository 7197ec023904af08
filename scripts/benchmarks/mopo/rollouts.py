"""Model transitions a second, by penalty and by number of starts."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks import peers
from benchmarks.cells import Bench, Cell, Result
from benchmarks.mopo import hopper, sb3
from benchmarks.mopo.ensembles import SIZE
from benchmarks.tables import median_interval, show, table
from benchmarks.timing import interleaved
from rl.assembly import Setup, assemble
from rl.config import RolloutConfig, SACConfig, load_mopo_config
from rl.rollout import Rollouts
from rl.stages import Stages

PENALTIES = {
    "density": "a flow's surprise",
    "none": "no penalty",
    "mopo": "largest std of all members",
    "combination": "std of all members and a flow's surprise",
}
LENGTH = RolloutConfig().length
BATCH_SIZE = SACConfig().batch_size


@dataclass(frozen=True)
class Scale:
    """How much is measured.

    Attributes:
        rounds: Of interleaved timings.
        starts: Branches of a generation.
        updates: Updates of the peer in a round.
        overrides: What makes the parts quick to train; speed does not depend on how good they are.
    """

    rounds: int = 8
    starts: tuple[int, ...] = (5_000, 8_000)
    updates: int = 20
    overrides: tuple[str, ...] = ("dynamics.epochs=1", "fit.epochs=1", "bc.steps=600")


QUICK = Scale(
    rounds=1,
    starts=(20, 40),
    updates=2,
    overrides=("dynamics.epochs=1", "fit.epochs=1", "bc.steps=5", "rollout.starts=40"),
)


def report(bench: Bench) -> str:
    """Measure what is missing and return the table."""
    scale = QUICK if bench.quick else Scale()
    config = load_mopo_config(None, ["task=hopper", *scale.overrides])
    settings = {
        "config": config.model_dump(mode="json"),
        "penalties": list(PENALTIES),
        "scale": [scale.rounds, scale.starts, scale.updates],
        "versions": peers.versions("torch", sb3.PACKAGE),
    }
    measure = partial(_measure, bench, scale)
    result = bench.result(Cell("speed", "rollouts", "all"), settings, measure)
    flow = config.model.params
    title = (
        "## Model rollouts\n\nTransitions a second of a whole generation: actions, dynamics "
        f"({SIZE}), termination, penalty, packed rows; branches of at most {LENGTH} steps from "
        "real states under the cloned policy. The flow is a RealNVP of "
        f"{flow['num_layers']} x {list(flow['hidden_dims'])}; all parts trained for an epoch, "
        "which changes no speed. The last column is how many are made in the time of one update "
        f"of {sb3.PACKAGE}'s SAC, batches of {BATCH_SIZE}."
    )
    return f"{title}\n\n{_table(result, scale)}"


def _measure(bench: Bench, scale: Scale) -> Result:
    with TemporaryDirectory() as folder:
        setups = {name: _setup(bench, scale, name, Path(folder)) for name in PENALTIES}
    calls: dict[str, Callable[[], object]] = {}
    rows = {}
    for name, setup in setups.items():
        for starts in scale.starts:
            rollouts = _resized(setup, starts)
            calls[f"{name} {starts}"] = partial(rollouts.generate, setup.clone)
            rows[f"{name} {starts}"] = len(rollouts.generate(setup.clone).rows)
    if not peers.missing(sb3.PACKAGE):
        data = setups["density"].data
        update = sb3.updates(data, min(len(data.obs), 40_000), BATCH_SIZE)
        calls[sb3.PACKAGE] = partial(update, scale.updates)
    return {"rows": rows, "seconds": interleaved(calls, scale.rounds)}


def _setup(bench: Bench, scale: Scale, penalty: str, folder: Path) -> Setup:
    """Put a run together; the parts that penalties share are trained once."""
    overrides = [
        "task=hopper",
        f"data.data_path={hopper.data_file(bench)}",
        f"penalty.name={penalty}",
        "sac.warm_start=false",
        *scale.overrides,
    ]
    config = load_mopo_config(None, overrides)
    return assemble(config, folder, Stages(folder), hopper.DEVICE, progress=False)


def _resized(setup: Setup, starts: int) -> Rollouts:
    assert setup.loop is not None
    assert setup.loop.rollouts is not None
    rollouts = copy.copy(setup.loop.rollouts)
    rollouts.config = RolloutConfig(starts=starts)
    return rollouts


def _table(result: Result, scale: Scale) -> str:
    peer = result["seconds"].get(sb3.PACKAGE)
    rows = []
    for name, penalty in PENALTIES.items():
        for starts in scale.starts:
            key = f"{name} {starts}"
            n_rows, seconds = result["rows"][key], result["seconds"][key]
            share = n_rows / (starts * LENGTH)
            speed, quiet = (n_rows / summary(seconds) for summary in (median, min))
            multiple = ""
            if peer is not None:
                pairs = zip(peer, seconds, strict=True)
                per_update = [n_rows * block / scale.updates / own for block, own in pairs]
                multiple = show(median_interval(per_update), 0)
            cells = [f"{starts:,}", f"{share:.0%}", f"{speed:,.0f}", f"{quiet:,.0f}", multiple]
            rows.append([penalty, *cells])
    header = [
        *("penalty", "starts", f"of {LENGTH} a start", "transitions a second", "quiet"),
        f"per {sb3.PACKAGE} update",
    ]
    return table(header, rows)
