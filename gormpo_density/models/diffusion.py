"""Denoising diffusion: a lower bound on log p(x) from a network that takes noise away."""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Ge
from torch import Tensor, nn
from torch.nn import functional

from gormpo_density.arrays import Data
from gormpo_density.base import DensityModel, Positive
from gormpo_density.decisions import ScoreKind
from gormpo_density.errors import ConfigError
from gormpo_density.fitting import FitOptions, History, Hooks, Losses
from gormpo_density.models.gaussians import log_standard_normal, spread_normals
from gormpo_density.models.noise_schedule import BetaSchedule, NoiseSchedule
from gormpo_density.models.whitening import Whitener

#: Training rows that tell what the stored draws add.
_MEASURED_ROWS = 4096


class DiffusionDensity(DensityModel):
    """Denoising diffusion model (DDPM) of whitened rows w, scored by its evidence bound.

    p(x_T) = N(0, I), p(x_{t-1} | x_t) = N(sqrt(1 - beta_t) x_t - c_t guess(x_t, t), beta_t I), and
    x_0 is the row; the network guesses v = alpha_t noise - sigma_t w. Without it (guess = 0) the
    chain is that of standard normal rows, reversed exactly. So of the bound on log p(w), which is
    -KL(q(x_T|w) || p(x_T)) - sum_{t>1} KL(q(x_{t-1}|x_t, w) || p(x_{t-1}|x_t)) + log p(w|x_1),
    all but the network's part is known, and that part is its gain over the best Gaussian:

        elbo = log N(w; 0, I) + sum_t weight_t E |v|^2 - |v - guess|^2.

    The sum over T steps is a mean over a few draws of (step, noise), with chances that the weights
    undo: without bias, whatever the number of draws. A score takes the same stored draws for every
    row, stratified in t and antithetic in the noise, so it is deterministic and a bound in
    expectation over the draws; what they add to all rows alike (a nat or so) is measured with
    fresh draws after training and taken off.

    Args:
        input_dim: D for rows, (T, D) for windows (flattened inside).
        hidden_dims: Widths of the network's hidden layers.
        device: Where to put the model.
        timesteps: T. It costs training and scores nothing; samples take T passes.
        time_dim: Size of the embedding of t, an even number.
        beta_schedule: How noise grows: "linear" or "cosine".
        draw_pairs: Pairs (step, noise) and (step, -noise) in a score, each two passes.

    Raises:
        ConfigError: time_dim is odd, hidden_dims is empty, or beta_schedule is none of the two.

    Source:
        Ho et al. 2020, arXiv:2006.11239, eq. 5, sigma_t^2 = beta_t; Salimans & Ho 2022,
        arXiv:2202.00512 (v); Kingma et al. 2021, arXiv:2107.00630, app. I.1 (stratified t).
        Differs: whitening, trained on the bound itself, and the Gaussian's part in closed form.
    """

    scores: ClassVar[Mapping[str, ScoreKind]] = {"elbo": "bound"}
    chunk_rows: ClassVar[int] = 128  # each is many passes
    draw_steps: Tensor
    draw_noise: Tensor
    draws_add: Tensor

    def __init__(
        self,
        input_dim: int | Sequence[int],
        hidden_dims: Sequence[Annotated[int, Ge(1)]] = (256, 256, 256),
        device: str = "cpu",
        timesteps: Annotated[int, Ge(1)] = 1000,
        time_dim: Annotated[int, Ge(2)] = 128,
        beta_schedule: BetaSchedule = "linear",
        draw_pairs: Annotated[int, Ge(1)] = 16,
    ) -> None:
        super().__init__(input_dim)
        self.hidden_dims = list(hidden_dims)
        self.timesteps = timesteps
        self.time_dim = time_dim
        self.beta_schedule = beta_schedule
        self.draw_pairs = draw_pairs
        self._dim = math.prod(self.event_shape)
        self.whitener = Whitener(self.event_shape)
        self.schedule = NoiseSchedule(timesteps, beta_schedule)
        self.denoiser = Denoiser(self._dim, hidden_dims, time_dim, timesteps)
        n_draws = 2 * draw_pairs
        self.register_buffer("draw_steps", torch.zeros(n_draws, 1, dtype=torch.long))
        self.register_buffer("draw_noise", torch.zeros(n_draws, 1, self._dim))
        self.register_buffer("draws_add", torch.zeros(()))
        self._reset(seed=0)
        self.to(device)

    def reset_parameters(self) -> None:
        """Redraw the steps and the noise of the scores."""
        self.draws_add.zero_()
        share = (torch.arange(self.draw_pairs) + torch.rand(self.draw_pairs)) / self.draw_pairs
        steps = self.schedule.at(share.to(self.schedule.cumulative))[:, None]
        self.draw_steps.copy_(torch.cat([steps, steps]))
        half = spread_normals(self.draw_pairs, self._dim)[:, None]
        self.draw_noise.copy_(torch.cat([half, -half]))

    def fit(
        self,
        train_data: Data,
        val_data: Data | None = None,
        test_data: Data | None = None,
        *,
        lr: Positive = 1e-2,
        **options: Any,
    ) -> History:
        """Fit as every model does, by longer steps than most; the losses are bounds."""
        return super().fit(train_data, val_data, test_data, lr=lr, **options)

    def _fit(self, splits: dict[str, Tensor], options: FitOptions, hooks: Hooks) -> History:
        self.whitener.fit(splits["train"], options.noise)
        history = super()._fit(splits, options, hooks)
        self._measure_draws(splits["train"], options.seed)
        return history

    @torch.no_grad()
    def _measure_draws(self, train: Tensor, seed: int) -> None:
        """Set `draws_add`: mean score under the stored draws minus that under fresh ones."""
        generator = torch.Generator(train.device)
        generator.manual_seed(seed)
        order = torch.randperm(len(train), generator=generator, device=train.device)
        rows = train[order[:_MEASURED_ROWS]]
        total = torch.zeros((), dtype=torch.float64, device=train.device)
        for z in rows.split(self.chunk_rows):
            w = self.whitener(z)
            share = self._shares((len(self.draw_steps), len(w)), w, generator)
            noise = w.new_empty(len(self.draw_steps), *w.shape).normal_(generator=generator)
            fresh = self._gain(w, self.schedule.at(share), noise)
            total += (self._gain(w, self.draw_steps, self.draw_noise) - fresh).mean(0).sum()
        self.draws_add.copy_(total / len(rows))

    @staticmethod
    def _shares(size: tuple[int, ...], like: Tensor, generator: torch.Generator) -> Tensor:
        """Draw numbers in [0, 1), one in each of n equal strata along the first of the axes."""
        strata = torch.arange(size[0], device=like.device).reshape(-1, *[1] * (len(size) - 1))
        return (strata + like.new_empty(size).uniform_(generator=generator)) / size[0]

    def losses(
        self, z: Tensor, generator: torch.Generator | None = None, progress: float = 1.0
    ) -> Losses:
        """Return the mean negative bound in nats, of one draw a row.

        In evaluation the rows take the stored draws in turn.
        """
        w = self.whitener(z)
        if generator is None:
            turn = torch.arange(len(w), device=w.device) % len(self.draw_steps)
            steps, noise = self.draw_steps[turn, 0], self.draw_noise[turn, 0]
        else:
            steps = self.schedule.at(self._shares((len(w),), w, generator))
            noise = torch.empty_like(w).normal_(generator=generator)
        return {"loss": -(self._gaussian(w) + self._gain(w, steps, noise)).mean()}

    def _log_prob(self, z: Tensor) -> Tensor:
        w = self.whitener(z)
        gain = self._gain(w, self.draw_steps, self.draw_noise).mean(0)
        return self._gaussian(w) + gain - self.draws_add

    def _gaussian(self, w: Tensor) -> Tensor:
        return log_standard_normal(w) + self.whitener.log_abs_det

    def _gain(self, w: Tensor, steps: Tensor, noise: Tensor) -> Tensor:
        """Return by how much each draw raises the bound; its mean is the network's part.

        Args:
            w: Whitened rows (B, D).
            steps: Indices t - 1, (B,) or (K, 1 or B).
            noise: Standard normals, (B, D) or (K, 1 or B, D).
        """
        alpha, sigma = self.schedule.alpha[steps][..., None], self.schedule.sigma[steps][..., None]
        guess = self._guess(alpha * w + sigma * noise, steps)
        v = alpha * noise - sigma * w
        return self.schedule.coefficient[steps] * ((2 * v - guess) * guess).sum(-1)

    def _guess(self, noisy: Tensor, steps: Tensor) -> Tensor:
        """Return the network's guess of v; it vanishes with sigma, as E[v | x_t] does."""
        guess: Tensor = self.schedule.sigma[steps][..., None] * self.denoiser(noisy, steps)
        return guess

    def _sample(self, num_samples: int, generator: torch.Generator) -> Tensor:
        w = self.draw_noise.new_empty(num_samples, self._dim).normal_(generator=generator)
        kept = (1 - self.schedule.beta).sqrt()
        pull = (2 * self.schedule.weight * self.schedule.beta).sqrt()  # c_t
        for step in reversed(range(self.timesteps)):
            noise = torch.empty_like(w).normal_(generator=generator)
            guess = self._guess(w, torch.tensor(step, device=w.device))
            spread = self.schedule.beta[step].sqrt()
            w = kept[step] * w - pull[step] * guess + spread * noise
        return self.whitener.inverse(w)


