"""Calibrated density models: out-of-distribution penalties for offline RL, and for time series.

model = RealNVP(input_dim=14)
model.fit(train, val)                     # rows [state, action], numpy or torch
model.calibrate(held_out, alpha=0.05)     # threshold, p-values, surprise
penalty = OODPenalty(model)               # (B, D) -> (B,), 0 for 95 % of rows like held_out
"""

from typing import TYPE_CHECKING, Any

from gormpo_density.augmentation.latent import LatentAugmenter
from gormpo_density.base import DensityModel, LatentModel
from gormpo_density.calibration import Calibration
from gormpo_density.data.rl import load_rl_data, load_rl_data_for_vae
from gormpo_density.data.synthetic import create_synthetic_data
from gormpo_density.models.ensemble import Ensemble
from gormpo_density.models.gmm import GMM
from gormpo_density.models.kde import KDE
from gormpo_density.models.knn import KNN
from gormpo_density.models.realnvp import RealNVP
from gormpo_density.models.recurrent_ae import RecurrentAE
from gormpo_density.models.vae import VAE
from gormpo_density.models.vae_lstm import VAELSTM
from gormpo_density.monitor import Monitor
from gormpo_density.penalty import OODPenalty
from gormpo_density.persistence import load_model
from gormpo_density.registry import (
    available_models,
    available_penalties,
    make_model,
    register_model,
    register_penalty,
)
from gormpo_density.sequence import SequenceModel
from gormpo_density.timeseries.detector import TimeSeriesDetector

if TYPE_CHECKING:
    from gormpo_density.plots import plot_training_curves

__version__ = "0.1.0"

__all__ = [
    "GMM",
    "KDE",
    "KNN",
    "VAE",
    "VAELSTM",
    "Calibration",
    "DensityModel",
    "Ensemble",
    "LatentAugmenter",
    "LatentModel",
    "Monitor",
    "OODPenalty",
    "RealNVP",
    "RecurrentAE",
    "SequenceModel",
    "TimeSeriesDetector",
    "available_models",
    "available_penalties",
    "create_synthetic_data",
    "load_model",
    "load_rl_data",
    "load_rl_data_for_vae",
    "make_model",
    "plot_training_curves",
    "register_model",
    "register_penalty",
]


def __getattr__(name: str) -> Any:
    """Import the drawing function when it is first used: matplotlib is slow to import."""
    if name == "plot_training_curves":
        from gormpo_density.plots import plot_training_curves

        return plot_training_curves
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
