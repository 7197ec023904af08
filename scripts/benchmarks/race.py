"""How long our defaults take to the likelihood at which each peer ends."""

import itertools
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch

from benchmarks import peers
from benchmarks.cells import Bench, Cell, Result
from benchmarks.datasets import EpisodeSplit, episode_split, load_mujoco
from benchmarks.peers import FLOW_LIBRARIES, SIZE
from benchmarks.scorers import Recipe
from benchmarks.tables import show, table
from benchmarks.training import adam_epochs
from gormpo_density.aggregate import mean_interval

SUBJECT = "hopper_medium"
CONFIG = "hopper.yaml"


@dataclass(frozen=True)
class Scale:
    """How much is measured: seeds, rows, epochs of the peers, and what replaces our defaults."""

    seeds: tuple[int, ...] = (0,)
    max_train: int = 40_000
    epochs: int = 40
    fit: dict[str, Any] = field(default_factory=dict)


QUICK = Scale(seeds=(0,), max_train=300, epochs=1, fit={"epochs": 2})


def report(bench: Bench) -> str:
    """Measure what is missing and return the table."""
    scale = QUICK if bench.quick else Scale()
    split = episode_split(load_mujoco(bench.data_dir, SUBJECT), 0, scale.max_train)
    recipe = Recipe.default("realnvp", CONFIG).but(**scale.fit)
    rows = {"rows": len(split.train)}

    def curves(name: str, settings: dict[str, Any], run: Callable[[int], Result]) -> list[Result]:
        return [
            bench.result(Cell("speed", "race", name, seed), rows | settings, partial(run, seed))
            for seed in scale.seeds
        ]

    sharp = recipe.but(noise=0.0)
    ours = {
        "ours": curves("ours", asdict(recipe), partial(_our_curve, recipe, split)),
        "ours, noise 0": curves("sharp", asdict(sharp), partial(_our_curve, sharp, split)),
    }
    settings = {"size": SIZE, "epochs": scale.epochs}
    theirs = {
        name: curves(
            name,
            {**settings, "version": peers.versions(name)},
            partial(_peer_curve, name, split, scale.epochs),
        )
        for name in FLOW_LIBRARIES
        if not peers.missing(name)
    }
    tables = [_table(name, own, theirs) for name, own in ours.items()]
    return "\n\n".join([_title(scale), *tables])


def _our_curve(recipe: Recipe, split: EpisodeSplit, seed: int) -> Result:
    """Return CPU seconds since the start and validation loss, after each epoch."""
    seconds: list[float] = []
    start = time.process_time()
    _, history = recipe.train(
        split.train, split.val, seed, lambda *_: seconds.append(time.process_time() - start)
    )
    return {"seconds": seconds, "losses": history["val_loss"]}


def _peer_curve(name: str, split: EpisodeSplit, epochs: int, seed: int) -> Result:
    """Return the same of a peer, on rows standardised alike."""
    mean, std = split.train.mean(axis=0, dtype=float), split.train.std(axis=0, dtype=float)
    train, val = (
        torch.as_tensor((rows - mean) / std, dtype=torch.float32)
        for rows in (split.train, split.val)
    )
    flow = peers.flows(seed, [name])[name]
    curve: Result = {"seconds": [], "losses": []}
    start = time.process_time()
    training = adam_epochs(flow.module, lambda rows: -flow.log_prob(rows).mean(), train, seed)
    for _ in itertools.islice(training, epochs):
        with torch.inference_mode():
            loss = -flow.log_prob(val).mean().item()
        curve["losses"].append(loss)
        curve["seconds"].append(time.process_time() - start)
    return curve


def _table(name: str, ours: list[Result], theirs: dict[str, list[Result]]) -> str:
    rows = [[name, *_end(ours), "", ""]]
    for peer, curves in theirs.items():
        targets = [min(curve["losses"]) for curve in curves]
        own = [_seconds_to(t, curve) for t, curve in zip(targets, ours, strict=True)]
        needed = [_seconds_to(t, curve) for t, curve in zip(targets, curves, strict=True)]
        ratios = [a / b for a, b in zip(own, needed, strict=True)]
        rows.append([peer, *_end(curves), _mean(own, 0), _mean(ratios, 2)])
    header = ["flow", "best NLL", "CPU s to it", "our CPU s to it", "ours over theirs"]
    return table(header, rows)


def _title(scale: Scale) -> str:
    return (
        f"## Seconds to a likelihood\n\nThe peers' flows of equal size train on {SUBJECT} for "
        f"{scale.epochs} epochs (Adam, lr 1e-3, batches of 256; best epoch by validation), ours "
        f"with the defaults and {CONFIG}'s number of epochs, once with its input noise, which "
        "blurs the density, and once without. NLL of validation rows in nats of "
        f"standardised data; mean over {len(scale.seeds)} seeds with its 95 % interval "
        "(Student's)."
    )


def _end(curves: list[Result]) -> list[str]:
    """Best loss, and the seconds to it."""
    best = [min(curve["losses"]) for curve in curves]
    seconds = [_seconds_to(loss, curve) for loss, curve in zip(best, curves, strict=True)]
    return [_mean(best, 3), _mean(seconds, 0)]


def _mean(values: list[float], digits: int) -> str:
    never = sum(map(math.isinf, values))
    if never:
        return f"not reached by {never} of {len(values)}"
    return show(mean_interval(values), digits)


def _seconds_to(loss: float, curve: Result) -> float:
    """Return when a curve first was at that loss or below; infinite if it never was."""
    reached = np.flatnonzero(np.asarray(curve["losses"]) <= loss)
    return float(curve["seconds"][reached[0]]) if len(reached) else math.inf
