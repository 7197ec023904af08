"""Where a run's dynamics model errs, and which penalty would have told.

The model is rolled out from held-out states under policies that leave the data less and less
alone, beside the simulator; see `rl.model_error` for the errors, `rl.error_tracking` for what they
are held against.
"""

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm.auto import tqdm

from gormpo_density import DensityModel, SequenceModel
from gormpo_density.errors import ConfigError
from gormpo_density.metrics import Interval
from rl.assembly import termination_of
from rl.config import PenaltyConfig
from rl.dynamics import EnsembleDynamics
from rl.embedding import embed_states, visited_states
from rl.error_tracking import compare_penalties, rank_correlations, worst_row_auroc
from rl.evaluate import Actor
from rl.history import Memory, Recall, recall_for
from rl.model_error import ModelErrors, ModelProbe
from rl.offline_data import OfflineData
from rl.penalties import Penalty, make_penalty
from rl.policy import TanhGaussianPolicy
from rl.saved_run import SavedMOPORun
from rl.simulator import open_simulator
from rl.step_scores import ProposedStep
from rl.termination import Termination
from rl.uncertainty import UNCERTAINTIES

#: Scores that know nothing: what any penalty has to be better than.
TRIVIAL = ("random", "constant")

#: The penalty that others are held against.
REFERENCE = "total_std"

_NOISE = 0.3  # of half the range of actions


def all_penalties(
    config: PenaltyConfig,
    data: OfflineData,
    dynamics: EnsembleDynamics,
    density: DensityModel | None,
    row_kind: str,
    beside: SequenceModel[Any] | None = None,
) -> dict[str, Penalty]:
    """Return every penalty there is, as a run with this configuration would use it.

    The kind of the density penalty is "linear": u clipped to [0, cap].

    Args:
        config: Whose weight, cap and score are used.
        data: Its calibration rows give the units.
        dynamics: The fitted ensemble; a single member never disagrees, so that is left out.
        density: A calibrated model; None leaves its penalties out.
        row_kind: What it scores.
        beside: A calibrated model of paths, whose surprise counts where it is the larger.

    Raises:
        GormpoDensityError: See `make_penalty`.
    """
    names = [n for n in UNCERTAINTIES if n != "disagreement" or dynamics.members > 1]
    names += [] if density is None else ["density", "combination"]
    cal = data.splits["cal"]
    return {
        name: make_penalty(
            config.model_copy(update={"name": name, "kind": "linear", "truncate": None}),
            density=density,
            row_kind=row_kind,
            dynamics=dynamics,
            held_out=(data.obs[cal], data.action[cal]),
            beside=beside,
        )
        for name in names
    }


class PenaltyScores:
    """What each penalty says of a step: all see the same prediction of the ensemble.

    Args:
        dynamics: The ensemble.
        penalties: By name. With "density" comes its u, unclipped, as "surprise".
        generator: Source of the score "random", on the device of the ensemble.
        recall: Gives the memory of what went before rows of the data, for a penalty of paths.
    """

    def __init__(
        self,
        dynamics: EnsembleDynamics,
        penalties: Mapping[str, Penalty],
        generator: torch.Generator,
        recall: Recall | None = None,
    ) -> None:
        self.dynamics = dynamics
        self.penalties = penalties
        self.generator = generator
        self.recall = recall

    def __call__(
        self, obs: Tensor, action: Tensor, next_obs: Tensor, memory: Memory | None = None
    ) -> tuple[dict[str, Tensor], Memory | None]:
        """Return the penalties (B,) by name, the trivial ones last, and the memory after them."""
        step = ProposedStep(obs, action, next_obs, self.dynamics.predict(obs, action), memory)
        scores = {}
        for name, penalty in self.penalties.items():
            value = penalty(step)
            memory = value.memory or memory  # of one model, the same for all that ask it
            if name == "density" and value.surprise is not None:
                scores["surprise"] = value.surprise
            scores[name] = value.penalty
        random = torch.rand(len(obs), generator=self.generator, device=obs.device)
        trivial = dict(zip(TRIVIAL, (random, torch.zeros_like(random)), strict=True))
        return scores | trivial, memory


def probing_actors(clone: TanhGaussianPolicy, generator: torch.Generator) -> dict[str, Actor]:
    """Return policies that leave the data more and more.

    clone: draws from the cloned policy. clone_noise: the same with N(0, .3^2) added, in units of
    half the range of actions. uniform: any action, whatever the state. Actions that leave the
    range are for the caller to clip.

    Args:
        clone: The cloned policy.
        generator: Source of all actions, on the policy's device.
    """
    act = functools.partial(clone.act, generator=generator)

    def clone_noise(obs: Tensor) -> Tensor:
        action = act(obs)
        noise = torch.empty_like(action).normal_(generator=generator)
        return action + _NOISE * clone.reach * noise

    def uniform(obs: Tensor) -> Tensor:
        shape = (len(obs), len(clone.reach))
        unit = torch.rand(shape, generator=generator, device=obs.device)
        return clone.middle + clone.reach * (2 * unit - 1)

    return {"clone": act, "clone_noise": clone_noise, "uniform": uniform}


