"""Compiled losses for a GPU, where launching an update's many small kernels takes the time."""

import copy
import logging
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch
from torch import nn

logger = logging.getLogger(__name__)

_Args = ParamSpec("_Args")
_Result = TypeVar("_Result")
_Module = TypeVar("_Module", bound=nn.Module)


def compiled(function: Callable[_Args, _Result], device: torch.device) -> Callable[_Args, _Result]:
    """Return a loss for tensors on a device: compiled to CUDA graphs on a GPU, as it is elsewhere.

    Its gradient is compiled with it. That the numbers are those of the function as it is, is
    verified on the CPU alone; on a GPU this was neither run nor timed. The first updates wait for
    the compiler; where the first call fails, a warning says so and the function stays as it is. An
    error in the gradient, which is compiled later, is not caught.
    TORCH_COMPILE_DISABLE=1 in the environment does without it.

    Args:
        function: Of tensors, and of modules whose tensors stay where they are. It draws and
            changes nothing. On a GPU the next call of any compiled function overwrites what this
            one returned and the gradients of that, so they are used up before.
        device: Where all of these tensors are.
    """
    if device.type != "cuda":
        return function
    torch.compiler.reset()  # a process keeps few variants of a function: let go of the last run's
    fast = torch.compile(function, fullgraph=True, dynamic=False, mode="reduce-overhead")
    chosen: Callable[_Args, _Result] | None = None

    def call(*args: _Args.args, **kwargs: _Args.kwargs) -> _Result:
        nonlocal chosen
        if chosen is not None:
            return chosen(*args, **kwargs)
        try:
            result = fast(*args, **kwargs)
        except Exception as error:  # whatever a compiler, a driver or a missing tool says
            logger.warning("an update cannot be compiled here, and runs as it is: %s", error)
            chosen = function
            return function(*args, **kwargs)
        chosen = fast
        return result

    return call


def without_gradient(module: _Module) -> _Module:
    """Return a module on the very tensors of another, none of which asks for a gradient.

    A compiled function takes the gradients of all that ask, even of those that nobody wants.
    """
    same = {id(p): nn.Parameter(p.detach(), requires_grad=False) for p in module.parameters()}
    return copy.deepcopy(module, {**same, **{id(b): b for b in module.buffers()}})
