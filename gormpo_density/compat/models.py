"""GORMPO's VAE and RealNVP as they are: weights from its files, scores by its formulas.

They are here to be scored, calibrated, converted and given back, not to be fitted: our own models
of these names are better densities. Nothing is standardised, since GORMPO's nets take raw data.
Modules have the names that GORMPO's files give them.

Source:
    GORMPO, arXiv:2605.24405; the layout of the files is that of its `vae.py` and `realnvp.py`.
"""

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Ge
from torch import Tensor, nn

from gormpo_density.arrays import Data
from gormpo_density.base import LatentModel
from gormpo_density.decisions import ScoreKind
from gormpo_density.errors import ConfigError, GormpoDensityError
from gormpo_density.fitting import History

Widths = Sequence[Annotated[int, Ge(1)]]


class GormpoModel(LatentModel):
    """A model that GORMPO trained.

    Attributes:
        replaces: Name of our own model of that kind.
        rows: What GORMPO fits its models on; see `Transitions.rows`.
    """

    replaces: ClassVar[str]
    rows: ClassVar[str] = "next_state_action"

    def fit(
        self,
        train_data: Data,
        val_data: Data | None = None,
        test_data: Data | None = None,
        **options: Any,
    ) -> History:
        """Refuse: the weights are GORMPO's.

        Raises:
            GormpoDensityError: Always.
        """
        raise GormpoDensityError(
            f"{type(self).__name__} is read from GORMPO's files and is not fitted; "
            f"fit the model {self.replaces!r}"
        )

    def save_model(self, prefix: str | Path, train_data: Data | None = None) -> None:
        """Write the pair `{prefix}_model.pth`, `{prefix}_meta_data.pkl` that GORMPO's code reads.

        Mean and std of the scores of train_data, when given, are stored with it. GORMPO's penalty
        then standardises scores, but not the threshold; without them it compares like with like.
        Its `RealNVP.load_model` takes hidden_dims from its caller, not from the file.
        """
        from gormpo_density.compat.pairs import save_gormpo_pair

        self._require_fitted()
        save_gormpo_pair(self, Path(prefix), train_data)

    @classmethod
    @abstractmethod
    def params_of(cls, weights: Mapping[str, Tensor]) -> dict[str, Any]:
        """Return the constructor arguments that fit the weights of a file."""

    def constants(self) -> dict[str, Tensor]:
        """Return what GORMPO's files hold besides weights; it is the same for all models."""
        return {}


class GormpoVAE(GormpoModel):
    """GORMPO's variational autoencoder: encoder and decoder with ReLU, no output variance.

    reconstruction: -||x - dec(mu(x))||^2, data units. GORMPO's score decodes a fresh draw of
    q(z|x) at every call; this one decodes its mean, so a row has one score.

    Args:
        input_dim: D.
        latent_dim: Size of z.
        hidden_dims: Widths of the encoder's hidden layers; the decoder's are reversed.
        device: Where to put the model.

    Source:
        Kingma & Welling 2014, arXiv:1312.6114.
    """

    replaces: ClassVar[str] = "vae"
    scores: ClassVar[Mapping[str, ScoreKind]] = {"reconstruction": "surrogate"}

    def __init__(
        self,
        input_dim: Annotated[int, Ge(1)],
        latent_dim: Annotated[int, Ge(1)] = 16,
        hidden_dims: Widths = (256, 256),
        device: str = "cpu",
    ) -> None:
        super().__init__(input_dim)
        self.latent_dim = latent_dim
        self.hidden_dims = list(hidden_dims)
        dim = self.event_shape[0]
        widest = [dim, *self.hidden_dims][-1]
        self.encoder = nn.ModuleDict(
            {
                "encoder": _relu_layers([dim, *self.hidden_dims]),
                "fc_mu": nn.Linear(widest, latent_dim),
                "fc_logvar": nn.Linear(widest, latent_dim),
            }
        )
        self.decoder = nn.ModuleDict(
            {"decoder": _relu_net([latent_dim, *self.hidden_dims[::-1], dim])}
        )
        self._reset(seed=0)
        self.to(device)

    def _log_prob(self, z: Tensor) -> Tensor:
        return -(z - self.decode(self.encode(z))).square().sum(1)

    def encode(self, x: Tensor) -> Tensor:
        """Return the posterior mean (B, latent_dim) of x (B, D)."""
        mu: Tensor = self.encoder["fc_mu"](self.encoder["encoder"](x))
        return mu

    def decode(self, z: Tensor) -> Tensor:
        """Return x (B, D) from z (B, latent_dim)."""
        x: Tensor = self.decoder["decoder"](z)
        return x

    def _sample(self, num_samples: int, generator: torch.Generator) -> Tensor:
        latent = self.standardizer.mean.new_empty(num_samples, self.latent_dim)
        return self.decode(latent.normal_(generator=generator))

    @classmethod
    def params_of(cls, weights: Mapping[str, Tensor]) -> dict[str, Any]:
        """Return the constructor arguments that fit the weights of a file."""
        latent_dim, _ = weights["encoder.fc_mu.weight"].shape
        hidden = _linear_layers(weights, "encoder.encoder.")
        (last, *_) = _linear_layers(weights, "decoder.decoder.")[-1:]
        return {
            "input_dim": last.shape[0],
            "latent_dim": latent_dim,
            "hidden_dims": [layer.shape[0] for layer in hidden],
        }


