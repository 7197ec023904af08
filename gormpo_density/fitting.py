"""The one training loop: batches on the device, averaged weights, early stopping, resume."""

import copy
import logging
import math
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from gormpo_density.checkpoints import Part, pack_state, part_of, restore_state
from gormpo_density.errors import ConfigError, FitError
from gormpo_density.persistence import load_tensors, save_tensors

logger = logging.getLogger(__name__)

History = dict[str, list[float]]
Losses = dict[str, Tensor]

_BAD_STEPS_IN_A_ROW = 20
_EVALUATION_ROWS = 8192


class Trainable(nn.Module, ABC):
    """What the loop needs of a model: parameters and a loss on standardised data."""

    @abstractmethod
    def losses(
        self, z: Tensor, generator: torch.Generator | None = None, progress: float = 1.0
    ) -> Losses:
        """Return batch means: "loss" (to minimise) and any parts worth a curve.

        Args:
            z: Standardised batch, shape (B, *event_shape).
            generator: Source of noise in training; None in evaluation, which is deterministic.
            progress: Share of the training done, for warm-ups; 1 in evaluation.
        """


@dataclass(frozen=True)
class FitOptions:
    """How to train; see `DensityModel.fit` for the meaning of each field.

    Raises:
        ConfigError: Values are out of range; all are told.
    """

    epochs: int
    batch_size: int
    lr: float
    weight_decay: float
    noise: float
    grad_clip: float
    patience: int
    seed: int

    def __post_init__(self) -> None:
        value, counts = asdict(self), ("epochs", "batch_size", "patience")
        positive, others = ("lr", "grad_clip"), ("weight_decay", "noise")
        problems = [f"{k} must be at least 1, is {value[k]}" for k in counts if not value[k] >= 1]
        problems += [f"{k} must be above 0, is {value[k]}" for k in positive if not value[k] > 0]
        problems += [f"{k} must be at least 0, is {value[k]}" for k in others if not value[k] >= 0]
        if problems:
            raise ConfigError(problems)


@dataclass(frozen=True)
class Hooks:
    """What happens around training.

    Attributes:
        checkpoint: File written after every epoch; an existing one is resumed from.
        on_epoch: Called with the epoch number (from 1) and its row of the history.
        progress: Show a progress bar.
    """

    checkpoint: Path | None = None
    on_epoch: Callable[[int, dict[str, float]], None] | None = None
    progress: bool = False


