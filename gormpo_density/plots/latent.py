"""The latent space, and what comes back from it."""

import math
from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from gormpo_density.arrays import Data
from gormpo_density.errors import ShapeError
from gormpo_density.plots.scores import plot_score_histograms
from gormpo_density.plots.style import (
    NEUTRAL,
    PALETTE,
    Floats,
    head,
    legend_beside,
    make_panels,
    outside,
    plain,
    robust_range,
    say_off_axis,
    set_titles,
    to_floats,
)

_MAX_POINTS = 2000
_MAX_FEATURES = 16
_POINTS: dict[str, Any] = {"alpha": 0.5, "linewidths": 0, "rasterized": True}


def plot_latent(latent: Mapping[str, Data]) -> Figure:
    """Scatter latents along two axes; more than two are projected on principal components.

    The components are those of all sets together, after clipping each latent dimension to ten
    interquartile ranges of the first set, so that a few far rows do not decide the view. The axes
    are limited likewise. One dimension gives histograms.

    Args:
        latent: Finite latents (n, latent_dim) by name of the set, the normal one first. At most
            2,000 evenly spaced rows of each are drawn.
    """
    arrays = {name: _thinned(to_floats(z)) for name, z in latent.items()}
    first, pooled = next(iter(arrays.values())), np.concatenate(list(arrays.values()))
    if pooled.shape[1] == 1:
        return plot_score_histograms(arrays, xlabel="latent z")
    center, directions, labels = _view(pooled, first)
    x, y = ((pooled - center) @ directions).T
    limits = [robust_range(values, values[: len(first)], reach=5.0) for values in (x, y)]
    figure, (ax,) = make_panels(1, 1, (6.0, 4.2))
    colors = dict(zip(arrays, cycle(PALETTE), strict=False))
    order, color = _interleaved(arrays, colors)
    ax.scatter(x[order], y[order], c=color, s=6, **_POINTS)
    for name in arrays:
        ax.scatter([], [], color=colors[name], label=plain(name))
    ax.set(xlabel=labels[0], ylabel=labels[1], xlim=limits[0], ylim=limits[1])
    set_titles(ax, "", say_off_axis(outside(x, limits[0]) | outside(y, limits[1]), "rows"))
    legend_beside(figure)
    return figure


def plot_latent_classes(real: Mapping[str, Data], synthetic: Mapping[str, Data]) -> Figure:
    """Scatter real and synthetic latents of each class along two axes, as `plot_latent` does.

    The components and the axes are those of the real ones; how many synthetic ones lie off the
    axes is said.

    Args:
        real: Latents (n, latent_dim) by class, as dots. At least two dimensions.
        synthetic: The same, as crosses.
    """
    sorts = [{k: _thinned(to_floats(z)) for k, z in sets.items()} for sets in (real, synthetic)]
    pooled = np.concatenate(list(sorts[0].values()))
    center, directions, labels = _view(pooled, pooled)
    limits = [robust_range(values, reach=5.0) for values in ((pooled - center) @ directions).T]
    figure, (ax,) = make_panels(1, 1, (6.0, 4.2))
    colors = dict(zip(real, cycle(PALETTE), strict=False))
    is_off = np.zeros(0, dtype=np.bool_)
    for sets, marker in zip(sorts, ("o", "x"), strict=True):
        for name, z in sets.items():
            x, y = ((z - center) @ directions).T
            style: dict[str, Any] = {"marker": marker, "s": 22, "alpha": 0.7, "rasterized": True}
            ax.scatter(x, y, color=colors[name], linewidths=1.2 if marker == "x" else 0, **style)
            if marker == "x":
                is_off = np.append(is_off, outside(x, limits[0]) | outside(y, limits[1]))
    for name in real:
        ax.scatter([], [], color=colors[name], label=plain(name, 24))
    ax.scatter([], [], color=NEUTRAL, marker="x", label="synthetic")
    ax.set(xlabel=labels[0], ylabel=labels[1], xlim=limits[0], ylim=limits[1])
    set_titles(ax, "", say_off_axis(is_off, "synthetic rows"))
    legend_beside(figure)
    return figure


