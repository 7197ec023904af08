"""Figures of density models: training, scores, detection, latent space, calibration, sweeps.

Every function returns a matplotlib `Figure` that belongs to the caller; pyplot and the global
settings are left alone. Scores are in log_prob units everywhere: higher is more normal.
"""

from gormpo_density.plots.detection import plot_ood_levels, plot_pr, plot_roc
from gormpo_density.plots.latent import plot_latent, plot_reconstructions
from gormpo_density.plots.scores import plot_calibration, plot_score_histograms
from gormpo_density.plots.style import save_figure
from gormpo_density.plots.sweep import plot_sweep
from gormpo_density.plots.training import plot_training_curves

__all__ = [
    "plot_calibration",
    "plot_latent",
    "plot_ood_levels",
    "plot_pr",
    "plot_reconstructions",
    "plot_roc",
    "plot_score_histograms",
    "plot_sweep",
    "plot_training_curves",
    "save_figure",
]
