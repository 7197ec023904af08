"""What a killed run goes on from: modules, optimisers and generators as one flat dict."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

Part = nn.Module | torch.optim.Optimizer | torch.Generator | Tensor


def pack_state(parts: Mapping[str, Part | Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Return every tensor of the parts, by "part.name"; the inverse of `restore_state`."""
    return {f"{name}.{key}": v for name, part in parts.items() for key, v in _state(part).items()}


def restore_state(parts: Mapping[str, Part], state: Mapping[str, Tensor]) -> None:
    """Put what `pack_state` returned back into the same parts.

    Raises:
        KeyError, RuntimeError: The state is of other parts.
    """
    for name, part in parts.items():
        own = part_of(state, name)
        if isinstance(part, nn.Module):
            part.load_state_dict(own)
        elif isinstance(part, torch.Generator):
            part.set_state(own["state"].cpu())
        elif isinstance(part, torch.optim.Optimizer):
            _restore_optimizer(part, own)
        else:
            part.data.copy_(own["value"])


def part_of(state: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """Return the tensors of one part of what `pack_state` returned, by their own names."""
    start = f"{name}."
    return {key[len(start) :]: value for key, value in state.items() if key.startswith(start)}


def _state(part: Part | Mapping[str, Tensor]) -> dict[str, Tensor]:
    if isinstance(part, Mapping):
        return dict(part)
    if isinstance(part, nn.Module):
        return dict(part.state_dict())
    if isinstance(part, torch.Generator):
        return {"state": part.get_state()}
    if isinstance(part, Tensor):
        return {"value": part}
    state = part.state_dict()["state"]
    return {f"{i}.{key}": value for i, values in state.items() for key, value in values.items()}


def _restore_optimizer(optimizer: torch.optim.Optimizer, own: Mapping[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in own.items():
        index, _, name = key.partition(".")
        state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
