"""Synthetic series from the latent space of a density model."""

import math
from collections.abc import Mapping
from typing import Any, Literal, Protocol, get_args, runtime_checkable

import torch
from torch import Tensor

from gormpo_density.arrays import Data
from gormpo_density.augmentation.acceptance import Acceptance
from gormpo_density.augmentation.augmenter import Augmented, Augmenter, labelled_tensors
from gormpo_density.augmentation.class_gaussians import ClassGaussians
from gormpo_density.augmentation.classic import classmates
from gormpo_density.base import LatentModel
from gormpo_density.errors import ConfigError, DataError, NotFittedError, ShapeError
from gormpo_density.registry import make_model

LatentMethod = Literal["noise", "posterior", "interpolate", "class_gaussian"]
METHODS: tuple[str, ...] = get_args(LatentMethod)

#: The strength of each method where none is given; 0 is reconstruction, or the class's mean.
STRENGTHS: Mapping[str, float] = {
    "noise": 0.1,
    "posterior": 1.0,
    "interpolate": 1.0,
    "class_gaussian": 1.0,
}
#: How often rejected rows are drawn again before they are given up.
_ROUNDS = 10
#: Gradient steps of a model that is fitted here, and rows in one of them.
_STEPS, _BATCH = 1500, 64
#: Weights of a slerp divide by the sine of the angle; below it the two are taken as parallel.
_LEAST_SINE = 1e-4


