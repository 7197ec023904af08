"""How the ensemble is trained: an order of the rows and a best epoch of its own a member."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm

from gormpo_density.checkpoints import Part, pack_state, part_of, restore_state
from gormpo_density.errors import FitError
from gormpo_density.fitting import History, Hooks
from gormpo_density.persistence import load_tensors, save_tensors
from rl.config import DynamicsConfig
from rl.dynamics_units import TransitionUnits
from rl.gaussian_ensemble import GaussianEnsemble, gaussian_nll
from rl.gradient import half_cosine
from rl.offline_data import OfflineData

_BETA = 0.5  # on Hopper's held-out episodes: a quarter of the error that 0 leaves
_BOUND_WEIGHT = 1e-5  # more of it lifts the lower bound above the noise there is
_EVALUATION_ROWS = 2048


class DynamicsTrainer:
    """Fit each member by a weighted Gaussian likelihood with AdamW, keeping its best epoch.

    loss = sum over members of [mean of w NLL over rows and targets
                                + 1e-5 sum(max - min log-variance)]
    with w = predicted variance^.5, a constant to the gradient: without it, what is predicted
    precisely already takes over. Weight decay is decoupled, with a coefficient for each layer;
    the learning rate falls to zero along a half cosine. Each member goes through all training
    rows in an order of its own; rows are gathered by number, batch by batch, so the data is never
    copied. Validation and history show the plain NLL.

    A member whose validation loss was not below its best for `patience` epochs stops: it keeps
    the parameters of its best epoch, its bounds included, and costs nothing from there on.

    Every random number of epoch e comes from a generator seeded by (seed, e), so training resumed
    from a checkpoint continues exactly as the uninterrupted one.

    Args:
        net: What to train; its last target is the reward.
        units: Standardise the data; fitted.
        data: Transitions with the splits "train" and "val", by whole episodes.
        config: How to train.
        seed: Fixes the order of the rows.

    Source:
        Seitzer et al. 2022, "On the pitfalls of heteroscedastic uncertainty estimation",
        arXiv:2203.09168 (beta-NLL with beta = .5).
    """

    def __init__(
        self,
        net: GaussianEnsemble,
        units: TransitionUnits,
        data: OfflineData,
        config: DynamicsConfig,
        seed: int,
    ) -> None:
        self.net, self.units, self.data = net, units, data
        self.config, self.seed = config, seed
        groups: list[dict[str, Any]] = [
            {"params": [weight], "weight_decay": decay}
            for weight, decay in zip(net.weights, config.weight_decay, strict=True)
        ]
        rest = [*net.biases, net.max_log_var, net.min_log_var]
        self.optimizer = torch.optim.AdamW(
            [*groups, {"params": rest, "weight_decay": 0.0}], lr=config.lr, fused=True
        )
        self.best = {k: v.clone() for k, v in net.state_dict().items()}
        self.best_mse = torch.full_like(net.max_log_var[:, 0], math.inf, requires_grad=False)
        self.best_loss = self.best_mse[:, 0].clone()
        self.stale_epochs = torch.zeros_like(self.best_loss, dtype=torch.int64)
        self.epoch = 0
        self.step = 0
        self.history: History = {}

    def run(self, hooks: Hooks) -> History:
        """Train until all epochs are done or all members have stopped; leave the best weights.

        Returns:
            One entry an epoch: train_loss; val_loss, val_mse_obs and val_mse_reward
            (standardised), the mean over members, of those that have stopped at their best;
            active_members, the number of those trained.

        Raises:
            FitError: A loss was not finite (epoch and batch named), or a checkpoint does not fit.
        """
        if hooks.checkpoint is not None and hooks.checkpoint.exists():
            self._restore(hooks.checkpoint)
        bar = tqdm(total=self.config.epochs, initial=self.epoch, disable=not hooks.progress)
        with bar:
            while not self.finished:
                row = self._train_epoch()
                if hooks.on_epoch is not None:
                    hooks.on_epoch(self.epoch, row)
                if hooks.checkpoint is not None:
                    self._save(hooks.checkpoint)
                bar.set_postfix({k: f"{row[k]:.3f}" for k in ("train_loss", "val_loss")})
                bar.update()
        self.net.load_state_dict(self.best)
        return self.history

    @property
    def active(self) -> Tensor:
        """Numbers of the members that have not stopped."""
        return (self.stale_epochs < self.config.patience).nonzero().flatten()

    @property
    def finished(self) -> bool:
        """Whether all epochs are done or every member has stopped."""
        return self.epoch >= self.config.epochs or not len(self.active)

    def _train_epoch(self) -> dict[str, float]:
        active = self.active
        # Looked at once an epoch, so that no step waits for the device; in one tensor, since small
        # ones that stay between the large ones of each step would keep those from being reused.
        loss = self.best_loss.new_empty(self._batches_an_epoch)
        for number, rows in enumerate(self._batches(len(active))):
            loss[number] = self._train_step(rows, active)
        self.epoch += 1
        if not loss.isfinite().all():
            batch = int(loss.isfinite().logical_not().nonzero()[0])
            raise FitError(
                f"epoch {self.epoch}, batch {batch + 1}: the loss of the dynamics is "
                f"{loss[batch].item():g} (try a smaller dynamics.lr)"
            )
        row = {"train_loss": loss.mean().item(), **self._validate(active)}
        for name, value in row.items():
            self.history.setdefault(name, []).append(value)
        return row

    def _batches(self, members: int) -> Iterator[Tensor]:
        """Yield row numbers (members, B), each member's in an order of its own."""
        rows = self.data.splits["train"]
        generator = torch.Generator(rows.device)
        generator.manual_seed(self.seed * 1_000_003 + self.epoch)
        order = torch.empty(members, len(rows), dtype=torch.int32, device=rows.device)
        for own in order:
            torch.randperm(len(rows), generator=generator, out=own)
        return (rows[batch] for batch in order.split(self.config.batch_size, dim=1))

    def _train_step(self, batch: Tensor, active: Tensor) -> Tensor:
        """Take a step and return the mean loss of the active members."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.lr * half_cosine(self.step / self._total_batches)
        self.optimizer.zero_grad()
        mean, log_var = self.net(self._inputs(batch), self._some(active))
        nll = gaussian_nll(mean, log_var, self._targets(batch))
        weighted = (nll * (_BETA * log_var.detach()).exp()).mean((1, 2))
        (weighted + _BOUND_WEIGHT * self.net.bound_width(active)).sum().backward()
        self.optimizer.step()
        self.step += 1
        return nll.detach().mean()

    @property
    def _total_batches(self) -> int:
        return self.config.epochs * self._batches_an_epoch

    @property
    def _batches_an_epoch(self) -> int:
        return math.ceil(len(self.data.splits["train"]) / self.config.batch_size)

    def _some(self, active: Tensor) -> Tensor | None:
        """Leave out the selection of members as long as it is all of them."""
        return active if len(active) < self.net.members else None

    def _inputs(self, rows: Tensor) -> Tensor:
        return self.units.inputs(self.data.obs[rows], self.data.action[rows])

    def _targets(self, rows: Tensor) -> Tensor:
        data = self.data
        return self.units.targets(data.obs[rows], data.next_obs[rows], data.reward[rows])

    @torch.no_grad()
    def _validate(self, active: Tensor) -> dict[str, float]:
        """Measure the active members, keep those that are better than ever, return means."""
        loss, mse = torch.zeros_like(self.best_loss), torch.zeros_like(self.best_mse)
        val = self.data.splits["val"]
        for rows in val.split(_EVALUATION_ROWS):
            mean, log_var = self.net(self._inputs(rows), self._some(active))
            y = self._targets(rows)
            loss[active] += gaussian_nll(mean, log_var, y).mean(2).sum(1) / len(val)
            mse[active] += (mean - y).square().sum(1) / len(val)
        if not loss.isfinite().all():
            raise FitError(
                f"epoch {self.epoch}: the validation loss of the dynamics is not finite "
                "(try a smaller dynamics.lr)"
            )
        stopped = torch.ones_like(loss, dtype=torch.bool).index_fill_(0, active, False)
        loss = torch.where(stopped, self.best_loss, loss)
        mse = torch.where(stopped[:, None], self.best_mse, mse)
        self._keep(loss, mse)
        return {
            "val_loss": loss.mean().item(),
            "val_mse_obs": mse[:, :-1].mean().item(),
            "val_mse_reward": mse[:, -1].mean().item(),
            "active_members": float(len(active)),
        }

    def _keep(self, loss: Tensor, mse: Tensor) -> None:
        better = loss < self.best_loss
        for name, value in self.net.state_dict().items():
            self.best[name][better] = value[better]
        self.best_loss[better], self.best_mse[better] = loss[better], mse[better]
        self.stale_epochs = torch.where(better, 0, self.stale_epochs + 1)

    def _save(self, path: Path) -> None:
        member = {name: getattr(self, name) for name in _OF_A_MEMBER}
        parts: dict[str, Part] = {"net": self.net, "optimizer": self.optimizer}
        tensors = pack_state({**parts, "best": self.best, "member": member})
        progress = {name: getattr(self, name) for name in _PROGRESS}
        save_tensors(path, tensors, {"progress": progress, "fit": self._fingerprint})

    def _restore(self, path: Path) -> None:
        tensors, metadata = load_tensors(path, device=self.data.device)
        if metadata.get("fit") != self._fingerprint:
            raise FitError(f"{path}: checkpoint of another configuration or other data")
        restore_state({"net": self.net, "optimizer": self.optimizer}, tensors)
        self.best = part_of(tensors, "best")
        for name, value in part_of(tensors, "member").items():
            setattr(self, name, value)
        for name in _PROGRESS:
            setattr(self, name, metadata["progress"][name])

    @property
    def _fingerprint(self) -> dict[str, object]:
        return {
            "config": self.config.model_dump(mode="json", exclude={"run"}),
            "seed": self.seed,
            "data": self.data.fingerprint,
        }


_PROGRESS = ("epoch", "step", "history")
_OF_A_MEMBER = ("best_loss", "best_mse", "stale_epochs")
