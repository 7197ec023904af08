"""Networks that learn the classes of time series in a fixed number of steps."""

import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Literal

import numpy as np
import torch
from annotated_types import Ge, Gt
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from gormpo_density.arrays import Data
from gormpo_density.augmentation.augmenter import Augmenter
from gormpo_density.augmentation.classifier import Classifier, Labels, OnStep, with_synthetic
from gormpo_density.augmentation.dataset import epoch_seed
from gormpo_density.augmentation.networks import FCN, ResNet1d
from gormpo_density.errors import ConfigError, FitError
from gormpo_density.seeding import reinitialise

_CHUNK_ROWS = 256
_TOLD_EVERY = 20  # steps: reading a loss waits for the device
_NETWORKS: Mapping[str, type[ResNet1d] | type[FCN]] = {"resnet": ResNet1d, "fcn": FCN}


class DeepClassifier(Classifier):
    """A network trained by Adam for a number of steps, its rate falling to 0 along a cosine.

    However many rows there are, real and synthetic, the number of steps is the same. Synthetic
    rows are drawn anew each epoch, an epoch being a permutation of all rows. The weights of the
    last step are those that count: no rows are held out to choose others.

    Args:
        network: "resnet" or "fcn".
        steps: Optimiser steps.
        batch_size: Rows in a step, at least 2 for the batch normalisation.
        lr: Peak learning rate.
        weight_decay: Of Adam.
        precision: "bfloat16" computes convolutions in it, in half of the time on many a CPU.
        device: Where to train.

    Raises:
        ConfigError: A value is out of range.
    """

    def __init__(
        self,
        network: Literal["resnet", "fcn"] = "resnet",
        steps: Annotated[int, Ge(1)] = 1000,
        batch_size: Annotated[int, Ge(2)] = 16,
        lr: Annotated[float, Gt(0)] = 1e-3,
        weight_decay: Annotated[float, Ge(0)] = 0.0,
        precision: Literal["float32", "bfloat16"] = "float32",
        device: str = "cpu",
    ) -> None:
        problems = [] if network in _NETWORKS else [f"network must be one of {list(_NETWORKS)}"]
        problems += [] if steps >= 1 else [f"steps must be at least 1, is {steps}"]
        problems += [] if batch_size >= 2 else [f"batch_size must be at least 2, is {batch_size}"]
        problems += [] if lr > 0 else [f"lr must be above 0, is {lr}"]
        problems += [] if weight_decay >= 0 else [f"weight_decay is {weight_decay}, below 0"]
        if precision not in ("float32", "bfloat16"):
            problems.append(f"precision must be float32 or bfloat16, is {precision!r}")
        if problems:
            raise ConfigError(problems)
        self.network = network
        self.steps = steps
        self.batch_size = batch_size
        self.lr = lr
        self.weight_decay = weight_decay
        self.precision = precision
        self.device = torch.device(device)
        self._model: nn.Module | None = None

    def _fit(
        self,
        x: Tensor,
        y: Tensor,
        augmenter: Augmenter | None,
        seed: int,
        on_step: OnStep | None,
    ) -> None:
        x, y = x.to(self.device), y.to(self.device)
        with torch.random.fork_rng(devices=[]):  # the first weights are drawn again at once
            model = _NETWORKS[self.network](x.shape[2], int(y.max()) + 1)
        reinitialise(model.to(self.device), seed)
        optimiser = torch.optim.Adam(
            model.parameters(), self.lr, weight_decay=self.weight_decay, fused=True
        )
        rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, self.steps)
        model.train()
        batches = _batches(x, y, augmenter, self.batch_size, seed)
        for step in range(1, self.steps + 1):
            rows, labels = next(batches)
            loss = F.cross_entropy(self._logits(model, rows), labels)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            rate.step()
            if step % _TOLD_EVERY == 0 or step == self.steps:
                _tell(step, loss.item(), on_step)
        self._model = model.eval()

    def _predict(self, x: Tensor) -> Labels:
        probability = self._probabilities(x)
        return probability.argmax(1).numpy()

    def predict_proba(self, x: Data) -> NDArray[np.float32]:
        """Return the probability of each class (m, C); see `predict` for the arguments."""
        self.predict(x[:0])
        rows = torch.as_tensor(x).float()
        return self._probabilities(rows[..., None] if rows.ndim == 2 else rows).numpy()

    @torch.no_grad()
    def _probabilities(self, x: Tensor) -> Tensor:
        assert self._model is not None
        parts = [
            self._logits(self._model, chunk.to(self.device)).softmax(1).cpu()
            for chunk in x.split(_CHUNK_ROWS)
        ]
        return torch.cat(parts)

    def _logits(self, model: nn.Module, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            logits: Tensor = model(x)
        return logits.float()


def _batches(
    x: Tensor, y: Tensor, augmenter: Augmenter | None, batch_size: int, seed: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield batches for ever, epoch by epoch; what is left of an epoch goes into no batch.

    Where there are fewer rows than a batch holds, all of them are the batch.
    """
    for epoch in itertools.count():
        rows, labels = with_synthetic(x, y, augmenter, epoch_seed(seed, epoch))
        generator = torch.Generator().manual_seed(epoch_seed(seed, epoch))
        order = torch.randperm(len(rows), generator=generator).to(x.device)
        size = min(batch_size, len(rows))
        for batch in order[: len(rows) // size * size].split(size):
            yield rows[batch], labels[batch]


def _tell(step: int, loss: float, on_step: OnStep | None) -> None:
    if not math.isfinite(loss):
        raise FitError(f"the classifier's loss is {loss} at step {step}; try a smaller lr")
    if on_step is not None:
        on_step(step, loss)