@runtime_checkable
class HasPosterior(Protocol):
    """A latent model that is no flow: q(z|x) is a Gaussian around the latent of x."""

    def encoder(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log-variance of q(z|x), each (B, K), of x in data units."""
        ...


class LatentAugmenter(Augmenter):
    """Decodes points of a latent space that lie near those of real rows; labels are kept.

    With z the latent of a real row, mu and sigma the moments of q(z|x), e ~ N(0, I) and s the
    strength:

    - noise: z + s e, in units of the latent space (LSTSAUG's).
    - posterior: mu + s sigma e, for a model that has a posterior.
    - interpolate: from z towards that of another row of the class, by a share w ~ U(0, s): along
      a line, or for a flow along the sphere, where the mass of its latents is. A row that is
      alone in its class is reconstructed.
    - class_gaussian: mean of the class's latents plus s L e, L L^T their shrunk covariance.

    With strength 0 the first three give the reconstruction of the row; `reconstruction_error`
    says how far that is. With `residual` they also keep what the model does not reconstruct,

        x' = decode(z') + x - decode(z),

    so that strength 0 gives the row itself, and detail that the model does not know is not
    smoothed away. A synthetic row is of the row it was made from, of none (-1) where two or more
    took part.

    Args:
        model: A fitted model; an unfitted one, a name or {"name": ..., parameters} is fitted by
            `fit`, to the rows given there.
        method: How latents are drawn.
        noise: The strength s; None is the method's own, see `STRENGTHS`.
        num_samples: Synthetic rows for each real row.
        accept: Decides which rows are kept. Others are drawn again, up to ten times, and then
            left out.
        residual: Keep what the model does not reconstruct of the row.
        fit_options: Of the model's `fit`, in place of these: 1,500 steps of 64 rows at a rate of
            1e-3, a fifth of the rows held out to stop after a fifth of the epochs.

    Raises:
        ConfigError: The method is unknown, the strength negative, the model has no latent space,
            it has no posterior and the method is "posterior", or `residual` is asked of
            "class_gaussian", whose rows are made from no row.

    Source:
        The ancestor's `noise`: LSTSAUG. Interpolation on a sphere: White 2016, arXiv:1609.04468.
    """

    def __init__(
        self,
        model: LatentModel | str | Mapping[str, Any],
        method: LatentMethod = "noise",
        noise: float | None = None,
        num_samples: int = 1,
        accept: Acceptance | None = None,
        residual: bool = False,
        fit_options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(num_samples)
        if method not in METHODS:
            raise ConfigError(f"method must be one of {', '.join(METHODS)}; is {method!r}")
        self.method = method
        self.strength = STRENGTHS[method] if noise is None else noise
        if not (math.isfinite(self.strength) and self.strength >= 0):
            raise ConfigError(f"noise must be at least 0, is {noise}")
        if problem := residual_problem(method, residual):
            raise ConfigError(problem)
        self.accept = accept
        self.residual = residual
        self.fit_options = dict(fit_options or {})
        self._spec: Mapping[str, Any] | None = None
        self.model: LatentModel | None = None
        if isinstance(model, LatentModel):
            self.model = self._checked(model)
        else:
            self._spec = {"name": model} if isinstance(model, str) else dict(model)
        self._fits_model = self.model is None or not self.model.is_fitted
        self._gaussians: ClassGaussians | None = None

    def _checked(self, model: Any) -> LatentModel:
        if not isinstance(model, LatentModel):
            raise ConfigError(f"{type(model).__name__} has no latent space to draw from")
        if self.method == "posterior" and _is_flow(model):
            raise ConfigError(
                f"{type(model).__name__} has no posterior to draw from, its latent is exact; "
                "choose noise"
            )
        return model

    def _fit(self, x: Tensor, y: Tensor, *, seed: int) -> None:
        if self._fits_model:
            self._fit_model(x, seed)
        if self.method == "class_gaussian":
            if len(x) < 2:
                raise DataError("class_gaussian needs two rows at least, got 1")
            with torch.no_grad():
                self._gaussians = ClassGaussians().fit(self._encode(x), y)
        if self.accept is not None:
            self.accept.fit(x.float(), y, seed=seed)

    def _fit_model(self, x: Tensor, seed: int) -> None:
        if self._spec is not None:
            self.model = self._checked(make_model(input_dim=tuple(x.shape[1:]), **self._spec))
        assert self.model is not None
        if len(x) < 4:
            raise DataError(f"fitting a latent model needs four rows at least, got {len(x)}")
        rows = x.reshape(len(x), *self.model.event_shape).float()
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
        n_val = max(2, len(x) // 5)
        epochs = math.ceil(_STEPS / math.ceil((len(x) - n_val) / _BATCH))
        options = {"epochs": epochs, "batch_size": _BATCH, "lr": 1e-3} | self.fit_options
        options = {"patience": max(1, options["epochs"] // 5), "seed": seed} | options
        self.model.fit(rows[order[n_val:]], rows[order[:n_val]], **options)

    def reconstruction_error(self, x: Data) -> float:
        """Return sqrt(mean (x - decode(encode(x)))^2 / var(x)) of rows (n, T) or (n, T, D).

        0 is perfect, 1 what the mean of all values would do.

        Raises:
            NotFittedError: There is no fitted model yet.
            ShapeError, DataError: As `augment` raises.
        """
        rows, _ = labelled_tensors(x, torch.zeros(len(x), dtype=torch.int64))
        with torch.no_grad():
            error = self._decode(self._encode(rows), rows) - rows
        return float((error.square().mean() / rows.var(correction=0)).sqrt())

    def _augment(self, x: Tensor, y: Tensor, generator: torch.Generator) -> Augmented:
        z = self._encode(x)
        if self.accept is None:
            source = torch.arange(len(x), device=x.device).repeat(self.num_samples)
            made, origin = self._draw(z, x, y, source, generator)
            return Augmented(made, y[source], origin)
        return self._accepted(z, x, y, self.accept, generator)

    def _accepted(
        self, z: Tensor, x: Tensor, y: Tensor, accept: Acceptance, generator: torch.Generator
    ) -> Augmented:
        """Draw, keep what is accepted, and draw the others again."""
        wanted = torch.arange(len(x), device=x.device).repeat(self.num_samples)
        kept: list[tuple[Tensor, Tensor, Tensor]] = []
        rejected = 0
        for _ in range(_ROUNDS):
            rows, origin = self._draw(z, x, y, wanted, generator)
            is_good = accept(rows.float(), y[wanted])
            kept.append((rows[is_good], wanted[is_good], origin[is_good]))
            wanted = wanted[~is_good]
            rejected += len(wanted)
            if not len(wanted):
                break
        made, source, origin = (torch.cat(parts) for parts in zip(*kept, strict=True))
        if not len(source):
            raise DataError(
                f"all {rejected} candidates were rejected; a smaller noise or alpha may help"
            )
        return Augmented(made, y[source], origin, rejected)

    def _draw(
        self, z: Tensor, x: Tensor, y: Tensor, source: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Return a synthetic row of each source row (m,), and the row that each is of."""
        origin = source
        if self.method == "noise":
            latent = z[source] + self.strength * _normal(z[source], generator)
        elif self.method == "posterior":
            mu, logvar = self._moments(x[source])
            latent = mu + self.strength * (0.5 * logvar).exp() * _normal(mu, generator)
        elif self.method == "interpolate":
            mate = classmates(y, 1, generator)[source]
            share = self.strength * torch.rand(
                len(source), 1, generator=generator, device=z.device, dtype=z.dtype
            )
            between = slerp if _is_flow(self._fitted) else torch.lerp
            latent = between(z[source], z[mate], share)
            origin = torch.where(mate == source, source, -1)
        else:
            latent = self._classes.draw(y[source], self.strength, generator)
            origin = torch.full_like(source, -1)
        made = self._decode(latent, x)
        if self.residual:
            made += (x - self._decode(z, x))[source]
        return made, origin

    def _encode(self, x: Tensor) -> Tensor:
        return self._fitted.encode(self._as_events(x))

    def _decode(self, z: Tensor, like: Tensor) -> Tensor:
        return self._fitted.decode(z).reshape(-1, *like.shape[1:]).to(like)

    def _moments(self, x: Tensor) -> tuple[Tensor, Tensor]:
        model = self._fitted
        assert isinstance(model, HasPosterior)
        return model.encoder(self._as_events(x))

    def _as_events(self, x: Tensor) -> Tensor:
        """Return series (n, T, D) as the model takes them."""
        model = self._fitted
        size = math.prod(model.event_shape)
        if x[0].numel() != size:
            raise ShapeError(f"the model takes {size} values a series, got {x[0].numel()}")
        return x.reshape(len(x), *model.event_shape).to(model.standardizer.mean)

    @property
    def _fitted(self) -> LatentModel:
        if self.model is None or not self.model.is_fitted:
            raise NotFittedError("LatentAugmenter: its model is not fitted; call fit first")
        return self.model

    @property
    def _classes(self) -> ClassGaussians:
        if self._gaussians is None:
            raise NotFittedError("LatentAugmenter: class_gaussian needs fit first")
        return self._gaussians


def residual_problem(method: str, residual: bool | None) -> str:
    """Return why a method cannot keep the residual of a row; empty where it can or need not."""
    if residual and method == "class_gaussian":
        return "cannot keep a residual: class_gaussian makes its rows from no row"
    return ""


def slerp(a: Tensor, b: Tensor, share: Tensor) -> Tensor:
    """Return points on the great arcs from a (m, K) to b (m, K), lengths changing linearly.

    Between directions at angle t: (sin((1 - w) t) a + sin(w t) b) / sin(t); parallel, opposite
    or empty ones are joined by a line.

    Args:
        a: Where share 0 is.
        b: Where share 1 is.
        share: w (m, 1).
    """
    lengths = a.norm(dim=1, keepdim=True), b.norm(dim=1, keepdim=True)
    tiny = torch.finfo(a.dtype).tiny
    unit_a, unit_b = (v / n.clamp(min=tiny) for v, n in zip((a, b), lengths, strict=True))
    angle = (unit_a * unit_b).sum(1, keepdim=True).clamp(-1, 1).acos()
    sine = angle.sin()
    arc = ((1 - share) * angle).sin() * unit_a + (share * angle).sin() * unit_b
    length = torch.lerp(*lengths, share)
    is_arc = (sine > _LEAST_SINE) & (lengths[0] * lengths[1] > 0)
    return torch.where(is_arc, length * arc / sine.clamp(min=_LEAST_SINE), torch.lerp(a, b, share))


def _is_flow(model: LatentModel) -> bool:
    """Whether the latent of a row is exact: there is no posterior around it."""
    return not isinstance(model, HasPosterior)


def _normal(like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.empty_like(like).normal_(generator=generator)
