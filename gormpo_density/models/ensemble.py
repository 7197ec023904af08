"""Several models of one kind, trained from different seeds, scored together."""

import functools
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Annotated, Any, cast

import numpy as np
import torch
from annotated_types import Ge
from torch import Tensor, nn

from gormpo_density.base import DensityModel
from gormpo_density.errors import ConfigError
from gormpo_density.fitting import FitOptions, History, Hooks
from gormpo_density.phases import Phases
from gormpo_density.registry import make_model, model_class, model_name


class Ensemble(DensityModel):
    """Mean score of k models that differ in the seed of their weights and of their data order.

    score(x) = (1/k) sum_i log p_i(x) <= log((1/k) sum_i p_i(x)) by Jensen: a bound on the log of
    the mixture, exact members or not. One member that is sure x is off the data makes it low;
    the mixture's density needs all of them. Every other score of the members is averaged under
    its own name. The cost is that of k members. `sample` draws from the mixture.

    Each member is fitted by its own `fit` to the data standardised by the ensemble, which it
    standardises again: the changes of variables add up. Members are trained one after the other,
    and so are the curves of the history; its curve "member" counts them from 0. The checkpoint of
    member i is the given file with "-i" behind its stem.

    Args:
        model: What a member is: {"name": ..., parameters}, a name, or a model to make more of.
        k: Number of members.
        input_dim: Handed down to the members unless `model` says it.
        device: Where to put the model.

    Raises:
        ConfigError: `model` has no name, an unknown one, or parameters that do not fit.

    Source:
        Lakshminarayanan et al. 2017, arXiv:1612.01474. Differs: mean of logs, not log of mean.
    """

    def __init__(
        self,
        model: str | Mapping[str, Any] | DensityModel = "realnvp",
        k: Annotated[int, Ge(1)] = 3,
        input_dim: int | Sequence[int] | None = None,
        device: str = "cpu",
    ) -> None:
        if k < 1:
            raise ConfigError(f"an ensemble needs a member, k is {k}")
        description = _description(model)
        members = [_member(description, input_dim, device) for _ in range(k)]
        super().__init__(members[0].input_dim)
        self.model = description
        self.k = k
        self.scores = {  # type: ignore[misc]  # of the class in other models, here of the members
            name: "surrogate" if kind == "surrogate" else "bound"
            for name, kind in members[0].scores.items()
        }
        self.members = nn.ModuleList(members)
        self.to(device)

    @property
    def _models(self) -> list[DensityModel]:
        return cast("list[DensityModel]", list(self.members))

    def _fit(self, splits: dict[str, Tensor], options: FitOptions, hooks: Hooks) -> History:
        seeds = np.random.SeedSequence(options.seed).generate_state(self.k)
        phases = Phases(hooks, "member")
        for member, seed in zip(self._models, seeds, strict=True):
            own = replace(options, seed=int(seed))
            phases.run(functools.partial(_fit_member, member, splits, own))
        return phases.history

    def _log_prob(self, z: Tensor) -> Tensor:
        return self._score(z, self.default_score)

    def _score(self, z: Tensor, name: str) -> Tensor:
        return torch.stack([member._named_score(z, name) for member in self._models]).mean(0)

    def _sample(self, num_samples: int, generator: torch.Generator) -> Tensor:
        device = generator.device
        chosen = torch.randint(self.k, (num_samples,), generator=generator, device=device)
        samples = self.standardizer.mean.new_empty(num_samples, *self.event_shape)
        for i, member in enumerate(self._models):
            drawn = member._sample(int((chosen == i).sum()), generator)
            samples[chosen == i] = member.standardizer.inverse(drawn)
        return samples

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take over a saved state dict, member by member: their buffers may change shape."""
        for i, member in enumerate(self._models):
            prefix = f"members.{i}."
            own = {key: value for key, value in state.items() if key.startswith(prefix)}
            member.restore({key.removeprefix(prefix): value for key, value in own.items()})
        super().restore(state)


def _description(model: str | Mapping[str, Any] | DensityModel) -> dict[str, Any]:
    """Name and parameters, as plain values that a model file can keep."""
    if isinstance(model, DensityModel):
        return {"name": model_name(model), **model.params()}
    description = {"name": model} if isinstance(model, str) else dict(model)
    if "name" not in description:
        raise ConfigError(f"the model of an ensemble has no name: {description}")
    return description


def _member(
    description: Mapping[str, Any], input_dim: int | Sequence[int] | None, device: str
) -> DensityModel:
    name, params = description["name"], {k: v for k, v in description.items() if k != "name"}
    handed_down: dict[str, Any] = {} if input_dim is None else {"input_dim": input_dim}
    if "device" in inspect.signature(model_class(name)).parameters:
        handed_down["device"] = device
    return make_model(name, **handed_down | params)


def _fit_member(
    member: DensityModel, splits: Mapping[str, Tensor], options: FitOptions, hooks: Hooks
) -> History:
    return member.fit(
        splits["train"],
        splits["val"],
        splits.get("test"),
        **asdict(options),
        checkpoint=hooks.checkpoint,
        on_epoch=hooks.on_epoch,
        progress=hooks.progress,
    )
