"""Figures of density models: training, scores, detection, latent space, series, sweeps.

Every function returns a matplotlib `Figure` that belongs to the caller; pyplot and the global
settings are left alone. Scores are in log_prob units everywhere: higher is more normal; only
where a score is drawn over time, as the anomaly score, is it turned upside down.
"""

from gormpo_density.plots.accuracy import plot_accuracies
from gormpo_density.plots.detection import plot_ood_levels, plot_pr, plot_roc
from gormpo_density.plots.latent import (
    plot_latent,
    plot_latent_classes,
    plot_reconstructions,
)
from gormpo_density.plots.scores import plot_calibration, plot_score_histograms
from gormpo_density.plots.series import ScoredSeries, plot_close_ups, plot_series
from gormpo_density.plots.severity import plot_severity
from gormpo_density.plots.style import save_figure
from gormpo_density.plots.sweep import plot_sweep
from gormpo_density.plots.thresholds import plot_thresholds
from gormpo_density.plots.training import plot_training_curves
from gormpo_density.plots.verdicts import plot_confusion, plot_score_curves
from gormpo_density.plots.windows import (
    plot_samples,
    plot_synthetic,
    plot_window_reconstructions,
)

__all__ = [
    "ScoredSeries",
    "plot_accuracies",
    "plot_calibration",
    "plot_close_ups",
    "plot_confusion",
    "plot_latent",
    "plot_latent_classes",
    "plot_ood_levels",
    "plot_pr",
    "plot_reconstructions",
    "plot_roc",
    "plot_samples",
    "plot_score_curves",
    "plot_score_histograms",
    "plot_series",
    "plot_severity",
    "plot_sweep",
    "plot_synthetic",
    "plot_thresholds",
    "plot_training_curves",
    "plot_window_reconstructions",
    "save_figure",
]
