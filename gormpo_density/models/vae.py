"""Variational autoencoder: a lower bound on log p(x), and scores from its latent space."""

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Ge
from torch import Tensor

from gormpo_density.arrays import Data
from gormpo_density.base import LatentModel
from gormpo_density.decisions import ScoreKind
from gormpo_density.fitting import FitOptions, History, Hooks, Losses
from gormpo_density.models.gaussians import (
    DRAWS,
    LOGVAR_RANGE,
    kl_to_standard_normal,
    log_normal,
    spread_normals,
)
from gormpo_density.models.nets import MLP

#: Training rows, and sets of fresh draws a row, that tell what the stored draws add.
_MEASURED_ROWS, _FRESH_SETS = 4096, 8


class VAE(LatentModel):
    """Gaussian VAE whose decoder gives each feature a mean and a variance, standardised data.

    p(x|z) = N(x; m(z), diag(v(z))), p(z) = N(0, I), q(z|x) = N(z; mu(x), diag(exp(logvar(x)))).
    Scores:

    - elbo: E_q log p(x|z) - KL(q(z|x) || p(z)), a bound; the mean over 8 stored antithetic draws,
      so it is deterministic and a bound in expectation over the draws. What these draws add to
      all rows alike (tenths of a nat) is measured with fresh draws after training and taken off.
    - iwae: log mean_k p(x, z_k) / q(z_k|x) over the same draws, a tighter bound.
    - reconstruction: -||x - m(mu(x))||^2 in standardised units.
    - latent_euclidean: -||mu(x)||.
    - latent_mahalanobis: minus the Mahalanobis distance of mu(x) to the training rows' mu.

    Args:
        input_dim: D for rows, (T, D) for windows (flattened inside).
        latent_dim: Size of z.
        hidden_dims: Widths of the encoder's net; the decoder's are reversed.
        device: Where to put the model.
        beta: Weight of the KL term in training (not in scores).
        kl_warmup: Share of the training over which that weight rises from 0.

    Source:
        Kingma & Welling 2014, arXiv:1312.6114, eq. 3; Higgins et al. 2017 (beta); Burda et al.
        2016, arXiv:1509.00519, eq. 8 (iwae). Differs from GORMPO's: learned variance, true bound.
    """

    scores: ClassVar[Mapping[str, ScoreKind]] = {
        "elbo": "bound",
        "iwae": "bound",
        "reconstruction": "surrogate",
        "latent_euclidean": "surrogate",
        "latent_mahalanobis": "surrogate",
    }
    noise_draws: Tensor
    latent_mean: Tensor
    latent_whitener: Tensor
    draws_add: Tensor

    def __init__(
        self,
        input_dim: int | Sequence[int],
        latent_dim: Annotated[int, Ge(1)] = 8,
        hidden_dims: Sequence[Annotated[int, Ge(1)]] = (256, 128),
        device: str = "cpu",
        beta: Annotated[float, Ge(0)] = 1.0,
        kl_warmup: Annotated[float, Ge(0)] = 0.1,
    ) -> None:
        super().__init__(input_dim)
        self.latent_dim = latent_dim
        self.hidden_dims = list(hidden_dims)
        self.beta = beta
        self.kl_warmup = kl_warmup
        dim = math.prod(self.event_shape)
        self.encoder_net = MLP(dim, hidden_dims, 2 * latent_dim)
        self.decoder_net = MLP(latent_dim, self.hidden_dims[::-1], 2 * dim)
        self.register_buffer("noise_draws", torch.zeros(DRAWS, 1, latent_dim))
        self.register_buffer("draws_add", torch.zeros(2))  # to elbo and to iwae
        self.register_buffer("latent_mean", torch.zeros(latent_dim))
        self.register_buffer("latent_whitener", torch.eye(latent_dim))
        self._reset(seed=0)
        self.to(device)

    def reset_parameters(self) -> None:
        """Redraw the noise of the scores."""
        self.draws_add.zero_()
        half = spread_normals(DRAWS // 2, self.latent_dim)[:, None]
        self.noise_draws.copy_(torch.cat([half, -half]))

    def fit(
        self,
        train_data: Data,
        val_data: Data | None = None,
        test_data: Data | None = None,
        *,
        beta: float | None = None,
        **options: Any,
    ) -> History:
        """Fit as every model does; `beta`, when given, replaces the model's.

        The history adds train_recon, train_kl and so on: nats of standardised data.
        """
        if beta is not None:
            self.beta = beta
        return super().fit(train_data, val_data, test_data, **options)

    def _fit(self, splits: dict[str, Tensor], options: FitOptions, hooks: Hooks) -> History:
        history = super()._fit(splits, options, hooks)
        self._measure_draws(splits["train"], options.seed)
        with torch.no_grad():
            chunks = splits["train"].split(self.chunk_rows)
            mu = torch.cat([self._posterior(chunk)[0] for chunk in chunks])
            self.latent_mean.copy_(mu.mean(0))
            covariance = torch.atleast_2d(mu.T.double().cov())
            values, vectors = torch.linalg.eigh(covariance)
            self.latent_whitener.copy_(vectors * values.clamp(min=1e-6).rsqrt())
        return history

    @torch.no_grad()
    def _measure_draws(self, train: Tensor, seed: int) -> None:
        """Set `draws_add`: mean scores under the stored draws minus those under fresh ones."""
        generator = torch.Generator(train.device)
        generator.manual_seed(seed)
        order = torch.randperm(len(train), generator=generator, device=train.device)
        sums = torch.zeros(2, dtype=torch.float64, device=train.device)
        rows = train[order[:_MEASURED_ROWS]]
        for z in rows.split(self.chunk_rows):
            mu, logvar = self._posterior(z)
            sums += self._bounds(z, mu, logvar, self.noise_draws).sum(1)
            for _ in range(_FRESH_SETS):
                half = mu.new_empty(DRAWS // 2, *mu.shape).normal_(generator=generator)
                fresh = self._bounds(z, mu, logvar, torch.cat([half, -half]))
                sums -= fresh.sum(1) / _FRESH_SETS
        self.draws_add.copy_(sums / len(rows))

    def losses(
        self, z: Tensor, generator: torch.Generator | None = None, progress: float = 1.0
    ) -> Losses:
        """Return loss = recon + beta kl, and its parts, as batch means in nats."""
        mu, logvar = self._posterior(z)
        if generator is None:
            noise = self.noise_draws
        else:
            noise = torch.empty_like(mu).normal_(generator=generator)[None]
        recon = -self._log_likelihood(z, mu + noise * (0.5 * logvar).exp()).mean()
        kl = kl_to_standard_normal(mu, logvar).mean()
        warm = min(1.0, progress / self.kl_warmup) if self.kl_warmup > 0 else 1.0
        return {"loss": recon + self.beta * warm * kl, "recon": recon, "kl": kl}

    def _log_prob(self, z: Tensor) -> Tensor:
        return self._elbo(z, *self._posterior(z), self.noise_draws) - self.draws_add[0]

    def _score(self, z: Tensor, name: str) -> Tensor:
        mu, logvar = self._posterior(z)
        match name:
            case "iwae":
                return self._iwae(z, mu, logvar, self.noise_draws) - self.draws_add[1]
            case "reconstruction":
                return -torch.sum((z.flatten(1) - self._decoder(mu)[0]).square(), dim=1)
            case "latent_euclidean":
                return _minus_norm(mu)
            case _:
                return _minus_norm((mu - self.latent_mean) @ self.latent_whitener)

    def _bounds(self, z: Tensor, mu: Tensor, logvar: Tensor, noise: Tensor) -> Tensor:
        """Both bounds (2, B) under some noise (K, 1 or B, latent_dim)."""
        of = (z, mu, logvar, noise)
        return torch.stack([self._elbo(*of), self._iwae(*of)])

    def _elbo(self, z: Tensor, mu: Tensor, logvar: Tensor, noise: Tensor) -> Tensor:
        latent = mu + noise * (0.5 * logvar).exp()
        return self._log_likelihood(z, latent).mean(0) - kl_to_standard_normal(mu, logvar)

    def _iwae(self, z: Tensor, mu: Tensor, logvar: Tensor, noise: Tensor) -> Tensor:
        latent = mu + noise * (0.5 * logvar).exp()
        log_prior = log_normal(latent, torch.zeros_like(mu), torch.zeros_like(mu))
        log_posterior = log_normal(latent, mu, logvar)
        log_weight = self._log_likelihood(z, latent) + log_prior - log_posterior
        return log_weight.logsumexp(0) - math.log(len(noise))

    def _posterior(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return mu and logvar of q(latent | z), each (B, latent_dim)."""
        mu, logvar = self.encoder_net(z.flatten(1)).chunk(2, dim=-1)
        return mu, logvar.clamp(*LOGVAR_RANGE)

    def _decoder(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and logvar of p(z | latent), each (..., D)."""
        mean, logvar = self.decoder_net(latent).chunk(2, dim=-1)
        return mean, logvar.clamp(*LOGVAR_RANGE)

    def _log_likelihood(self, z: Tensor, latent: Tensor) -> Tensor:
        """Return log p(z | latent) of latent (K, B, latent_dim), shape (K, B)."""
        return log_normal(z.flatten(1), *self._decoder(latent))

    def encoder(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return (mu, logvar) of q(z|x), each (B, latent_dim), for x in data units."""
        return self._posterior(self.standardizer(x))

    def encode(self, x: Tensor) -> Tensor:
        """Return the posterior mean (B, latent_dim) of x in data units."""
        return self.encoder(x)[0]

    def decode(self, z: Tensor) -> Tensor:
        """Return the mean of p(x|z), shape (B, *event_shape), data units."""
        return self.standardizer.inverse(self._decoder(z)[0].reshape(-1, *self.event_shape))

    def forward(
        self, x: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return (reconstruction, mu, logvar) of x, in data units.

        The reconstruction is of the posterior mean, or of one draw from a given generator.
        """
        mu, logvar = self.encoder(x)
        latent = mu
        if generator is not None:
            noise = torch.empty_like(mu).normal_(generator=generator)
            latent = mu + noise * (0.5 * logvar).exp()
        return self.decode(latent), mu, logvar

    def loss_function(
        self, recon_x: Tensor, x: Tensor, mu: Tensor, logvar: Tensor, beta: float = 1.0
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return (total, recon, kl), batch means in nats: total = recon + beta kl.

        recon is the Gaussian negative log-likelihood of x around recon_x, with the decoder's
        variance at mu, data units; GORMPO's is the plain squared error.
        """
        z, recon_z = (self.standardizer(data).flatten(1) for data in (x, recon_x))
        likelihood = log_normal(z, recon_z, self._decoder(mu)[1]).mean()
        recon = -likelihood - self.standardizer.log_abs_det
        kl = kl_to_standard_normal(mu, logvar).mean()
        return recon + beta * kl, recon, kl

    def _sample(self, num_samples: int, generator: torch.Generator) -> Tensor:
        latent = self.latent_mean.new_empty(num_samples, self.latent_dim)
        mean, logvar = self._decoder(latent.normal_(generator=generator))
        noise = torch.empty_like(mean).normal_(generator=generator)
        return (mean + noise * (0.5 * logvar).exp()).reshape(-1, *self.event_shape)


def _minus_norm(x: Tensor) -> Tensor:
    return x.square().sum(1).sqrt().neg()