@dataclass(frozen=True)
class RolloutPlan:
    """How the model is rolled out.

    Attributes:
        starts: Held-out states, drawn at random; all where there are fewer.
        horizon: Steps from each, at most.
        seed: Of all that is random.
    """

    starts: int = 1000
    horizon: int = 8
    seed: int = 0

    def __post_init__(self) -> None:
        if self.starts < 10 or self.horizon < 1:
            raise ConfigError(
                "a diagnosis needs at least 10 starts and a horizon of 1, got "
                f"{self.starts} and {self.horizon}"
            )
        if not 0 <= self.seed < 2**32:
            raise ConfigError(f"the seed must be from 0 to 4294967295, is {self.seed}")


def measure_errors(
    plan: RolloutPlan,
    env_id: str,
    data: OfflineData,
    scores: PenaltyScores,
    actors: Mapping[str, Actor],
    termination: Termination,
    *,
    progress: bool = False,
) -> ModelErrors:
    """Roll the model out from test states under each policy, beside the simulator.

    Args:
        plan: How.
        env_id: The environment that the model is of.
        data: Its split "test" has the start states.
        scores: The penalties, and the model.
        actors: Policies by name.
        termination: Where rollouts end.
        progress: Show a progress bar.

    Raises:
        ConfigError: The environment's state cannot be set.
        DataError: No start state can be, or what was measured is not finite.
    """
    generator = scores.generator
    test = data.splits["test"]
    order = torch.randperm(len(test), generator=generator, device=data.device)
    rows = test[order[: plan.starts]]
    starts, memory = data.obs[rows], scores.recall and scores.recall(rows)
    with open_simulator(env_id) as simulator:
        probe = ModelProbe(scores.dynamics, simulator, scores, termination, generator)
        shown = tqdm(actors.items(), desc="rollouts", disable=not progress)
        return ModelErrors.joined(
            [probe.measure(starts, {n: a}, horizon=plan.horizon, memory=memory) for n, a in shown]
        )


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """What was found out about a run's model and its penalties.

    Attributes:
        errors: Step by step.
        differences: How much better some penalties rank the errors than total_std does, by name:
            rho minus rho with its 95 % interval over start states.
        embedded: Points (n, 2) of a t-SNE of states by where they come from, the data's first.
    """

    errors: ModelErrors
    differences: Mapping[str, Interval]
    embedded: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)

    def groups(self) -> Iterator[tuple[str, ModelErrors]]:
        """Yield the errors of all policies together, named "", then those of each."""
        yield "", self.errors
        for policy in dict.fromkeys(self.errors.policy.tolist()):
            yield policy, self.errors.select(self.errors.policy == policy)

    @functools.cached_property
    def metrics(self) -> dict[str, float]:
        """Flat numbers: <penalty>.spearman, <penalty>.worst10_auroc, and for each policy.

        The latter are <penalty>.<policy>.spearman and .worst10_auroc.
        """
        found: dict[str, float] = {
            "rows": len(self.errors),
            "starts": len(np.unique(self.errors.start)),
        }
        for group, errors in self.groups():
            infix = f".{group}" if group else ""
            for penalty, rho in rank_correlations(errors).items():
                found[f"{penalty}{infix}.spearman"] = rho
            for penalty, auroc in worst_row_auroc(errors).items():
                found[f"{penalty}{infix}.worst10_auroc"] = auroc
        for penalty, (estimate, low, high) in self.differences.items():
            name = f"{penalty}_minus_{REFERENCE}"
            found |= {name: estimate, f"{name}_ci_low": low, f"{name}_ci_high": high}
        return found


def diagnose(run: SavedMOPORun, plan: RolloutPlan, *, progress: bool = False) -> Diagnosis:
    """Measure where a run's model errs, under its clone, worse policies and its own.

    Args:
        run: A finished run.
        plan: How the model is rolled out.
        progress: Show a progress bar.

    Raises:
        ConfigError: The environment's state cannot be set.
        DataError: No start state can be set, or what was measured is not finite.
    """
    generator = torch.Generator(run.data.device).manual_seed(plan.seed)
    penalties = all_penalties(
        run.config.penalty, run.data, run.dynamics, run.density, run.row_kind, run.beside
    )
    recall = recall_for(run.data, run.row_kind, run.density, run.beside)
    actors = probing_actors(run.clone, generator)
    actors["policy"] = functools.partial(run.policy.act, generator=generator)
    termination = termination_of(run.config, run.data, run.env_id)
    errors = measure_errors(
        plan,
        run.env_id,
        run.data,
        PenaltyScores(run.dynamics, penalties, generator, recall),
        actors,
        termination,
        progress=progress,
    )
    rng = np.random.default_rng(plan.seed)
    differences = {
        name: compare_penalties(errors, name, REFERENCE, rng)
        for name in ("combination", "density")
        if name in errors.penalties
    }
    states = visited_states(run, plan.starts, plan.horizon, plan.seed, termination)
    return Diagnosis(errors, differences, embed_states(states, plan.seed))
