"""The MOPO loop: roll out the model, learn from real and model rows, look after both."""

import logging
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from gormpo_density.checkpoints import Part, pack_state, restore_state
from gormpo_density.errors import FitError, ModelFileError
from gormpo_density.persistence import load_tensors, save_tensors
from rl.buffer import Batch, MixedBuffer
from rl.config import MOPOConfig
from rl.penalty_control import AutoCoefficient, FlaggedShare
from rl.policy import TanhGaussianPolicy
from rl.rollout import Generation, Rollouts

logger = logging.getLogger(__name__)

#: Mean Q on data rows above this multiple of their returns is worth a warning; where returns have
#: both signs, the excess counts in their mean size.
ALARM_RATIO = 1.1

_CHECKPOINT = "mopo.safetensors"


class Learner(Protocol):
    """What the loop needs of an algorithm."""

    CURVES: tuple[str, ...]
    actor: TanhGaussianPolicy
    averaged: TanhGaussianPolicy
    coef: Tensor
    sums: Tensor
    updates: int

    def update(self, batch: Batch, generator: torch.Generator) -> None:
        """Learn from a batch, adding each of CURVES to `sums`."""

    def values(self, state_action: Tensor) -> Tensor:
        """Return Q (B,) of rows [s, a], raw reward units."""

    def parts(self) -> Mapping[str, Part]:
        """Return what a checkpoint must hold, apart from the number of updates."""


class Probe:
    """Data rows whose discounted return is known: what Q should be near.

    Args:
        state_action: (n, O + A).
        returns: (n,) discounted returns of the data's own policy.
    """

    def __init__(self, state_action: Tensor, returns: Tensor) -> None:
        self.state_action = state_action
        self.mean_return = returns.mean().item() if len(returns) else math.nan
        size = returns.abs().mean().item() if len(returns) else math.nan
        self.limit = self.mean_return + (ALARM_RATIO - 1) * size

    def mean_value(self, learner: Learner) -> float:
        """Return the mean of Q; nan where no return is known."""
        if not len(self.state_action):
            return math.nan
        return learner.values(self.state_action).mean().item()


class Clock:
    """Seconds and counts of the two things a run spends its time on.

    Attributes:
        updates: Gradient updates.
        update_seconds: Spent sampling batches and updating; on a GPU, compiling the update too.
        transitions: Rows that rollouts made.
        rollout_seconds: Spent in rollouts.
        cpu_seconds: CPU time of the processes that were killed before, up to their checkpoints.
    """

    def __init__(self) -> None:
        self.updates = 0
        self.update_seconds = 0.0
        self.transitions = 0
        self.rollout_seconds = 0.0
        self.cpu_seconds = 0.0

    @property
    def updates_per_second(self) -> float:
        """Updates over seconds spent sampling and updating."""
        return self.updates / self.update_seconds if self.update_seconds else math.nan

    @property
    def transitions_per_second(self) -> float:
        """Rollout rows over seconds spent in rollouts."""
        return self.transitions / self.rollout_seconds if self.rollout_seconds else math.nan


