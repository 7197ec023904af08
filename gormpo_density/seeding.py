"""Fresh weights from a seed, whatever the global random state is, and leaving it alone."""

import torch
from torch import nn


def reinitialise(model: nn.Module, seed: int) -> None:
    """Call every module's `reset_parameters`, the model's own last, under a seed of their own."""
    gpus = list({p.device for p in model.parameters() if p.is_cuda})
    with torch.random.fork_rng(devices=gpus):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would touch every GPU
        for gpu in gpus:
            with torch.cuda.device(gpu):
                torch.cuda.manual_seed(seed)
        for module in reversed(list(model.modules())):  # children before their parents
            reset = getattr(module, "reset_parameters", None)
            if reset is not None:
                reset()
