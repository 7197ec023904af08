"""Continuous normalising flow: an exact density from an ordinary differential equation."""

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

import torch
from annotated_types import Ge, Gt
from torch import Tensor
from torchdiffeq import odeint

from gormpo_density.arrays import Data
from gormpo_density.base import LatentModel, PositiveInt
from gormpo_density.decisions import ScoreKind
from gormpo_density.errors import ConfigError
from gormpo_density.fitting import FitOptions, History, Hooks, Losses
from gormpo_density.models.gaussians import DRAWS, log_standard_normal
from gormpo_density.models.vector_field import VectorField
from gormpo_density.models.whitening import Whitener

logger = logging.getLogger(__name__)

#: Training rows on which the solver's error is measured, the share of them that must be within
#: the tolerance, and the most steps that are tried (but one doubling always is).
_MEASURED_ROWS, _WITHIN, _MOST_STEPS = 2048, 0.99, 256
#: Of a step, the share by which an inner time is moved at most; from a half on, two could meet.
_MOVED = 0.45
_CHOICES = {"trace": ("exact", "hutchinson"), "solver": ("euler", "midpoint", "rk4")}


class CNF(LatentModel):
    """Continuous normalising flow: rows flow along dz/dt = f(z, t) into a standard normal.

    log p(x) = log N(z(t1); 0, I) + integral_t0^t1 tr(df/dz) dt, with z(t0) the whitened row and f
    a `VectorField`, so a new flow is the Gaussian that fits best. Scores:

    - log_prob: with the exact trace. Its only error is the solver's, which is measured: after
      training the steps are doubled until one more doubling moves the scores of 99 in 100 training
      rows by no more than atol + rtol |score|, as in `steps_taken`.
    - hutchinson: the trace estimated with 8 stored random probes. In expectation over the probes
      it is log p itself: a bound without a gap, and noisier than need be, for comparison.

    Steps are of fixed size. An adaptive solver (dopri5, GORMPO's) sizes them by the error of the
    whole batch: a row's score would change with its neighbours, and one far row, or one that is
    not a number, would slow down or stop all others. The solver looks at its times, so unlike
    other models' scores these wait for a GPU.

    Args:
        input_dim: D for rows, (T, D) for windows (flattened inside).
        hidden_dims: Widths of the field's hidden layers; up to two have the fastest exact trace.
        device: Where to put the model.
        activation: Between the layers; smooth, as the trace has its slopes.
        time_dependent: Whether the field reads the time.
        trace: What trains the flow: the exact trace, or its estimate from one fresh probe a row.
        solver: A fixed-step method of torchdiffeq.
        steps: Number of steps in training.
        rtol: Tolerance of a score relative to its size.
        atol: Tolerance of a score in nats.
        t0: Time at the data.
        t1: Time at the standard normal.

    Raises:
        ConfigError: An argument is none of its choices, or t1 is not after t0.

    Source:
        Chen et al. 2018, arXiv:1806.07366, eq. 8; Grathwohl et al. 2019 (FFJORD),
        arXiv:1810.01367, eq. 4 and 7. Differs: whitening, gradients through the solver's steps in
        place of the adjoint equation, exact trace in closed form.
    """

    scores: ClassVar[Mapping[str, ScoreKind]] = {"log_prob": "exact", "hutchinson": "bound"}
    sized_by_fit: ClassVar[frozenset[str]] = frozenset({"times"})
    times: Tensor
    probes: Tensor

    def __init__(
        self,
        input_dim: int | Sequence[int],
        hidden_dims: Sequence[Annotated[int, Ge(1)]] = (128, 128),
        device: str = "cpu",
        activation: Literal["silu", "softplus", "tanh"] = "silu",
        time_dependent: bool = True,
        trace: Literal["exact", "hutchinson"] = "exact",
        solver: Literal["euler", "midpoint", "rk4"] = "rk4",
        steps: Annotated[int, Ge(1)] = 4,
        rtol: Annotated[float, Ge(0)] = 1e-3,
        atol: Annotated[float, Gt(0)] = 1e-2,
        t0: float = 0.0,
        t1: float = 1.0,
    ) -> None:
        super().__init__(input_dim)
        for name, value in (("trace", trace), ("solver", solver)):
            if value not in _CHOICES[name]:
                known = ", ".join(_CHOICES[name])
                raise ConfigError(f"{name} must be one of {known}, got {value!r}")
        if not t0 < t1:
            raise ConfigError(f"t1 must be after t0, got t0 = {t0} and t1 = {t1}")
        self.hidden_dims = list(hidden_dims)
        self.activation = activation
        self.time_dependent = time_dependent
        self.trace = trace
        self.solver = solver
        self.steps = steps
        self.rtol = rtol
        self.atol = atol
        self.t0 = t0
        self.t1 = t1
        self._dim = math.prod(self.event_shape)
        self.whitener = Whitener(self.event_shape)
        self.field = VectorField(self._dim, hidden_dims, activation, time_dependent)
        self.register_buffer("times", torch.linspace(t0, t1, steps + 1))
        self.register_buffer("probes", torch.zeros(DRAWS, 1, self._dim))
        self._reset(seed=0)
        self.to(device)

    @property
    def steps_taken(self) -> int:
        """Number of the solver's steps in a score."""
        return len(self.times) - 1

    def reset_parameters(self) -> None:
        """Go back to the steps of training and redraw the probes."""
        self._take_steps(self.steps)
        self.probes.copy_(torch.randint_like(self.probes, 2) * 2 - 1)

    def fit(
        self,
        train_data: Data,
        val_data: Data | None = None,
        test_data: Data | None = None,
        *,
        epochs: PositiveInt = 40,
        **options: Any,
    ) -> History:
        """Fit as every model does, in fewer epochs; with longer steps, the field may get stiff."""
        return super().fit(train_data, val_data, test_data, epochs=epochs, **options)

    def _fit(self, splits: dict[str, Tensor], options: FitOptions, hooks: Hooks) -> History:
        self.whitener.fit(splits["train"], options.noise)
        history = super()._fit(splits, options, hooks)
        self._refine(splits["train"], options.seed)
        return history

    @torch.no_grad()
    def _refine(self, train: Tensor, seed: int) -> None:
        """Take as few steps as the tolerance allows; warn if they are never enough."""
        generator = torch.Generator(train.device)
        generator.manual_seed(seed)
        order = torch.randperm(len(train), generator=generator, device=train.device)
        rows = train[order[:_MEASURED_ROWS]]
        steps, score = self.steps, self._log_prob(rows)
        while True:
            self._take_steps(2 * steps)
            finer = self._log_prob(rows)
            close = (finer - score).abs() <= self.atol + self.rtol * finer.abs()
            within = close.double().mean().item()
            if within >= _WITHIN:
                self._take_steps(steps)
                return
            steps, score = 2 * steps, finer
            if 2 * steps > _MOST_STEPS:
                break
        logger.warning(
            "%d steps of %s leave %.1f %% of the rows outside the tolerance",
            *(steps, self.solver, 100 * (1 - within)),
        )

    def _take_steps(self, count: int) -> None:
        self.times = torch.linspace(
            self.t0, self.t1, count + 1, dtype=self.times.dtype, device=self.times.device
        )

    def losses(
        self, z: Tensor, generator: torch.Generator | None = None, progress: float = 1.0
    ) -> Losses:
        """Return the mean negative log-probability in nats, in training perhaps estimated.

        In training, each inner time of the solver is moved by up to .45 of a step: on a grid that
        never moves, a field may learn to profit from the solver's errors there.
        """
        probes, times = None, None
        if generator is not None:
            times = self._moved_times(generator)
        if generator is not None and self.trace == "hutchinson":
            signs = torch.empty(1, len(z), self._dim, dtype=z.dtype, device=z.device)
            probes = signs.bernoulli_(0.5, generator=generator) * 2 - 1
        return {"loss": -self._density(z, probes, times).mean()}

    def _moved_times(self, generator: torch.Generator) -> Tensor:
        times = self.times.clone()
        reach = _MOVED * (self.t1 - self.t0) / self.steps_taken
        times[1:-1] += reach * torch.empty_like(times[1:-1]).uniform_(-1, 1, generator=generator)
        return times

    def _log_prob(self, z: Tensor) -> Tensor:
        return self._density(z)

    def _score(self, z: Tensor, name: str) -> Tensor:
        return self._density(z, self.probes)

    def _density(
        self, z: Tensor, probes: Tensor | None = None, times: Tensor | None = None
    ) -> Tensor:
        u, log_det = self._flow(z, probes, times)
        return log_standard_normal(u) + log_det

    def _flow(
        self, z: Tensor, probes: Tensor | None = None, times: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return u = z(t1), shape (B, D), and log|det du/dz|, shape (B,).

        Args:
            z: Standardised rows (B, *event_shape).
            probes: (K, 1 or B, D) to estimate the trace with; the exact trace when absent.
            times: Of the solver's steps; evenly spaced when absent.
        """

        def dynamics(t: Tensor, state: Tensor) -> Tensor:
            velocity, slopes = self.field(state[:, :-1], t)
            if probes is None:
                trace = self.field.divergence(slopes).expand(len(z))
            else:
                trace = self.field.curvature(slopes, probes).mean(0)
            return torch.cat([velocity, trace[:, None]], dim=1)

        log_det = self.whitener.log_abs_det.expand(len(z), 1)
        start = torch.cat([self.whitener(z), log_det], dim=1)
        end = self._solve(dynamics, start, self.times if times is None else times)
        return end[:, :-1], end[:, -1]

    def _inverse(self, u: Tensor) -> Tensor:
        return self.whitener.inverse(
            self._solve(lambda t, w: self.field(w, t)[0], u, self.times.flip(0))
        )

    def _solve(self, dynamics: Any, start: Tensor, times: Tensor) -> Tensor:
        end: Tensor = odeint(dynamics, start, times, method=self.solver)[-1]
        return end

    def encode(self, x: Tensor) -> Tensor:
        """Return the latent u = z(t1), shape (B, D), standard normal under the model."""
        return self._flow(self.standardizer(x))[0]

    def decode(self, z: Tensor) -> Tensor:
        """Return x (B, *event_shape), data units, by flowing back; exact but for the solver."""
        return self.standardizer.inverse(self._inverse(z))

    def _sample(self, num_samples: int, generator: torch.Generator) -> Tensor:
        u = self.probes.new_empty(num_samples, self._dim)
        return self._inverse(u.normal_(generator=generator))
