"""Other libraries, where they are installed: nflows, normflows and zuko (flows), and pyod.

None is needed to install, test or use this project; what is missing is left out and named. Their
flows are built alike: affine couplings after random permutations (zuko: random masks), ReLU nets,
a standard normal base.
"""

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.datasets import Rows
from benchmarks.scorers import ScoreFunction, Scorer

FLOW_LIBRARIES = ("nflows", "normflows", "zuko")
#: What "equal size" means, in our own parameters.
DIM = 14
SIZE: dict[str, Any] = {"num_layers": 8, "hidden_dims": [256, 256]}


@dataclass(frozen=True)
class Flow:
    """A flow of any library: its parameters, and log p(x) of rows (B, D), shape (B,)."""

    module: nn.Module
    log_prob: Callable[[Tensor], Tensor]


def missing(*packages: str) -> str:
    """Return the names of the packages that are not installed, in one line."""
    return ", ".join(name for name in packages if not _is_installed(name))


def versions(*packages: str) -> str:
    """Return names and versions of the packages that are installed, in one line."""
    return ", ".join(f"{name} {version(name)}" for name in packages if _is_installed(name))


def _is_installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def flows(seed: int = 0, libraries: Sequence[str] = FLOW_LIBRARIES) -> dict[str, Flow]:
    """Return a flow of that size from each of the libraries that is installed."""
    builders = {"nflows": _nflows, "normflows": _normflows, "zuko": _zuko}
    made = {}
    for name in libraries:
        if _is_installed(name):
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                made[name] = builders[name](DIM, **SIZE)
    return made


def _nflows(dim: int, num_layers: int, hidden_dims: list[int]) -> Flow:
    transforms = import_module("nflows.transforms")
    base = import_module("nflows.distributions").StandardNormal([dim])
    mlp = import_module("nflows.nn.nets").MLP

    class Net(nn.Module):  # couplings call their net with a context, which MLP does not take
        def __init__(self, n_in: int, n_out: int) -> None:
            super().__init__()
            self.mlp = mlp([n_in], [n_out], hidden_dims)

        def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
            out: Tensor = self.mlp(x)
            return out

    mask = torch.arange(dim) % 2
    layers = []
    for _ in range(num_layers):
        layers.append(transforms.RandomPermutation(dim))
        layers.append(transforms.AffineCouplingTransform(mask, Net))
    flow = import_module("nflows.flows").Flow(transforms.CompositeTransform(layers), base)
    return Flow(flow, flow.log_prob)


def _normflows(dim: int, num_layers: int, hidden_dims: list[int]) -> Flow:
    nf = import_module("normflows")
    n_in, n_out = dim - dim // 2, dim // 2  # the first, larger half is read
    layers = []
    for _ in range(num_layers):
        net = nf.nets.MLP([n_in, *hidden_dims, 2 * n_out], init_zeros=True)
        layers.append(nf.flows.AffineCouplingBlock(net))
        layers.append(nf.flows.Permute(dim, mode="shuffle"))
    flow = nf.NormalizingFlow(nf.distributions.DiagGaussian(dim, trainable=False), layers)
    return Flow(flow, flow.log_prob)


def _zuko(dim: int, num_layers: int, hidden_dims: list[int]) -> Flow:
    flow = import_module("zuko.flows").RealNVP(
        dim, transforms=num_layers, randmask=True, hidden_features=hidden_dims
    )
    return Flow(flow, lambda x: flow().log_prob(x))


def pyod_scorers() -> list[Scorer]:
    """Return pyod's VAE at its defaults, if it is installed; it trains on all rows it is given."""
    if not _is_installed("pyod"):
        return []

    def fit(train: Rows, val: Rows, seed: int) -> dict[str, ScoreFunction]:
        detector = import_module("pyod.models.vae").VAE(random_state=seed, verbose=0)
        detector.fit(np.concatenate([train, val]))
        return {"pyod.VAE": lambda rows: -detector.decision_function(rows)}

    return [Scorer("pyod.VAE", fit, {"pyod": version("pyod")})]