class Trainer:
    """Minimise a model's loss by AdamW on averaged weights, keeping the best on validation.

    The learning rate rises over the first 2 % of the steps and falls to zero along a half cosine;
    gradients are clipped by norm; Gaussian noise is added to the standardised training rows.
    The weights that are evaluated and kept are an exponential moving average of the iterates.
    A step whose loss or gradient is not finite is skipped.

    Every random number of epoch e comes from a generator seeded by (seed, e), so a run resumed
    from a checkpoint continues exactly as the uninterrupted one.

    Args:
        model: What to train.
        splits: Standardised data by name: "train", "val" and perhaps "test", on one device.
        options: How to train.

    Source:
        Polyak & Juditsky 1992 (averaging); Loshchilov & Hutter 2017, arXiv:1608.03983 (cosine).
    """

    def __init__(
        self, model: Trainable, splits: Mapping[str, Tensor], options: FitOptions
    ) -> None:
        self.model = model
        self.splits = splits
        self.options = options
        self.params: list[Tensor] = [p for p in model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            self.params, lr=options.lr, weight_decay=options.weight_decay, fused=True
        )
        self.averaged = copy.deepcopy(model).eval()
        self.averages: list[Tensor] = [p for p in self.averaged.parameters() if p.requires_grad]
        self.best = {k: v.clone() for k, v in model.state_dict().items()}
        self.best_loss = math.inf
        self.stale_epochs = 0
        self.epoch = 0
        self.step = 0
        self.bad_steps = 0
        self.history: History = {}

    def run(self, hooks: Hooks) -> History:
        """Train to the end or until `patience` epochs bring no better validation loss.

        The model is left with the best weights, in evaluation mode.

        Raises:
            FitError: Twenty steps in a row or all validation losses were not finite, or a
                checkpoint does not fit.
        """
        if hooks.checkpoint is not None and hooks.checkpoint.exists():
            self._restore(hooks.checkpoint)
        bar = tqdm(total=self.options.epochs, initial=self.epoch, disable=not hooks.progress)
        with bar:
            while not self.finished:
                row = self._train_epoch()
                if hooks.on_epoch is not None:
                    hooks.on_epoch(self.epoch, row)
                if hooks.checkpoint is not None:
                    self._save(hooks.checkpoint)
                bar.set_postfix({k: f"{row[k]:.3f}" for k in ("train_loss", "val_loss")})
                bar.update()
        if math.isinf(self.best_loss):
            raise FitError(
                f"epochs 1 to {self.epoch}: no validation loss was finite (try a smaller lr)"
            )
        self.model.load_state_dict(self.best)
        self.model.eval()
        return self.history

    @property
    def finished(self) -> bool:
        """Whether all epochs are done or the validation loss has stopped improving."""
        out_of_patience = self.stale_epochs >= self.options.patience
        return self.epoch >= self.options.epochs or out_of_patience

    def _train_epoch(self) -> dict[str, float]:
        generator = torch.Generator(self.splits["train"].device)
        generator.manual_seed(self.options.seed * 1_000_003 + self.epoch)
        self.model.train()
        sums: Losses = {}
        for number, z in enumerate(self._batches(generator), start=1):
            losses = self._train_step(z, generator, f"epoch {self.epoch + 1}, batch {number}")
            for name, value in losses.items():
                sums[name] = sums.get(name, 0.0) + value.detach()
        for kept, live in zip(self.averaged.buffers(), self.model.buffers(), strict=True):
            kept.copy_(live)  # running statistics: they are averages already
        row = {f"train_{k}": v.item() / number for k, v in sums.items()}
        for split in ("val", "test"):
            if split in self.splits:
                parts = evaluate(self.averaged, self.splits[split])
                row |= {f"{split}_{name}": value for name, value in parts.items()}
        self._close_epoch(row)
        return row

    def _batches(self, generator: torch.Generator) -> Iterator[Tensor]:
        train = self.splits["train"]
        order = torch.randperm(len(train), generator=generator, device=train.device)
        return (train[rows] for rows in order.split(self.options.batch_size))

    def _train_step(self, z: Tensor, generator: torch.Generator, place: str) -> Losses:
        total = self._total_steps
        if self.options.noise > 0:
            noise = torch.empty_like(z).normal_(generator=generator)
            z = torch.add(z, noise, alpha=self.options.noise)
        for group in self.optimizer.param_groups:
            group["lr"] = self.options.lr * _schedule(self.step, total)
        self.optimizer.zero_grad()
        losses = self.model.losses(z, generator, self.step / total)
        losses["loss"].backward()
        norm = nn.utils.clip_grad_norm_(self.params, self.options.grad_clip)
        self.step += 1
        if (norm + losses["loss"].detach()).isfinite():
            self.bad_steps = 0
            self.optimizer.step()
            self._average()
        else:
            self._count_bad_step(losses["loss"].item(), place)
        return losses

    @property
    def _total_steps(self) -> int:
        batches = math.ceil(len(self.splits["train"]) / self.options.batch_size)
        return self.options.epochs * batches

    @torch.no_grad()
    def _average(self) -> None:
        horizon = max(self._total_steps / 100, 1.0)
        weight = max(1 / (1 + self.step), 1 / horizon)
        torch._foreach_lerp_(self.averages, self.params, weight)

    def _count_bad_step(self, loss: float, place: str) -> None:
        self.bad_steps += 1
        logger.warning("%s: loss %g or its gradient is not finite; step skipped", place, loss)
        if self.bad_steps == _BAD_STEPS_IN_A_ROW:
            raise FitError(
                f"{place}: loss is {loss:g}; {self.bad_steps} steps in a row were not finite "
                "(try a smaller lr)"
            )

    def _close_epoch(self, row: dict[str, float]) -> None:
        self.epoch += 1
        for name, value in row.items():
            self.history.setdefault(name, []).append(value)
        if row["val_loss"] < self.best_loss:
            self.best_loss = row["val_loss"]
            self.stale_epochs = 0
            self.best = {k: v.clone() for k, v in self.averaged.state_dict().items()}
        else:
            self.stale_epochs += 1

    def _save(self, path: Path) -> None:
        parts: dict[str, Part] = {
            "model": self.model,
            "averaged": self.averaged,
            "optimizer": self.optimizer,
        }
        tensors = pack_state({**parts, "best": self.best})
        progress = {name: getattr(self, name) for name in _PROGRESS}
        save_tensors(path, tensors, {"progress": progress, "fit": self._fingerprint})

    def _restore(self, path: Path) -> None:
        tensors, metadata = load_tensors(path, device=self.splits["train"].device)
        if metadata.get("fit") != self._fingerprint:
            raise FitError(f"{path}: checkpoint of another configuration or other data")
        parts: dict[str, Part] = {
            "model": self.model,
            "averaged": self.averaged,
            "optimizer": self.optimizer,
        }
        restore_state(parts, tensors)
        self.best = part_of(tensors, "best")
        for name in _PROGRESS:
            setattr(self, name, metadata["progress"][name])

    @cached_property
    def _fingerprint(self) -> dict[str, object]:
        state = self.model.state_dict()
        return {
            "options": asdict(self.options),
            "data": {name: [*rows.shape, _checksum(rows)] for name, rows in self.splits.items()},
            "units": {k: v.tolist() for k, v in state.items() if k.startswith("standardizer.")},
            "model": str(self.model),
            "weights": {name: list(w.shape) for name, w in state.items()},
        }


_PROGRESS = ("epoch", "step", "bad_steps", "stale_epochs", "best_loss", "history")


def _checksum(rows: Tensor) -> int:
    return zlib.crc32(rows.cpu().numpy().tobytes())


def hold_out(rows: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Return rows without a random tenth, and that tenth."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(rows), generator=generator).to(rows.device)
    n_held_out = max(1, len(rows) // 10)
    return rows[order[n_held_out:]], rows[order[:n_held_out]]


@torch.no_grad()
def evaluate(model: Trainable, z: Tensor) -> dict[str, float]:
    """Return the mean of each loss part over standardised rows z, without noise."""
    sums: dict[str, float] = {}
    for chunk in z.split(_EVALUATION_ROWS):
        for name, value in model.losses(chunk).items():
            sums[name] = sums.get(name, 0.0) + value.item() * len(chunk)
    return {name: value / len(z) for name, value in sums.items()}


def _schedule(step: int, total: int) -> float:
    """Share of the learning rate at a step: linear warm-up, then a half cosine to zero."""
    warmup = max(1.0, 0.02 * total)
    return min((step + 1) / warmup, 0.5 * (1 + math.cos(math.pi * step / total)))
