"""Kernel density estimate: an exact density, a Gaussian bump on every training row."""

import math
from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

import torch
from annotated_types import Ge, Gt
from torch import Tensor

from gormpo_density.errors import ConfigError
from gormpo_density.models.closed_form import BLOCK_ROWS, ClosedForm

#: Bandwidths tried, in units of Scott's.
HELD_OUT_GRID = tuple(2 ** (i / 4) for i in range(-16, 9))
#: A kernel more than e^40 times smaller than the largest counts as that: nothing in float64.
NEGLIGIBLE = -40.0


class KDE(ClosedForm):
    """Gaussian kernel density estimate on standardised rows, truly normalised.

    log p(z) = log sum_i exp(-|z - z_i|^2 / (2 h^2)) - log n - D log(h sqrt(2 pi))

    Args:
        input_dim: D for rows, (T, D) for windows (flattened inside).
        bandwidth: h in standardised units; "scott" for n^(-1 / (D + 4)); "held_out" for the
            multiple of Scott's under which the validation rows are likeliest.
        max_rows: Most training rows kept as centres, drawn at random; scoring costs as many.
        device: Where to put the model.

    Raises:
        ConfigError: bandwidth is none of these.

    Source:
        Parzen 1962; Scott 1992, "Multivariate Density Estimation", eq. 6.42.
    """

    sized_by_fit: ClassVar[frozenset[str]] = frozenset({"centres"})
    centres: Tensor
    width: Tensor

    def __init__(
        self,
        input_dim: int | Sequence[int],
        bandwidth: Literal["held_out", "scott"] | Annotated[float, Gt(0)] = "held_out",
        max_rows: Annotated[int, Ge(2)] = 3000,
        device: str = "cpu",
    ) -> None:
        super().__init__(input_dim, max_rows)
        is_width = not isinstance(bandwidth, str) and bandwidth > 0
        if not is_width and bandwidth not in ("held_out", "scott"):
            raise ConfigError(
                f"bandwidth must be 'held_out', 'scott' or above 0, got {bandwidth!r}"
            )
        self.bandwidth = bandwidth
        self.register_buffer("centres", torch.zeros(1, math.prod(self.event_shape)))
        self.register_buffer("width", torch.ones(()))
        self.to(device)

    def _estimate(self, train: Tensor, val: Tensor, seed: int) -> None:
        self.centres = train
        scott = len(train) ** (-1 / (train.shape[1] + 4))
        if self.bandwidth == "scott":
            self.width.fill_(scott)
        elif self.bandwidth == "held_out":
            widths = [factor * scott for factor in HELD_OUT_GRID]
            self.width.fill_(max(widths, key=lambda width: self._likelihood(val, width)))
        else:
            self.width.fill_(self.bandwidth)

    def _likelihood(self, val: Tensor, width: float) -> float:
        self.width.fill_(width)
        return self._mean_score(val)

    def _log_prob(self, z: Tensor) -> Tensor:
        n, dim = self.centres.shape
        u = z.flatten(1).double() / self.width
        blocks = [self._log_kernels(u, centres) for centres in self.centres.split(BLOCK_ROWS)]
        log_kernels = torch.stack(blocks).logsumexp(0) - 0.5 * u.square().sum(1)
        log_norm = math.log(n) + dim * (self.width.log() + 0.5 * math.log(2 * math.pi))
        return (log_kernels - log_norm).to(z.dtype)

    def _log_kernels(self, u: Tensor, centres: Tensor) -> Tensor:
        """Log of sum_i exp(-|u - c_i / h|^2 / 2) over some centres, plus |u|^2 / 2, (B,).

        The exponents u.c - |c|^2 / 2 are one matrix product, several times faster than the
        differences. float64 keeps what float32 would lose: nats, when h is small.
        """
        c = centres.double() / self.width
        exponents = torch.addmm(-0.5 * c.square().sum(1), u, c.T)
        largest = exponents.detach().amax(1, keepdim=True)
        ratios = (exponents - largest).to(centres.dtype).clamp(min=NEGLIGIBLE).exp()
        return largest.squeeze(1) + ratios.sum(1).log()

    def _sample(self, num_samples: int, generator: torch.Generator) -> Tensor:
        n, device = len(self.centres), self.centres.device
        chosen = torch.randint(n, (num_samples,), generator=generator, device=device)
        centres = self.centres[chosen]
        noise = torch.empty_like(centres).normal_(generator=generator)
        return (centres + self.width * noise).reshape(-1, *self.event_shape)