class Loop:
    """Epochs of updates, with a generation of rollouts every `rollout.frequency` of them.

    Args:
        learner: SAC, or a baseline.
        buffer: Real rows; model rows are added.
        rollouts: None for an algorithm without a model.
        config: Everything else.
        probe: Where Q is held against the data's returns.
        folder: Checkpoints, and the generations of rollouts they name.
        auto: Sets the coefficient of the penalty; None where the configuration does.

    Attributes:
        epoch: Epochs that are done.
        alarm_epoch: The first epoch whose Q was above the alarm; None while there is none.

    Source:
        Yu et al. 2020, arXiv:2005.13239, algorithm 2 (MOPO).
    """

    def __init__(
        self,
        learner: Learner,
        buffer: MixedBuffer,
        rollouts: Rollouts | None,
        config: MOPOConfig,
        probe: Probe,
        folder: Path,
        auto: AutoCoefficient | None = None,
    ) -> None:
        self.learner = learner
        self.buffer = buffer
        self.rollouts = rollouts
        self.config = config
        self.probe = probe
        self.folder = folder
        self.clock = Clock()
        self._started = time.process_time()
        self.epoch = 0
        self.alarm_epoch: int | None = None
        self._flagged = FlaggedShare(config.penalty.warn_flagged)
        self._auto, coef = auto, config.penalty.coef
        learner.coef.fill_(1.0 if coef == "auto" else coef)
        self._curves: dict[str, float] = {}

    @property
    def cpu_seconds(self) -> float:
        """CPU time since the loop was made, and that of the processes it goes on from."""
        return self.clock.cpu_seconds + time.process_time() - self._started

    def run_epoch(self) -> dict[str, float]:
        """Do one epoch and return its row of the history.

        Raises:
            FitError: A loss is no longer a number; the last checkpoint is good.
        """
        sac, frequency = self.config.sac, self.config.rollout.frequency
        left = sac.steps_per_epoch
        while left:
            done = self.learner.updates % frequency
            if done == 0 and self.rollouts is not None:
                self._roll_out(self.rollouts)
            steps = min(left, frequency - done)
            self._learn(steps)
            left -= steps
        self.epoch += 1
        return self._row()

    def _roll_out(self, rollouts: Rollouts) -> None:
        number = self.learner.updates // self.config.rollout.frequency
        generation = rollouts.generate(self.learner.actor)
        self.buffer.add(number, generation.rows)
        save_tensors(self._generation_file(number), {"rows": generation.rows}, {})
        self.clock.transitions += len(generation.rows)
        self.clock.rollout_seconds += generation.seconds
        self._watch(generation)

    def _watch(self, generation: Generation) -> None:
        mean_penalty = generation.penalty.mean().item()
        if generation.surprise is not None:
            self._flagged.update(generation.surprise)
        if self._auto is not None:
            self.learner.coef.fill_(self._auto.update(mean_penalty))
        self._curves = {
            "penalty_mean": mean_penalty,
            "flagged_fraction": self._flagged.share,
            "rollout_reward": generation.reward,
            "rollout_terminated": generation.terminated,
            "rollout_truncated": generation.truncated,
            "rollout_rows": len(generation.rows),
        }

    def _learn(self, steps: int) -> None:
        sac, started = self.config.sac, time.perf_counter()
        for batch in self.buffer.batches(steps, sac.batch_size, sac.real_ratio):
            self.learner.update(batch, self.buffer.generator)
        if self.buffer.real.is_cuda:
            torch.cuda.synchronize(self.buffer.real.device)  # else launching alone is timed
        self.clock.updates += steps
        self.clock.update_seconds += time.perf_counter() - started

    def _row(self) -> dict[str, float]:
        means = (self.learner.sums / self.config.sac.steps_per_epoch).tolist()
        self.learner.sums.zero_()
        curves = dict(zip(self.learner.CURVES, means, strict=True))
        for name, value in curves.items():
            if not math.isfinite(value):
                before = "the checkpoint of the epoch before is kept"
                raise FitError(
                    f"epoch {self.epoch} (to update {self.learner.updates}): {name} is {value:g}; "
                    f"training has diverged, {before if self.epoch > 1 else 'in the first epoch'}"
                )
        q_data = self.probe.mean_value(self.learner)
        self._check_alarm(q_data)
        row = {"updates": self.learner.updates, **curves, "q_data": q_data}
        return row | {"coef": self.learner.coef.item(), **self._curves}

    def _check_alarm(self, q_data: float) -> None:
        if self.alarm_epoch is None and q_data > self.probe.limit:
            self.alarm_epoch = self.epoch
            logger.warning(
                "epoch %d: mean Q on data rows is %.4g, their returns %.4g. Above %.4g the policy "
                "is far better than the data's, or, more often, the critics are wrong and it "
                "collapses (a larger penalty.coef or a smaller sac.kl_target may help)",
                *(self.epoch, q_data, self.probe.mean_return, self.probe.limit),
            )

    def save(self) -> None:
        """Write a checkpoint that `restore` goes on from to the same numbers."""
        metadata = {
            "epoch": self.epoch,
            "updates": self.learner.updates,
            "generations": list(self.buffer.generations),
            "alarm_epoch": self.alarm_epoch,
            "auto": None if self._auto is None else self._auto.state_dict(),
            "clock": {**vars(self.clock), "cpu_seconds": self.cpu_seconds},
            "curves": self._curves,
        }
        save_tensors(self.folder / _CHECKPOINT, pack_state(self._parts()), metadata)
        kept = {self._generation_file(number) for number in self.buffer.generations}
        for file in self.folder.glob("generation-*.safetensors"):
            if file not in kept:
                file.unlink()

    def restore(self) -> bool:
        """Go on from the checkpoint; False where there is none.

        Raises:
            ModelFileError: A file of the checkpoint is missing or corrupt, or was written on
                another kind of device, whose random numbers this one cannot go on with.
        """
        path = self.folder / _CHECKPOINT
        if not path.is_file():
            return False
        device = self.buffer.real.device
        state, metadata = load_tensors(path, device)
        try:
            restore_state(self._parts(), state)
        except (KeyError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            problem = f"{path}: of another kind of device, or corrupt ({reason})"
            raise ModelFileError(problem) from error
        for number in metadata["generations"]:
            rows, _ = load_tensors(self._generation_file(number), device)
            self.buffer.add(number, rows["rows"])
        self.epoch, self.learner.updates = metadata["epoch"], metadata["updates"]
        self.alarm_epoch, self._curves = metadata["alarm_epoch"], metadata["curves"]
        vars(self.clock).update(metadata["clock"])
        if self._auto is not None:
            self._auto.load_state_dict(metadata["auto"])
        if math.isfinite(share := self._curves.get("flagged_fraction", math.nan)):
            self._flagged.share = share
        return True

    def _parts(self) -> dict[str, Part]:
        generators: dict[str, Part] = {"updates": self.buffer.generator}
        if self.rollouts is not None:
            generators["rollouts"] = self.rollouts.generator
        return {**self.learner.parts(), **generators}

    def _generation_file(self, number: int) -> Path:
        return self.folder / f"generation-{number}.safetensors"
