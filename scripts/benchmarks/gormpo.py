"""The ancestor's VAE and RealNVP as published, on raw inputs, written from their formulas."""

import math
from collections.abc import Callable
from itertools import islice

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.datasets import Rows
from benchmarks.scorers import ScoreFunction, Scorer, Scores
from benchmarks.training import adam_epochs
from gormpo_density.base import FLOOR
from gormpo_density.models.nets import MLP

HIDDEN = (256, 128)
N_COUPLINGS = 6
COUPLING_HIDDEN = (256, 256)
INPUT_SHIFT = 1e-3


class GormpoVAE(nn.Module):
    """loss = sum-MSE / B + KL / B; score = -|x - dec(mu + eps sigma)|^2 with a fresh eps.

    Source:
        Tumay et al. 2026, arXiv:2605.24405, and its published code.
    """

    def __init__(self, dim: int, latent_dim: int) -> None:
        super().__init__()
        self.encoder = MLP(dim, HIDDEN, 2 * latent_dim)
        self.decoder = MLP(latent_dim, HIDDEN[::-1], dim)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return squared error and KL of each row, both (B,)."""
        mu, logvar = self.encoder(x).chunk(2, dim=1)
        latent = mu + torch.randn_like(mu) * (0.5 * logvar).exp()
        error = (x - self.decoder(latent)).square().sum(1)
        return error, -0.5 * (1 + logvar - mu.square() - logvar.exp()).sum(1)

    def loss(self, x: Tensor) -> Tensor:
        """Return the mean loss of a batch."""
        error, kl = self.forward(x)
        return (error + kl).mean()

    def score(self, x: Tensor) -> Tensor:
        """Return the score (B,), higher is more normal; no two calls are the same."""
        error, _ = self.forward(x)
        return -error


class GormpoRealNVP(nn.Module):
    """log p(x) of six affine couplings with even and odd masks, log-scale tanh(s), raw inputs.

    Source:
        Tumay et al. 2026, arXiv:2605.24405, and its published code.
    """

    masks: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        even = (torch.arange(dim) % 2 == 0).float()
        masks = [even if i % 2 == 0 else 1 - even for i in range(N_COUPLINGS)]
        self.register_buffer("masks", torch.stack(masks))
        self.scales = nn.ModuleList(MLP(dim, COUPLING_HIDDEN, dim) for _ in masks)
        self.shifts = nn.ModuleList(MLP(dim, COUPLING_HIDDEN, dim) for _ in masks)

    def score(self, x: Tensor) -> Tensor:
        """Return log p(x), shape (B,)."""
        log_det = x.new_zeros(len(x))
        for mask, scale, shift in zip(self.masks, self.scales, self.shifts, strict=True):
            log_scale = torch.tanh(scale(mask * x)) * (1 - mask)
            x = x * log_scale.exp() + shift(mask * x) * (1 - mask)
            log_det = log_det + log_scale.sum(1)
        return log_det - 0.5 * (x.square() + math.log(2 * math.pi)).sum(1)

    def loss(self, x: Tensor) -> Tensor:
        """Return the mean loss of a batch, of inputs shifted by a constant."""
        return -self.score(x + INPUT_SHIFT).mean()


def scorers(latent_dim: int, vae_epochs: int, flow_epochs: int) -> list[Scorer]:
    """Return both models as scorers; neither uses the validation rows."""
    vae = _scorer("GORMPO VAE", lambda dim: GormpoVAE(dim, latent_dim), vae_epochs)
    vae.settings["latent_dim"] = latent_dim
    return [vae, _scorer("GORMPO RealNVP", GormpoRealNVP, flow_epochs)]


def _scorer(name: str, build: Callable[[int], GormpoVAE | GormpoRealNVP], epochs: int) -> Scorer:
    def fit(train: Rows, val: Rows, seed: int) -> dict[str, ScoreFunction]:
        torch.manual_seed(seed)
        model = build(train.shape[1])
        training = adam_epochs(model, model.loss, torch.from_numpy(train), seed)
        for _ in islice(training, epochs):
            pass
        return {name: lambda rows: _scores(model, rows)}

    return Scorer(name, fit, {"epochs": epochs})


@torch.inference_mode()
def _scores(model: GormpoVAE | GormpoRealNVP, rows: Rows) -> Scores:
    scores: Scores = model.score(torch.from_numpy(rows)).numpy()
    return np.nan_to_num(scores, nan=FLOOR, neginf=FLOOR)