class GormpoRealNVP(GormpoModel):
    """GORMPO's RealNVP: log p(x) = log N(f(x); 0, I) + log|det df/dx|, exact.

    Coupling i keeps the even columns (i even) or the odd ones (i odd), a, and moves the others, b:
    b -> b exp(s) + t, s = tanh(scale_net(a)), t = translate_net(a); log|det| = sum s.

    Args:
        input_dim: D, at least 2.
        num_layers: Number of couplings.
        hidden_dims: Widths of each net's hidden layers.
        device: Where to put the model.

    Raises:
        ConfigError: D is 1, which leaves a coupling nothing to read or nothing to move.

    Source:
        Dinh et al. 2017, arXiv:1605.08803, eq. 3-8.
    """

    replaces: ClassVar[str] = "realnvp"

    def __init__(
        self,
        input_dim: Annotated[int, Ge(2)],
        num_layers: Annotated[int, Ge(1)] = 6,
        hidden_dims: Widths = (256, 256),
        device: str = "cpu",
    ) -> None:
        super().__init__(input_dim)
        if self.event_shape[0] < 2:
            raise ConfigError("input_dim must be at least 2 for GORMPO's RealNVP, got 1")
        self.num_layers = num_layers
        self.hidden_dims = list(hidden_dims)
        self.coupling_layers = nn.ModuleList(
            _Coupling(self.event_shape[0], self.hidden_dims, number % 2)
            for number in range(num_layers)
        )
        self._reset(seed=0)
        self.to(device)

    def _log_prob(self, z: Tensor) -> Tensor:
        u, log_det = z, z.new_zeros(len(z))
        for coupling in self.coupling_layers:
            u, log_scale = coupling(u)
            log_det = log_det + log_scale
        return -0.5 * (u.square().sum(1) + u.shape[1] * math.log(2 * math.pi)) + log_det

    def encode(self, x: Tensor) -> Tensor:
        """Return the exact latent f(x) of x, both (B, D)."""
        for coupling in self.coupling_layers:
            x, _ = coupling(x)
        return x

    def decode(self, z: Tensor) -> Tensor:
        """Return x = f^-1(z), both (B, D)."""
        for coupling in reversed(self.coupling_layers):
            assert isinstance(coupling, _Coupling)
            z = coupling.inverse(z)
        return z

    def _sample(self, num_samples: int, generator: torch.Generator) -> Tensor:
        latent = self.standardizer.mean.new_empty(num_samples, self.event_shape[0])
        return self.decode(latent.normal_(generator=generator))

    @classmethod
    def params_of(cls, weights: Mapping[str, Tensor]) -> dict[str, Any]:
        """Return the constructor arguments that fit the weights of a file."""
        numbers = {name.split(".")[1] for name in weights if name.startswith("coupling_layers.")}
        net = _linear_layers(weights, "coupling_layers.0.scale_net.network.")
        return {
            "input_dim": len(weights["prior_mean"]),
            "num_layers": len(numbers),
            "hidden_dims": [layer.shape[0] for layer in net[:-1]],
        }

    def constants(self) -> dict[str, Tensor]:
        """Return the masks and the prior, which GORMPO's files hold besides weights."""
        zeros = torch.zeros(self.event_shape)
        masks = {}
        for number in range(self.num_layers):
            masks[f"coupling_layers.{number}.mask"] = zeros.clone()
            masks[f"coupling_layers.{number}.mask"][number % 2 :: 2] = 1
        return {**masks, "prior_mean": zeros, "prior_std": zeros + 1}


class _Coupling(nn.Module):
    """One affine coupling that keeps the columns first, first + 2, ... and moves the others."""

    def __init__(self, dim: int, hidden_dims: Sequence[int], first: int) -> None:
        super().__init__()
        self.kept, self.moved = slice(first, None, 2), slice(1 - first, None, 2)
        n_kept = len(range(first, dim, 2))
        widths = [n_kept, *hidden_dims, dim - n_kept]
        self.scale_net = nn.ModuleDict({"network": _relu_net(widths)})
        self.translate_net = nn.ModuleDict({"network": _relu_net(widths)})

    def _scale_shift(self, x: Tensor) -> tuple[Tensor, Tensor]:
        kept = x[:, self.kept]
        return self.scale_net["network"](kept).tanh(), self.translate_net["network"](kept)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return y (B, D) and log|det dy/dx| (B,)."""
        log_scale, shift = self._scale_shift(x)
        y = x.clone()
        y[:, self.moved] = x[:, self.moved] * log_scale.exp() + shift
        return y, log_scale.sum(1)

    def inverse(self, y: Tensor) -> Tensor:
        """Return x (B, D) from y (B, D)."""
        log_scale, shift = self._scale_shift(y)
        x = y.clone()
        x[:, self.moved] = (y[:, self.moved] - shift) * (-log_scale).exp()
        return x


def _relu_layers(widths: Sequence[int]) -> nn.Sequential:
    """Linear layers, each with a ReLU after it."""
    layers = nn.Sequential()
    for narrow, wide in pairwise(widths):
        layers.append(nn.Linear(narrow, wide)).append(nn.ReLU())
    return layers


def _relu_net(widths: Sequence[int]) -> nn.Sequential:
    """Linear layers with ReLU between them."""
    return _relu_layers(widths[:-1]).append(nn.Linear(widths[-2], widths[-1]))


def _linear_layers(weights: Mapping[str, Tensor], prefix: str) -> list[Tensor]:
    """Return the matrices of a chain of layers, in order."""
    numbered = {
        int(name.removeprefix(prefix).split(".")[0]): tensor
        for name, tensor in weights.items()
        if name.startswith(prefix) and name.endswith(".weight")
    }
    return [numbered[number] for number in sorted(numbered)]
