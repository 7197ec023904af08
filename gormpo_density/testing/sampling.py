"""Checks of samples and latents."""

import torch
from torch import Tensor

from gormpo_density.base import DensityModel, LatentModel
from gormpo_density.errors import GormpoDensityError
from gormpo_density.testing.claims import require
from gormpo_density.testing.subject import Subject


def samples_of(model: DensityModel, n: int, seed: int | None) -> Tensor | None:
    """Return samples, or None from a model that cannot be sampled from."""
    try:
        return model.sample(n, seed)
    except GormpoDensityError:
        return None


def check_samples_follow_their_seed(subject: Subject) -> None:
    """Samples are finite events in data units that a seed determines."""
    model = subject.fitted
    first, again, other = (samples_of(model, 50, seed) for seed in (1, 1, 2))
    if first is None or again is None or other is None:
        return
    require(first.shape == (50, *model.event_shape), f"samples have shape {tuple(first.shape)}")
    require(first.isfinite().all(), "a sample is not finite")
    distance = (first.numpy().mean(0) - subject.train.mean(0)) / subject.train.std(0)
    require(abs(distance).max() < 1, f"samples are {abs(distance).max():.2g} std off the data")
    require(torch.equal(first, again), "one seed gave two samples")
    require(not torch.equal(first, other), "two seeds gave one sample")


def check_latents_decode_to_rows(subject: Subject) -> None:
    """Encoding gives (B, latent_dim), decoding gives events back."""
    model, rows = subject.fitted, torch.from_numpy(subject.rows)
    if isinstance(model, LatentModel):
        latent = model.encode(rows)
        require(latent.ndim == 2 and len(latent) == len(rows), f"latents {tuple(latent.shape)}")
        decoded = model.decode(latent)
        require(decoded.shape == rows.shape, f"decoded rows {tuple(decoded.shape)}")
        require(latent.isfinite().all() and decoded.isfinite().all(), "not finite")
