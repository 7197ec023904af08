"""The plain training loop that peers and ancestors get: Adam, no schedule, no averaging."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

LR = 1e-3
BATCH_SIZE = 256


def adam_epochs(
    module: nn.Module, loss: Callable[[Tensor], Tensor], rows: Tensor, seed: int
) -> Iterator[None]:
    """Minimise loss(batch) by Adam without end; yields after each epoch."""
    optimizer = torch.optim.Adam(module.parameters(), LR, fused=True)
    generator = torch.Generator().manual_seed(seed)
    while True:
        module.train()
        for index in torch.randperm(len(rows), generator=generator).split(BATCH_SIZE):
            optimizer.zero_grad()
            loss(rows[index]).backward()
            optimizer.step()
        module.eval()
        yield