class Denoiser(nn.Module):
    """MLP with SiLU that reads a noisy row and, in its first layer, an embedding of t.

    The embedding is of sines and cosines of t at frequencies from 1 to 1e-4. The last layer
    starts at zero.

    Args:
        dim: D.
        hidden_dims: Widths of the hidden layers, at least one.
        time_dim: Size of the embedding, an even number.
        timesteps: T.

    Raises:
        ConfigError: time_dim is odd or hidden_dims is empty.

    Source:
        Vaswani et al. 2017, arXiv:1706.03762, sec. 3.5 (embedding), with t in thousandths of T.
    """

    __call__: Callable[..., Tensor]
    embedding: Tensor

    def __init__(
        self, dim: int, hidden_dims: Sequence[int], time_dim: int, timesteps: int
    ) -> None:
        super().__init__()
        if time_dim % 2:
            raise ConfigError(f"time_dim must be even, is {time_dim}")
        if not hidden_dims:
            raise ConfigError("hidden_dims must name at least one hidden layer")
        widths = list(hidden_dims)
        self.row = nn.Linear(dim, widths[0])
        self.time = nn.Linear(time_dim, widths[0], bias=False)
        self.hidden = nn.Sequential()
        for narrow, wide in pairwise(widths):
            self.hidden.append(nn.Linear(narrow, wide)).append(nn.SiLU(inplace=True))
        self.out = nn.Linear(widths[-1], dim)
        frequencies = torch.logspace(0, -4, time_dim // 2)
        angles = torch.arange(1, timesteps + 1)[:, None] * (1000 / timesteps) * frequencies
        embedding = torch.cat([angles.sin(), angles.cos()], dim=1)
        self.register_buffer("embedding", embedding, persistent=False)

    def reset_parameters(self) -> None:
        """Start with the guess zero."""
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, noisy: Tensor, steps: Tensor) -> Tensor:
        """Return (..., D) for noisy (..., D) and steps (...), indices t - 1."""
        first = functional.silu(self.row(noisy) + self.time(self.embedding[steps]))
        guess: Tensor = self.out(self.hidden(first))
        return guess
