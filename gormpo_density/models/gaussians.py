"""Diagonal Gaussians: their log-density and divergence, and draws that cover the space well."""

import math

import torch
from torch import Tensor

#: Noise draws of a score, stored with the model and the same for every row: four antithetic pairs.
DRAWS = 8
LOG_2PI = math.log(2 * math.pi)
#: Log-variances, of standardised data and of latents, stay in this range.
LOGVAR_RANGE = (-12.0, 12.0)


def log_normal(x: Tensor, mean: Tensor, logvar: Tensor) -> Tensor:
    """Log-density of diagonal normals at x, summed over the last axis."""
    return -0.5 * ((x - mean).square() * (-logvar).exp() + logvar + LOG_2PI).sum(-1)


def log_standard_normal(x: Tensor) -> Tensor:
    """Log-density of N(0, I) at x, summed over the last axis."""
    return -0.5 * (x.square() + LOG_2PI).sum(-1)


def kl_to_standard_normal(mu: Tensor, logvar: Tensor) -> Tensor:
    """KL(N(mu, exp(logvar)) || N(0, I)), summed over the last axis."""
    return 0.5 * (mu.square() + logvar.exp() - logvar - 1).sum(-1)


def kl_normal(mu: Tensor, logvar: Tensor, mean: Tensor, prior_logvar: Tensor) -> Tensor:
    """KL(N(mu, exp(logvar)) || N(mean, exp(prior_logvar))), summed over the last axis."""
    ratio = logvar - prior_logvar
    distance = (mu - mean).square() * (-prior_logvar).exp()
    return 0.5 * (distance + ratio.exp() - ratio - 1).sum(-1)


def spread_normals(count: int, dim: int) -> Tensor:
    """Draw standard normals (count, dim) that cover the space better than independent ones.

    Directions are orthogonal as far as they can be, radii are stratified. Each draw by itself is
    standard normal, so a mean over them is unbiased, but varies less from one set to the next.
    """
    from scipy.special import gammaincinv

    bases = []
    for _ in range(-(-count // dim)):
        q, r = torch.linalg.qr(torch.randn(dim, dim))
        bases.append(q * r.diagonal().sign())  # without the signs q is not uniform
    share = (torch.randperm(count) + torch.rand(count)) / count
    radius = torch.from_numpy(2 * gammaincinv(dim / 2, share.double().numpy())).sqrt()
    return torch.cat(bases)[:count] * radius.to(torch.get_default_dtype())[:, None]