def _interleaved(
    arrays: Mapping[str, Floats], colors: Mapping[str, str]
) -> tuple[NDArray[np.intp], list[str]]:
    """Return an order of the pooled rows in which no set hides another, and each row's colour."""
    ranks = np.concatenate([np.linspace(0, 1, len(rows)) for rows in arrays.values()])
    order = np.argsort(ranks, kind="stable")
    color = [colors[name] for name, rows in arrays.items() for _ in rows]
    return order, [color[row] for row in order]


def _view(pooled: Floats, reference: Floats) -> tuple[Floats, Floats, list[str]]:
    """Return the centre (L,), two directions (L, 2) and their names."""
    if pooled.shape[1] == 2:
        return np.zeros(2), np.eye(2), ["z1", "z2"]
    columns = zip(pooled.T, reference.T, strict=True)
    clipped = np.column_stack([np.clip(z, *robust_range(z, normal)) for z, normal in columns])
    center = clipped.mean(axis=0)
    _, singular, components = np.linalg.svd(clipped - center, full_matrices=False)
    shares = singular**2 / max((singular**2).sum(), np.finfo(float).tiny)
    names = [f"component {i} ({share:.0%} of variance)" for i, share in enumerate(shares, 1)]
    return center, components[:2].T, names


def plot_reconstructions(x: Data, recon: Data, names: Sequence[str] | None = None) -> Figure:
    """Draw true against reconstructed values of each feature, with R^2.

    R^2 = 1 - sum (x - recon)^2 / sum (x - mean x)^2, over all rows. Of more than sixteen
    features, the sixteen with the lowest R^2 are shown.

    Args:
        x: Data (n, D), or windows (n, T, D), data units.
        recon: Reconstructions, same shape.
        names: Name of each feature; numbers when absent.

    Raises:
        ShapeError: The shapes of x, recon and names do not agree.
    """
    true, back = to_floats(x), to_floats(recon)
    dim = true.shape[-1]
    names = [f"feature {i}" for i in range(dim)] if names is None else names
    if true.shape != back.shape or len(names) != dim:
        shapes = f"x {true.shape}, recon {back.shape}, {len(names)} names"
        raise ShapeError(f"plot_reconstructions: {shapes} do not agree")
    true, back = true.reshape(-1, dim), back.reshape(-1, dim)
    r2 = _r_squared(true, back)
    shown = sorted(np.argsort(r2, stable=True)[:_MAX_FEATURES])
    figure, axes = make_panels(len(shown), 4, (2.2, 2.2) if len(shown) > 3 else (3.0, 3.0))
    for ax, feature in zip(axes, shown, strict=True):
        _draw_feature(ax, _thinned(true[:, feature]), _thinned(back[:, feature]))
        note = "R² undefined" if np.isnan(r2[feature]) else f"R² {r2[feature]:.3f}"
        set_titles(ax, names[feature], note)
    figure.supxlabel("true value [data units]", fontsize=10)
    figure.supylabel("reconstruction [data units]", fontsize=10)
    if len(shown) < dim:
        head(figure, f"the {len(shown)} of {dim} features with the lowest R²")
    return figure


def _r_squared(true: Floats, back: Floats) -> Floats:
    """R^2 per feature, nan for a constant one."""
    total = np.square(true - true.mean(axis=0)).sum(axis=0)
    residual = np.square(true - back).sum(axis=0)
    ratio: Floats = residual / np.where(total > 0, total, np.nan)
    return 1 - ratio


def _draw_feature(ax: Axes, true: Floats, back: Floats) -> None:
    limits = robust_range(true)
    ax.plot(limits, limits, color=NEUTRAL, linestyle=":")
    ax.scatter(true, back, color=PALETTE[0], s=3, **_POINTS)
    ax.set(xlim=limits, ylim=limits, aspect="equal")
    ax.locator_params(nbins=4)
    ax.tick_params(labelsize=8)


def _thinned(rows: Floats) -> Floats:
    return rows[:: max(1, math.ceil(len(rows) / _MAX_POINTS))]
