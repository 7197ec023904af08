"""What a finished run shows of its parts: states, the dynamics' errors, returns."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from gormpo_density.data.transitions import DatasetInfo
from rl.assembly import Setup
from rl.dynamics import EnsembleDynamics
from rl.evaluate import Evaluation
from rl.offline_data import OfflineData

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class MOPOResults:
    """What a run measured, beside its metrics.

    Attributes:
        info: Where the data came from.
        history: Columns of history.csv, each with a value an epoch.
        evaluations: Deterministic and stochastic episodes at the end, by name of the policy; the
            reported one is the first.
        q_alarm: Mean Q on data rows above which a policy usually collapses.
        dynamics_history: Curves of the ensemble's training; empty where it was not trained.
        dynamics_r2: R^2 of its predictions on test rows, by dimension; empty without one.
        states: States (n, O) by where they come from, the data's first; empty to draw none.
    """

    info: DatasetInfo
    history: Mapping[str, Sequence[float]]
    evaluations: Mapping[str, tuple[Evaluation, Evaluation]]
    q_alarm: float = math.nan
    dynamics_history: Mapping[str, Sequence[float]] = field(default_factory=dict)
    dynamics_r2: Mapping[str, float] = field(default_factory=dict)
    states: Mapping[str, Floats] = field(default_factory=dict)


def collect_results(
    setup: Setup,
    history: Mapping[str, Sequence[float]],
    evaluations: Mapping[str, tuple[Evaluation, Evaluation]],
) -> MOPOResults:
    """Gather what a report shows; see `MOPOResults` for the arguments."""
    reported, _ = next(iter(evaluations.values()))
    return MOPOResults(
        info=setup.data.info,
        history=history,
        evaluations=evaluations,
        q_alarm=math.nan if setup.loop is None else setup.loop.probe.limit,
        dynamics_history=setup.dynamics_history or {},
        dynamics_r2={} if setup.dynamics is None else _r2(setup.dynamics, setup.data),
        states=_states(setup, reported),
    )


def _r2(dynamics: EnsembleDynamics, data: OfflineData) -> dict[str, float]:
    i = data.splits["test"]
    r2 = dynamics.r2(data.obs[i], data.action[i], data.reward[i], data.next_obs[i])
    names = [*(f"obs {place}" for place in range(data.obs_dim)), "reward"]
    return dict(zip(names, r2.tolist(), strict=True))


def _states(setup: Setup, reported: Evaluation) -> dict[str, Floats]:
    """Return held-out states, those of the newest model rollouts, and those of the policy."""
    data, loop = setup.data, setup.loop
    states = {"data": _floats(data.obs[data.splits["test"]])}
    if loop is not None and loop.buffer.generations:
        newest = loop.buffer.generations[max(loop.buffer.generations)]
        states["model rollouts"] = _floats(loop.buffer.layout.unpack(newest).obs)
    if reported.visited:
        visited = np.concatenate(reported.visited).astype(np.float64)
        states["policy in the environment"] = visited
    return states


def _floats(rows: Tensor) -> Floats:
    return rows.cpu().double().numpy()
